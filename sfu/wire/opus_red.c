// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/opus_red.h"

#define RED_FOLLOWS 0x80u
#define OPUS_RATE 48000u
#define OPUS_SAMPLES_MAX 5760u // 120 ms (RFC 6716 section 3.4, R5)

int opus_red_parse(struct bytes payload, struct opus_red *ret)
{
    struct rd r = rd_init(payload);
    struct opus_red red = {0};
    size_t len[OPUS_RED_BLOCKS_MAX] = {0};
    for (;;) {
        uint8_t const b = rd_u8(&r);
        if (!rd_ok(&r)) {
            return -EBADMSG;
        }
        if (red.count == OPUS_RED_BLOCKS_MAX) {
            return -E2BIG;
        }
        struct opus_red_block *const block = &red.block[red.count];
        block->pt = b & 0x7fu;
        if ((b & RED_FOLLOWS) == 0) {
            break;
        }
        uint32_t const v = rd_be24(&r);
        block->ts_offset = (uint16_t)(v >> 10);
        len[red.count++] = v & 0x3ffu;
    }
    for (size_t i = 0; i < red.count; i++) {
        red.block[i].data = rd_take(&r, len[i]);
    }
    red.block[red.count++].data = rd_rest(&r);
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    *ret = red;
    return 0;
}

void opus_red_write(struct wr *w, const struct opus_red *red)
{
    if (red->count == 0 || red->count > OPUS_RED_BLOCKS_MAX) {
        w->err = true;
        return;
    }
    size_t const last = red->count - 1u;
    for (size_t i = 0; i < last; i++) {
        const struct opus_red_block *const b = &red->block[i];
        if (b->data.n > OPUS_RED_BLOCK_LEN_MAX || b->ts_offset > OPUS_RED_OFFSET_MAX) {
            w->err = true;
            return;
        }
        wr_u8(w, (uint8_t)(RED_FOLLOWS | (b->pt & 0x7fu)));
        wr_be24(w, ((uint32_t)b->ts_offset << 10) | (uint32_t)b->data.n);
    }
    wr_u8(w, red->block[last].pt & 0x7fu);
    for (size_t i = 0; i <= last; i++) {
        wr_bytes(w, red->block[i].data);
    }
}

uint32_t opus_samples(struct bytes packet, bool encrypted)
{
    if (packet.n == 0) {
        return 0;
    }
    // RFC 6716 table 2: configurations 0-11 SILK (10 20 40 60 ms), 12-15 hybrid (10 20 ms), 16-31
    // CELT (2.5 5 10 20 ms).
    unsigned const config = packet.p[0] >> 3;
    uint32_t frame;
    if (config < 12) {
        static const uint16_t silk[] = {480, 960, 1920, 2880};
        frame = silk[config & 3u];
    } else if (config < 16) {
        frame = config & 1u ? OPUS_RATE / 50 : OPUS_RATE / 100;
    } else {
        frame = (OPUS_RATE / 400) << (config & 3u);
    }
    unsigned frames = 1;
    switch (packet.p[0] & 3u) {
    case 1:
    case 2:
        frames = 2;
        break;
    case 3:
        if (!encrypted) {
            frames = packet.n > 1 ? packet.p[1] & 0x3fu : 0;
        }
        break;
    default:
        break;
    }
    uint32_t const samples = frame * frames;
    return samples <= OPUS_SAMPLES_MAX ? samples : 0;
}

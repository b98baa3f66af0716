// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/opus_red.h"

#define RED_FOLLOWS 0x80u

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

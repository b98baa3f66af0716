// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/red_holes.h"

#include "common/base/seq.h"
#include "sfu/media/packet_info.h"
#include "sfu/media/packet_pool.h"
#include "sfu/wire/codec.h"

#define WINDOW 64u // bits of filled

// How many of the `gap` missing numbers before p its blocks hold.
static uint8_t count_fillable(const struct red_holes *h, const struct packet *p, uint64_t gap)
{
    struct opus_red red;
    uint8_t n = 0;
    if (p->info.red_primary_off == 0 || opus_red_parse(packet_payload(p), &red) < 0) {
        return 0;
    }
    // From the newest: empty ones stand for frames that were not encoded.
    for (unsigned i = red.count - 1u; i-- > 0 && n < gap;) {
        const struct opus_red_block *const b = &red.block[i];
        if (b->data.n == 0 || b->ts_offset == 0 || !seq32_newer(p->ts - b->ts_offset, h->ts)) {
            break;
        }
        n++;
    }
    return n;
}

void red_holes_packet(struct red_holes *h, struct packet *p)
{
    if (h->started && p->ext_sn <= h->highest) {
        uint64_t const behind = h->highest - p->ext_sn;
        p->info.red_filled = behind < WINDOW && ((h->filled >> behind) & 1u) != 0;
        return;
    }
    uint64_t const step = h->started ? p->ext_sn - h->highest : 1;
    h->filled = step < WINDOW ? h->filled << step : 0;
    if (p->info.codec == CODEC_RED && step > 1 && !p->info.padding_only) {
        p->info.red_holes = count_fillable(h, p, step - 1);
        h->filled |= ((UINT64_C(1) << p->info.red_holes) - 1) << 1;
    }
    h->highest = p->ext_sn;
    if (!p->info.padding_only || !h->started) {
        h->ts = p->ts;
    }
    h->started = true;
}

bool red_holes_fill(const struct packet *p, uint8_t i, struct packet *ret)
{
    struct opus_red red;
    if (opus_red_parse(packet_payload(p), &red) < 0 || p->info.red_holes >= red.count ||
        i >= p->info.red_holes) {
        return false;
    }
    uint8_t const back = (uint8_t)(p->info.red_holes - i);
    const struct opus_red_block *const b = &red.block[red.count - 1u - back];
    struct wr w = wr_init(ret->data, PACKET_DATA_CAP);
    wr_bytes(&w, b->data);
    if (!wr_ok(&w)) {
        return false;
    }
    ret->len = (uint16_t)wr_len(&w);
    ret->arrival = p->arrival;
    ret->ext_sn = p->ext_sn - back;
    ret->sn = (uint16_t)ret->ext_sn;
    ret->ssrc = p->ssrc;
    ret->ts = p->ts - b->ts_offset;
    ret->pt = b->pt;
    ret->marker = false;
    ret->info = (struct packet_info){
        .encoding = p->info.encoding,
        .spatial = p->info.spatial,
        .temporal = PACKET_NO_TEMPORAL,
        .frame_start = true,
        .frame_end = true,
        .recovered = true,
        .epoch = p->info.epoch,
        .audio_level = PACKET_NO_AUDIO_LEVEL,
        .codec = CODEC_OPUS,
        .payload_len = ret->len,
    };
    return true;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
// RED packets in any order: a step of the number, a step of the time, a length and that many bytes
// each. What parses is written back as the same bytes; no number is filled that was there, and what
// comes after its hole was filled is known as such.
#include <stdlib.h>

#include "sfu/media/packet_info.h"
#include "sfu/media/packet_pool.h"
#include "sfu/media/red_holes.h"
#include "sfu/wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NUMBERS 65536u

enum { NOT_SEEN, CAME, FILLED };

static struct packet_pool pool;
static uint8_t seen[NUMBERS];

static void check_codec(struct bytes payload)
{
    struct opus_red red;
    uint8_t buf[512];
    if (opus_red_parse(payload, &red) < 0) {
        return;
    }
    struct wr w = wr_init(buf, sizeof(buf));
    opus_red_write(&w, &red);
    if (!bytes_eq(wr_bytes_view(&w), payload)) {
        abort();
    }
}

static void check_holes(const struct packet *p)
{
    for (uint8_t i = 0; i < p->info.red_holes; i++) {
        struct packet *const q = packet_pool_get(&pool);
        if (q == NULL || !red_holes_fill(p, i, q) || q->ext_sn >= p->ext_sn ||
            seen[q->ext_sn % NUMBERS] != NOT_SEEN || q->len == 0 || q->ts == p->ts) {
            abort();
        }
        seen[q->ext_sn % NUMBERS] = FILLED;
        packet_unref(q);
    }
}

static void take(struct red_holes *h, uint64_t sn, uint32_t ts, struct bytes payload)
{
    struct packet *const p = packet_pool_get(&pool);
    if (p == NULL) {
        abort();
    }
    struct wr w = wr_init(p->data, PACKET_DATA_CAP);
    wr_bytes(&w, payload);
    p->len = (uint16_t)payload.n;
    p->ext_sn = sn;
    p->ts = ts;
    p->info = (struct packet_info){.payload_len = p->len, .padding_only = payload.n == 0};
    packet_info_payload(p, CODEC_RED, &(struct packet_info_context){0});
    uint64_t const before = h->highest;
    bool const known = h->started && sn <= before && before - sn < 64;
    red_holes_packet(h, p);
    if (p->info.red_filled != (known && seen[sn % NUMBERS] == FILLED)) {
        abort();
    }
    check_holes(p);
    if (!p->info.red_filled) {
        seen[sn % NUMBERS] = CAME;
    }
    packet_unref(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct red_holes h = {0};
    struct rd in = rd_init(bytes_of(data, size));
    uint64_t sn = 1000;
    uint32_t ts = 0;
    check_codec(bytes_of(data, MIN(size, 500u)));
    if (packet_pool_init(&pool, 64, 64) < 0) {
        return 0;
    }
    memset(seen, 0, sizeof(seen));
    // Far fewer than there are numbers, so that none comes again.
    for (unsigned i = 0; i < 400 && rd_left(&in) >= 3; i++) {
        sn = (uint64_t)((int64_t)sn + (int8_t)rd_u8(&in));
        ts += (uint32_t)(int8_t)rd_u8(&in) * 480u;
        take(&h, sn + 60000, ts, rd_take(&in, MIN(rd_left(&in), rd_u8(&in))));
    }
    packet_pool_done(&pool);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_pattern.h"

#include "common/base/crc32.h"

// Filler is cut out of this at a place that the counter chooses, so that writing and checking it
// are one memcpy and one memcmp.
#define FILLER_LEN 2048u
#define FILLER_PLACES 509u // prime: neighbours differ
static uint8_t filler[FILLER_LEN + FILLER_PLACES];

static const uint8_t *filler_at(uint32_t counter)
{
    if (filler[0] == 0) {
        uint32_t x = 0x2545f491; // any seed; xorshift32 (Marsaglia 2003)
        for (size_t i = 0; i < sizeof(filler); i++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            filler[i] = (uint8_t)(x | 1u);
        }
    }
    return filler + counter % FILLER_PLACES;
}

void client_pattern_write(struct wr *w, const struct client_pattern *p, size_t total)
{
    uint8_t head[CLIENT_PATTERN_LEN - 4];
    struct wr h = wr_init(head, sizeof(head));
    if (total < CLIENT_PATTERN_LEN || total > CLIENT_PATTERN_LEN + FILLER_LEN) {
        w->err = true;
        return;
    }
    wr_u8(&h, 'F');
    wr_u8(&h, 'c');
    wr_u8(&h, p->track);
    wr_u8(&h, p->layer);
    wr_u8(&h, p->flags);
    wr_fill(&h, 0, 3);
    wr_be32(&h, p->publisher);
    wr_be32(&h, p->counter);
    wr_be32(&h, p->frame);
    wr_be64(&h, (uint64_t)p->sent_us);
    wr_be32(&h, (uint32_t)total);
    struct bytes const view = wr_bytes_view(&h);
    wr_bytes(w, view);
    wr_be32(w, crc32_ieee(view));
    wr_bytes(w, bytes_of(filler_at(p->counter), total - CLIENT_PATTERN_LEN));
}

int client_pattern_read(struct bytes in, struct client_pattern *ret)
{
    struct rd r = rd_init(in);
    struct client_pattern p = {0};
    bool const ours = rd_u8(&r) == 'F' && rd_u8(&r) == 'c';
    p.track = rd_u8(&r);
    p.layer = rd_u8(&r);
    p.flags = rd_u8(&r);
    rd_skip(&r, 3);
    p.publisher = rd_be32(&r);
    p.counter = rd_be32(&r);
    p.frame = rd_be32(&r);
    p.sent_us = (int64_t)rd_be64(&r);
    uint32_t const total = rd_be32(&r);
    uint32_t const crc = rd_be32(&r);
    struct bytes const rest = rd_rest(&r);
    if (in.n < 2 || !ours) {
        return -ENOMSG;
    }
    if (!rd_ok(&r) || total != in.n || rest.n > FILLER_LEN ||
        crc != crc32_ieee(bytes_of(in.p, CLIENT_PATTERN_LEN - 4)) ||
        !bytes_eq(rest, bytes_of(filler_at(p.counter), rest.n))) {
        return -EBADMSG;
    }
    *ret = p;
    return 0;
}

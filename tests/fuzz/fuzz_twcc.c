// SPDX-License-Identifier: Apache-2.0
// LINK: media
// Transport-wide feedback: parsing, and the recorder and builder under arbitrary arrivals.
#include <stdlib.h>

#include "sfu/media/twcc_recorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned walk(const struct twcc_feedback *f)
{
    struct twcc_iter it;
    struct twcc_status s;
    unsigned n = 0;
    unsigned received = 0;
    twcc_iter_init(&it, f);
    while (twcc_next(&it, &s)) {
        n++;
        received += s.received;
    }
    if (n != f->status_count || !rd_ok(&it.chunks) || !rd_ok(&it.deltas) ||
        rd_left(&it.deltas) != 0) {
        abort();
    }
    return received;
}

static int parse(struct bytes packet, struct twcc_feedback *ret)
{
    struct rtcp_iter it;
    struct rtcp_packet k;
    struct rtcp_fb fb;
    rtcp_iter_init(&it, packet);
    if (!rtcp_next(&it, &k) || rtcp_fb_parse(&k, &fb)) {
        return -EBADMSG;
    }
    return twcc_parse(&fb, ret);
}

static unsigned drain(struct twcc_recorder *r, mono_t now)
{
    uint8_t out[TWCC_RECORDER_PACKET_MAX];
    unsigned received = 0;
    for (unsigned turns = 0;; turns++) {
        struct wr w = wr_init(out, sizeof(out));
        if (!twcc_recorder_write(r, now, 1, 2, &w)) {
            if (!wr_ok(&w)) {
                abort();
            }
            return received;
        }
        struct twcc_feedback f;
        if (parse(wr_bytes_view(&w), &f) || turns > 4096) {
            abort();
        }
        received += walk(&f);
    }
}

// Triples of bytes: step of the number, step of the time, what else.
static void record(struct rd *r)
{
    static struct twcc_recorder rec;
    twcc_recorder_init(&rec);
    mono_t now = {1000000};
    uint16_t sn = 0;
    while (rd_left(r) >= 3) {
        uint8_t const step = rd_u8(r);
        uint8_t const wait = rd_u8(r);
        uint8_t const op = rd_u8(r);
        sn = (uint16_t)(sn + (op & 1 ? step * 200u : step) - (op & 2 ? 250u : 0u));
        now = mono_add_us(now, op & 4 ? wait * 40000 : wait * 10);
        twcc_recorder_record(&rec, now, sn, 100);
        if (op & 8) {
            (void)drain(&rec, now);
        }
    }
    (void)drain(&rec, mono_add_ms(now, 1000));
    if (!mono_is_never(twcc_recorder_deadline(&rec))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct twcc_feedback f;
    if (parse(bytes_of(data, size), &f) == 0) {
        (void)walk(&f);
    }
    struct rd r = rd_init(bytes_of(data, size));
    record(&r);
    return 0;
}

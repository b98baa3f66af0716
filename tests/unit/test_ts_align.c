// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/ts_align.h"
#include "sfu/wire/rtcp.h"
#include "sfu/wire/rtp.h"
#include "tests/support/simulcast_recording.h"

struct frames {
    uint32_t ts[512];
    size_t n;
};

struct replay {
    struct ts_align align;
    struct frames frames[3];
    int64_t exact_after_us[TS_ALIGN_PAIRS]; // since both had a frame; -1 = never
    int64_t both_at_us[TS_ALIGN_PAIRS];
};

static void note_rtp(struct replay *r, const struct simulcast_recording *rec,
                     const struct pcap_packet *p)
{
    struct rtp_header h;
    bool rtx = false;
    assert_int_equal(rtp_parse(p->data, &h), 0);
    int const layer = simulcast_layer(rec, h.ssrc, &rtx);
    if (layer < 0 || rtx) {
        return;
    }
    struct frames *const f = &r->frames[layer];
    if (f->n == 0 || f->ts[f->n - 1] != h.ts) {
        f->ts[f->n++] = h.ts;
        ts_align_frame(&r->align, (unsigned)layer, h.ts, p->at);
    }
}

static void note_rtcp(struct replay *r, const struct simulcast_recording *rec,
                      const struct pcap_packet *p)
{
    struct rtcp_iter it;
    struct rtcp_packet packet;
    struct rtcp_sr sr;
    bool rtx = false;
    rtcp_iter_init(&it, p->data);
    while (rtcp_next(&it, &packet)) {
        if (packet.type == RTCP_SR && rtcp_sr_parse(&packet, &sr) == 0) {
            int const layer = simulcast_layer(rec, sr.ssrc, &rtx);
            if (layer >= 0) {
                ts_align_sr(&r->align, (unsigned)layer, sr.ntp, sr.rtp_ts);
            }
        }
    }
}

static void note_progress(struct replay *r, int64_t us)
{
    for (unsigned low = 0; low < 2; low++) {
        for (unsigned high = low + 1; high < 3; high++) {
            unsigned const pair = low + high - 1;
            uint32_t offset = 0;
            bool exact = false;
            if (r->frames[low].n > 0 && r->frames[high].n > 0 && r->both_at_us[pair] == 0) {
                r->both_at_us[pair] = us;
            }
            if (ts_align_get(&r->align, low, high, &offset, &exact) == 0 && exact &&
                r->exact_after_us[pair] < 0) {
                r->exact_after_us[pair] = us - r->both_at_us[pair];
            }
        }
    }
}

static void replay(struct replay *r, const struct simulcast_recording *rec, bool with_sr)
{
    struct pcap_file f;
    struct pcap_packet p;
    *r = (struct replay){.exact_after_us = {-1, -1, -1}};
    ts_align_init(&r->align, 90000);
    pcap_file_open(&f, rec->file);
    while (pcap_file_next(&f, &p)) {
        if (!p.rtcp) {
            note_rtp(r, rec, &p);
        } else if (with_sr) {
            note_rtcp(r, rec, &p);
        }
        note_progress(r, p.at.us);
    }
    pcap_file_close(&f);
}

// How many frames of `low` have their twin in `high` at this difference.
static size_t twins(const struct replay *r, unsigned low, unsigned high, uint32_t offset)
{
    size_t n = 0;
    for (size_t i = 0; i < r->frames[low].n; i++) {
        for (size_t j = 0; j < r->frames[high].n; j++) {
            n += r->frames[low].ts[i] + offset == r->frames[high].ts[j];
        }
    }
    return n;
}

// The learned difference is the one at which (nearly) all frames of the shorter stream coincide.
static void check(const struct simulcast_recording *rec, bool with_sr)
{
    struct replay r;
    replay(&r, rec, with_sr);
    for (unsigned low = 0; low < 2; low++) {
        for (unsigned high = low + 1; high < 3; high++) {
            uint32_t offset = 0, back = 0;
            bool exact = false;
            assert_int_equal(ts_align_get(&r.align, low, high, &offset, &exact), 0);
            assert_true(exact);
            assert_int_equal(ts_align_get(&r.align, high, low, &back, &exact), 0);
            assert_int_equal(offset + back, 0);
            size_t const shorter = MIN(r.frames[low].n, r.frames[high].n);
            size_t const n = twins(&r, low, high, offset);
            print_message("%s sr %d (%u,%u): %zu of %zu frames coincide, exact after %ld ms\n",
                          rec->file, with_sr, low, high, n, shorter,
                          (long)(r.exact_after_us[low + high - 1] / 1000));
            assert_true(n * 10 >= shorter * 8);
            assert_in_range(r.exact_after_us[low + high - 1], 0, 1000000);
        }
    }
}

static void ts_align_finds_the_exact_offsets_of_chromium(void **state)
{
    (void)state;
    check(&simulcast_cr_nodd, true);
    check(&simulcast_cr_dd, true);
}

static void ts_align_finds_the_exact_offsets_of_firefox(void **state)
{
    (void)state;
    check(&simulcast_ff, true);
}

static void ts_align_needs_no_sender_report(void **state)
{
    (void)state;
    check(&simulcast_cr_nodd, false);
    check(&simulcast_ff, false);
}

static void ts_align_corrects_what_arrival_times_got_wrong(void **state)
{
    (void)state;
    struct ts_align a;
    uint32_t offset = 0;
    bool exact = false;
    ts_align_init(&a, 90000);
    assert_int_equal(ts_align_get(&a, 0, 1, &offset, &exact), -EAGAIN);
    // The upper layer leaves one frame interval late: arrival suggests a wrong twin.
    for (uint32_t i = 0; i < 20; i++) {
        mono_t const t = {(int64_t)i * 33333};
        ts_align_frame(&a, 0, 1000 + i * 3000, t);
        ts_align_frame(&a, 1, 500000 + (i - 1) * 3000, t);
    }
    assert_int_equal(ts_align_get(&a, 0, 1, &offset, &exact), 0);
    assert_int_equal(offset, 500000 - 1000 - 3000);
    ntp_t const ntp = {UINT64_C(0xe000000000000000)};
    ts_align_sr(&a, 0, ntp, 1000);
    ts_align_sr(&a, 1, ntp, 500000 + 45); // half a millisecond off
    assert_int_equal(ts_align_get(&a, 0, 1, &offset, &exact), 0);
    assert_false(exact);
    assert_int_equal(offset, 499045);
    for (uint32_t i = 20; i < 26; i++) {
        mono_t const t = {(int64_t)i * 33333};
        ts_align_frame(&a, 0, 1000 + i * 3000, t);
        ts_align_frame(&a, 1, 500000 + (i - 1) * 3000, t);
    }
    assert_int_equal(ts_align_get(&a, 0, 1, &offset, &exact), 0);
    assert_true(exact);
    assert_int_equal(offset, 499000);
    ts_align_reset(&a, 1);
    assert_int_equal(ts_align_get(&a, 0, 1, &offset, &exact), -EAGAIN);
    assert_int_equal(ts_align_get(&a, 0, 3, &offset, &exact), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ts_align_finds_the_exact_offsets_of_chromium),
        cmocka_unit_test(ts_align_finds_the_exact_offsets_of_firefox),
        cmocka_unit_test(ts_align_needs_no_sender_report),
        cmocka_unit_test(ts_align_corrects_what_arrival_times_got_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/twcc_recorder.h"
#include "sfu/wire/rtp_ext.h"
#include "tests/support/pcap.h"

static struct twcc_recorder r;

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

// What the feedbacks said so far: arrival by number, and how often it was named received.
static int64_t told[65536];
static unsigned times[65536];

static unsigned drain(mono_t now)
{
    unsigned n = 0;
    uint8_t buf[TWCC_RECORDER_PACKET_MAX];
    for (;;) {
        struct wr w = wr_init(buf, sizeof(buf));
        if (!twcc_recorder_write(&r, now, 1, 2, &w)) {
            assert_true(wr_ok(&w));
            return n;
        }
        struct rtcp_iter it;
        struct rtcp_packet k;
        struct rtcp_fb fb;
        struct twcc_feedback f;
        rtcp_iter_init(&it, wr_bytes_view(&w));
        assert_true(rtcp_next(&it, &k));
        assert_int_equal(rtcp_fb_parse(&k, &fb), 0);
        assert_int_equal(twcc_parse(&fb, &f), 0);
        assert_int_equal(f.fb_count, (uint8_t)(r.fb_count - 1));
        struct twcc_iter ti;
        struct twcc_status s;
        twcc_iter_init(&ti, &f);
        while (twcc_next(&ti, &s)) {
            if (s.received) {
                told[s.sn] = s.arrival_us;
                times[s.sn]++;
            }
        }
        n++;
        assert_true(n < 100);
    }
}

static void begin(void)
{
    twcc_recorder_init(&r);
    memset(told, 0, sizeof(told));
    memset(times, 0, sizeof(times));
}

static void twcc_recorder_reports_each_arrival_once(void **state)
{
    (void)state;
    begin();
    assert_true(mono_is_never(twcc_recorder_deadline(&r)));
    unsigned feedbacks = 0;
    for (unsigned i = 0; i < 1000; i++) {
        mono_t const now = mono_add_us(ms(500), (int64_t)i * 4321);
        if (i % 7 != 3) {
            twcc_recorder_record(&r, now, (uint16_t)(65000 + i), 1000);
        }
        feedbacks += drain(now);
    }
    feedbacks += drain(ms(100000));
    for (unsigned i = 0; i < 1000; i++) {
        uint16_t const sn = (uint16_t)(65000 + i);
        assert_int_equal(times[sn], i % 7 != 3);
        if (times[sn] && i > 0) {
            int64_t const since = told[sn] - told[65000];
            assert_in_range(since, (int64_t)i * 4321 - 250, (int64_t)i * 4321 + 250);
        }
    }
    assert_in_range(feedbacks, 4321 / 55, 4321 / 50 + 3); // each 50 ms over 4.3 s
    assert_true(mono_is_never(twcc_recorder_deadline(&r)));
}

static void twcc_recorder_is_slow_at_low_rates(void **state)
{
    (void)state;
    begin();
    unsigned feedbacks = 0;
    for (unsigned i = 0; i < 100; i++) { // 100 bytes each 20 ms: 40 kbit/s
        twcc_recorder_record(&r, ms(20 * i), (uint16_t)i, 100);
        feedbacks += drain(ms(20 * i));
    }
    assert_in_range(feedbacks, 19, 21);
}

static void twcc_recorder_reports_the_first_packet_at_once(void **state)
{
    (void)state;
    begin();
    twcc_recorder_record(&r, ms(7), 9, 100);
    assert_int_equal(drain(ms(7)), 1);
    assert_int_equal(times[9], 1);
    twcc_recorder_record(&r, ms(8), 10, 100);
    assert_int_equal(drain(ms(8)), 0);
}

static void twcc_recorder_does_not_wait_when_much_is_pending(void **state)
{
    (void)state;
    begin();
    twcc_recorder_record(&r, ms(0), 0, 1000);
    assert_int_equal(drain(ms(0)), 1);
    for (unsigned i = 1; i <= 100; i++) {
        twcc_recorder_record(&r, ms(1), (uint16_t)i, 1000);
    }
    assert_int_equal(drain(ms(1)), 0);
    twcc_recorder_record(&r, ms(1), 101, 1000);
    assert_int_equal(drain(ms(1)), 1);
    assert_int_equal(times[101], 1);
}

static void twcc_recorder_reports_late_packets_separately(void **state)
{
    (void)state;
    begin();
    twcc_recorder_record(&r, ms(0), 0, 1000);
    twcc_recorder_record(&r, ms(1), 1, 1000);
    twcc_recorder_record(&r, ms(2), 4, 1000);
    assert_int_equal(drain(ms(200)), 1);
    twcc_recorder_record(&r, ms(210), 2, 1000); // was reported lost
    twcc_recorder_record(&r, ms(211), 5, 1000);
    assert_int_equal(drain(ms(400)), 2);
    assert_int_equal(times[2], 1);
    assert_int_equal(times[5], 1);
    assert_int_equal(times[3], 0);
    assert_int_equal(times[4], 1); // not touched by the span [2, 2]
    assert_in_range(told[2] - told[0], 210000 - 250, 210000 + 250);
    twcc_recorder_record(&r, ms(900), 3, 1000); // half a second too late
    assert_int_equal(drain(ms(2000)), 0);
    twcc_recorder_record(&r, ms(2001), 2, 1000); // a duplicate
    assert_int_equal(drain(ms(3000)), 0);
}

static void twcc_recorder_splits_long_intervals(void **state)
{
    (void)state;
    begin();
    twcc_recorder_record(&r, ms(0), 0, 100);
    twcc_recorder_record(&r, ms(9000), 1, 100); // more than a 16-bit delta
    for (unsigned i = 2; i < 700; i++) {
        twcc_recorder_record(&r, ms(9000 + i), (uint16_t)i, 100);
    }
    assert_in_range(drain(ms(10000)), 4, 5);
    for (unsigned i = 0; i < 700; i++) {
        assert_int_equal(times[i], 1);
    }
}

static void twcc_recorder_survives_long_losses(void **state)
{
    (void)state;
    begin();
    static const uint16_t jumps[] = {10, 300, 2047, 2048, 5000, 30000, 32767};
    uint16_t sn = 0;
    twcc_recorder_record(&r, ms(0), sn, 100);
    for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
        sn = (uint16_t)(sn + jumps[i]);
        twcc_recorder_record(&r, ms(100 * (int64_t)i + 100), sn, 100);
        assert_in_range(drain(ms(100 * (int64_t)i + 150)), 0, 2);
    }
    (void)drain(ms(5000));
    assert_int_equal(times[sn], 1);
    twcc_recorder_record(&r, ms(6000), (uint16_t)(sn - 3000), 100); // out of the ring
    assert_int_equal(drain(ms(7000)), 0);
    struct wr w = wr_init(&(uint8_t){0}, 1);
    twcc_recorder_record(&r, ms(8000), (uint16_t)(sn + 1), 100);
    assert_false(twcc_recorder_write(&r, ms(8100), 1, 2, &w)); // does not fit: nothing is lost
    assert_false(wr_ok(&w));
    assert_int_equal(drain(ms(8100)), 1);
}

static void twcc_recorder_reports_a_recording_completely(void **state)
{
    (void)state;
    begin();
    struct pcap_file f;
    struct pcap_packet p;
    unsigned packets = 0;
    mono_t first = {0};
    pcap_file_open(&f, "cr-vp8-simulcast-nodd.pcap");
    mono_t last = {0};
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct bytes v;
        uint16_t sn = 0;
        if (p.rtcp || rtp_parse(p.data, &h) || !rtp_ext_find(&h, 4, &v) ||
            !rtp_ext_transport_cc(v, &sn)) {
            continue;
        }
        first = packets == 0 ? p.at : first;
        last = p.at;
        twcc_recorder_record(&r, p.at, sn, p.full_len);
        packets++;
        (void)drain(p.at);
    }
    pcap_file_close(&f);
    (void)drain(mono_add_ms(last, 200));
    unsigned got = 0;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_in_range(times[i], 0, 1);
        got += times[i];
    }
    assert_int_equal(got, packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twcc_recorder_reports_each_arrival_once),
        cmocka_unit_test(twcc_recorder_is_slow_at_low_rates),
        cmocka_unit_test(twcc_recorder_reports_the_first_packet_at_once),
        cmocka_unit_test(twcc_recorder_does_not_wait_when_much_is_pending),
        cmocka_unit_test(twcc_recorder_reports_late_packets_separately),
        cmocka_unit_test(twcc_recorder_splits_long_intervals),
        cmocka_unit_test(twcc_recorder_survives_long_losses),
        cmocka_unit_test(twcc_recorder_reports_a_recording_completely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

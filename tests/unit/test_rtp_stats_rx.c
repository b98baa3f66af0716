// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/rtp_stats.h"
#include "sfu/wire/rtp.h"
#include "tests/support/pcap.h"

static struct rtp_stats_rx s;

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static struct rtp_flow_info in(uint16_t sn)
{
    return rtp_stats_rx_packet(&s, ms(0), sn, sn * 10u, 100, 80);
}

static void rtp_stats_rx_sorts_packets(void **state)
{
    (void)state;
    static const struct {
        uint16_t sn;
        enum rtp_flow flow;
        uint64_t ext;
        uint64_t gap;
    } rows[] = {
        {65534, RTP_FLOW_FIRST, 65536 + 65534, 0}, {65535, RTP_FLOW_NEXT, 65536 + 65535, 0},
        {2, RTP_FLOW_NEXT, 131072 + 2, 2},         {0, RTP_FLOW_LATE, 131072, 0},
        {0, RTP_FLOW_DUPLICATE, 131072, 0},        {2, RTP_FLOW_DUPLICATE, 131072 + 2, 0},
        {65533, RTP_FLOW_LATE, 65536 + 65533, 0}, // before the first one
        {3, RTP_FLOW_NEXT, 131072 + 3, 0},
    };
    rtp_stats_rx_init(&s, 90000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rtp_flow_info const f = in(rows[i].sn);
        assert_int_equal(f.flow, rows[i].flow);
        assert_int_equal(f.ext_sn, rows[i].ext);
        assert_int_equal(f.gap_count, rows[i].gap);
        assert_true(f.gap_count == 0 || f.gap_first == f.ext_sn - f.gap_count);
    }
    assert_int_equal(s.packets, 6);
    assert_int_equal(s.duplicates, 2);
    assert_int_equal(rtp_stats_rx_lost(&s), 1); // number 1
}

static void rtp_stats_rx_believes_two_in_a_row_after_a_jump(void **state)
{
    (void)state;
    rtp_stats_rx_init(&s, 90000);
    (void)in(100);
    (void)in(101);
    assert_int_equal(in(40000).flow, RTP_FLOW_STRAY);
    assert_int_equal(in(50000).flow, RTP_FLOW_STRAY);
    assert_int_equal(in(102).flow, RTP_FLOW_NEXT); // the old place goes on: the stray is forgotten
    assert_int_equal(in(50001).flow, RTP_FLOW_STRAY);
    struct rtp_flow_info const f = in(50002);
    assert_int_equal(f.flow, RTP_FLOW_RESTART);
    assert_int_equal((uint16_t)f.ext_sn, 50002);
    assert_true(f.ext_sn > 65536 + 102);
    assert_int_equal(in(50003).flow, RTP_FLOW_NEXT);
    assert_int_equal(rtp_stats_rx_lost(&s), 0);
    assert_int_equal(s.restarts, 1);
    // A restart a little further back than late packets may be.
    assert_int_equal(in(49003).flow, RTP_FLOW_STRAY);
    struct rtp_flow_info const g = in(49004);
    assert_int_equal(g.flow, RTP_FLOW_RESTART);
    assert_true(g.ext_sn > f.ext_sn + 1);
}

static void rtp_stats_rx_reports_raw_loss(void **state)
{
    (void)state;
    struct rtcp_report_block b = {.ssrc = 7};
    rtp_stats_rx_init(&s, 90000);
    assert_false(rtp_stats_rx_report(&s, ms(0), &b));
    for (uint16_t i = 0; i < 100; i++) {
        if (i % 4 != 3) {
            (void)in((uint16_t)(65500 + i));
        }
    }
    (void)in((uint16_t)(65500 + 99));
    assert_true(rtp_stats_rx_report(&s, ms(0), &b));
    assert_int_equal(b.ssrc, 7);
    assert_int_equal(b.cumulative_lost, 24);
    assert_int_equal(b.fraction_lost, 24 * 256 / 100);
    assert_int_equal(b.highest_sn, 65536 + 63);
    assert_int_equal(b.lsr, 0);
    (void)in(
        (uint16_t)(65500 + 95)); // late ones bring the next interval below zero: reported as none
    (void)in((uint16_t)(65500 + 100));
    assert_true(rtp_stats_rx_report(&s, ms(0), &b));
    assert_int_equal(b.fraction_lost, 0);
    assert_int_equal(b.cumulative_lost, 23);
}

static void rtp_stats_rx_jitter_is_taken_once_a_frame(void **state)
{
    (void)state;
    rtp_stats_rx_init(&s, 90000);
    // Frames each 33 ms, bursts of ten packets over 10 ms: no jitter between the frames.
    uint16_t sn = 0;
    for (unsigned f = 0; f < 100; f++) {
        for (unsigned i = 0; i < 10; i++) {
            (void)rtp_stats_rx_packet(&s, ms(33 * f + i), sn++, 2970 * f, 1000, 900);
        }
    }
    assert_int_equal(rtp_stats_rx_jitter(&s), 0);
    assert_int_equal(s.frames, 100);
    // Alternating by 20 ms converges to 1800 units.
    for (unsigned f = 100; f < 300; f++) {
        (void)rtp_stats_rx_packet(&s, ms(33 * f + (f % 2) * 20), sn++, 2970 * f, 1000, 900);
    }
    assert_in_range(rtp_stats_rx_jitter(&s), 1750, 1810);
}

static void rtp_stats_rx_extends_numbers_of_rtx(void **state)
{
    (void)state;
    uint64_t ext = 0;
    rtp_stats_rx_init(&s, 90000);
    assert_false(rtp_stats_rx_extend(&s, 5, &ext)); // never start on RTX
    (void)in(5);
    assert_true(rtp_stats_rx_extend(&s, 65535, &ext));
    assert_int_equal(ext, 65535);
    assert_true(rtp_stats_rx_extend(&s, 7, &ext));
    assert_int_equal(ext, 65543);
    assert_false(rtp_stats_rx_extend(&s, 30000, &ext));
    assert_int_equal(s.packets, 1);
}

static bool report(int64_t at_ms, int64_t ntp_ms, uint32_t ts)
{
    struct rtcp_sr const sr = {.ntp = ntp_add_us((ntp_t){UINT64_C(1) << 60}, ntp_ms * 1000),
                               .rtp_ts = ts};
    return rtp_stats_rx_sender_report(&s, ms(at_ms), &sr);
}

static void rtp_stats_rx_judges_sender_reports(void **state)
{
    (void)state;
    rtp_stats_rx_init(&s, 48000);
    assert_null(rtp_stats_rx_last_sr(&s));
    assert_true(report(0, 0, 0xfffff000));                // before the first packet
    assert_true(report(1000, 1000, 0xfffff000 + 48000));  // timestamps wrap
    assert_false(report(2000, 2000, 0xfffff000 + 48000)); // clock stands still
    assert_true(
        report(3000, 3000, 0xfffff000 + 96000)); // and goes on from there: the shift is real
    assert_false(report(4000, 2500, 0xfffff000 + 144000)); // goes backwards
    assert_int_equal(rtp_stats_rx_last_sr(&s)->arrival.us, 3000000);
    struct rtcp_report_block b;
    (void)rtp_stats_rx_packet(&s, ms(3100), 1, 0xfffff000 + 100800, 100, 80);
    assert_true(rtp_stats_rx_report(&s, ms(3500), &b));
    assert_int_equal(b.dlsr, 32768);
    assert_int_equal(b.lsr, ntp_mid32(rtp_stats_rx_last_sr(&s)->ntp));
}

// Every stream of a local network arrives whole: no loss, no strays, each SR plausible.
static void rtp_stats_rx_reads_chromium(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    struct {
        uint32_t ssrc;
        struct rtp_stats_rx s;
    } rx[8] = {0};
    size_t n = 0;
    unsigned srs = 0;
    pcap_file_open(&f, "cr-vp8-simulcast-nodd.pcap");
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h = {0};
        struct rtcp_iter it;
        struct rtcp_packet k;
        struct rtcp_sr sr = {0};
        if (!p.from_client) {
            continue;
        }
        if (p.rtcp) {
            rtcp_iter_init(&it, p.data);
            if (!rtcp_next(&it, &k) || rtcp_sr_parse(&k, &sr)) {
                continue;
            }
        } else {
            assert_int_equal(rtp_parse(p.data, &h), 0);
        }
        uint32_t const ssrc = p.rtcp ? sr.ssrc : h.ssrc;
        size_t i = 0;
        while (i < n && rx[i].ssrc != ssrc) {
            i++;
        }
        assert_true(i < ARRAY_LEN(rx));
        if (i == n) {
            rtp_stats_rx_init(&rx[n].s, h.pt == 111 ? 48000 : 90000);
            rx[n++].ssrc = ssrc;
        }
        if (p.rtcp) {
            assert_true(rtp_stats_rx_sender_report(&rx[i].s, p.at, &sr));
            srs++;
        } else {
            struct rtp_flow_info const fl =
                rtp_stats_rx_packet(&rx[i].s, p.at, h.sn, h.ts, p.full_len, h.payload_len);
            assert_true(fl.flow == RTP_FLOW_FIRST ||
                        (fl.flow == RTP_FLOW_NEXT && fl.gap_count == 0));
        }
    }
    pcap_file_close(&f);
    assert_true(n >= 5); // audio, layers, RTX
    assert_true(srs >= 3);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(rtp_stats_rx_lost(&rx[i].s), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_stats_rx_sorts_packets),
        cmocka_unit_test(rtp_stats_rx_believes_two_in_a_row_after_a_jump),
        cmocka_unit_test(rtp_stats_rx_reports_raw_loss),
        cmocka_unit_test(rtp_stats_rx_jitter_is_taken_once_a_frame),
        cmocka_unit_test(rtp_stats_rx_extends_numbers_of_rtx),
        cmocka_unit_test(rtp_stats_rx_judges_sender_reports),
        cmocka_unit_test(rtp_stats_rx_reads_chromium),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

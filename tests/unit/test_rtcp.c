// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtcp.h"
#include "tests/support/pcap.h"

static void rtcp_stops_at_the_first_bad_packet(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x80, 201, 0, 1, 1, 2, 3, 4, 0x81, 206, 0, 9, 1, 2, 3, 4};
    struct rtcp_iter it;
    struct rtcp_packet k;
    rtcp_iter_init(&it, bytes_of(p, sizeof(p)));
    assert_true(rtcp_next(&it, &k));
    assert_int_equal(k.type, RTCP_RR);
    assert_int_equal(k.raw.n, 8);
    assert_false(rtcp_next(&it, &k));
    assert_true(it.bad);
    assert_false(rtcp_next(&it, &k));
}

static void rtcp_removes_padding(void **state)
{
    (void)state;
    uint8_t p[] = {0xa0, 201, 0, 2, 1, 2, 3, 4, 0, 0, 0, 4};
    struct rtcp_iter it;
    struct rtcp_packet k;
    rtcp_iter_init(&it, bytes_of(p, sizeof(p)));
    assert_true(rtcp_next(&it, &k));
    assert_int_equal(k.body.n, 4);
    static const uint8_t bad[] = {0, 9, 255};
    for (size_t i = 0; i < sizeof(bad); i++) {
        p[11] = bad[i];
        rtcp_iter_init(&it, bytes_of(p, sizeof(p)));
        assert_false(rtcp_next(&it, &k));
        assert_true(it.bad);
    }
}

static struct rtcp_packet only(const struct wr *w)
{
    struct rtcp_iter it;
    struct rtcp_packet k;
    assert_true(wr_ok(w));
    rtcp_iter_init(&it, wr_bytes_view(w));
    assert_true(rtcp_next(&it, &k));
    struct rtcp_packet none;
    assert_false(rtcp_next(&it, &none));
    assert_false(it.bad);
    return k;
}

static void rtcp_reports_survive(void **state)
{
    (void)state;
    struct rtcp_sr sr = {.ssrc = 1,
                         .ntp = {0x1122334455667788},
                         .rtp_ts = 3,
                         .packets = 4,
                         .octets = 5,
                         .block_count = 2};
    sr.block[0] = (struct rtcp_report_block){7, 255, -3, 65536 + 9, 10, 11, 12};
    sr.block[1] = (struct rtcp_report_block){8, 1, 0x900000, 9, 10, 11, 12};
    uint8_t buf[128];
    struct wr w = wr_init(buf, sizeof(buf));
    rtcp_sr_write(&w, &sr);
    struct rtcp_packet k = only(&w);
    struct rtcp_sr back;
    assert_int_equal(rtcp_sr_parse(&k, &back), 0);
    assert_true(back.ntp.v == sr.ntp.v);
    assert_int_equal(back.block_count, 2);
    assert_int_equal(back.block[0].cumulative_lost, -3);
    assert_int_equal(back.block[0].highest_sn, 65545);
    assert_int_equal(back.block[1].cumulative_lost, 0x7fffff); // clamped to 24 bits
    struct rtcp_rr rr = {.ssrc = 2, .block_count = 1};
    rr.block[0] = sr.block[0];
    w = wr_init(buf, sizeof(buf));
    rtcp_rr_write(&w, &rr);
    k = only(&w);
    struct rtcp_rr rr_back;
    assert_int_equal(rtcp_rr_parse(&k, &rr_back), 0);
    assert_int_equal(rr_back.block[0].dlsr, 12);
    assert_int_equal(rtcp_sr_parse(&k, &back), -EBADMSG);
    k.count = 2; // more blocks than there are
    assert_int_equal(rtcp_rr_parse(&k, &rr_back), -EBADMSG);
}

static void rtcp_sdes_bye_xr_survive(void **state)
{
    (void)state;
    uint8_t buf[300];
    for (size_t n = 0; n < 9; n++) {
        struct wr w = wr_init(buf, sizeof(buf));
        rtcp_sdes_cname_write(&w, 42, bytes_of("abcdefghi", n));
        struct rtcp_packet const k = only(&w);
        struct bytes cname;
        assert_int_equal(rtcp_sdes_cname(&k, 42, &cname), 0);
        assert_int_equal(cname.n, n);
        assert_int_equal(rtcp_sdes_cname(&k, 43, &cname), -ENOENT);
    }
    uint32_t const ssrc[] = {1, 2, 3};
    struct wr w = wr_init(buf, sizeof(buf));
    rtcp_bye_write(&w, ssrc, 3);
    struct rtcp_packet k = only(&w);
    struct rtcp_bye bye;
    assert_int_equal(rtcp_bye_parse(&k, &bye), 0);
    assert_true(bye.count == 3 && bye.ssrc[2] == 3);
    struct rtcp_xr xr = {.ssrc = 5, .has_rrtr = true, .rrtr = {77}, .dlrr_count = 2};
    xr.dlrr[1] = (struct rtcp_dlrr){1, 2, 3};
    w = wr_init(buf, sizeof(buf));
    rtcp_xr_write(&w, &xr);
    k = only(&w);
    struct rtcp_xr back;
    assert_int_equal(rtcp_xr_parse(&k, &back), 0);
    assert_true(back.has_rrtr && back.rrtr.v == 77 && back.dlrr_count == 2);
    assert_int_equal(back.dlrr[1].dlrr, 3);
    w = wr_init(buf, sizeof(buf));
    rtcp_xr_write(&w, &(struct rtcp_xr){.ssrc = 5});
    assert_int_equal(wr_len(&w), 0);
}

static void rtcp_writers_leave_a_full_compound_as_it_was(void **state)
{
    (void)state;
    struct rtcp_rr const rr = {.ssrc = 2, .block_count = 1};
    uint8_t buf[48];
    for (size_t n = 0; n < 32 + 12; n++) {
        struct wr w = wr_init(buf, n);
        rtcp_rr_write(&w, &rr);
        size_t const first = wr_len(&w);
        assert_int_equal(first, n < 32 ? 0 : 32);
        rtcp_sdes_cname_write(&w, 1, bytes_str("a"));
        assert_false(wr_ok(&w));
        assert_int_equal(wr_len(&w), first);
    }
}

static void rtcp_rtt_is_what_remains_of_the_loop(void **state)
{
    (void)state;
    ntp_t const sent = {UINT64_C(0x0000123400000000)};
    ntp_t const now = ntp_add_us(sent, 150000);
    int64_t rtt = 0;
    assert_true(rtcp_rtt_us(now, ntp_mid32(sent), 65536 / 10, 3000000, &rtt)); // held for 100 ms
    assert_in_range(rtt, 49900, 50100);
    assert_false(rtcp_rtt_us(now, 0, 0, 3000000, &rtt));
    assert_false(rtcp_rtt_us(now, ntp_mid32(sent), 65536, 3000000, &rtt)); // negative
    assert_false(rtcp_rtt_us(now, ntp_mid32(sent), 0, 100000, &rtt));      // over the limit
}

// Chromium as publisher: SR and SDES for each SSRC, DLRR when the server sent RRTR.
static void rtcp_reads_chromium_publishing(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    pcap_file_open(&f, "cr-vp8-rtcp.pcap");
    unsigned srs = 0;
    unsigned cnames = 0;
    unsigned rrtrs = 0;
    unsigned dlrrs = 0;
    while (pcap_file_next(&f, &p)) {
        struct rtcp_iter it;
        struct rtcp_packet k;
        struct rtcp_sr sr = {0};
        rtcp_iter_init(&it, p.data);
        while (rtcp_next(&it, &k)) {
            struct bytes cname;
            struct rtcp_xr xr;
            uint8_t buf[600];
            struct wr w = wr_init(buf, sizeof(buf));
            if (k.type == RTCP_SR) {
                assert_int_equal(rtcp_sr_parse(&k, &sr), 0);
                rtcp_sr_write(&w, &sr);
                srs++;
            } else if (k.type == RTCP_SDES && rtcp_sdes_cname(&k, sr.ssrc, &cname) == 0) {
                rtcp_sdes_cname_write(&w, sr.ssrc, cname);
                cnames++;
            } else if (k.type == RTCP_XR) {
                assert_int_equal(rtcp_xr_parse(&k, &xr), 0);
                rtcp_xr_write(&w, &xr);
                rrtrs += xr.has_rrtr && !p.from_client;
                dlrrs += xr.dlrr_count > 0 && p.from_client;
            } else {
                continue;
            }
            assert_true(wr_ok(&w));
            assert_int_equal(wr_len(&w), k.raw.n);
            assert_memory_equal(buf, k.raw.p, k.raw.n);
        }
        assert_false(it.bad);
    }
    pcap_file_close(&f);
    assert_true(srs > 5 && cnames == srs);
    assert_true(rrtrs == 2 && dlrrs == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtcp_stops_at_the_first_bad_packet),
        cmocka_unit_test(rtcp_removes_padding),
        cmocka_unit_test(rtcp_reports_survive),
        cmocka_unit_test(rtcp_sdes_bye_xr_survive),
        cmocka_unit_test(rtcp_writers_leave_a_full_compound_as_it_was),
        cmocka_unit_test(rtcp_rtt_is_what_remains_of_the_loop),
        cmocka_unit_test(rtcp_reads_chromium_publishing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

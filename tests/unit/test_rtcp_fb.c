// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtcp_fb.h"
#include "tests/support/pcap.h"

static struct rtcp_fb feedback(const struct wr *w)
{
    struct rtcp_iter it;
    struct rtcp_packet k;
    struct rtcp_fb fb;
    assert_true(wr_ok(w));
    rtcp_iter_init(&it, wr_bytes_view(w));
    assert_true(rtcp_next(&it, &k));
    assert_int_equal(rtcp_fb_parse(&k, &fb), 0);
    return fb;
}

static void nack_packs_numbers_into_pairs(void **state)
{
    (void)state;
    static const uint16_t sn[] = {65530, 65531, 65533, 3, 10, 27, 28, 500};
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    rtcp_nack_write(&w, 1, 2, sn, ARRAY_LEN(sn));
    assert_int_equal(wr_len(&w), 12 + 3 * 4); // 65530 to 10 (16 apart), 27 and 28, 500
    struct rtcp_fb const fb = feedback(&w);
    assert_int_equal(fb.media_ssrc, 2);
    struct rtcp_nack_iter it;
    rtcp_nack_iter_init(&it, &fb);
    uint16_t got = 0;
    for (size_t i = 0; i < ARRAY_LEN(sn); i++) {
        assert_true(rtcp_nack_next(&it, &got));
        assert_int_equal(got, sn[i]);
    }
    assert_false(rtcp_nack_next(&it, &got));
    w = wr_init(buf, sizeof(buf));
    rtcp_nack_write(&w, 1, 2, sn, 0);
    assert_int_equal(wr_len(&w), 0);
}

static void nack_reads_all_bits(void **state)
{
    (void)state;
    static const uint8_t fci[] = {0,   5, 0xff, 0xff, 0,
                                  100, 0, 0,    9}; // a rest that is no pair is ignored
    struct rtcp_fb fb = {.type = RTCP_RTPFB, .fmt = RTCP_RTPFB_NACK, .fci = {fci, sizeof(fci)}};
    struct rtcp_nack_iter it;
    uint16_t sn = 0;
    rtcp_nack_iter_init(&it, &fb);
    for (unsigned i = 5; i <= 21; i++) {
        assert_true(rtcp_nack_next(&it, &sn));
        assert_int_equal(sn, i);
    }
    assert_true(rtcp_nack_next(&it, &sn));
    assert_int_equal(sn, 100);
    assert_false(rtcp_nack_next(&it, &sn));
    fb.fmt = 15;
    rtcp_nack_iter_init(&it, &fb);
    assert_false(rtcp_nack_next(&it, &sn));
}

static void pli_fir_remb_survive(void **state)
{
    (void)state;
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    rtcp_pli_write(&w, 1, 2);
    struct rtcp_fb fb = feedback(&w);
    assert_true(rtcp_is_pli(&fb) && fb.media_ssrc == 2);
    struct rtcp_fir_entry const e[2] = {{5, 6}, {7, 8}};
    w = wr_init(buf, sizeof(buf));
    rtcp_fir_write(&w, 1, e, 2);
    fb = feedback(&w);
    struct rtcp_fir fir;
    assert_int_equal(rtcp_fir_parse(&fb, &fir), 0);
    assert_true(fir.count == 2 && fir.entry[1].ssrc == 7 && fir.entry[1].seq == 8);
    struct rtcp_remb const in = {.bitrate = 0x3ffff0, .ssrc_count = 2, .ssrc = {11, 12}};
    w = wr_init(buf, sizeof(buf));
    rtcp_remb_write(&w, 1, &in);
    fb = feedback(&w);
    struct rtcp_remb remb;
    assert_int_equal(rtcp_remb_parse(&fb, &remb), 0);
    assert_true(remb.bitrate == 0x3ffff0 && remb.ssrc_count == 2 && remb.ssrc[1] == 12);
    assert_int_equal(rtcp_fir_parse(&fb, &fir), -EBADMSG);
    for (size_t n = 0; n < wr_len(&w); n++) {
        uint8_t small[64];
        struct wr s = wr_init(small, n);
        rtcp_remb_write(&s, 1, &in);
        assert_true(!wr_ok(&s) && wr_len(&s) == 0);
    }
}

static void remb_saturates(void **state)
{
    (void)state;
    static const uint8_t fci[] = {'R', 'E', 'M', 'B', 0, 0xff, 0xff, 0xff};
    struct rtcp_fb const fb = {.type = RTCP_PSFB, .fmt = RTCP_PSFB_AFB, .fci = {fci, sizeof(fci)}};
    struct rtcp_remb remb;
    assert_int_equal(rtcp_remb_parse(&fb, &remb), 0);
    assert_true(remb.bitrate == UINT64_MAX);
}

struct counts {
    unsigned rr, nack, pli, remb, nack_first;
};

static struct counts count(const char *name)
{
    struct counts c = {0};
    struct pcap_file f;
    struct pcap_packet p;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtcp_iter it;
        struct rtcp_packet k;
        rtcp_iter_init(&it, p.data);
        bool first = true;
        while (rtcp_next(&it, &k)) {
            struct rtcp_fb fb;
            struct rtcp_remb remb;
            struct rtcp_rr rr;
            c.rr += rtcp_rr_parse(&k, &rr) == 0;
            if (rtcp_fb_parse(&k, &fb) == 0) {
                bool const nack = fb.type == RTCP_RTPFB && fb.fmt == RTCP_RTPFB_NACK;
                c.nack += nack;
                c.nack_first += nack && first;
                c.pli += rtcp_is_pli(&fb);
                if (rtcp_remb_parse(&fb, &remb) == 0) {
                    c.remb++;
                    assert_in_range(remb.bitrate, 10000, 100000000);
                    assert_in_range(remb.ssrc_count, 1, 2);
                }
                if (nack) {
                    uint16_t sn[600];
                    size_t n = 0;
                    struct rtcp_nack_iter ni;
                    rtcp_nack_iter_init(&ni, &fb);
                    while (n < ARRAY_LEN(sn) && rtcp_nack_next(&ni, &sn[n])) {
                        n++;
                    }
                    uint8_t buf[1500];
                    struct wr w = wr_init(buf, sizeof(buf));
                    rtcp_nack_write(&w, fb.sender_ssrc, fb.media_ssrc, sn, n);
                    assert_int_equal(wr_len(&w), k.raw.n);
                    assert_memory_equal(buf, k.raw.p, k.raw.n);
                }
            }
            first = false;
        }
        assert_false(it.bad);
    }
    pcap_file_close(&f);
    return c;
}

static void feedback_of_browsers_is_read(void **state)
{
    (void)state;
    struct counts c = count("sub-cr-loss10-rtcp.pcap");
    assert_true(c.rr > 3 && c.nack > 10 && c.nack_first == 0); // always behind an RR
    c = count("sub-ff-loss10-rtcp.pcap");
    assert_true(c.nack > 10 && c.nack_first == c.nack); // always bare
    c = count("sub-cr-remb-rtcp.pcap");
    assert_true(c.remb > 10);
    c = count("sub-ff-remb-rtcp.pcap");
    assert_true(c.remb > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nack_packs_numbers_into_pairs), cmocka_unit_test(nack_reads_all_bits),
        cmocka_unit_test(pli_fir_remb_survive),          cmocka_unit_test(remb_saturates),
        cmocka_unit_test(feedback_of_browsers_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

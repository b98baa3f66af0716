// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/rtcp_out.h"
#include "sfu/wire/rtcp_fb.h"

static size_t finish(const struct rtcp_out *o, uint8_t *buf)
{
    size_t len = 0;
    assert_int_equal(rtcp_out_finish(o, (struct bytes_mut){buf, RTCP_OUT_CAP}, &len), 0);
    assert_true(len <= RTCP_OUT_CAP);
    return len;
}

// Types of the packets in order, zero-terminated.
static void types(const uint8_t *buf, size_t len, uint8_t *ret)
{
    struct rtcp_iter it;
    struct rtcp_packet p;
    size_t n = 0;
    rtcp_iter_init(&it, bytes_of(buf, len));
    while (rtcp_next(&it, &p)) {
        ret[n++] = p.type;
    }
    assert_false(it.bad);
    ret[n] = 0;
}

static void rtcp_out_begins_with_a_report(void **state)
{
    (void)state;
    struct rtcp_out o;
    uint8_t buf[RTCP_OUT_CAP], t[64];
    rtcp_out_init(&o, 1);
    assert_true(rtcp_out_is_empty(&o));
    size_t len = 7;
    assert_int_equal(rtcp_out_finish(&o, (struct bytes_mut){buf, sizeof(buf)}, &len), -ENOENT);
    assert_int_equal(len, 7);
    assert_int_equal(rtcp_out_add_pli(&o, 2), 0);
    types(buf, finish(&o, buf), t);
    assert_memory_equal(t, ((uint8_t[]){RTCP_RR, RTCP_PSFB, 0}), 3);

    struct rtcp_sr const sr = {.ssrc = 3, .ntp = {1}, .packets = 4};
    assert_int_equal(rtcp_out_add_sr(&o, &sr, bytes_str("cn")), 0);
    types(buf, finish(&o, buf), t);
    assert_memory_equal(t, ((uint8_t[]){RTCP_SR, RTCP_SDES, RTCP_PSFB, 0}), 4);

    struct rtcp_report_block const b = {.ssrc = 5};
    assert_int_equal(rtcp_out_add_block(&o, &b), 0);
    uint16_t const sns[] = {65535, 0, 1};
    assert_int_equal(rtcp_out_add_nack(&o, 2, sns, 3), 0);
    struct rtcp_xr const xr = {.ssrc = 1, .has_rrtr = true, .rrtr = {9}};
    assert_int_equal(rtcp_out_add_xr(&o, &xr), 0);
    types(buf, finish(&o, buf), t);
    assert_memory_equal(
        t, ((uint8_t[]){RTCP_SR, RTCP_SDES, RTCP_RR, RTCP_PSFB, RTCP_RTPFB, RTCP_XR, 0}), 7);
}

static void rtcp_out_never_exceeds_a_datagram(void **state)
{
    (void)state;
    struct rtcp_out o;
    uint8_t buf[RTCP_OUT_CAP], t[512];
    struct rtcp_sr const sr = {.ssrc = 3};
    struct rtcp_report_block const b = {.ssrc = 5};
    rtcp_out_init(&o, 1);
    unsigned srs = 0, blocks = 0, plis = 0;
    for (;;) {
        unsigned const before = srs + blocks + plis;
        srs += rtcp_out_add_sr(&o, &sr, bytes_str("a rather long canonical name")) == 0;
        blocks += rtcp_out_add_block(&o, &b) == 0;
        plis += rtcp_out_add_pli(&o, 2) == 0;
        if (before == srs + blocks + plis) {
            break;
        }
        (void)finish(&o, buf);
    }
    assert_true(srs > 5 && blocks > 5 && plis > 5);
    assert_true(rtcp_out_left(&o) < 12);
    types(buf, finish(&o, buf), t);
    rtcp_out_init(&o, 1);
    for (int i = 0; i < 31; i++) {
        assert_int_equal(rtcp_out_add_block(&o, &b), 0);
    }
    assert_int_equal(rtcp_out_add_block(&o, &b), -ENOBUFS); // the count has five bits
    size_t len = 0;
    assert_int_equal(rtcp_out_finish(&o, (struct bytes_mut){buf, 100}, &len), -ENOBUFS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtcp_out_begins_with_a_report),
        cmocka_unit_test(rtcp_out_never_exceeds_a_datagram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

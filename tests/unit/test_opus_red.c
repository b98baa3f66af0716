// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/opus_red.h"
#include "sfu/wire/rtp.h"
#include "tests/support/pcap.h"

static void opus_red_builds_what_it_splits(void **state)
{
    (void)state;
    struct opus_red const in = {
        .count = 3,
        .block = {{111, 1920, {(const uint8_t *)"aa", 2}},
                  {111, 960, {(const uint8_t *)"b", 1}},
                  {111, 0, {(const uint8_t *)"ccc", 3}}},
    };
    uint8_t buf[32];
    struct wr w = wr_init(buf, sizeof(buf));
    opus_red_write(&w, &in);
    assert_int_equal(wr_len(&w), 4 + 4 + 1 + 6);
    struct opus_red out;
    assert_int_equal(opus_red_parse(wr_bytes_view(&w), &out), 0);
    assert_int_equal(out.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out.block[i].pt, 111);
        assert_int_equal(out.block[i].ts_offset, in.block[i].ts_offset);
        assert_true(bytes_eq(out.block[i].data, in.block[i].data));
    }
    for (size_t n = 0; n < 9 + 3; n++) { // headers or redundant blocks cut off
        assert_int_equal(opus_red_parse(bytes_of(buf, n), &out), -EBADMSG);
    }
    for (size_t n = 0; n < wr_len(&w); n++) {
        uint8_t small[32];
        struct wr s = wr_init(small, n);
        opus_red_write(&s, &in);
        assert_false(wr_ok(&s));
    }
}

static void opus_red_has_limits(void **state)
{
    (void)state;
    uint8_t p[64];
    memset(p, 0xef, sizeof(p));
    struct opus_red out;
    assert_int_equal(opus_red_parse(bytes_of(p, sizeof(p)), &out), -E2BIG);
    struct opus_red const old = {
        .count = 2, .block = {{111, OPUS_RED_OFFSET_MAX + 1, {p, 1}}, {111, 0, {p, 1}}}};
    struct wr w = wr_init(p, sizeof(p));
    opus_red_write(&w, &old);
    assert_false(wr_ok(&w));
}

// The redundant block of a packet is the primary of an earlier one, byte by byte.
static void opus_red_of_chromium_repeats_earlier_frames(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    static struct {
        uint32_t ts;
        struct bytes data;
    } past[512];
    size_t n = 0;
    unsigned repeated = 0;
    pcap_file_open(&f, "cr-opus-red-dtx.pcap");
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct opus_red red;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != 63 || h.payload_len == 0) {
            continue;
        }
        assert_int_equal(opus_red_parse(rtp_payload(p.data, &h), &red), 0);
        assert_in_range(red.count, 1, 2);
        for (size_t k = 0; k + 1 < red.count; k++) {
            for (size_t i = 0; i < n; i++) {
                if (past[i].ts == h.ts - red.block[k].ts_offset) {
                    assert_true(bytes_eq(past[i].data, red.block[k].data));
                    repeated++;
                }
            }
        }
        assert_true(n < ARRAY_LEN(past));
        past[n].ts = h.ts;
        past[n++].data = red.block[red.count - 1].data;
    }
    pcap_file_close(&f);
    assert_true(repeated > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opus_red_builds_what_it_splits),
        cmocka_unit_test(opus_red_has_limits),
        cmocka_unit_test(opus_red_of_chromium_repeats_earlier_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sfu/media/rtp_munger.h"

static enum rtp_munger_place pass(struct rtp_munger *m, uint64_t in, uint64_t *ret_out)
{
    enum rtp_munger_place const place = rtp_munger_place(m, in, ret_out);
    if (place == RTP_MUNGER_NEXT || place == RTP_MUNGER_GAP) {
        rtp_munger_sent(m, in, *ret_out, (uint32_t)in, true);
    }
    return place;
}

static void attach(struct rtp_munger *m, uint64_t in)
{
    rtp_munger_switch(m, in, 0, 0, 0);
}

static void rtp_munger_keeps_gaps_and_fills_them_late(void **state)
{
    (void)state;
    struct rtp_munger m;
    uint64_t out = 0;
    rtp_munger_init(&m, 100, 0);
    attach(&m, 1000);
    assert_int_equal(pass(&m, 1000, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 100);
    assert_int_equal(pass(&m, 1003, &out), RTP_MUNGER_GAP);
    assert_int_equal(out, 103);
    assert_int_equal(pass(&m, 1001, &out), RTP_MUNGER_LATE);
    assert_int_equal(out, 101);
    assert_int_equal(pass(&m, 1003, &out), RTP_MUNGER_DUPLICATE);
    assert_int_equal(pass(&m, 999, &out), RTP_MUNGER_UNKNOWN); // of before
}

static void rtp_munger_closes_up_behind_left_out_packets(void **state)
{
    (void)state;
    struct rtp_munger m;
    uint64_t out = 0;
    rtp_munger_init(&m, 0, 0);
    attach(&m, 10);
    assert_int_equal(pass(&m, 10, &out), RTP_MUNGER_NEXT);
    rtp_munger_left_out(&m, 11, false);
    rtp_munger_left_out(&m, 12, false);
    assert_int_equal(pass(&m, 13, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 1);
    assert_int_equal(pass(&m, 15, &out), RTP_MUNGER_GAP); // 14 is lost
    assert_int_equal(out, 3);
    rtp_munger_left_out(&m, 16, false);
    assert_int_equal(pass(&m, 17, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 4);
    assert_int_equal(pass(&m, 14, &out), RTP_MUNGER_LATE); // in the range before 16
    assert_int_equal(out, 2);
    assert_int_equal(pass(&m, 12, &out), RTP_MUNGER_UNKNOWN); // was left out
    assert_int_equal(pass(&m, 16, &out), RTP_MUNGER_UNKNOWN);
}

static void rtp_munger_keeps_or_closes_the_gap_before_a_left_out_packet(void **state)
{
    (void)state;
    struct rtp_munger m;
    uint64_t out = 0;
    rtp_munger_init(&m, 0, 0);
    attach(&m, 10);
    assert_int_equal(pass(&m, 10, &out), RTP_MUNGER_NEXT);
    rtp_munger_left_out(&m, 13, false); // 11, 12 lost: their numbers stay
    assert_int_equal(pass(&m, 14, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 3);
    assert_int_equal(pass(&m, 12, &out), RTP_MUNGER_LATE);
    assert_int_equal(out, 2);
    rtp_munger_left_out(&m, 17, true); // 15, 16 lost and of the same picture
    assert_int_equal(pass(&m, 18, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 4);
    assert_int_equal(pass(&m, 16, &out), RTP_MUNGER_UNKNOWN);
    assert_int_equal(pass(&m, 11, &out), RTP_MUNGER_LATE);
    assert_int_equal(out, 1);
}

static void rtp_munger_switches_source_without_a_hole(void **state)
{
    (void)state;
    struct rtp_munger m;
    uint64_t out = 0;
    rtp_munger_init(&m, 65534, 0);
    attach(&m, 5);
    assert_int_equal(pass(&m, 5, &out), RTP_MUNGER_NEXT);
    attach(&m, 70000);
    assert_int_equal(pass(&m, 70000, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 65535);
    assert_int_equal(pass(&m, 69999, &out), RTP_MUNGER_UNKNOWN);
    assert_int_equal(pass(&m, 70001, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 65536); // the rollover counter became 1
    rtp_munger_switch(&m, 3, 9000, 500, 1);
    assert_int_equal(pass(&m, 3, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 65538); // one number skipped
    assert_int_equal(9000 - m.ts_offset, 500);
}

static void rtp_munger_inserts_between(void **state)
{
    (void)state;
    struct rtp_munger m;
    uint64_t out = 0;
    rtp_munger_init(&m, 10, 0);
    attach(&m, 1);
    assert_int_equal(pass(&m, 1, &out), RTP_MUNGER_NEXT);
    assert_int_equal(pass(&m, 3, &out), RTP_MUNGER_GAP);
    assert_int_equal(rtp_munger_insert(&m, 77, false), 13);
    assert_int_equal(rtp_munger_insert(&m, 78, false), 14);
    assert_int_equal(pass(&m, 4, &out), RTP_MUNGER_NEXT);
    assert_int_equal(out, 15);
    assert_int_equal(pass(&m, 2, &out), RTP_MUNGER_LATE);
    assert_int_equal(out, 11);
}

// Whatever is lost, left out or reordered: outgoing numbers are unique, and exactly the packets
// left out are missing.
static void rtp_munger_numbers_are_unique_and_dense(void **state)
{
    (void)state;
    static uint8_t used[4096];
    for (uint32_t seed = 1; seed < 40; seed++) {
        struct rtp_munger m;
        uint64_t out = 0;
        uint64_t late[64];
        size_t late_count = 0;
        uint32_t x = seed * 2654435761u;
        memset(used, 0, sizeof(used));
        rtp_munger_init(&m, 0, 0);
        attach(&m, 1);
        unsigned sent = 0;
        for (uint64_t in = 1; in <= 2000; in++) {
            x = x * 1664525u + 1013904223u;
            unsigned const what = (x >> 24) % 10;
            if (in > 1 && what < 2 && late_count < 60) {
                late[late_count++] = in;
            } else if (in > 1 && what < 5) {
                rtp_munger_left_out(&m, in, false);
            } else {
                assert_in_range(pass(&m, in, &out), RTP_MUNGER_NEXT, RTP_MUNGER_GAP);
                assert_int_equal(used[out]++, 0);
                sent++;
            }
            // At most 30 numbers late, so that every range is still known.
            while (late_count > 0 && (in - late[0] > 30 || in == 2000)) {
                enum rtp_munger_place const place = pass(&m, late[0], &out);
                if (place == RTP_MUNGER_LATE) {
                    assert_int_equal(used[out]++, 0);
                    sent++;
                } else {
                    assert_true(in == 2000); // newer than all that was sent
                }
                late_count--;
                memmove(late, late + 1, late_count * sizeof(*late));
            }
        }
        for (uint64_t i = 0; i < sent && i < m.last_out; i++) {
            assert_int_equal(used[i], 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_munger_keeps_gaps_and_fills_them_late),
        cmocka_unit_test(rtp_munger_closes_up_behind_left_out_packets),
        cmocka_unit_test(rtp_munger_keeps_or_closes_the_gap_before_a_left_out_packet),
        cmocka_unit_test(rtp_munger_switches_source_without_a_hole),
        cmocka_unit_test(rtp_munger_inserts_between),
        cmocka_unit_test(rtp_munger_numbers_are_unique_and_dense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

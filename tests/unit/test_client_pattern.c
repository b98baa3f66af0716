// SPDX-License-Identifier: Apache-2.0
// LINK: base
// SUPPORT: client_pattern histogram
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client_pattern.h"
#include "tests/support/histogram.h"

static size_t make(uint8_t *buf, size_t cap, size_t total, uint32_t counter)
{
    struct wr w = wr_init(buf, cap);
    struct client_pattern const p = {.publisher = 7,
                                     .track = 1,
                                     .layer = 2,
                                     .flags = 5,
                                     .counter = counter,
                                     .frame = 99,
                                     .sent_us = INT64_C(0x1122334455667788)};
    client_pattern_write(&w, &p, total);
    return wr_ok(&w) ? wr_len(&w) : 0;
}

static void pattern_says_who_sent_it_and_when(void **state)
{
    uint8_t buf[1500];
    struct client_pattern p = {0};
    (void)state;
    for (size_t total = CLIENT_PATTERN_LEN; total <= 1200; total += 97) {
        assert_int_equal(make(buf, sizeof(buf), total, (uint32_t)total * 31), total);
        assert_int_equal(client_pattern_read(bytes_of(buf, total), &p), 0);
        assert_int_equal(p.publisher, 7);
        assert_int_equal(p.track, 1);
        assert_int_equal(p.layer, 2);
        assert_int_equal(p.flags, 5);
        assert_int_equal(p.counter, total * 31);
        assert_int_equal(p.frame, 99);
        assert_true(p.sent_us == INT64_C(0x1122334455667788));
    }
}

static void pattern_finds_every_changed_byte(void **state)
{
    uint8_t buf[256];
    struct client_pattern p;
    (void)state;
    size_t const n = make(buf, sizeof(buf), 200, 5);
    for (size_t i = 0; i < n; i++) {
        buf[i] ^= 0x20;
        assert_int_equal(client_pattern_read(bytes_of(buf, n), &p), i < 2 ? -ENOMSG : -EBADMSG);
        buf[i] ^= 0x20;
    }
    assert_int_equal(client_pattern_read(bytes_of(buf, n), &p), 0);
}

static void pattern_finds_cut_and_grown_packets(void **state)
{
    uint8_t buf[256] = {0};
    struct client_pattern p;
    (void)state;
    size_t const n = make(buf, sizeof(buf), 200, 5);
    for (size_t i = 2; i < n; i++) {
        assert_int_equal(client_pattern_read(bytes_of(buf, i), &p), -EBADMSG);
    }
    assert_int_equal(client_pattern_read(bytes_of(buf, n + 1), &p), -EBADMSG);
    assert_int_equal(client_pattern_read(bytes_of(buf, 0), &p), -ENOMSG);
}

static void pattern_is_not_written_into_too_small_a_place(void **state)
{
    uint8_t buf[64];
    (void)state;
    assert_int_equal(make(buf, 64, 65, 0), 0);
    assert_int_equal(make(buf, 64, CLIENT_PATTERN_LEN - 1, 0), 0);
    assert_int_equal(make(buf, 64, 64, 0), 64);
}

static void histogram_gives_percentiles_within_three_percent(void **state)
{
    static struct histogram h;
    (void)state;
    for (int64_t i = 1; i <= 100000; i++) {
        histogram_add(&h, i);
    }
    static const unsigned marks[] = {1, 10, 500, 900, 990, 999, 1000};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        double const exact = 100.0 * marks[i];
        double const got = histogram_percentile(&h, marks[i]);
        assert_true(got >= exact && got <= exact * 1.04);
    }
    assert_int_equal(h.max, 100000);
    assert_int_equal(h.count, 100000);
}

static void histogram_is_exact_for_small_values_and_clamps(void **state)
{
    static struct histogram h;
    static struct histogram sum;
    (void)state;
    assert_int_equal(histogram_percentile(&h, 500), 0);
    histogram_add(&h, -5);
    histogram_add(&h, 63);
    histogram_add(&h, 40);
    assert_int_equal(histogram_percentile(&h, 1), 0);
    assert_int_equal(histogram_percentile(&h, 500), 40);
    assert_int_equal(histogram_percentile(&h, 1000), 63);
    histogram_merge(&sum, &h);
    histogram_add(&sum, INT64_MAX);
    assert_int_equal(sum.count, 4);
    assert_int_equal(histogram_percentile(&sum, 1000), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pattern_says_who_sent_it_and_when),
        cmocka_unit_test(pattern_finds_every_changed_byte),
        cmocka_unit_test(pattern_finds_cut_and_grown_packets),
        cmocka_unit_test(pattern_is_not_written_into_too_small_a_place),
        cmocka_unit_test(histogram_gives_percentiles_within_three_percent),
        cmocka_unit_test(histogram_is_exact_for_small_values_and_clamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/rate.h"
#include "common/base/rng.h"

static struct rate_limit limit(const char *text)
{
    struct rate_limit l;
    assert_int_equal(rate_limit_parse(bytes_str(text), &l), 0);
    return l;
}

static void limits_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t rate, burst;
    } good[] = {
        {"10/30", 10000, 30}, {"0.5/5", 500, 5},
        {"10", 10000, 30},    {"0.1", 100, 1},
        {"off", 0, 0},        {"0", 0, 1},
        {"0/0", 0, 0},        {"0.001/1", 1, 1},
        {"1.25/7", 1250, 7},  {"1000000/1000000", 1000000000, 1000000},
    };
    static const char *const bad[] = {
        "",     "/",      "10/",       "/10",       "10/0",
        "-1/3", "1e3/3",  "10/3x",     "10 /3",     "0.0001",
        "1./2", "10/3.5", "1000001/1", "1/1000001", "99999999999999999999/1",
        "on",   "10/30/2"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct rate_limit const l = limit(good[i].text);
        assert_int_equal(l.per_1000s, good[i].rate);
        if (good[i].rate > 0) {
            assert_int_equal(l.burst, good[i].burst);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rate_limit l = {7, 7};
        assert_int_equal(rate_limit_parse(bytes_str(bad[i]), &l), -EINVAL);
        assert_int_equal(l.burst, 7);
    }
}

static bool take(struct rate *r, int64_t ms, const char *key, int64_t *retry)
{
    return rate_take(r, (mono_t){ms * US_PER_MS}, bytes_str(key), retry);
}

static void burst_then_rate(void **state)
{
    (void)state;
    CLEANUP(rate_free) struct rate *r = rate_new(limit("10/30"), 100);
    int64_t retry = 0;
    for (int i = 0; i < 30; i++) {
        assert_true(rate_peek(r, (mono_t){5000 * US_PER_MS}, bytes_str("a"), &retry));
        assert_true(take(r, 5000, "a", &retry));
    }
    assert_false(rate_peek(r, (mono_t){5000 * US_PER_MS}, bytes_str("a"), &retry));
    assert_false(take(r, 5000, "a", &retry));
    assert_int_equal(retry, 100);
    assert_true(take(r, 5000, "b", &retry)); // another key has its own
    assert_false(take(r, 5099, "a", &retry));
    assert_int_equal(retry, 1);
    assert_true(take(r, 5100, "a", &retry)); // as promised
    assert_false(take(r, 5100, "a", &retry));
    // After a long time it holds a burst, not more.
    for (int i = 0; i < 30; i++) {
        assert_true(take(r, 900000, "a", &retry));
    }
    assert_false(take(r, 900000, "a", &retry));
}

static void refusals_take_nothing(void **state)
{
    (void)state;
    CLEANUP(rate_free) struct rate *r = rate_new(limit("1/1"), 100);
    int64_t retry = 0;
    assert_true(take(r, 0, "a", &retry));
    for (int i = 0; i < 1000; i++) {
        assert_false(take(r, i % 1000, "a", &retry));
    }
    assert_true(take(r, 1000, "a", &retry));
}

static void no_limit_is_no_limit(void **state)
{
    (void)state;
    CLEANUP(rate_free) struct rate *r = rate_new(limit("off"), 100);
    int64_t retry = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(take(r, 0, "a", &retry));
    }
    assert_true(rate_peek(r, (mono_t){0}, bytes_str("a"), &retry));
    rate_set_limit(r, limit("0.001/1"));
    assert_true(take(r, 0, "a", &retry));
    assert_false(take(r, 0, "a", &retry));
    assert_int_equal(retry, 1000000);
}

static void offenders_are_remembered_through_a_crowd(void **state)
{
    (void)state;
    // Ten times as many keys as the table holds pass by with one request each.
    CLEANUP(rate_free) struct rate *r = rate_new(limit("1/100"), 1024);
    int64_t retry = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(take(r, 0, "offender", &retry));
    }
    for (int i = 0; i < 10240; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key %d", i);
        assert_true(take(r, 1, key, &retry));
    }
    assert_false(take(r, 1, "offender", &retry));
}

// Whatever is asked when: in any time span no more than burst + rate * span are granted, and one
// who waits as told is let through.
static void never_more_than_promised(void **state)
{
    (void)state;
    struct rng rng;
    uint8_t const seed[RNG_SEED_LEN] = {1};
    rng_seed(&rng, seed);
    for (int round = 0; round < 50; round++) {
        struct rate_limit const l = {1 + rng_below(&rng, 50000), 1 + rng_below(&rng, 50)};
        CLEANUP(rate_free) struct rate *r = rate_new(l, 8);
        int64_t const from = 1000000 + rng_below(&rng, 1000000);
        int64_t now = from;
        uint64_t granted = 0;
        for (int i = 0; i < 500; i++) {
            int64_t retry = 0;
            if (rate_take(r, (mono_t){now}, bytes_str("k"), &retry)) {
                granted++;
            } else {
                assert_true(retry >= 1);
                if (rng_below(&rng, 2) == 0) {
                    now += retry * US_PER_MS;
                    assert_true(rate_take(r, (mono_t){now}, bytes_str("k"), &retry));
                    granted++;
                }
            }
            now += rng_below(&rng, 20000);
            // One more for what the division of a second into tokens drops.
            uint64_t const most = l.burst + (uint64_t)(now - from) * l.per_1000s / 1000000000u + 1;
            assert_true(granted <= most + granted / 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_read),
        cmocka_unit_test(burst_then_rate),
        cmocka_unit_test(refusals_take_nothing),
        cmocka_unit_test(no_limit_is_no_limit),
        cmocka_unit_test(offenders_are_remembered_through_a_crowd),
        cmocka_unit_test(never_more_than_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

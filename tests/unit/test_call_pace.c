// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// The pace of calls to one homeserver, against limiters like Synapse's on a virtual clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jwt-service/leave/call_pace.h"

static mono_t at_ms(int64_t ms)
{
    return (mono_t){1000000000 + ms * US_PER_MS};
}

static void without_a_429_there_is_no_pace(void **state)
{
    (void)state;
    struct call_pace p = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(call_pace_ready(&p, at_ms(i), false, MONO_NEVER).us, at_ms(i).us);
        call_pace_started(&p, at_ms(i));
        call_pace_ok(&p, at_ms(i));
    }
    assert_false(call_pace_is_limited(&p, at_ms(1000)));
}

static void a_429_holds_back_what_can_wait(void **state)
{
    (void)state;
    struct call_pace p = {0};
    call_pace_started(&p, at_ms(0));
    call_pace_limited(&p, at_ms(1), 3000);
    assert_true(call_pace_is_limited(&p, at_ms(2)));
    assert_int_equal(call_pace_ready(&p, at_ms(2), false, MONO_NEVER).us, at_ms(3001).us);
    // What is urgent, or too late after the hold, keeps only the pace.
    assert_int_equal(call_pace_ready(&p, at_ms(2), true, MONO_NEVER).us, at_ms(1001).us);
    assert_int_equal(call_pace_ready(&p, at_ms(2), false, at_ms(2000)).us, at_ms(1001).us);
    // An hour is not believed for others.
    call_pace_limited(&p, at_ms(2000), 3600000);
    assert_int_equal(call_pace_ready(&p, at_ms(2001), false, MONO_NEVER).us, at_ms(7000).us);
}

static void the_first_pace_is_the_rate_of_the_last_second(void **state)
{
    (void)state;
    struct call_pace p = {0};
    for (int i = 0; i < 20; i++) {
        call_pace_started(&p, at_ms(i * 10));
    }
    call_pace_limited(&p, at_ms(200), 0);
    assert_int_equal(p.interval_us, 50000);
    // Nineteen more of the same second teach nothing new.
    for (int i = 0; i < 19; i++) {
        call_pace_limited(&p, at_ms(201 + i), 0);
    }
    assert_int_equal(p.interval_us, 50000);
    call_pace_limited(&p, at_ms(1300), 0);
    assert_int_equal(p.interval_us, 100000);
    for (int i = 0; i < 20; i++) {
        call_pace_limited(&p, at_ms(2400 + 1001 * i), 0);
    }
    assert_int_equal(p.interval_us, CALL_PACE_SLOWEST_US);
}

static void a_pace_is_forgotten_with_success_or_time(void **state)
{
    (void)state;
    struct call_pace p = {0};
    call_pace_limited(&p, at_ms(0), 0);
    struct call_pace q = p;
    int n = 0;
    while (call_pace_is_limited(&p, at_ms(1))) {
        call_pace_ok(&p, at_ms(1));
        assert_true(++n < 1000);
    }
    assert_in_range(n, 100, 400);
    assert_true(call_pace_is_limited(&q, at_ms(CALL_PACE_MEMORY_MS - 1)));
    assert_false(call_pace_is_limited(&q, at_ms(CALL_PACE_MEMORY_MS)));
    call_pace_started(&q, at_ms(CALL_PACE_MEMORY_MS));
    assert_int_equal(q.interval_us, 0);
}

// A limiter of `rate` calls a second, `burst` at once, asked as often as the pace allows: most calls
// must get through, and most of what it grants must be used. Refusals ask for a second, as small
// hints do.
static void run_against(int64_t rate, int64_t burst)
{
    struct call_pace p = {0};
    int64_t tokens_us = burst * US_PER_S; // a token is a second's worth of rate
    unsigned good = 0;
    unsigned bad = 0;
    for (int64_t ms = 0; ms < 120000; ms++) {
        mono_t const now = at_ms(ms);
        tokens_us = MIN(tokens_us + rate * US_PER_MS, burst * US_PER_S);
        if (mono_before(now, call_pace_ready(&p, now, false, MONO_NEVER))) {
            continue;
        }
        call_pace_started(&p, now);
        if (tokens_us >= US_PER_S) {
            tokens_us -= US_PER_S;
            good++;
            call_pace_ok(&p, now);
        } else {
            bad++;
            call_pace_limited(&p, now, 1000);
        }
    }
    assert_true(good * 100 >= (unsigned)rate * 120 * 70); // 70 % of what is granted
    assert_true(bad * 5 <= good);
}

static void limiters_are_used_well_and_seldom_hit(void **state)
{
    (void)state;
    run_against(1, 5); // Synapse's default
    run_against(1, 20);
    run_against(10, 20);
    run_against(50, 200);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_429_there_is_no_pace),
        cmocka_unit_test(a_429_holds_back_what_can_wait),
        cmocka_unit_test(the_first_pace_is_the_rate_of_the_last_second),
        cmocka_unit_test(a_pace_is_forgotten_with_success_or_time),
        cmocka_unit_test(limiters_are_used_well_and_seldom_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

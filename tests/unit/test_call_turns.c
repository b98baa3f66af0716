// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// Whose turn it is, on a virtual clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jwt-service/leave/call_turns.h"

static mono_t at_ms(int64_t ms)
{
    return (mono_t){1000000000 + ms * US_PER_MS};
}

static struct turn *expect(struct turns *t, mono_t now, enum turns_step step)
{
    struct turn *turn = NULL;
    mono_t next;
    assert_int_equal(turns_next(t, now, &turn, &next), step);
    return turn;
}

static mono_t expect_none(struct turns *t, mono_t now)
{
    struct turn *turn = NULL;
    mono_t next = {0};
    assert_int_equal(turns_next(t, now, &turn, &next), TURNS_NONE);
    return next;
}

static void urgent_ones_go_first_then_the_soonest_deadline(void **state)
{
    (void)state;
    struct turns t = {.max = 64, .max_per_server = 8};
    struct turn_server s = {0};
    struct turn c[4] = {0};
    assert_int_equal(turns_wait(&t, &c[0], &s, false, at_ms(3000)), 0);
    assert_int_equal(turns_wait(&t, &c[1], &s, false, at_ms(2000)), 0);
    assert_int_equal(turns_wait(&t, &c[2], &s, true, MONO_NEVER), 0);
    assert_int_equal(turns_wait(&t, &c[3], &s, true, at_ms(9000)), 0);
    assert_int_equal(t.wait_count, 4);
    assert_ptr_equal(expect(&t, at_ms(0), TURNS_BEGIN), &c[3]);
    assert_ptr_equal(expect(&t, at_ms(0), TURNS_BEGIN), &c[2]);
    assert_ptr_equal(expect(&t, at_ms(0), TURNS_BEGIN), &c[1]);
    assert_ptr_equal(expect(&t, at_ms(0), TURNS_BEGIN), &c[0]);
    assert_true(mono_is_never(expect_none(&t, at_ms(0))));
    assert_int_equal(t.in_flight, 4);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        turns_leave(&t, &c[i]);
        turns_leave(&t, &c[i]); // once is enough
    }
    assert_int_equal(t.in_flight, 0);
    turn_server_done(&s);
}

static void a_homeserver_gets_so_many_and_all_together_so_many(void **state)
{
    (void)state;
    struct turns t = {.max = 10, .max_per_server = 8};
    struct turn_server s[3] = {0};
    struct turn c[3][9] = {0};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 9; j++) {
            assert_int_equal(turns_wait(&t, &c[i][j], &s[i], false, at_ms(9000)), 0);
        }
    }
    for (unsigned i = 0; i < 10; i++) {
        (void)expect(&t, at_ms(0), TURNS_BEGIN);
    }
    // The homeservers in turn: nobody waits for the others.
    assert_in_range(s[0].in_flight, 3, 4);
    assert_in_range(s[1].in_flight, 3, 4);
    assert_in_range(s[2].in_flight, 3, 4);
    // Only a deadline or the end of a call changes something now.
    assert_int_equal(expect_none(&t, at_ms(0)).us, at_ms(9000).us);
    t.max = 64;
    for (unsigned i = 0; i < 14; i++) {
        (void)expect(&t, at_ms(0), TURNS_BEGIN);
    }
    (void)expect_none(&t, at_ms(0));
    assert_int_equal(s[1].in_flight, 8);
    assert_int_equal(t.wait_count, 3);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 9; j++) {
            turns_leave(&t, &c[i][j]);
        }
        turn_server_done(&s[i]);
    }
    assert_null(t.waiting);
}

static void late_ones_are_told(void **state)
{
    (void)state;
    struct turns t = {.max = 64, .max_per_server = 8};
    struct turn_server s = {0};
    struct turn c[2] = {0};
    assert_int_equal(turns_wait(&t, &c[0], &s, false, at_ms(100)), 0);
    assert_int_equal(turns_wait(&t, &c[1], &s, false, at_ms(5000)), 0);
    assert_ptr_equal(expect(&t, at_ms(100), TURNS_EXPIRED), &c[0]);
    assert_ptr_equal(expect(&t, at_ms(100), TURNS_BEGIN), &c[1]);
    (void)expect_none(&t, at_ms(100));
    turns_leave(&t, &c[0]);
    turns_leave(&t, &c[1]);
    turn_server_done(&s);
}

static void the_pace_of_a_homeserver_is_kept(void **state)
{
    (void)state;
    struct turns t = {.max = 64, .max_per_server = 8};
    struct turn_server slow = {0};
    struct turn_server other = {0};
    struct turn c[4] = {0};
    assert_int_equal(turns_wait(&t, &c[0], &slow, false, at_ms(60000)), 0);
    (void)expect(&t, at_ms(0), TURNS_BEGIN);
    call_pace_limited(&slow.pace, at_ms(0), 3000);
    turns_leave(&t, &c[0]);
    assert_int_equal(turns_wait(&t, &c[0], &slow, false, at_ms(60000)), 0);
    assert_int_equal(turns_wait(&t, &c[1], &slow, true, at_ms(60000)), 0);
    assert_int_equal(turns_wait(&t, &c[2], &other, false, at_ms(60000)), 0);
    assert_ptr_equal(expect(&t, at_ms(1), TURNS_BEGIN), &c[2]); // another one's pace is its own
    assert_int_equal(expect_none(&t, at_ms(1)).us, at_ms(1000).us);
    assert_ptr_equal(expect(&t, at_ms(1000), TURNS_BEGIN), &c[1]); // sends do not keep the hold
    assert_int_equal(expect_none(&t, at_ms(1000)).us, at_ms(3000).us);
    assert_ptr_equal(expect(&t, at_ms(3000), TURNS_BEGIN), &c[0]);
    for (size_t i = 0; i < 3; i++) {
        turns_leave(&t, &c[i]);
    }
    turn_server_done(&slow);
    turn_server_done(&other);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(urgent_ones_go_first_then_the_soonest_deadline),
        cmocka_unit_test(a_homeserver_gets_so_many_and_all_together_so_many),
        cmocka_unit_test(late_ones_are_told),
        cmocka_unit_test(the_pace_of_a_homeserver_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

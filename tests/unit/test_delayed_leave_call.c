// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// The calls of a delegated leave to its homeserver: when they are made and how they are repeated.
#include "tests/unit/leave_lab.h"

// ---- waiting --------------------------------------------------------------------------------

static void nobody_joins_and_the_leave_is_sent_after_the_delay(void **state)
{
    (void)state;
    static const int64_t delays[] = {1, 500, 1000, 4999, 3600000, 86400000};
    for (size_t i = 0; i < 6; i++) {
        struct lab l;
        lab_init(&l);
        begin(&l, delays[i]);
        assert_int_equal(l.todo.bits, LEAVE_DO_SAVE | LEAVE_DO_LOOKUP);
        mono_t const start = l.now;
        while (l.j.state == LEAVE_WAITING) {
            if (l.j.looking) {
                event(&l, LEAVE_EVENT_NOT_FOUND);
            }
            (void)wait_next(&l);
            assert_false(calls(&l, DELAYED_EVENT_RESTART));
        }
        // 7.2: an hour at most.
        assert_int_equal(mono_diff_ms(l.now, start), MIN(delays[i], 3600000));
        assert_true(calls(&l, DELAYED_EVENT_SEND));
        assert_int_equal(l.todo.timeout_ms, 5000);
    }
}

static void lookups_of_the_waiting_back_off(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 3600000);
    double nominal = 1000;
    for (unsigned i = 0; i < 20; i++) {
        event(&l, i % 2 ? LEAVE_EVENT_NOT_FOUND : LEAVE_EVENT_LOOKUP_FAILED);
        int64_t const ms = wait_next(&l);
        assert_true(l.todo.bits & LEAVE_DO_LOOKUP);
        assert_in_range((uint64_t)ms, (uint64_t)(nominal * 0.49), (uint64_t)(nominal * 1.51));
        nominal = MIN(nominal * 1.5, 60000);
    }
}

static void a_slow_joiner_is_waited_for_by_one_restart(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    event(&l, LEAVE_EVENT_LOOKUP_FAILED);
    mono_t const start = l.now;
    unsigned restarts = 0;
    while (l.j.state == LEAVE_WAITING) {
        (void)wait_next(&l);
        if (l.todo.bits & LEAVE_DO_LOOKUP) {
            event(&l, LEAVE_EVENT_NOT_FOUND);
        } else if (calls(&l, DELAYED_EVENT_RESTART)) {
            assert_int_equal(mono_diff_ms(l.now, start), 6000);
            restarts++;
            answer(&l, DELAYED_EVENT_OK, 0);
            assert_true(l.todo.bits & LEAVE_DO_SAVE);
        }
    }
    assert_int_equal(restarts, 1);
    assert_int_equal(mono_diff_ms(l.now, start), 16000);
}

static void what_the_waiting_restart_gains_ends_after_a_minute(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 50000);
    mono_t const start = l.now;
    wait_ms(&l, 30000);
    assert_true(l.j.calling);
    answer(&l, DELAYED_EVENT_OK, 0);
    while (l.j.state == LEAVE_WAITING) {
        (void)wait_next(&l);
    }
    assert_int_equal(mono_diff_ms(l.now, start), 60000);
    // Where 60 % are more than a minute there is none.
    lab_init(&l);
    begin(&l, 101000);
    wait_ms(&l, 100999);
    assert_false(l.j.calling);
}

static void an_event_that_is_gone_ends_the_waiting(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    wait_ms(&l, 6000);
    answer(&l, DELAYED_EVENT_GONE, 0);
    assert_true(is_done(&l, LEAVE_OUTCOME_GONE));
    // Failures of that restart end nothing.
    lab_init(&l);
    begin(&l, 10000);
    wait_ms(&l, 6000);
    answer(&l, DELAYED_EVENT_RETRY, 0);
    (void)wait_next(&l);
    assert_true(calls(&l, DELAYED_EVENT_RESTART));
    wait_ms(&l, 4000);
    assert_int_equal(l.j.state, LEAVE_DISCONNECTED);
}

static void a_restart_under_way_is_the_first_of_the_connected(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    wait_ms(&l, 6000);
    assert_true(l.j.calling);
    event(&l, LEAVE_EVENT_JOINED);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    assert_int_equal(l.todo.bits, LEAVE_DO_SAVE);
    answer(&l, DELAYED_EVENT_OK, 0);
    int64_t const ms = wait_next(&l);
    assert_in_range((uint64_t)ms, 6000, 8000);
}

static void a_leave_while_waiting_makes_a_lookup(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 3600000);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_1", 0);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    // An answer to a question of before the leave is not believed.
    (void)wait_next(&l);
    assert_true(l.j.looking);
    event(&l, LEAVE_EVENT_LEFT);
    found(&l, 1);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    // The "joined" that the leave belongs to may come after it.
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_1", 0);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    answer(&l, DELAYED_EVENT_OK, 0);
    event(&l, LEAVE_EVENT_NOT_FOUND); // of before
    assert_int_equal(wait_next(&l), 2000);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void an_abort_of_before_the_delegation_aborts_nothing(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    feed(&l, &(struct leave_input){.type = LEAVE_EVENT_CUT, .created_at_s = 5, .old = true});
    assert_int_equal(l.j.state, LEAVE_WAITING);
    event(&l, LEAVE_EVENT_LEFT_DOUBTFUL);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    event(&l, LEAVE_EVENT_CUT);
    assert_true(is_done(&l, LEAVE_OUTCOME_CUT));
}

// ---- connected: restarts --------------------------------------------------------------------

static void restarts_come_at_their_part_of_the_delay(void **state)
{
    (void)state;
    static const struct {
        int64_t delay_ms;
        bool limited;
        int64_t low;
        int64_t high;
    } rows[] = {
        {1, false, 250, 256},
        {300, false, 250, 256},
        {1000, false, 800, 800},
        {4999, false, 3999, 3999},
        {5000, false, 3000, 4000},
        {10000, false, 6000, 8000},
        {60000, false, 36000, 48000},
        {10000, true, 7600, 8000},
        {60001, false, 45600, 48001},
        {3600000, false, 2736000, 2880000},
        {604800000, false, 459648000, 483840000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lab l;
        lab_init(&l);
        l.rules.limited = rows[i].limited;
        connect(&l, rows[i].delay_ms);
        int64_t low = INT64_MAX;
        int64_t high = 0;
        for (unsigned n = 0; n < 50; n++) {
            int64_t const ms = wait_next(&l);
            assert_true(calls(&l, DELAYED_EVENT_RESTART));
            answer(&l, DELAYED_EVENT_OK, 0);
            assert_int_equal(l.todo.bits, LEAVE_DO_SAVE);
            low = MIN(low, ms);
            high = MAX(high, ms);
        }
        assert_true(low >= rows[i].low && high <= rows[i].high);
        assert_true(rows[i].low == rows[i].high || high > low || rows[i].delay_ms < 320);
    }
}

static void restarts_are_retried_densely_and_to_the_last_moment(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 200; seed++) {
        struct lab l;
        lab_init(&l);
        for (unsigned i = 0; i < seed; i++) {
            (void)rng_u32(&l.rng);
        }
        connect(&l, 10000);
        mono_t const end = mono_add_ms(l.now, 10000);
        (void)wait_next(&l);
        unsigned attempts = 1;
        int64_t last = 0;
        while (!delayed_leave_is_done(&l.j)) {
            assert_true(l.todo.timeout_ms >= 250 && l.todo.timeout_ms <= 5000);
            assert_true(l.todo.deadline.us == end.us);
            answer(&l, DELAYED_EVENT_RETRY, 0);
            if (!delayed_leave_is_done(&l.j)) {
                int64_t const ms = wait_next(&l);
                assert_true(ms >= 199);
                attempts += calls(&l, DELAYED_EVENT_RESTART);
                last = mono_diff_ms(end, l.now);
            }
        }
        assert_true(is_done(&l, LEAVE_OUTCOME_TIMED_OUT));
        assert_true(attempts >= 4);
        assert_true(last <= 1000);
    }
}

static void a_hanging_attempt_leaves_time_for_another(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    (void)wait_next(&l);
    int64_t const left = mono_diff_ms(l.todo.deadline, l.now);
    assert_int_equal(l.todo.timeout_ms, left / 2);
    l.now = mono_add_ms(l.now, l.todo.timeout_ms);
    answer(&l, DELAYED_EVENT_RETRY, 0);
    assert_false(delayed_leave_is_done(&l.j));
    (void)wait_next(&l);
    answer(&l, DELAYED_EVENT_OK, 0);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    // With an hour the limit is 5 s.
    lab_init(&l);
    connect(&l, 3600000);
    (void)wait_next(&l);
    assert_int_equal(l.todo.timeout_ms, 5000);
}

static void the_homeservers_hint_replaces_the_wait_and_begins_the_sequence_anew(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 3600000);
    (void)wait_next(&l);
    for (unsigned i = 0; i < 8; i++) {
        answer(&l, DELAYED_EVENT_RETRY, 0);
        (void)wait_next(&l);
    }
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 7000);
    assert_int_equal(wait_next(&l), 7000);
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 0);
    assert_int_equal(wait_next(&l), 250); // 9.12
    answer(&l, DELAYED_EVENT_RETRY, 0);
    assert_in_range((uint64_t)wait_next(&l), 200, 300);
    // Longer than there is time: one more attempt at the end.
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 3600000);
    mono_t const limit = l.j.deadline;
    (void)wait_next(&l);
    assert_int_equal(mono_diff_ms(limit, l.now), 1000);
    assert_int_equal(l.todo.timeout_ms, 1000);
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 3600000);
    assert_true(is_done(&l, LEAVE_OUTCOME_TIMED_OUT));
}

static void refusals_are_retried_slowly(void **state)
{
    (void)state;
    static const enum delayed_event_verdict slow[] = {
        DELAYED_EVENT_REFUSED, DELAYED_EVENT_UNAUTHENTICATED, DELAYED_EVENT_NO_ENDPOINT,
        DELAYED_EVENT_NO_URL};
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        struct lab l;
        lab_init(&l);
        connect(&l, 100000);
        (void)wait_next(&l);
        answer(&l, slow[i], 0);
        assert_int_equal(wait_next(&l), 5000);
        while (!delayed_leave_is_done(&l.j)) {
            answer(&l, slow[i], 0);
            if (!delayed_leave_is_done(&l.j)) {
                (void)wait_next(&l);
            }
        }
        assert_int_equal(l.todo.outcome, slow[i] == DELAYED_EVENT_NO_URL ? LEAVE_OUTCOME_NO_URL
                                                                         : LEAVE_OUTCOME_TIMED_OUT);
    }
}

static void an_unknown_event_ends_the_job_without_a_send(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    (void)wait_next(&l);
    answer(&l, DELAYED_EVENT_GONE, 0);
    assert_true(is_done(&l, LEAVE_OUTCOME_GONE));
    assert_int_equal(l.j.state, LEAVE_ABORTED);
    event(&l, LEAVE_EVENT_LEFT);
    assert_int_equal(l.todo.bits, 0);
}

static void a_late_answer_after_the_deadline_still_counts(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 1000);
    (void)wait_next(&l);
    l.now = mono_add_ms(l.now, 5000);
    event(&l, LEAVE_EVENT_TIME);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    answer(&l, DELAYED_EVENT_OK, 0);
    assert_int_equal(wait_next(&l), 800);
    l.now = mono_add_ms(l.now, 5000);
    answer(&l, DELAYED_EVENT_RETRY, 0);
    assert_true(is_done(&l, LEAVE_OUTCOME_TIMED_OUT));
}

// ---- sending --------------------------------------------------------------------------------

static void within_the_shortest_budget_there_are_one_or_two_attempts(void **state)
{
    (void)state;
    unsigned seen[3] = {0};
    for (unsigned seed = 0; seed < 300; seed++) {
        struct lab l;
        lab_init(&l);
        for (unsigned i = 0; i < seed; i++) {
            (void)rng_u32(&l.rng);
        }
        begin(&l, 1000);
        wait_ms(&l, 1000);
        unsigned attempts = 1;
        while (!delayed_leave_is_done(&l.j)) {
            answer(&l, DELAYED_EVENT_RETRY, 0);
            if (!delayed_leave_is_done(&l.j)) {
                int64_t const ms = wait_next(&l);
                assert_in_range((uint64_t)ms, 500, 1000);
                attempts++;
            }
        }
        assert_true(is_done(&l, LEAVE_OUTCOME_SEND_FAILED));
        assert_in_range(attempts, 1, 2);
        seen[attempts]++;
    }
    assert_true(seen[1] > 50 && seen[2] > 50);
}

static void sends_are_retried_until_the_homeserver_would_send_itself(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 3600000);
    mono_t const end = mono_add_ms(l.now, 3600000);
    event(&l, LEAVE_EVENT_LEFT);
    double nominal = 1000;
    unsigned attempts = 0;
    while (!delayed_leave_is_done(&l.j)) {
        assert_true(calls(&l, DELAYED_EVENT_SEND));
        attempts++;
        answer(&l, DELAYED_EVENT_RETRY, 0);
        if (!delayed_leave_is_done(&l.j)) {
            // A restart of the service goes on with it.
            assert_int_equal(l.todo.bits, LEAVE_DO_SAVE);
            int64_t const ms = wait_next(&l);
            assert_in_range((uint64_t)ms, (uint64_t)(nominal * 0.49), (uint64_t)(nominal * 1.51));
            nominal = MIN(nominal * 1.5, 60000);
        }
        assert_true(mono_before(l.now, end));
    }
    assert_true(is_done(&l, LEAVE_OUTCOME_SEND_FAILED));
    assert_in_range(attempts, 50, 90);
}

static void a_hint_beyond_the_budget_gives_a_last_attempt(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    event(&l, LEAVE_EVENT_LEFT);
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 30000);
    assert_int_equal(wait_next(&l), 9000);
    answer(&l, DELAYED_EVENT_RETRY_AFTER, 30000);
    assert_true(is_done(&l, LEAVE_OUTCOME_SEND_FAILED));
    lab_init(&l);
    connect(&l, 10000);
    event(&l, LEAVE_EVENT_LEFT);
    answer(&l, DELAYED_EVENT_REFUSED, 5000);
    assert_int_equal(wait_next(&l), 5000);
    answer(&l, DELAYED_EVENT_GONE, 0);
    assert_true(is_done(&l, LEAVE_OUTCOME_SENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_joins_and_the_leave_is_sent_after_the_delay),
        cmocka_unit_test(lookups_of_the_waiting_back_off),
        cmocka_unit_test(a_slow_joiner_is_waited_for_by_one_restart),
        cmocka_unit_test(what_the_waiting_restart_gains_ends_after_a_minute),
        cmocka_unit_test(an_event_that_is_gone_ends_the_waiting),
        cmocka_unit_test(a_restart_under_way_is_the_first_of_the_connected),
        cmocka_unit_test(a_leave_while_waiting_makes_a_lookup),
        cmocka_unit_test(an_abort_of_before_the_delegation_aborts_nothing),
        cmocka_unit_test(restarts_come_at_their_part_of_the_delay),
        cmocka_unit_test(restarts_are_retried_densely_and_to_the_last_moment),
        cmocka_unit_test(a_hanging_attempt_leaves_time_for_another),
        cmocka_unit_test(the_homeservers_hint_replaces_the_wait_and_begins_the_sequence_anew),
        cmocka_unit_test(refusals_are_retried_slowly),
        cmocka_unit_test(an_unknown_event_ends_the_job_without_a_send),
        cmocka_unit_test(a_late_answer_after_the_deadline_still_counts),
        cmocka_unit_test(within_the_shortest_budget_there_are_one_or_two_attempts),
        cmocka_unit_test(sends_are_retried_until_the_homeserver_would_send_itself),
        cmocka_unit_test(a_hint_beyond_the_budget_gives_a_last_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

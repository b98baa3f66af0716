// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: delayed_leave_call
// The machine of one delegated leave: every event in every state, then the rules one by one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <string.h>

#include "jwt-service/delayed_leave.h"

// One job on a virtual clock.
struct lab {
    struct delayed_leave j;
    struct leave_rules rules;
    struct rng rng;
    mono_t now;
    struct leave_todo todo; // of the last event
};

static void lab_init(struct lab *l)
{
    static const uint8_t seed[RNG_SEED_LEN] = {7};
    memset(l, 0, sizeof(*l));
    rng_seed(&l->rng, seed);
    l->now = (mono_t){1000 * US_PER_S};
}

static void begin(struct lab *l, int64_t delay_ms)
{
    l->todo = delayed_leave_begin(&l->j, delay_ms, l->now);
}

static void feed(struct lab *l, const struct leave_input *in)
{
    l->todo = delayed_leave_handle(&l->j, in, &l->rules, l->now, &l->rng);
}

static void event(struct lab *l, enum leave_event type)
{
    feed(l, &(struct leave_input){.type = type});
}

static void event_sid(struct lab *l, enum leave_event type, const char *sid, int64_t created_at_s)
{
    feed(l, &(struct leave_input){.type = type, .sid = {sid}, .created_at_s = created_at_s});
}

static void found(struct lab *l, unsigned present)
{
    feed(l, &(struct leave_input){.type = LEAVE_EVENT_FOUND, .present = present});
}

static void answer(struct lab *l, enum delayed_event_verdict verdict, int64_t wait_ms)
{
    feed(l,
         &(struct leave_input){.type = LEAVE_EVENT_ANSWER, .verdict = verdict, .wait_ms = wait_ms});
}

// Waits until something is due; returns after how many milliseconds.
static int64_t wait_next(struct lab *l)
{
    mono_t const at = delayed_leave_next(&l->j);
    assert_false(mono_is_never(at));
    assert_true(mono_before(l->now, at));
    int64_t const ms = mono_diff_us(at, l->now) / US_PER_MS;
    l->now = at;
    event(l, LEAVE_EVENT_TIME);
    return ms;
}

static void wait_ms(struct lab *l, int64_t ms)
{
    mono_t const until = mono_add_ms(l->now, ms);
    while (!mono_before(until, delayed_leave_next(&l->j))) {
        (void)wait_next(l);
    }
    l->now = until;
}

static bool calls(const struct lab *l, enum delayed_event_action action)
{
    return (l->todo.bits & LEAVE_DO_CALL) && l->todo.call == action;
}

static bool is_done(const struct lab *l, enum leave_outcome outcome)
{
    return (l->todo.bits & LEAVE_DO_DONE) && l->todo.outcome == outcome &&
           delayed_leave_is_done(&l->j);
}

// Connected, the first restart made, nothing under way.
static void connect(struct lab *l, int64_t delay_ms)
{
    begin(l, delay_ms);
    event(l, LEAVE_EVENT_LOOKUP_FAILED);
    event(l, LEAVE_EVENT_JOINED);
    assert_true(calls(l, DELAYED_EVENT_RESTART));
    answer(l, DELAYED_EVENT_OK, 0);
    assert_int_equal(l->j.state, LEAVE_CONNECTED);
    assert_false(l->j.calling);
}

// ---- every event in every state -------------------------------------------------------------

// What a job does when the table is entered; each a way into a state.
static void in_waiting(struct lab *l)
{
    begin(l, 10000); // the first lookup is under way
}

static void in_connected(struct lab *l)
{
    l->rules.sanity_ms = 1000;
    connect(l, 10000);
    wait_ms(l, 1000); // a lookup is under way
    assert_true(l->j.looking);
}

static void in_disconnected(struct lab *l)
{
    connect(l, 10000);
    event(l, LEAVE_EVENT_LEFT); // the send is under way
}

static void in_aborted(struct lab *l)
{
    begin(l, 10000);
    event(l, LEAVE_EVENT_CUT);
}

static void in_replaced(struct lab *l)
{
    begin(l, 10000);
    event(l, LEAVE_EVENT_REPLACED);
}

#define SEND (1u << 8)    // a call, and it is a send
#define RESTART (1u << 9) // a call, and it is a restart

struct cell {
    enum leave_state to;
    unsigned bits; // LEAVE_DO_*, SEND or RESTART instead of LEAVE_DO_CALL
    enum leave_outcome outcome;
};

#define STAYS(state) [LEAVE_##state] = {LEAVE_##state, 0, 0}
#define IGNORED STAYS(DISCONNECTED), STAYS(ABORTED), STAYS(REPLACED)
#define CONNECTS                                                                                   \
    [LEAVE_WAITING] = {LEAVE_CONNECTED, RESTART | LEAVE_DO_SAVE, 0}, STAYS(CONNECTED), IGNORED
#define GOES [LEAVE_CONNECTED] = {LEAVE_DISCONNECTED, SEND, 0}

// authorization-service 7.3, with the better rules of 7.7, 7.8, 9.20 and 9.22.
static const struct cell table[LEAVE_EVENT_COUNT][LEAVE_STATE_COUNT] = {
    [LEAVE_EVENT_JOINED] = {CONNECTS},
    [LEAVE_EVENT_FOUND] = {CONNECTS},
    // The lookup that is under way says nothing any more: it is repeated.
    [LEAVE_EVENT_LEFT] = {STAYS(WAITING), GOES, IGNORED},
    [LEAVE_EVENT_CUT] = {[LEAVE_WAITING] = {LEAVE_ABORTED, LEAVE_DO_DONE, LEAVE_OUTCOME_CUT},
                         GOES,
                         IGNORED},
    [LEAVE_EVENT_LEFT_DOUBTFUL] = {STAYS(WAITING), STAYS(CONNECTED), IGNORED},
    [LEAVE_EVENT_ROOM_FINISHED] = {STAYS(WAITING), STAYS(CONNECTED), IGNORED},
    [LEAVE_EVENT_NOT_FOUND] = {STAYS(WAITING), GOES, IGNORED},
    [LEAVE_EVENT_LOOKUP_FAILED] = {STAYS(WAITING), STAYS(CONNECTED), IGNORED},
    // No call is under way but in Disconnected, where it is the 404 of a send.
    [LEAVE_EVENT_ANSWER] = {STAYS(WAITING), STAYS(CONNECTED),
                            [LEAVE_DISCONNECTED] = {LEAVE_DISCONNECTED, LEAVE_DO_DONE,
                                                    LEAVE_OUTCOME_SENT},
                            STAYS(ABORTED), STAYS(REPLACED)},
    [LEAVE_EVENT_TIME] = {STAYS(WAITING), STAYS(CONNECTED), IGNORED}, // too early
    [LEAVE_EVENT_REPLACED] = {[LEAVE_WAITING] = {LEAVE_REPLACED, LEAVE_DO_DONE,
                                                 LEAVE_OUTCOME_REPLACED},
                              [LEAVE_CONNECTED] = {LEAVE_REPLACED, LEAVE_DO_DONE,
                                                   LEAVE_OUTCOME_REPLACED},
                              STAYS(DISCONNECTED), // the send is finished
                              [LEAVE_ABORTED] = {LEAVE_REPLACED, 0, 0},
                              STAYS(REPLACED)},
    [LEAVE_EVENT_SHUTDOWN] = {STAYS(WAITING), [LEAVE_CONNECTED] = {LEAVE_CONNECTED, RESTART, 0},
                              IGNORED},
};

static void every_event_in_every_state_does_what_the_table_says(void **state)
{
    (void)state;
    static void (*const enter[LEAVE_STATE_COUNT])(struct lab *) = {
        in_waiting, in_connected, in_disconnected, in_aborted, in_replaced};
    unsigned cells = 0;
    for (unsigned s = 0; s < LEAVE_STATE_COUNT; s++) {
        for (unsigned e = 0; e < LEAVE_EVENT_COUNT; e++) {
            const struct cell *const c = &table[e][s];
            struct lab l;
            lab_init(&l);
            enter[s](&l);
            assert_int_equal(l.j.state, s);
            feed(&l, &(struct leave_input){
                         .type = (enum leave_event)e, .present = 1, .verdict = DELAYED_EVENT_GONE});
            unsigned bits = l.todo.bits & ~(unsigned)LEAVE_DO_CALL;
            bits |= calls(&l, DELAYED_EVENT_SEND) ? SEND : 0;
            bits |= calls(&l, DELAYED_EVENT_RESTART) ? RESTART : 0;
            if (l.j.state != c->to || bits != c->bits || l.todo.outcome != c->outcome) {
                fail_msg("state %s, event %u: now %s, does %x (%s)", leave_state_name(s), e,
                         leave_state_name(l.j.state), bits, leave_outcome_name(l.todo.outcome));
            }
            cells++;
        }
    }
    assert_int_equal(cells, LEAVE_STATE_COUNT * LEAVE_EVENT_COUNT);
}

static void what_is_over_stays_over(void **state)
{
    (void)state;
    for (unsigned e = 0; e < LEAVE_EVENT_COUNT; e++) {
        struct lab l;
        lab_init(&l);
        in_disconnected(&l);
        answer(&l, DELAYED_EVENT_OK, 0);
        assert_true(is_done(&l, LEAVE_OUTCOME_SENT));
        feed(&l, &(struct leave_input){.type = (enum leave_event)e, .present = 1});
        assert_int_equal(l.todo.bits, 0);
        assert_true(mono_is_never(delayed_leave_next(&l.j)));
    }
}

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

// ---- connected: sessions --------------------------------------------------------------------

static void only_the_present_session_can_leave(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_1", 100);
    assert_string_equal(delayed_leave_sid(&l.j), "PA_1");
    answer(&l, DELAYED_EVENT_OK, 0);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_2", 105);
    assert_true(l.todo.bits & LEAVE_DO_SAVE);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_1", 100); // repeated late
    assert_string_equal(delayed_leave_sid(&l.j), "PA_2");
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_1", 106);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    event(&l, LEAVE_EVENT_LOOKUP_FAILED); // of the waiting: says nothing
    assert_int_equal(wait_next(&l), 2000);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    found(&l, 1);
    event_sid(&l, LEAVE_EVENT_LEFT, NULL, 104);   // without session, but older than the join... of
    assert_int_equal(l.j.state, LEAVE_CONNECTED); // the session that is known by its time
    event_sid(&l, LEAVE_EVENT_CUT, "PA_2", 107);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void an_intentional_leave_is_not_second_guessed(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    event(&l, LEAVE_EVENT_LEFT);
    assert_int_equal(l.todo.bits, LEAVE_DO_CALL);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    found(&l, 1);
    assert_int_equal(l.todo.bits, 0);
}

static void a_leave_cancels_the_restart_under_way(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    (void)wait_next(&l);
    event(&l, LEAVE_EVENT_CUT);
    assert_int_equal(l.todo.bits, LEAVE_DO_CANCEL | LEAVE_DO_CALL);
    assert_int_equal(l.todo.call, DELAYED_EVENT_SEND);
}

static void a_duplicate_is_looked_up(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 3600000);
    event(&l, LEAVE_EVENT_LEFT_DOUBTFUL);
    assert_int_equal(l.todo.bits, 0);
    assert_int_equal(wait_next(&l), 500);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    feed(&l, &(struct leave_input){.type = LEAVE_EVENT_FOUND, .present = 1, .sid = {"PA_9"}});
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    assert_string_equal(delayed_leave_sid(&l.j), "PA_9");
    // The question stays until it is answered.
    event(&l, LEAVE_EVENT_LEFT_DOUBTFUL);
    assert_int_equal(wait_next(&l), 500);
    event(&l, LEAVE_EVENT_LOOKUP_FAILED);
    assert_in_range((uint64_t)wait_next(&l), 500, 1500);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void a_new_session_settles_the_doubt(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 3600000);
    event(&l, LEAVE_EVENT_LEFT_DOUBTFUL);
    (void)wait_next(&l);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_2", 0);
    event(&l, LEAVE_EVENT_NOT_FOUND); // asked before the join
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    assert_true(wait_next(&l) > 100000); // the next restart
}

static void a_finished_room_is_looked_up(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    event(&l, LEAVE_EVENT_ROOM_FINISHED);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void two_identities_are_one_participant(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    feed(&l, &(struct leave_input){.type = LEAVE_EVENT_JOINED, .who = 1, .sid = {NULL, "PA_o"}});
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    assert_int_equal(l.j.present, 2);
    assert_string_equal(delayed_leave_sid(&l.j), "PA_o");
    answer(&l, DELAYED_EVENT_OK, 0);
    event(&l, LEAVE_EVENT_LEFT); // the one that never came
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_h", 0);
    assert_int_equal(l.j.present, 3);
    feed(&l, &(struct leave_input){.type = LEAVE_EVENT_LEFT, .who = 1, .sid = {NULL, "PA_o"}});
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_h", 0);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void long_session_ids_are_compared_as_far_as_they_are_kept(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_0123456789012345678901234567890123456789", 0);
    assert_int_equal(strlen(delayed_leave_sid(&l.j)), LEAVE_SID_SIZE - 1);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_0123456789012345678901234567890123456789", 0);
    assert_int_equal(l.j.state, LEAVE_DISCONNECTED);
}

// ---- connected: sanity checks ---------------------------------------------------------------

static void absence_is_confirmed_unless_the_interval_is_short(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    l.rules.sanity_ms = 60000;
    connect(&l, 3600000);
    assert_int_equal(wait_next(&l), 60000);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    event(&l, LEAVE_EVENT_LOOKUP_FAILED);
    assert_int_equal(wait_next(&l), 60000);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_int_equal(wait_next(&l), 2000);
    found(&l, 1);
    assert_int_equal(wait_next(&l), 60000);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    (void)wait_next(&l);
    event(&l, LEAVE_EVENT_LOOKUP_FAILED); // no confirmation
    (void)wait_next(&l);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));

    lab_init(&l);
    l.rules.sanity_ms = 1000;
    connect(&l, 3600000);
    assert_int_equal(wait_next(&l), 1000);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void without_sanity_checks_nothing_wakes_up_between_restarts(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 3600000);
    assert_true(wait_next(&l) >= 2736000);
    assert_true(calls(&l, DELAYED_EVENT_RESTART));
    assert_true(mono_is_never(delayed_leave_next(&l.j)));
}

static void what_somebody_else_asked_spares_a_check_but_answers_no_question(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    l.rules.sanity_ms = 60000;
    connect(&l, 3600000);
    l.now = mono_add_ms(l.now, 50000);
    found(&l, 1);
    assert_int_equal(wait_next(&l), 60000);
    found(&l, 1);
    event(&l, LEAVE_EVENT_NOT_FOUND); // was not asked
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    event(&l, LEAVE_EVENT_LEFT_DOUBTFUL);
    found(&l, 1); // may be of before
    assert_int_equal(wait_next(&l), 500);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
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

// ---- beginnings and the end -----------------------------------------------------------------

static void a_successor_inherits_the_participant(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    event_sid(&l, LEAVE_EVENT_JOINED, "PA_1", 0);
    answer(&l, DELAYED_EVENT_OK, 0);
    struct delayed_leave const old = l.j;
    l.now = mono_add_ms(l.now, 3000);
    l.todo = delayed_leave_inherit(&l.j, 20000, &old, l.now);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    assert_int_equal(l.todo.bits, LEAVE_DO_SAVE | LEAVE_DO_CALL | LEAVE_DO_LOOKUP);
    assert_true(calls(&l, DELAYED_EVENT_RESTART));
    answer(&l, DELAYED_EVENT_OK, 0);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_1", 0);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    // Not there: it waits, like one that is new.
    l.todo = delayed_leave_inherit(&l.j, 20000, &old, l.now);
    answer(&l, DELAYED_EVENT_OK, 0);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    found(&l, 1); // good news are taken from everybody
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
}

static void a_successor_of_one_that_waits_waits(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, 10000);
    struct delayed_leave const old = l.j;
    l.todo = delayed_leave_inherit(&l.j, 1000, &old, l.now);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    assert_int_equal(l.todo.bits, LEAVE_DO_SAVE | LEAVE_DO_LOOKUP);
}

static void a_restored_connection_is_restarted_and_verified(void **state)
{
    (void)state;
    struct lab l;
    struct leave_saved const saved = {.state = LEAVE_CONNECTED, .left_ms = 4000, .sid = "PA_1"};
    lab_init(&l);
    l.todo = delayed_leave_restore(&l.j, 10000, &saved, l.now);
    assert_int_equal(l.todo.bits, LEAVE_DO_CALL | LEAVE_DO_LOOKUP);
    assert_int_equal(l.todo.timeout_ms, 2000);
    assert_int_equal(mono_diff_ms(l.todo.deadline, l.now), 4000);
    answer(&l, DELAYED_EVENT_OK, 0);
    event(&l, LEAVE_EVENT_NOT_FOUND); // clients may be about to come back
    assert_int_equal(wait_next(&l), 5000);
    event(&l, LEAVE_EVENT_NOT_FOUND);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    // Whichever identity leaves, it is that session.
    l.todo = delayed_leave_restore(&l.j, 10000, &saved, l.now);
    answer(&l, DELAYED_EVENT_OK, 0);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_1", 0);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    l.todo = delayed_leave_restore(&l.j, 10000, &saved, l.now);
    answer(&l, DELAYED_EVENT_OK, 0);
    event_sid(&l, LEAVE_EVENT_LEFT, "PA_0", 0);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
}

static void a_restored_job_waits_in_full_or_sends_on(void **state)
{
    (void)state;
    struct lab l;
    struct leave_saved saved = {.state = LEAVE_WAITING, .left_ms = 1500};
    lab_init(&l);
    l.todo = delayed_leave_restore(&l.j, 4000, &saved, l.now);
    assert_int_equal(l.todo.bits, LEAVE_DO_LOOKUP);
    wait_ms(&l, 3999);
    assert_int_equal(l.j.state, LEAVE_WAITING);
    wait_ms(&l, 1);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    // With delays that are restarted while waiting, what is left counts.
    lab_init(&l);
    saved.left_ms = 5000;
    l.todo = delayed_leave_restore(&l.j, 3600000, &saved, l.now);
    wait_ms(&l, 3000);
    assert_true(l.j.calling);
    saved.state = LEAVE_DISCONNECTED;
    l.todo = delayed_leave_restore(&l.j, 3600000, &saved, l.now);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
}

static void the_end_of_the_service_makes_one_last_call(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    connect(&l, 10000);
    event(&l, LEAVE_EVENT_SHUTDOWN);
    assert_true(calls(&l, DELAYED_EVENT_RESTART));
    assert_true(mono_is_never(delayed_leave_next(&l.j)));
    answer(&l, DELAYED_EVENT_OK, 0);
    assert_int_equal(l.todo.bits, LEAVE_DO_SAVE);
    l.now = mono_add_ms(l.now, 100000);
    event(&l, LEAVE_EVENT_TIME);
    event(&l, LEAVE_EVENT_LEFT);
    event(&l, LEAVE_EVENT_SHUTDOWN);
    assert_int_equal(l.todo.bits, 0);
    assert_int_equal(l.j.state, LEAVE_CONNECTED);
    // A send that is between two attempts gets one more, and is kept if that fails.
    lab_init(&l);
    connect(&l, 3600000);
    event(&l, LEAVE_EVENT_LEFT);
    answer(&l, DELAYED_EVENT_RETRY, 0);
    event(&l, LEAVE_EVENT_SHUTDOWN);
    assert_true(calls(&l, DELAYED_EVENT_SEND));
    answer(&l, DELAYED_EVENT_RETRY, 0);
    assert_int_equal(l.todo.bits, LEAVE_DO_SAVE);
    assert_false(delayed_leave_is_done(&l.j));
}

static void delays_are_clamped(void **state)
{
    (void)state;
    struct lab l;
    lab_init(&l);
    begin(&l, INT64_MAX);
    assert_int_equal(l.j.delay_ms, LEAVE_DELAY_MAX_MS);
    begin(&l, INT64_MIN);
    assert_int_equal(l.j.delay_ms, 1);
}

static void all_have_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LEAVE_STATE_COUNT; i++) {
        assert_non_null(leave_state_name((enum leave_state)i));
    }
    for (unsigned i = 0; i < LEAVE_OUTCOME_COUNT; i++) {
        assert_non_null(leave_outcome_name((enum leave_outcome)i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_in_every_state_does_what_the_table_says),
        cmocka_unit_test(what_is_over_stays_over),
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
        cmocka_unit_test(only_the_present_session_can_leave),
        cmocka_unit_test(an_intentional_leave_is_not_second_guessed),
        cmocka_unit_test(a_leave_cancels_the_restart_under_way),
        cmocka_unit_test(a_duplicate_is_looked_up),
        cmocka_unit_test(a_new_session_settles_the_doubt),
        cmocka_unit_test(a_finished_room_is_looked_up),
        cmocka_unit_test(two_identities_are_one_participant),
        cmocka_unit_test(long_session_ids_are_compared_as_far_as_they_are_kept),
        cmocka_unit_test(absence_is_confirmed_unless_the_interval_is_short),
        cmocka_unit_test(without_sanity_checks_nothing_wakes_up_between_restarts),
        cmocka_unit_test(what_somebody_else_asked_spares_a_check_but_answers_no_question),
        cmocka_unit_test(within_the_shortest_budget_there_are_one_or_two_attempts),
        cmocka_unit_test(sends_are_retried_until_the_homeserver_would_send_itself),
        cmocka_unit_test(a_hint_beyond_the_budget_gives_a_last_attempt),
        cmocka_unit_test(a_successor_inherits_the_participant),
        cmocka_unit_test(a_successor_of_one_that_waits_waits),
        cmocka_unit_test(a_restored_connection_is_restarted_and_verified),
        cmocka_unit_test(a_restored_job_waits_in_full_or_sends_on),
        cmocka_unit_test(the_end_of_the_service_makes_one_last_call),
        cmocka_unit_test(delays_are_clamped),
        cmocka_unit_test(all_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

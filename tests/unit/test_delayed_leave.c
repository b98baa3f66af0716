// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// The machine of one delegated leave: every event in every state, then who may end it: sessions,
// lookups, successors, restarts of the service. The calls are in test_delayed_leave_call.
#include "tests/unit/leave_lab.h"

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

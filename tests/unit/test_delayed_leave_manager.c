// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: delayed_leave_jobs delayed_leave_lookup
#include "tests/unit/leave_world.h"

// ---- one participant ------------------------------------------------------------------------

static void the_answer_waits_for_the_store(void **state)
{
    (void)state;
    world.store_ms = 300;
    ask(&(struct leave_request){.delay_id = "syd_1",
                                .delay_ms = 10000,
                                .server_name = "a.example",
                                .room = "r",
                                .identity = "i",
                                .user_id = USER});
    world_run(299);
    assert_int_equal(verdicts, 0);
    world_run(1);
    assert_int_equal(verdicts, 1);
    assert_int_equal(verdict, LEAVE_ACCEPTED);
    assert_string_equal(world_stored("r", "i")->delay_id, "syd_1");
    assert_int_equal(world_stored("r", "i")->state, JOB_WAITING);
    assert_int_equal(counts().jobs[LEAVE_WAITING], 1);
}

static void a_store_that_refuses_does_not_refuse_the_user(void **state)
{
    (void)state;
    world.store_error = -E2BIG;
    assert_int_equal(delegate("r", "i", "syd_1", 10000), LEAVE_ACCEPTED);
    webhook(SFU_EVENT_JOINED, "r", "i", "PA_1", 0);
    assert_int_equal(world.restarts, 1);
}

static void whoever_does_not_wait_for_the_answer_is_served_all_the_same(void **state)
{
    (void)state;
    world.store_ms = 300;
    ask(&(struct leave_request){.delay_id = "syd_1",
                                .delay_ms = 500,
                                .server_name = "a.example",
                                .room = "r",
                                .identity = "i",
                                .user_id = USER});
    leave_manager_cancel(call);
    world_run(600);
    assert_int_equal(verdicts, 0);
    assert_int_equal(world.sends, 1);
    assert_null(world_stored("r", "i"));
}

static void a_participant_joins_stays_and_leaves(void **state)
{
    (void)state;
    assert_int_equal(delegate("r", "i", "syd_1", 8000), LEAVE_ACCEPTED);
    assert_int_equal(world.gets, 1);
    webhook(SFU_EVENT_JOINED, "r", "i", "PA_1", 0);
    assert_int_equal(world.restarts, 1); // at once
    world_run(10);
    assert_int_equal(world_stored("r", "i")->state, JOB_CONNECTED);
    assert_string_equal(world_stored("r", "i")->sid, "PA_1");
    assert_int_equal(world_stored("r", "i")->restarted_at.us, WORLD_WALL_US + 5 * US_PER_MS);
    world_run(60000);
    assert_in_range(world.restarts, 9, 13);
    webhook(SFU_EVENT_LEFT, "r", "i", "PA_1", SFU_REASON_CLIENT_INITIATED);
    assert_int_equal(world.sends, 1); // at once
    assert_string_equal(world.last_delay_id, "syd_1");
    assert_string_equal(world.last_user, "");
    world_run(10);
    assert_null(world_stored("r", "i"));
    struct leave_counts const c = counts();
    assert_int_equal(c.jobs[LEAVE_CONNECTED] + c.jobs[LEAVE_DISCONNECTED], 0);
    assert_int_equal(c.ended[LEAVE_OUTCOME_SENT], 1);
    assert_int_equal(c.restarts, world.restarts);
    assert_int_equal(c.webhooks, 2);
    // All is forgotten: nothing is ever due.
    assert_int_equal(world_next_ms(), WORLD_NEVER);
}

static void a_lookup_does_without_webhooks(void **state)
{
    (void)state;
    world_enter("r", "i", "PA_1");
    assert_int_equal(delegate("r", "i", "syd_1", 8000), LEAVE_ACCEPTED);
    world_run(0);
    assert_int_equal(world.restarts, 1);
    assert_string_equal(world_stored("r", "i")->sid, "PA_1");
    assert_false(counts().webhooks_missing);
    world_run(LEAVE_WEBHOOK_GRACE_S * 1000 + 8000);
    assert_true(counts().webhooks_missing);
    webhook(SFU_EVENT_OTHER, "", "", "", 0);
    assert_false(counts().webhooks_missing);
}

static void the_end_of_the_event_is_the_end_of_the_job(void **state)
{
    (void)state;
    world.restart_verdict = DELAYED_EVENT_GONE;
    connected("r", "i", 8000);
    assert_null(world_stored("r", "i"));
    webhook(SFU_EVENT_LEFT, "r", "i", "PA_1", SFU_REASON_CLIENT_INITIATED);
    world_run(10000);
    assert_int_equal(world.sends, 0);
    assert_int_equal(counts().ended[LEAVE_OUTCOME_GONE], 1);
}

static void disconnect_reasons_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        int reason;
        bool sends;
    } rows[] = {
        {SFU_REASON_UNKNOWN, true},
        {SFU_REASON_CLIENT_INITIATED, true},
        {SFU_REASON_DUPLICATE_IDENTITY, false},
        {SFU_REASON_STATE_MISMATCH, false},
        {SFU_REASON_MIGRATION, false},
        {9, true},
        {14, true},
        {4711, true},
    };
    char room[16];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(room, sizeof(room), "r%zu", i);
        connected(room, "i", 8000);
        unsigned const before = world.sends;
        webhook(SFU_EVENT_LEFT, room, "i", "", rows[i].reason);
        assert_int_equal(world.sends - before, rows[i].sends);
        world_run(3000); // the SFU still has them
        assert_int_equal(world.sends - before, rows[i].sends);
    }
    // An aborted connection is no other thing.
    connected("x", "i", 8000);
    unsigned const before = world.sends;
    webhook(SFU_EVENT_ABORTED, "x", "i", "", 9);
    assert_int_equal(world.sends - before, 1);
}

static void both_identities_are_watched(void **state)
{
    (void)state;
    struct leave_request const q = {.delay_id = "syd_1",
                                    .delay_ms = 8000,
                                    .server_name = "a.example",
                                    .room = "r",
                                    .identity = "hash",
                                    .other_identity = "@u:a.example:D",
                                    .user_id = USER,
                                    .as_user = true};
    world_enter("r", "@u:a.example:D", "PA_7");
    ask(&q);
    world_run(0);
    assert_int_equal(world.gets, 2);
    assert_int_equal(world.restarts, 1);
    assert_string_equal(world.last_user, USER);
    assert_string_equal(world_stored("r", "hash")->sid, "PA_7");
    webhook(SFU_EVENT_LEFT, "r", "hash", "", SFU_REASON_CLIENT_INITIATED);
    assert_int_equal(world.sends, 0);
    webhook(SFU_EVENT_LEFT, "r", "@u:a.example:D", "PA_7", SFU_REASON_CLIENT_INITIATED);
    assert_int_equal(world.sends, 1);
}

static void events_of_others_are_counted_and_forgotten(void **state)
{
    (void)state;
    assert_int_equal(delegate("r", "i", "syd_1", 8000), LEAVE_ACCEPTED);
    webhook(SFU_EVENT_JOINED, "r", "j", "PA_1", 0);
    webhook(SFU_EVENT_JOINED, "q", "i", "PA_1", 0);
    webhook(SFU_EVENT_OTHER, "r", "i", "PA_1", 0);
    webhook(SFU_EVENT_JOINED, "", "", "", 0);
    assert_int_equal(world.restarts, 0);
    assert_int_equal(counts().webhooks, 0);
    assert_int_equal(counts().webhooks_other, 4);
}

static void events_of_before_the_delegation_do_not_abort_it(void **state)
{
    (void)state;
    assert_int_equal(delegate("r", "i", "syd_1", 3000), LEAVE_ACCEPTED);
    struct sfu_event e = {.type = SFU_EVENT_LEFT, .room = "r", .identity = "i", .sid = "PA_0"};
    e.reason = 14;
    e.created_at_s = WORLD_WALL_US / US_PER_S - 20;
    leave_manager_event(world.manager, &e);
    assert_int_equal(counts().jobs[LEAVE_WAITING], 1);
    e.created_at_s = WORLD_WALL_US / US_PER_S;
    leave_manager_event(world.manager, &e);
    assert_int_equal(counts().ended[LEAVE_OUTCOME_CUT], 1);
}

// ---- replacement ----------------------------------------------------------------------------

static void the_newer_event_takes_over(void **state)
{
    (void)state;
    connected("r", "i", 8000);
    world_run(1000);
    assert_int_equal(delegate("r", "i", "syd_2", 8000), LEAVE_ACCEPTED);
    assert_int_equal(counts().ended[LEAVE_OUTCOME_REPLACED], 1);
    assert_string_equal(world_stored("r", "i")->delay_id, "syd_2");
    assert_int_equal(world.restarts, 2); // what was known is kept
    assert_string_equal(world.last_delay_id, "syd_2");
    webhook(SFU_EVENT_LEFT, "r", "i", "PA_1", SFU_REASON_CLIENT_INITIATED);
    world_run(20000);
    assert_int_equal(world.sends, 1);
    assert_string_equal(world.last_delay_id, "syd_2");
    assert_int_equal(counts().begun, 2);
}

static void a_replaced_send_is_finished(void **state)
{
    (void)state;
    connected("r", "i", 8000);
    world_leave("i");
    world.send_verdict = DELAYED_EVENT_RETRY;
    webhook(SFU_EVENT_LEFT, "r", "i", "PA_1", SFU_REASON_CLIENT_INITIATED);
    world_run(10);
    assert_int_equal(world_stored("r", "i")->state, JOB_DISCONNECTED);
    assert_int_equal(delegate("r", "i", "syd_2", 60000), LEAVE_ACCEPTED);
    world.send_verdict = DELAYED_EVENT_OK;
    world_run(5000);
    assert_int_equal(world.sends, 2);
    assert_string_equal(world.last_delay_id, "syd_1");
    // The newer one is still there, also in the store.
    assert_string_equal(world_stored("r", "i")->delay_id, "syd_2");
    assert_int_equal(counts().jobs[LEAVE_WAITING], 1);
}

// ---- limits ---------------------------------------------------------------------------------

static void a_user_has_twenty_jobs(void **state)
{
    (void)state;
    char room[16];
    for (int i = 0; i < LEAVE_JOBS_PER_USER; i++) {
        (void)snprintf(room, sizeof(room), "r%d", i);
        assert_int_equal(delegate(room, "i", "syd_1", 8000), LEAVE_ACCEPTED);
    }
    assert_int_equal(delegate("one more", "i", "syd_1", 8000), LEAVE_LIMIT);
    assert_int_equal(delegate("r7", "i", "syd_2", 8000), LEAVE_ACCEPTED); // in place of another
    assert_null(world_stored("one more", "i"));
    assert_int_equal(counts().limited, 1);
    world_run(30000);
    assert_int_equal(delegate("one more", "i", "syd_1", 8000), LEAVE_ACCEPTED);
}

static void a_server_has_ten_thousand(void **state)
{
    (void)state;
    char text[32];
    struct leave_request q = {.delay_id = "syd_1",
                              .delay_ms = 3600000,
                              .server_name = "a.example",
                              .room = text,
                              .identity = text,
                              .user_id = text};
    world_keeps_records = false;
    world.sfu_down = true;
    for (int i = 0; i < LEAVE_JOBS_PER_SERVER; i++) {
        (void)snprintf(text, sizeof(text), "u%d", i);
        ask(&q);
        world_run(0);
        assert_int_equal(verdict, LEAVE_ACCEPTED);
    }
    (void)snprintf(text, sizeof(text), "another");
    ask(&q);
    world_run(0);
    assert_int_equal(verdict, LEAVE_LIMIT);
    q.server_name = "b.example";
    ask(&q);
    world_run(0);
    assert_int_equal(verdict, LEAVE_ACCEPTED);
}

static void servers_that_demand_authentication_are_refused(void **state)
{
    (void)state;
    static const char *const servers[] = {"a.example", "b.example"};
    leave_manager_free(world.manager);
    world.manager =
        leave_manager_new(&(struct leave_manager_conf){.servers = servers, .server_count = 1});
    assert_true(leave_manager_supported(world.manager));
    world.refusing = "a.example";
    assert_int_equal(delegate("r", "i", "syd_1", 8000), LEAVE_REFUSED_BY_SERVER);
    assert_false(leave_manager_supported(world.manager));
    // As the user it goes on.
    ask(&(struct leave_request){.delay_id = "syd_1",
                                .delay_ms = 8000,
                                .server_name = "a.example",
                                .room = "r",
                                .identity = "i",
                                .user_id = USER,
                                .as_user = true});
    world_run(0);
    assert_int_equal(verdict, LEAVE_ACCEPTED);
    leave_manager_free(world.manager);
    world.manager =
        leave_manager_new(&(struct leave_manager_conf){.servers = servers, .server_count = 2});
    assert_true(leave_manager_supported(world.manager));
}

// ---- many at once ---------------------------------------------------------------------------

static void restarts_of_one_server_take_turns(void **state)
{
    (void)state;
    char identity[16];
    world_keeps_records = false;
    world.call_ms = 20;
    for (int i = 0; i < 200; i++) {
        (void)snprintf(identity, sizeof(identity), "i%d", i);
        ask(&(struct leave_request){.delay_id = "syd_1",
                                    .delay_ms = 20000,
                                    .server_name = "a.example",
                                    .room = "r",
                                    .identity = identity,
                                    .user_id = identity});
        world_run(0);
        webhook(SFU_EVENT_JOINED, "r", identity, "", 0);
    }
    assert_int_equal(world.calls_now, 2 * DELAYED_EVENT_PER_SERVER_MAX);
    // Sends do not wait behind them, also those of jobs that wait for their turn.
    webhook(SFU_EVENT_LEFT, "r", "i199", "", 9);
    webhook(SFU_EVENT_LEFT, "r", "i0", "", 9);
    assert_int_equal(world.sends, 2);
    world_run(400);
    assert_int_equal(world.restarts, 199); // one left before its turn
    assert_true(world.calls_max <= 2 * DELAYED_EVENT_PER_SERVER_MAX + 2);
    world_run(60000);
    assert_int_equal(counts().jobs[LEAVE_CONNECTED], 198);
}

static void waiting_turns_are_used_when_all_others_leave(void **state)
{
    (void)state;
    char identity[16];
    world_keeps_records = false;
    world.call_ms = WORLD_NEVER;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(identity, sizeof(identity), "i%d", i);
        ask(&(struct leave_request){.delay_id = "syd_1",
                                    .delay_ms = 20000,
                                    .server_name = "a.example",
                                    .room = "r",
                                    .identity = identity,
                                    .user_id = identity});
        world_run(0);
        webhook(SFU_EVENT_JOINED, "r", identity, "", 0);
    }
    assert_int_equal(world.restarts, 16);
    for (int i = 0; i < 16; i++) {
        (void)snprintf(identity, sizeof(identity), "i%d", i);
        webhook(SFU_EVENT_LEFT, "r", identity, "", 9);
    }
    assert_int_equal(world.sends, 16);
    assert_int_equal(world.restarts, 20);
}

static void a_flood_of_events_stays_one_call(void **state)
{
    (void)state;
    connected("r", "i", 8000);
    uint64_t const before = mem_thread_allocations();
    for (int i = 0; i < 100000; i++) {
        webhook(SFU_EVENT_JOINED, "r", "i", "PA_1", 0);
        webhook(SFU_EVENT_LEFT, "r", "i", "PA_0", SFU_REASON_CLIENT_INITIATED);
    }
    assert_true(mem_thread_allocations() - before < 10);
    assert_int_equal(world.restarts, 1);
    world_run(5000);
    assert_int_equal(counts().jobs[LEAVE_CONNECTED], 1);
    assert_int_equal(world.sends, 0);
}

static void nothing_wakes_up_before_something_is_due(void **state)
{
    (void)state;
    char room[16];
    for (int i = 0; i < LEAVE_JOBS_PER_USER; i++) {
        (void)snprintf(room, sizeof(room), "r%d", i);
        connected(room, "i", 3600000);
    }
    unsigned const before = world.wake_ups;
    world_run(2700000);
    assert_int_equal(world.wake_ups, before);
    world_run(200000);
    assert_int_equal(world.restarts, 2 * LEAVE_JOBS_PER_USER);
    assert_true(world.wake_ups - before <= LEAVE_JOBS_PER_USER);
}

// ---- lookups --------------------------------------------------------------------------------

static void room_of(int jobs)
{
    char identity[16];
    for (int i = 0; i < jobs; i++) {
        (void)snprintf(identity, sizeof(identity), "i%d", i);
        connected("r", identity, 3600000);
    }
}

static void one_question_serves_a_whole_room(void **state)
{
    (void)state;
    world_crash();
    world_start(60000);
    room_of(10);
    world.gets = 0;
    world.lists = 0;
    world_run(600000);
    assert_int_equal(world.gets, 0);
    assert_in_range(world.lists, 9, 12);
    world_leave("i3");
    world_leave("i4");
    world_run(65000);
    assert_int_equal(world.sends, 2);
    assert_int_equal(counts().jobs[LEAVE_CONNECTED], 8);
}

static void an_sfu_without_lists_is_asked_one_by_one(void **state)
{
    (void)state;
    world_crash();
    world_start(60000);
    world.no_list = true;
    room_of(10);
    world.gets = 0;
    world.lists = 0;
    world_run(65000);
    assert_int_equal(world.lists, 1);
    assert_int_equal(world.gets, 10);
    assert_int_equal(world.sends, 0);
    world_leave("i3");
    world_run(65000);
    assert_int_equal(world.lists, 1);
    assert_int_equal(world.sends, 1);
}

static void an_sfu_out_of_reach_says_nothing(void **state)
{
    (void)state;
    world_crash();
    world_start(1000);
    room_of(3);
    world.sfu_down = true;
    world_run(60000);
    assert_int_equal(world.sends, 0);
    assert_int_equal(counts().jobs[LEAVE_CONNECTED], 3);
    assert_true(counts().lookup_failures > 50);
    // A leave is sent whatever the SFU says.
    webhook(SFU_EVENT_LEFT, "r", "i1", "", 9);
    assert_int_equal(world.sends, 1);
}

static void a_room_that_is_finished_is_looked_at_once(void **state)
{
    (void)state;
    room_of(10);
    world_empty();
    world.lists = 0;
    webhook(SFU_EVENT_ROOM_FINISHED, "r", "", "", 0);
    world_run(100);
    assert_int_equal(world.lists, 1);
    assert_int_equal(world.sends, 10);
}

static void a_job_that_ends_takes_its_question_with_it(void **state)
{
    (void)state;
    // Asked, not answered yet: the job is replaced, then cut, then the room is asked again.
    for (int i = 0; i < 2; i++) {
        ask(&(struct leave_request){.delay_id = "syd_1",
                                    .delay_ms = 8000,
                                    .server_name = "a.example",
                                    .room = "r",
                                    .identity = "i",
                                    .user_id = USER});
    }
    assert_int_equal(world.gets, 1);
    webhook(SFU_EVENT_ABORTED, "r", "i", "", 9);
    assert_int_equal(counts().ended[LEAVE_OUTCOME_CUT], 1);
    world_run(100);
    assert_int_equal(verdicts, 2);
    assert_int_equal(world.gets, 1);
    assert_int_equal(world_next_ms(), WORLD_NEVER);
}

// ---- any order ------------------------------------------------------------------------------

static uint32_t lcg(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void any_order_of_events_leaves_nothing_behind(void **state)
{
    (void)state;
    static const enum delayed_event_verdict bad[] = {
        DELAYED_EVENT_OK,   DELAYED_EVENT_OK,          DELAYED_EVENT_OK,      DELAYED_EVENT_RETRY,
        DELAYED_EVENT_GONE, DELAYED_EVENT_RETRY_AFTER, DELAYED_EVENT_REFUSED, DELAYED_EVENT_NO_URL};
    static const int64_t delays[] = {1, 500, 5000, 20000, 3600000};
    char room[8];
    char identity[8];
    char other[8];
    uint32_t seed = 11;
    world_crash();
    world_start(5000);
    for (int n = 0; n < 20000; n++) {
        (void)snprintf(room, sizeof(room), "r%u", lcg(&seed) % 4);
        (void)snprintf(identity, sizeof(identity), "i%u", lcg(&seed) % 6);
        (void)snprintf(other, sizeof(other), "i%u", lcg(&seed) % 6);
        world.restart_verdict = bad[lcg(&seed) % ARRAY_LEN(bad)];
        world.send_verdict = bad[lcg(&seed) % ARRAY_LEN(bad)];
        world.sfu_down = lcg(&seed) % 8 == 0;
        switch (lcg(&seed) % 8) {
        case 0:
            ask(&(struct leave_request){.delay_id = "syd_1",
                                        .delay_ms = delays[lcg(&seed) % ARRAY_LEN(delays)],
                                        .server_name = lcg(&seed) % 2 ? "a.example" : "b.example",
                                        .room = room,
                                        .identity = identity,
                                        .other_identity = other,
                                        .user_id = identity});
            break;
        case 1:
            world_enter(room, identity, "PA_1");
            webhook(SFU_EVENT_JOINED, room, identity, "PA_1", 0);
            break;
        case 2:
            world_leave(identity);
            break;
        case 3:
            webhook(SFU_EVENT_LEFT, room, identity, lcg(&seed) % 2 ? "PA_1" : "",
                    (int)(lcg(&seed) % 15));
            break;
        case 4:
            webhook(SFU_EVENT_ROOM_FINISHED, room, "", "", 0);
            break;
        default:
            world_run((int64_t)(lcg(&seed) % 3000));
            break;
        }
        struct leave_counts const c = counts();
        uint64_t now = 0;
        uint64_t ended = 0;
        for (int i = 0; i < LEAVE_STATE_COUNT; i++) {
            now += c.jobs[i];
        }
        for (int i = 0; i < LEAVE_OUTCOME_COUNT; i++) {
            ended += c.ended[i];
        }
        assert_int_equal(c.begun, now + ended);
    }
    world.restart_verdict = DELAYED_EVENT_GONE;
    world.send_verdict = DELAYED_EVENT_OK;
    world_empty();
    world_run(4 * 3600000);
    assert_null(world.stored);
    assert_int_equal(world_next_ms(), WORLD_NEVER);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_answer_waits_for_the_store),
        TEST(a_store_that_refuses_does_not_refuse_the_user),
        TEST(whoever_does_not_wait_for_the_answer_is_served_all_the_same),
        TEST(a_participant_joins_stays_and_leaves),
        TEST(a_lookup_does_without_webhooks),
        TEST(the_end_of_the_event_is_the_end_of_the_job),
        TEST(disconnect_reasons_are_told_apart),
        TEST(both_identities_are_watched),
        TEST(events_of_others_are_counted_and_forgotten),
        TEST(events_of_before_the_delegation_do_not_abort_it),
        TEST(the_newer_event_takes_over),
        TEST(a_replaced_send_is_finished),
        TEST(a_user_has_twenty_jobs),
        TEST(a_server_has_ten_thousand),
        TEST(servers_that_demand_authentication_are_refused),
        TEST(restarts_of_one_server_take_turns),
        TEST(waiting_turns_are_used_when_all_others_leave),
        TEST(a_flood_of_events_stays_one_call),
        TEST(nothing_wakes_up_before_something_is_due),
        TEST(one_question_serves_a_whole_room),
        TEST(an_sfu_without_lists_is_asked_one_by_one),
        TEST(an_sfu_out_of_reach_says_nothing),
        TEST(a_room_that_is_finished_is_looked_at_once),
        TEST(a_job_that_ends_takes_its_question_with_it),
        TEST(any_order_of_events_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

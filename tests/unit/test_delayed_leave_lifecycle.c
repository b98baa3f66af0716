// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// Delegated leaves across a restart of the service: recovery and shutdown of the manager.
#include "tests/unit/leave_world.h"

// ---- recovery -------------------------------------------------------------------------------

static int loaded;

static void on_loaded(void *user, const struct job_load *load)
{
    (void)user;
    assert_int_equal(load->result, JOB_LOAD_OK);
    loaded++;
}

static struct job_record record(const char *room, const char *identity, enum job_state state,
                                int64_t age_ms)
{
    return (struct job_record){
        .room = room,
        .identity = identity,
        .other_identity = "",
        .delay_id = "syd_1",
        .server_name = "a.example",
        .user_id = "",
        .owner_user_id = "",
        .sid = "",
        .delay_timeout_ns = 8000 * INT64_C(1000000),
        .restarted_at = {loop_wall(NULL).us - age_ms * US_PER_MS},
        .state = state,
    };
}

// Loads these as the store's.
static void recover(const struct job_record *r, size_t n)
{
    loaded = 0;
    leave_manager_recover(world.manager, on_loaded, NULL);
    assert_int_equal(loaded, 0);
    for (size_t i = 0; i < n; i++) {
        world.load_each(world.load_user, &r[i]);
    }
    world.load_done(world.load_user, &(struct job_load){.result = JOB_LOAD_OK, .records = n});
    assert_int_equal(loaded, 1);
    world_run(0);
}

static void what_has_expired_is_removed_without_a_call(void **state)
{
    (void)state;
    struct job_record r[] = {
        record("r", "late", JOB_WAITING, 8000), record("r", "later", JOB_CONNECTED, 99000),
        record("r", "never", JOB_WAITING, 0), record("r", "bad", JOB_WAITING, 0)};
    r[2].delay_timeout_ns = 0;
    r[3].delay_id = "../../etc";
    r[3].delay_id = "..";
    recover(r, ARRAY_LEN(r));
    world_run(10000);
    assert_int_equal(world.removes, 4);
    assert_int_equal(world.restarts + world.sends + world.gets, 0);
    assert_int_equal(counts().expired, 3);
}

static void a_restored_job_reacts_like_a_fresh_one(void **state)
{
    (void)state;
    struct job_record const r = record("r", "i", JOB_WAITING, 5000);
    recover(&r, 1);
    assert_int_equal(counts().restored, 1);
    assert_int_equal(world.gets, 1);
    assert_int_equal(world.puts, 0); // not rewritten
    webhook(SFU_EVENT_JOINED, "r", "i", "", 0);
    assert_int_equal(world.restarts, 1);
    world_run(10);
    assert_int_equal(world_stored("r", "i")->state, JOB_CONNECTED);
    webhook(SFU_EVENT_LEFT, "r", "i", "", SFU_REASON_CLIENT_INITIATED);
    assert_int_equal(world.sends, 1);
}

static void connected_jobs_are_restarted_at_once_the_soonest_first(void **state)
{
    (void)state;
    enum { N = 40 };
    static char identity[N][16];
    struct job_record r[N];
    world.call_ms = WORLD_NEVER;
    for (int i = 0; i < N; i++) {
        (void)snprintf(identity[i], sizeof(identity[i]), "i%d", i);
        r[i] = record("r", identity[i], JOB_CONNECTED, i * 100);
        r[i].delay_id = identity[i];
        world_enter("r", identity[i], "PA_1");
    }
    recover(r, N);
    assert_int_equal(world.restarts, 16);
    assert_string_equal(world.last_delay_id, "i24");
    world.calls->at_ms = 0; // one is answered: the oldest of those that wait is next
    world_run(0);
    assert_string_equal(world.last_delay_id, "i23");
    world.call_ms = 1;
    for (int i = 0; i < 16; i++) {
        world.calls->at_ms = 0;
        world_run(0);
    }
    world_run(100);
    assert_int_equal(counts().jobs[LEAVE_CONNECTED], N);
    // The first 16 were restarted, then all others.
    assert_int_equal(world.restarts, N);
}

static void a_job_survives_a_crash_with_what_is_known(void **state)
{
    (void)state;
    connected("r", "i", 8000);
    struct stored const *const s = world_stored("r", "i");
    struct job_record r = record("r", "i", s->state, 0);
    char sid[32];
    (void)snprintf(sid, sizeof(sid), "%s", s->sid);
    r.sid = sid;
    r.restarted_at = s->restarted_at;
    r.other_identity = "@u:a.example:D";
    r.user_id = USER;
    world_crash();
    int64_t const now = world.now_ms;
    world.manager = leave_manager_new(&(struct leave_manager_conf){0});
    world.now_ms = now + 2000;
    recover(&r, 1);
    assert_int_equal(world.restarts, 2);
    webhook(SFU_EVENT_LEFT, "r", "i", "PA_1", SFU_REASON_CLIENT_INITIATED);
    assert_int_equal(world.sends, 1);
    world_run(10);
    assert_null(world_stored("r", "i"));
}

static void jobs_of_a_dead_instance_are_taken_over(void **state)
{
    (void)state;
    struct job_record r = record("r", "i", JOB_CONNECTED, 3000);
    r.owner_user_id = USER;
    leave_manager_adopt(world.manager, &r);
    assert_int_equal(world.restarts, 1);
    assert_string_equal(world.last_user, USER);
    leave_manager_adopt(world.manager, &r); // known already
    assert_int_equal(counts().restored, 1);
}

static void the_store_may_ask_for_what_it_does_not_keep(void **state)
{
    (void)state;
    struct job_record r;
    assert_false(leave_manager_record(world.manager, "r", "i", &r));
    connected("r", "i", 8000);
    struct stored const *const s = world_stored("r", "i");
    assert_true(leave_manager_record(world.manager, "r", "i", &r));
    assert_string_equal(r.room, "r");
    assert_string_equal(r.identity, "i");
    assert_string_equal(r.sid, s->sid);
    assert_string_equal(r.server_name, "a.example");
    assert_int_equal(r.restarted_at.us, s->restarted_at.us);
    assert_int_equal(r.state, JOB_CONNECTED);
    assert_int_equal(r.delay_timeout_ns, 8000 * INT64_C(1000000));
    assert_int_equal(job_record_check(&r), 0);
    assert_false(leave_manager_record(world.manager, "r", "other", &r));
    webhook(SFU_EVENT_LEFT, "r", "i", "", SFU_REASON_CLIENT_INITIATED);
    world_run(10);
    assert_false(leave_manager_record(world.manager, "r", "i", &r)); // sent, over
}

static void without_its_token_a_job_is_run_by_its_bare_id(void **state)
{
    (void)state;
    struct job_record r = record("r", "i", JOB_CONNECTED, 3000);
    r.owner_user_id = USER;
    world.no_as_token = true;
    leave_manager_adopt(world.manager, &r);
    assert_int_equal(world.restarts, 1);
    assert_string_equal(world.last_user, "");
}

// ---- shutdown -------------------------------------------------------------------------------

static int closed;

static void on_closed(void *user)
{
    (void)user;
    closed++;
}

// A signal while the store is being read.
static void a_shutdown_in_the_middle_of_reading_does_not_wait(void **state)
{
    (void)state;
    struct job_record const r = record("r", "i", JOB_CONNECTED, 1000);
    struct job_record const late = record("r", "late", JOB_CONNECTED, 1000);
    loaded = 0;
    leave_manager_recover(world.manager, on_loaded, NULL);
    world.load_each(world.load_user, &r);
    world_run(10);
    assert_int_equal(world.restarts, 0); // until all are there
    closed = 0;
    leave_manager_shutdown(world.manager, on_closed, NULL);
    world.load_each(world.load_user, &late);
    world_run(100);
    assert_int_equal(world.restarts, 1);
    assert_int_equal(closed, 1);
    world.load_done(world.load_user, &(struct job_load){.result = JOB_LOAD_OK, .records = 2});
    world_run(10);
    assert_int_equal(loaded, 1);
    assert_int_equal(closed, 1);
    assert_int_equal(world.restarts, 1);
    assert_int_equal(counts().restored, 1);
}

static void the_service_ends_in_order(void **state)
{
    (void)state;
    closed = 0;
    connected("r", "i", 8000);
    connected("q", "j", 3600000);
    assert_int_equal(delegate("w", "k", "syd_1", 8000), LEAVE_ACCEPTED);
    leave_manager_shutdown(world.manager, on_closed, NULL);
    assert_int_equal(closed, 0);
    assert_int_equal(world.restarts, 4); // each connected one once more
    assert_int_equal(delegate("z", "i", "syd_9", 8000), LEAVE_SHUTTING_DOWN);
    world_run(5);
    assert_int_equal(world.flushes, 1);
    assert_int_equal(closed, 1);
    assert_non_null(world_stored("r", "i"));
    assert_non_null(world_stored("w", "k"));
    world_run(100000); // nothing comes any more
    assert_int_equal(world.restarts, 4);
    assert_int_equal(world.sends, 0);
}

static void a_running_send_is_finished_before_the_end(void **state)
{
    (void)state;
    closed = 0;
    connected("r", "i", 8000);
    world.call_ms = 1000;
    webhook(SFU_EVENT_LEFT, "r", "i", "", 9);
    leave_manager_shutdown(world.manager, on_closed, NULL);
    world_run(999);
    assert_int_equal(closed, 0);
    world_run(1);
    assert_int_equal(closed, 1);
    assert_null(world_stored("r", "i"));
}

static void a_homeserver_that_hangs_does_not_keep_us(void **state)
{
    (void)state;
    closed = 0;
    char identity[16];
    for (int i = 0; i < 40; i++) {
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
    world_run(1000);
    world.call_ms = WORLD_NEVER;
    leave_manager_shutdown(world.manager, on_closed, NULL);
    world_run(LEAVE_SHUTDOWN_MS - 1);
    assert_int_equal(closed, 0);
    world_run(1);
    assert_int_equal(closed, 1);
    assert_int_equal(world.calls_now, 0);
}

static void an_empty_service_ends_at_once(void **state)
{
    (void)state;
    closed = 0;
    leave_manager_shutdown(world.manager, on_closed, NULL);
    assert_int_equal(closed, 0);
    world_run(0);
    assert_int_equal(closed, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_has_expired_is_removed_without_a_call),
        TEST(a_restored_job_reacts_like_a_fresh_one),
        TEST(connected_jobs_are_restarted_at_once_the_soonest_first),
        TEST(a_job_survives_a_crash_with_what_is_known),
        TEST(jobs_of_a_dead_instance_are_taken_over),
        TEST(the_store_may_ask_for_what_it_does_not_keep),
        TEST(a_shutdown_in_the_middle_of_reading_does_not_wait),
        TEST(without_its_token_a_job_is_run_by_its_bare_id),
        TEST(the_service_ends_in_order),
        TEST(a_running_send_is_finished_before_the_end),
        TEST(a_homeserver_that_hangs_does_not_keep_us),
        TEST(an_empty_service_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

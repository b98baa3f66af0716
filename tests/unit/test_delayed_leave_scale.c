// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// A hundred thousand delegated leaves: what they weigh and how long it takes to restore them.
#include <malloc.h>

#include "common/sys/clock.h"
#include "tests/unit/leave_world.h"

static size_t heap_used(void)
{
    struct mallinfo2 const m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void on_loaded(void *user, const struct job_load *load)
{
    (void)load;
    *(bool *)user = true;
}

// The identities are as long as real ones (43 and some 30 characters). rooms: how many share one.
static void restore(int n, int per_room, enum job_state state)
{
    char room[64];
    char identity[64];
    char other[96];
    char user_id[64];
    char server[64];
    bool done = false;
    leave_manager_recover(world.manager, on_loaded, &done);
    for (int i = 0; i < n; i++) {
        (void)snprintf(room, sizeof(room), "room%039d", i / per_room);
        (void)snprintf(identity, sizeof(identity), "hash%039d", i);
        (void)snprintf(user_id, sizeof(user_id), "@somebody%d:server.example", i);
        (void)snprintf(other, sizeof(other), "%s:ABCDEFGHIJ", user_id);
        (void)snprintf(server, sizeof(server), "server%d.example", i % 20);
        struct job_record const r = {
            .room = room,
            .identity = identity,
            .other_identity = other,
            .delay_id = "syd_MPrhtjLAWxemQWUdCaCg",
            .server_name = server,
            .user_id = user_id,
            .owner_user_id = "",
            .sid = "PA_zDQaRdgze4w4",
            .delay_timeout_ns = INT64_C(3600000) * 1000000,
            .restarted_at = loop_wall(NULL),
            .state = state,
        };
        world.load_each(world.load_user, &r);
    }
    world.load_done(world.load_user, &(struct job_load){.result = JOB_LOAD_OK});
    assert_true(done);
}

static void weigh(const char *what, int per_room, enum job_state state)
{
    enum { JOBS = LEAVE_JOBS_MAX };
    world_start(60000);
    world_keeps_records = false;
    world.call_ms = WORLD_NEVER;
    size_t const before = heap_used();
    mono_t const start = clock_mono();
    restore(JOBS, per_room, state);
    int64_t const ms = mono_diff_ms(clock_mono(), start);
    size_t const bytes = heap_used() - before;
    struct leave_counts c;
    leave_manager_counts(world.manager, &c);
    assert_int_equal(c.restored, JOBS);
    print_message("%d %s: %zu bytes each, %lld ms\n", JOBS, what, bytes / JOBS, (long long)ms);
    // Sanitizers have an allocator of their own, that tells nothing.
    assert_true(bytes / JOBS < 900);
    // Of all that want to be restarted and looked up, few are on their way at a time.
    assert_true(world.calls_now <= 20 * 2 * DELAYED_EVENT_PER_SERVER_MAX);
    assert_true(world.gets + world.lists <= 16);
    world_end();
}

static void jobs_with_rooms_of_their_own(void **state)
{
    (void)state;
    weigh("jobs with rooms of their own", 1, JOB_WAITING);
}

static void connected_jobs_ten_in_a_room(void **state)
{
    (void)state;
    weigh("connected jobs, ten in a room", 10, JOB_CONNECTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_with_rooms_of_their_own),
        cmocka_unit_test(connected_jobs_ten_in_a_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

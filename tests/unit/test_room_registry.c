// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "sfu/signal/room_registry.h"

static void tell(struct room_registry *r, uint32_t worker, const char *name, uint32_t participants)
{
    struct channel_room_info i = {.name = mem_strdup(name),
                                  .room = shared_buf_copy(bytes_str("Room")),
                                  .num_participants = participants};
    room_registry_update(r, worker, &i);
    mem_free(i.name);
    shared_buf_unref(i.room);
}

static void rooms_go_to_the_emptiest_worker(void **state)
{
    (void)state;
    struct room_registry r;
    room_registry_init(&r, 3);
    char name[16];
    uint32_t rooms[3] = {0};
    // A burst of rooms that nobody has joined yet is spread as well.
    for (int i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof(name), "r%d", i);
        rooms[room_registry_hold(&r, name)->worker]++;
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rooms[i], 3);
    }
    uint32_t const full = room_registry_find(&r, "r0")->worker;
    uint32_t const other = room_registry_find(&r, "r1")->worker;
    tell(&r, full, "r0", 50);
    tell(&r, other, "r1", 10);
    uint32_t const empty = 3 - full - other;
    assert_int_equal(room_registry_hold(&r, "x")->worker, empty);
    tell(&r, empty, "x", 20);
    assert_int_equal(room_registry_hold(&r, "y")->worker, other);
    tell(&r, full, "r0", 0); // they left
    assert_int_equal(room_registry_hold(&r, "z")->worker, full);
    room_registry_done(&r);
}

static void a_room_stays_where_it_is(void **state)
{
    (void)state;
    struct room_registry r;
    room_registry_init(&r, 8);
    uint32_t const worker = room_registry_hold(&r, "a")->worker;
    tell(&r, worker, "a", 100);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(room_registry_hold(&r, "a")->worker, worker);
    }
    // What another worker says about it is not believed.
    tell(&r, worker ^ 1u, "a", 7);
    assert_int_equal(room_registry_find(&r, "a")->info.num_participants, 100);
    room_registry_ended(&r, worker ^ 1u, "a");
    assert_non_null(room_registry_find(&r, "a"));
    room_registry_ended(&r, worker, "nothing");
    room_registry_done(&r);
}

static void an_ended_room_stays_while_it_is_held(void **state)
{
    (void)state;
    struct room_registry r;
    room_registry_init(&r, 4);
    uint32_t const worker = room_registry_hold(&r, "a")->worker;
    tell(&r, worker, "a", 3);
    assert_int_equal(r.load[worker], 3);
    (void)room_registry_hold(&r, "a"); // a join that is on its way
    room_registry_ended(&r, worker, "a");
    assert_int_equal(r.load[worker], 0);
    struct room_entry *const e = room_registry_find(&r, "a");
    assert_non_null(e);
    assert_false(e->known);
    assert_int_equal(e->worker, worker);
    room_registry_release(&r, "a");
    assert_non_null(room_registry_find(&r, "a"));
    room_registry_release(&r, "a");
    assert_null(room_registry_find(&r, "a"));
    room_registry_release(&r, "a"); // nothing
    room_registry_done(&r);
}

static void a_known_room_goes_only_when_it_ended(void **state)
{
    (void)state;
    struct room_registry r;
    room_registry_init(&r, 2);
    uint32_t const worker = room_registry_hold(&r, "a")->worker;
    tell(&r, worker, "a", 1);
    room_registry_release(&r, "a");
    assert_true(room_registry_find(&r, "a")->known);
    tell(&r, worker, "a", 0);
    assert_non_null(room_registry_find(&r, "a"));
    room_registry_ended(&r, worker, "a");
    assert_null(room_registry_find(&r, "a"));
    // One that nobody here holds any more is entered when its worker names it.
    tell(&r, 1, "b", 2);
    assert_int_equal(room_registry_find(&r, "b")->worker, 1);
    assert_int_equal(r.load[1], 2);
    room_registry_done(&r);
    assert_null(r.rooms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rooms_go_to_the_emptiest_worker),
        cmocka_unit_test(a_room_stays_where_it_is),
        cmocka_unit_test(an_ended_room_stays_while_it_is_held),
        cmocka_unit_test(a_known_room_goes_only_when_it_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: leave_index
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "jwt-service/leave/leave_table.h"

static struct leave_job *add(struct leave_table *t, const char *room, const char *identity,
                             const char *other, const char *user)
{
    struct leave_job_conf const conf = {
        .delay_id = "syd_1",
        .server_name = "a.example",
        .room = room,
        .identity = identity,
        .other_identity = other,
        .user_id = user,
    };
    struct leave_job *const j = leave_table_add(t, &conf);
    assert_non_null(j);
    assert_int_equal(leave_table_publish(t, j), 0);
    return j;
}

static void an_index_finds_all_of_a_hash(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct leave_node node[N];
    struct leave_index ix = {0};
    assert_null(leave_index_first(&ix, 1));
    for (uint32_t i = 0; i < N; i++) {
        node[i].hash = i % 100;
        node[i].tag = i;
        assert_int_equal(leave_index_add(&ix, &node[i]), 0);
    }
    assert_int_equal(ix.count, N);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t h = 0; h < 100; h++) {
            uint32_t n = 0;
            struct leave_node *x = leave_index_first(&ix, h);
            for (; x; x = leave_index_next(x)) {
                assert_int_equal(x->hash, h);
                n++;
            }
            assert_int_equal(n, round == 0 ? 10 : 5);
        }
        for (uint32_t i = 0; i < N && round == 0; i++) {
            if (i % 200 < 100) {
                leave_index_remove(&ix, &node[i]);
            }
        }
    }
    leave_index_done(&ix);
    assert_null(leave_index_first(&ix, 1));
}

static void jobs_share_what_they_have_in_common(void **state)
{
    (void)state;
    struct leave_table t = {0};
    struct leave_job *const a = add(&t, "r", "i1", NULL, "@u:a.example");
    struct leave_job *const b = add(&t, "r", "i2", "", "@u:a.example");
    struct leave_job *const c = add(&t, "q", "i1", "i1", NULL);
    assert_ptr_equal(a->room, b->room);
    assert_ptr_not_equal(a->room, c->room);
    assert_ptr_equal(a->server, c->server);
    assert_int_equal(a->server->jobs, 3);
    assert_int_equal(leave_table_user(&t, "@u:a.example")->jobs, 2);
    assert_null(c->user);
    assert_string_equal(leave_job_identity(c), "i1");
    assert_string_equal(leave_job_delay_id(c), "syd_1");
    assert_string_equal(leave_job_other(c), ""); // the same is no other
    leave_table_remove(&t, a);
    assert_int_equal(b->server->jobs, 2);
    leave_table_remove(&t, b);
    assert_null(leave_table_room(&t, "r"));
    assert_null(leave_table_user(&t, "@u:a.example"));
    leave_table_remove(&t, c);
    assert_null(leave_table_server(&t, "a.example"));
    assert_int_equal(t.count, 0);
    leave_table_done(&t);
}

static void a_job_is_found_by_both_identities_but_has_one_key(void **state)
{
    (void)state;
    struct leave_table t = {0};
    struct leave_job *found[4];
    uint8_t who[4];
    struct leave_job *const a = add(&t, "r", "hash", "@u:s:D", "@u:s");
    struct leave_job *const b = add(&t, "r", "@u:s:D", NULL, "@u:s");
    struct leave_job *const c = add(&t, "r2", "@u:s:D", NULL, "@u:s");
    assert_ptr_equal(leave_table_find(&t, "r", "hash"), a);
    assert_ptr_equal(leave_table_find(&t, "r", "@u:s:D"), b);
    assert_ptr_equal(leave_table_find(&t, "r2", "@u:s:D"), c);
    assert_null(leave_table_find(&t, "r3", "hash"));
    assert_int_equal(leave_table_watching(&t, a->room, "hash", found, who, 4), 1);
    assert_ptr_equal(found[0], a);
    assert_int_equal(who[0], 0);
    assert_int_equal(leave_table_watching(&t, a->room, "@u:s:D", found, who, 4), 2);
    assert_true((found[0] == a && who[0] == 1) || (found[1] == a && who[1] == 1));
    assert_int_equal(leave_table_watching(&t, a->room, "@u:s:D", found, who, 1), 1);
    assert_int_equal(leave_table_watching(&t, a->room, "x", found, who, 4), 0);
    // One that only finishes is not found, and its key is free.
    leave_table_unpublish(&t, a);
    leave_table_unpublish(&t, a);
    assert_null(leave_table_find(&t, "r", "hash"));
    assert_int_equal(leave_table_watching(&t, a->room, "@u:s:D", found, who, 4), 1);
    leave_table_remove(&t, a);
    leave_table_remove(&t, b);
    leave_table_remove(&t, c);
    leave_table_done(&t);
}

static void rooms_and_servers_stay_while_they_are_held(void **state)
{
    (void)state;
    struct leave_table t = {0};
    struct leave_job *const a = add(&t, "r", "i", NULL, NULL);
    struct leave_room *const r = a->room;
    struct leave_server *const s = a->server;
    leave_room_ref(r);
    leave_server_ref(s);
    leave_table_remove(&t, a);
    assert_string_equal(r->name, "r");
    assert_ptr_equal(leave_table_server(&t, "a.example"), s);
    leave_room_unref(&t, r);
    leave_server_unref(&t, s);
    assert_null(leave_table_room(&t, "r"));
    leave_table_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_finds_all_of_a_hash),
        cmocka_unit_test(jobs_share_what_they_have_in_common),
        cmocka_unit_test(a_job_is_found_by_both_identities_but_has_one_key),
        cmocka_unit_test(rooms_and_servers_stay_while_they_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "jwt-service/openid/server_gate.h"

#define TICKETS 64

static struct gate_ticket t[TICKETS];

static struct gate *make(struct gate_conf conf)
{
    memset(t, 0, sizeof(t));
    struct gate *const g = gate_new(&conf);
    assert_non_null(g);
    return g;
}

static void leave_all(struct gate *g)
{
    for (size_t i = 0; i < TICKETS; i++) {
        gate_leave(g, &t[i]);
    }
    assert_null(gate_pop(g));
    assert_int_equal(gate_inside(g), 0);
    assert_int_equal(gate_waiting(g), 0);
}

static enum gate_state enter(struct gate *g, const char *server, uint64_t client, size_t i)
{
    assert_int_equal(gate_enter(g, server, false, client, &t[i]), 0);
    return t[i].state;
}

static void one_server_has_so_many_places_and_a_line(void **state)
{
    (void)state;
    CLEANUP(gate_free)
    struct gate *g = make((struct gate_conf){.per_server = 2, .queue_per_server = 3});
    assert_int_equal(enter(g, "a", 0, 0), GATE_IN);
    assert_int_equal(enter(g, "a", 0, 1), GATE_IN);
    assert_int_equal(enter(g, "a", 0, 2), GATE_WAITING);
    assert_int_equal(enter(g, "a", 0, 3), GATE_WAITING);
    assert_int_equal(enter(g, "a", 0, 4), GATE_WAITING);
    assert_int_equal(gate_enter(g, "a", false, 0, &t[5]), -EBUSY);
    assert_int_equal(t[5].state, GATE_OUT);
    assert_int_equal(enter(g, "b", 0, 6), GATE_IN); // others are not concerned
    assert_null(gate_pop(g));
    gate_leave(g, &t[3]); // out of the line
    gate_leave(g, &t[0]);
    assert_ptr_equal(gate_pop(g), &t[2]);
    assert_null(gate_pop(g));
    gate_leave(g, &t[1]);
    gate_leave(g, &t[2]);
    assert_ptr_equal(gate_pop(g), &t[4]);
    assert_int_equal(gate_inside(g), 2);
    leave_all(g);
}

static void lines_take_turns_for_the_places_of_all(void **state)
{
    (void)state;
    CLEANUP(gate_free)
    struct gate *g = make((struct gate_conf){.total = 2, .per_server = 2, .queue_total = 5});
    assert_int_equal(enter(g, "a", 0, 0), GATE_IN);
    assert_int_equal(enter(g, "a", 0, 1), GATE_IN);
    for (size_t i = 2; i < 5; i++) {
        assert_int_equal(enter(g, "a", 0, i), GATE_WAITING);
    }
    assert_int_equal(enter(g, "b", 0, 5), GATE_WAITING);
    assert_int_equal(enter(g, "c", 0, 6), GATE_WAITING);
    assert_int_equal(gate_enter(g, "d", false, 0, &t[7]), -EBUSY); // 5 wait
    gate_leave(g, &t[0]);
    assert_ptr_equal(gate_pop(g), &t[2]);
    gate_leave(g, &t[1]);
    assert_ptr_equal(gate_pop(g), &t[5]); // b, before the others of a
    gate_leave(g, &t[5]);
    assert_ptr_equal(gate_pop(g), &t[6]);
    gate_leave(g, &t[6]);
    assert_ptr_equal(gate_pop(g), &t[3]);
    leave_all(g);
}

static void one_client_has_so_many_places(void **state)
{
    (void)state;
    CLEANUP(gate_free)
    struct gate *g = make((struct gate_conf){.per_client = 2, .per_server = 4});
    assert_int_equal(enter(g, "a", 7, 0), GATE_IN);
    assert_int_equal(enter(g, "b", 7, 1), GATE_IN);
    assert_int_equal(enter(g, "c", 7, 2), GATE_WAITING);
    assert_int_equal(enter(g, "c", 8, 3), GATE_IN); // somebody else may pass
    assert_int_equal(enter(g, "c", 0, 4), GATE_IN);
    assert_null(gate_pop(g));
    gate_leave(g, &t[0]);
    assert_ptr_equal(gate_pop(g), &t[2]);
    leave_all(g);
}

static void trusted_servers_have_places_of_their_own(void **state)
{
    (void)state;
    CLEANUP(gate_free)
    struct gate *g = make((struct gate_conf){
        .total = 1, .per_client = 1, .trusted = 10, .trusted_queue = 2, .queue_total = 1});
    assert_int_equal(enter(g, "x", 7, 0), GATE_IN);
    assert_int_equal(enter(g, "y", 7, 1), GATE_WAITING);
    for (size_t i = 2; i < 12; i++) {
        assert_int_equal(gate_enter(g, "own", true, 7, &t[i]), 0);
        assert_int_equal(t[i].state, GATE_IN);
    }
    assert_int_equal(gate_enter(g, "own", true, 7, &t[12]), 0);
    assert_int_equal(gate_enter(g, "own", true, 7, &t[13]), 0);
    assert_int_equal(t[13].state, GATE_WAITING);
    assert_int_equal(gate_enter(g, "own", true, 7, &t[14]), -EBUSY);
    assert_int_equal(gate_enter(g, "own2", true, 7, &t[14]), 0);
    assert_int_equal(t[14].state, GATE_IN);
    gate_leave(g, &t[2]);
    assert_ptr_equal(gate_pop(g), &t[12]);
    assert_null(gate_pop(g));
    leave_all(g);
}

// Whoever comes and goes how: the caps hold, nobody is lost, and nobody waits while there is a
// place for him.
static void random_coming_and_going(void **state)
{
    (void)state;
    struct rng rng;
    uint8_t const seed[RNG_SEED_LEN] = {4};
    rng_seed(&rng, seed);
    CLEANUP(gate_free)
    struct gate *g = make((struct gate_conf){.total = 6,
                                             .per_server = 3,
                                             .per_client = 2,
                                             .queue_per_server = 5,
                                             .queue_total = 12,
                                             .trusted = 4,
                                             .trusted_queue = 6});
    unsigned server_of[TICKETS] = {0};
    for (int step = 0; step < 20000; step++) {
        size_t const i = rng_below(&rng, TICKETS);
        if (t[i].state == GATE_OUT) {
            char name[8];
            server_of[i] = rng_below(&rng, 5); // 0 is trusted
            (void)snprintf(name, sizeof(name), "s%u", server_of[i]);
            int const r = gate_enter(g, name, server_of[i] == 0, 1 + rng_below(&rng, 4), &t[i]);
            assert_true(r == 0 || r == -EBUSY);
        } else {
            gate_leave(g, &t[i]);
        }
        while (gate_pop(g)) {
        }
        unsigned inside[5] = {0};
        unsigned waiting[5] = {0};
        unsigned clients[5] = {0};
        unsigned total = 0;
        for (size_t k = 0; k < TICKETS; k++) {
            inside[server_of[k]] += t[k].state == GATE_IN;
            waiting[server_of[k]] += t[k].state == GATE_WAITING;
            if (t[k].state == GATE_IN && server_of[k] != 0) {
                total++;
                clients[t[k].client]++;
            }
        }
        assert_true(inside[0] <= 4 && waiting[0] <= 6 && total <= 6);
        assert_true(waiting[0] == 0 || inside[0] == 4);
        for (unsigned s = 1; s < 5; s++) {
            assert_true(inside[s] <= 3 && waiting[s] <= 5 && clients[s] <= 2);
        }
        for (size_t k = 0; k < TICKETS; k++) {
            if (t[k].state == GATE_WAITING && server_of[k] != 0) {
                assert_true(total == 6 || inside[server_of[k]] == 3 || clients[t[k].client] == 2);
            }
        }
    }
    leave_all(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server_has_so_many_places_and_a_line),
        cmocka_unit_test(lines_take_turns_for_the_places_of_all),
        cmocka_unit_test(one_client_has_so_many_places),
        cmocka_unit_test(trusted_servers_have_places_of_their_own),
        cmocka_unit_test(random_coming_and_going),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "jwt-service/openid/server_health.h"

static mono_t at(int64_t ms)
{
    return (mono_t){(1000000 + ms) * US_PER_MS};
}

static void unreachable_is_dead_for_a_minute(void **state)
{
    (void)state;
    CLEANUP(server_health_free) struct server_health *h = server_health_new(0);
    assert_false(server_health_dead(h, at(0), "a"));
    server_health_note(h, at(0), "a", SERVER_UNREACHABLE);
    assert_true(server_health_dead(h, at(0), "a"));
    assert_false(server_health_dead(h, at(0), "b"));
    assert_true(server_health_dead(h, at(59999), "a"));
    // Those that were under way do not prolong it.
    server_health_note(h, at(5000), "a", SERVER_UNREACHABLE);
    assert_false(server_health_dead(h, at(60000), "a"));
    // One attempt, and it is dead again; whatever the failure.
    server_health_note(h, at(60001), "a", SERVER_SILENT);
    assert_true(server_health_dead(h, at(120000), "a"));
    assert_false(server_health_dead(h, at(120001), "a"));
    server_health_note(h, at(120002), "a", SERVER_ANSWERED);
    assert_false(server_health_dead(h, at(120002), "a"));
}

static void who_answered_lately_has_three_strikes(void **state)
{
    (void)state;
    CLEANUP(server_health_free) struct server_health *h = server_health_new(0);
    server_health_note(h, at(0), "a", SERVER_ANSWERED);
    server_health_note(h, at(1), "a", SERVER_UNREACHABLE);
    server_health_note(h, at(2), "a", SERVER_SILENT);
    assert_false(server_health_dead(h, at(2), "a"));
    server_health_note(h, at(3), "a", SERVER_UNREACHABLE);
    assert_true(server_health_dead(h, at(3), "a"));
    // An answer in between begins anew.
    server_health_note(h, at(100000), "b", SERVER_SILENT);
    server_health_note(h, at(100001), "b", SERVER_SILENT);
    server_health_note(h, at(100002), "b", SERVER_ANSWERED);
    server_health_note(h, at(100003), "b", SERVER_SILENT);
    assert_false(server_health_dead(h, at(100003), "b"));
    // A minute after its last answer it counts as any other.
    server_health_note(h, at(160003), "b", SERVER_UNREACHABLE);
    assert_true(server_health_dead(h, at(160003), "b"));
}

static void memory_is_bounded(void **state)
{
    (void)state;
    CLEANUP(server_health_free) struct server_health *h = server_health_new(64);
    char name[32];
    unsigned dead = 0;
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof(name), "s%d.example", i);
        server_health_note(h, at(i), name, SERVER_UNREACHABLE);
        assert_true(server_health_dead(h, at(i), name));
    }
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof(name), "s%d.example", i);
        dead += server_health_dead(h, at(10000), name);
    }
    assert_in_range(dead, 32, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unreachable_is_dead_for_a_minute),
        cmocka_unit_test(who_answered_lately_has_three_strikes),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: room
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sfu/room/departures.h"

static mono_t at(int64_t s)
{
    return (mono_t){s * US_PER_S};
}

static void add(struct departures *d, int i)
{
    char sid[SID_SIZE];
    char identity[32];
    (void)snprintf(sid, sizeof(sid), "PA_%d", i);
    (void)snprintf(identity, sizeof(identity), "who%d", i);
    departures_add(d, at(i), sid, identity, (uint32_t)i, 1);
}

static void those_who_left_are_kept_in_order(void **state)
{
    (void)state;
    struct departures d = {0};
    assert_true(departures_complete(&d, at(0)));
    for (int i = 0; i < 20; i++) {
        add(&d, i);
    }
    assert_int_equal(d.count, 20);
    for (uint32_t i = 0; i < 20; i++) {
        const struct departure *const x = departures_at(&d, i);
        assert_int_equal(x->version, i);
        assert_true(x->at.us == at(i).us);
    }
    assert_string_equal(departures_at(&d, 7)->sid, "PA_7");
    assert_string_equal(departures_at(&d, 7)->identity, "who7");
    assert_true(departures_complete(&d, at(0)));
    departures_done(&d);
    assert_int_equal(d.count, 0);
}

static void what_was_forgotten_is_known_to_be(void **state)
{
    (void)state;
    struct departures d = {0};
    int const n = (int)DEPARTURES_MAX + 10;
    for (int i = 0; i < n; i++) {
        add(&d, i);
    }
    assert_int_equal(d.count, DEPARTURES_MAX);
    assert_int_equal(departures_at(&d, 0)->version, 10);
    assert_int_equal(departures_at(&d, d.count - 1)->version, n - 1);
    assert_false(departures_complete(&d, at(0)));
    assert_false(departures_complete(&d, at(9)));
    assert_true(departures_complete(&d, at(10)));
    departures_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_left_are_kept_in_order),
        cmocka_unit_test(what_was_forgotten_is_known_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

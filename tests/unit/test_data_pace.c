// SPDX-License-Identifier: Apache-2.0
// LINK: room
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/room/data_pace.h"

static mono_t const start = {INT64_C(5000000)};

static void little_is_free(void **state)
{
    (void)state;
    struct data_pace sender = {{0}}, room = {{0}};
    mono_t now = start;
    for (int i = 0; i < 1000; i++) { // 60 a second to 100 people
        assert_true(mono_reached(data_pace_spend(&sender, &room, now, 100, 200), now));
        now = mono_add_us(now, US_PER_S / 60);
    }
}

static void a_burst_is_free_and_more_waits(void **state)
{
    (void)state;
    struct data_pace sender = {{0}}, room = {{0}};
    size_t const n = 15000;
    uint64_t sent = 0;
    while (mono_reached(data_pace_spend(&sender, &room, start, 10, n), start)) {
        sent += 10 * (n + DATA_PACE_MESSAGE);
    }
    assert_in_range(sent, DATA_PACE_SENDER_BYTES_S / 5, DATA_PACE_SENDER_BYTES_S / 4 + 200000);
    // From then on at the rate.
    mono_t now = start;
    sent = 0;
    while (mono_diff_ms(now, start) < 10000) {
        now = mono_max(now, data_pace_spend(&sender, &room, now, 10, n));
        sent += 10 * (n + DATA_PACE_MESSAGE);
    }
    assert_in_range(sent, DATA_PACE_SENDER_BYTES_S * 99 / 10, DATA_PACE_SENDER_BYTES_S * 101 / 10);
}

static void a_full_room_stops_those_who_fill_it(void **state)
{
    (void)state;
    struct data_pace heavy[4] = {{{0}}}, light = {{0}}, room = {{0}};
    for (int i = 0; i < 4; i++) {
        mono_t at = start;
        while (mono_reached(at, start)) {
            at = data_pace_spend(&heavy[i], &room, start, 100, 15000);
        }
    }
    // Four bursts are more than the room has: the last one waits for it, not only for itself.
    assert_true(mono_diff_ms(data_pace_spend(&heavy[3], &room, start, 1, 1), start) > 100);
    assert_true(mono_reached(data_pace_spend(&light, &room, start, 100, 100), start));
}

static void nobody_listens(void **state)
{
    (void)state;
    struct data_pace sender = {{0}}, room = {{0}};
    for (int i = 0; i < 1000; i++) {
        assert_true(mono_reached(data_pace_spend(&sender, &room, start, 0, 64000), start));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_is_free),
        cmocka_unit_test(a_burst_is_free_and_more_waits),
        cmocka_unit_test(a_full_room_stops_those_who_fill_it),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/playout_delay.h"
#include "sfu/wire/rtp_ext.h"

static struct playout_delay d;
static mono_t now;

static void assert_says(uint16_t min_10ms, uint16_t max_10ms)
{
    uint16_t min = 0;
    uint16_t max = 0;
    assert_true(rtp_ext_playout_delay(bytes_of(d.bytes, sizeof(d.bytes)), &min, &max));
    assert_int_equal(min, min_10ms);
    assert_int_equal(max, max_10ms);
}

static bool report(int64_t after_ms, uint16_t highest, uint32_t jitter, uint64_t packets,
                   uint64_t nacks)
{
    now = mono_add_ms(now, after_ms);
    struct playout_delay_report const r = {highest, jitter, packets, nacks};
    return playout_delay_report(&d, now, &r);
}

static int begin(void **state)
{
    (void)state;
    now = (mono_t){1000000};
    return 0;
}

static void limits_are_those_of_the_room(void **state)
{
    (void)state;
    assert_false(playout_delay_init(&d, 0, 0));
    assert_true(playout_delay_init(&d, 100, 400));
    assert_says(10, 40);
    assert_true(playout_delay_init(&d, 100, 0));
    assert_says(10, 1000);
    assert_true(playout_delay_init(&d, 0, 50));
    assert_says(0, 5);
    // Receivers ignore a least that is over the largest, and there are twelve bits.
    assert_true(playout_delay_init(&d, 500, 200));
    assert_says(20, 20);
    assert_true(playout_delay_init(&d, UINT32_MAX, UINT32_MAX));
    assert_says(4095, 4095);
}

static void it_is_told_until_it_has_arrived(void **state)
{
    (void)state;
    assert_true(playout_delay_init(&d, 100, 400));
    assert_true(report(1000, 7, 0, 0, 0)); // of before
    playout_delay_attach(&d, 65530);
    playout_delay_attach(&d, 65531);
    assert_true(report(1000, 65529, 0, 10, 0));
    assert_false(report(1000, 3, 0, 20, 0));
    // For good, however far the numbers go.
    assert_false(report(1000, 40000, 0, 20000, 0));
    assert_false(report(1000, 65529, 0, 80000, 0));
    assert_says(10, 40);
}

static void jitter_moves_it_slowly(void **state)
{
    (void)state;
    assert_true(playout_delay_init(&d, 100, 400));
    playout_delay_attach(&d, 1);
    assert_false(report(1000, 1, 30, 100, 0)); // the first only begins the time
    assert_says(10, 40);
    assert_true(report(1000, 2, 30, 200, 0)); // 300 ms are the aim
    assert_says(18, 40);
    playout_delay_attach(&d, 3);
    assert_true(report(50, 2, 30, 210, 0)); // too soon for a change, and it has not arrived
    assert_says(18, 40);
    assert_false(report(10, 3, 30, 210, 0));
    assert_false(report(40, 3, 18, 210, 0));
    assert_says(18, 40);
    for (int i = 0; i < 10; i++) {
        (void)report(1000, 3, 30, 300, 0);
    }
    assert_says(30, 40);
    for (int i = 0; i < 10; i++) {
        (void)report(1000, 3, 100, 300, 0);
    }
    assert_says(40, 40); // that is the limit of the room
    assert_true(report(1000, 3, 0, 300, 0));
    assert_says(32, 40);
    for (int i = 0; i < 10; i++) {
        (void)report(1000, 3, 0, 300, 0);
    }
    assert_says(10, 40);
}

static void heavy_loss_moves_it_too(void **state)
{
    (void)state;
    assert_true(playout_delay_init(&d, 0, 400));
    (void)report(1000, 1, 0, 0, 0);
    (void)report(1000, 1, 0, 100, 60);
    assert_says(0, 40);
    (void)report(1000, 1, 0, 200, 60 + 90); // 90 %: 60 ms
    assert_says(6, 40);
    (void)report(1000, 1, 0, 300, 150 + 500); // more often than once each: as all
    assert_says(8, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(limits_are_those_of_the_room, begin),
        cmocka_unit_test_setup(it_is_told_until_it_has_arrived, begin),
        cmocka_unit_test_setup(jitter_moves_it_slowly, begin),
        cmocka_unit_test_setup(heavy_loss_moves_it_too, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/layer_selector.h"

#define ALL 7

static mono_t at_ms(int64_t ms)
{
    return (mono_t){ms * US_PER_MS};
}

static bool key(struct layer_selector *s, int64_t ms, int encoding, uint8_t live)
{
    if (!layer_selector_key_frame(s, at_ms(ms), encoding, live)) {
        return false;
    }
    layer_selector_switched(s, encoding);
    return true;
}

static void selector_starts_at_the_target_if_it_is_live(void **state)
{
    (void)state;
    struct layer_selector s;
    layer_selector_init(&s, 3);
    assert_false(key(&s, 1000, 0, ALL));
    assert_false(key(&s, 1010, 1, ALL));
    assert_true(key(&s, 1020, 2, ALL));
    assert_int_equal(s.current_spatial, 2);
    assert_false(key(&s, 1030, 0, ALL));
}

static void selector_takes_a_lower_layer_after_the_grace(void **state)
{
    (void)state;
    struct layer_selector s;
    layer_selector_init(&s, 3);
    assert_false(key(&s, 1000, 0, ALL));
    assert_true(key(&s, 1300, 0, ALL));
    assert_true(key(&s, 1310, 1, ALL)); // a step up
    assert_true(key(&s, 1320, 2, ALL));
}

static void selector_starts_low_at_once_if_nothing_better_lives(void **state)
{
    (void)state;
    struct layer_selector s;
    uint8_t want = 9;
    layer_selector_init(&s, 3);
    assert_true(key(&s, 1000, 0, 1));
    assert_false(layer_selector_wants_key_frame(&s, 1, &want));
    assert_true(layer_selector_wants_key_frame(&s, ALL, &want));
    assert_int_equal(want, 2);
    assert_true(key(&s, 1100, 2, ALL));
}

static void selector_goes_down_only_at_a_key_frame_unless_urgent(void **state)
{
    (void)state;
    struct layer_selector s;
    uint8_t want = 9;
    layer_selector_init(&s, 3);
    assert_true(key(&s, 1000, 2, ALL));
    layer_selector_set_max(&s, 0, 3);
    assert_int_equal(s.current_spatial, 2);
    assert_true(layer_selector_wants_key_frame(&s, ALL, &want));
    assert_int_equal(want, 0);
    assert_true(key(&s, 1100, 1, ALL)); // a step down
    assert_true(key(&s, 1200, 0, ALL));
    layer_selector_set_max(&s, 2, 3);
    assert_true(key(&s, 1300, 2, ALL));
    layer_selector_set_allowed(&s, 1, 3, true);
    assert_int_equal(s.current_spatial, LAYER_SELECTOR_NONE);
    assert_true(key(&s, 1400, 1, ALL));
}

static void selector_follows_what_is_live(void **state)
{
    (void)state;
    struct layer_selector s;
    uint8_t want = 9;
    layer_selector_init(&s, 3);
    assert_true(key(&s, 1000, 2, ALL));
    assert_int_equal(layer_selector_target(&s, 3), 1); // f died
    assert_true(layer_selector_wants_key_frame(&s, 3, &want));
    assert_int_equal(want, 1);
    assert_true(key(&s, 1100, 1, 3));
    layer_selector_set_max(&s, 0, 3);
    assert_int_equal(layer_selector_target(&s, 6),
                     1); // q is not there: better too much than nothing
    layer_selector_set_max(&s, LAYER_SELECTOR_NONE, 0);
    assert_int_equal(layer_selector_target(&s, ALL), LAYER_SELECTOR_NONE);
    assert_false(layer_selector_wants_key_frame(&s, ALL, &want));
    layer_selector_init(&s, 2);
    assert_int_equal(layer_selector_target(&s, 0), 1); // nothing known yet, two encodings
}

static void selector_enters_temporal_layers_in_sync_and_leaves_them_at_once(void **state)
{
    (void)state;
    struct layer_selector s;
    layer_selector_init(&s, 1);
    assert_true(key(&s, 1000, 0, 1));
    assert_int_equal(layer_selector_temporal(&s, 0, true, true, true), 3);
    layer_selector_set_max(&s, 2, 0);
    assert_int_equal(layer_selector_temporal(&s, 2, false, false, false), 0);
    layer_selector_set_max(&s, 2, 2);
    assert_int_equal(layer_selector_temporal(&s, 2, true, false, false), 0);
    assert_int_equal(layer_selector_temporal(&s, 1, false, false, true), 0); // not the first packet
    assert_int_equal(layer_selector_temporal(&s, 1, true, false, true), 1);
    assert_int_equal(layer_selector_temporal(&s, 2, true, false, false), 1);
    assert_int_equal(layer_selector_temporal(&s, 2, true, false, true), 2);
    layer_selector_set_max(&s, 2, 0);
    (void)layer_selector_temporal(&s, 0, true, false, false);
    layer_selector_set_max(&s, 2, 2);
    assert_int_equal(layer_selector_temporal(&s, 0, true, true, false), 2); // key frame
}

static void selector_gives_up_waiting_for_sync(void **state)
{
    (void)state;
    struct layer_selector s;
    layer_selector_init(&s, 1);
    assert_true(key(&s, 1000, 0, 1));
    layer_selector_set_max(&s, 2, 0);
    (void)layer_selector_temporal(&s, 0, true, false, false);
    layer_selector_set_max(&s, 2, 1);
    for (int i = 1; i < LAYER_SELECTOR_SYNC_WAIT; i++) {
        assert_int_equal(layer_selector_temporal(&s, 1, true, false, false), 0);
    }
    assert_int_equal(layer_selector_temporal(&s, 1, true, false, false), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selector_starts_at_the_target_if_it_is_live),
        cmocka_unit_test(selector_takes_a_lower_layer_after_the_grace),
        cmocka_unit_test(selector_starts_low_at_once_if_nothing_better_lives),
        cmocka_unit_test(selector_goes_down_only_at_a_key_frame_unless_urgent),
        cmocka_unit_test(selector_follows_what_is_live),
        cmocka_unit_test(selector_enters_temporal_layers_in_sync_and_leaves_them_at_once),
        cmocka_unit_test(selector_gives_up_waiting_for_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

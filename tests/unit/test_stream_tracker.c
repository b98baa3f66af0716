// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/stream_tracker.h"

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static void stream_tracker_lives_and_dies(void **state)
{
    (void)state;
    struct stream_tracker t;
    stream_tracker_init(&t, false);
    assert_int_equal(t.state, STREAM_TRACKER_DEAD);
    assert_true(mono_is_never(stream_tracker_deadline(&t)));
    assert_true(stream_tracker_packet(&t, ms(0), 0, 0, 1000));
    for (unsigned i = 1; i < 30; i++) {
        assert_false(stream_tracker_packet(&t, ms(33 * i), 2970 * i, 0, 1000));
    }
    mono_t const last = ms(33 * 29);
    assert_int_equal(stream_tracker_deadline(&t).us, mono_add_ms(last, 300).us);
    assert_false(stream_tracker_timeout(&t, mono_add_ms(last, 299)));
    assert_true(stream_tracker_timeout(&t, mono_add_ms(last, 300)));
    assert_int_equal(t.state, STREAM_TRACKER_QUIET);
    assert_int_equal(stream_tracker_deadline(&t).us, mono_add_ms(last, 1000).us);
    assert_true(stream_tracker_timeout(&t, mono_add_ms(last, 1000)));
    assert_int_equal(t.state, STREAM_TRACKER_DEAD);
    assert_true(stream_tracker_packet(&t, mono_add_ms(last, 5000), 7, 0,
                                      1000)); // back on the same clock or another
    assert_int_equal(t.state, STREAM_TRACKER_LIVE);
}

static void stream_tracker_waits_four_frames(void **state)
{
    (void)state;
    struct stream_tracker t;
    stream_tracker_init(&t, false);
    for (unsigned i = 0; i < 20; i++) { // five frames a second in two packets each
        (void)stream_tracker_packet(&t, ms(200 * i), 18000 * i, 0, 100);
        (void)stream_tracker_packet(&t, ms(200 * i + 1), 18000 * i, 0, 100);
    }
    assert_false(stream_tracker_timeout(&t, ms(200 * 19 + 700)));
    assert_true(stream_tracker_timeout(&t, ms(200 * 19 + 802)));
}

static void stream_tracker_is_patient_with_screens(void **state)
{
    (void)state;
    struct stream_tracker t;
    stream_tracker_init(&t, true);
    (void)stream_tracker_packet(&t, ms(0), 0, 0, 100);
    assert_false(stream_tracker_timeout(&t, ms(2499)));
    assert_true(stream_tracker_timeout(&t, ms(2500)));
    assert_false(stream_tracker_timeout(&t, ms(4999)));
    assert_true(stream_tracker_timeout(&t, ms(5000)));
}

static void stream_tracker_believes_the_publisher(void **state)
{
    (void)state;
    struct stream_tracker t;
    static const uint32_t kbps[] = {100, 150};
    stream_tracker_init(&t, false);
    assert_false(stream_tracker_declare(&t, ms(0), true, kbps, 2)); // not alive before it sends
    assert_int_equal(stream_tracker_bitrate(&t, ms(0), 0), 100000);
    assert_int_equal(stream_tracker_bitrate(&t, ms(0), 1), 150000);
    assert_int_equal(stream_tracker_bitrate(&t, ms(0), 3), 150000);
    (void)stream_tracker_packet(&t, ms(0), 0, 0, 1000);
    assert_true(stream_tracker_declare(&t, ms(100), false, NULL, 0));
    assert_int_equal(t.state, STREAM_TRACKER_DEAD);
    assert_int_equal(stream_tracker_bitrate(&t, ms(100), 0), 0);
}

static void stream_tracker_measures_layers_cumulatively(void **state)
{
    (void)state;
    struct stream_tracker t;
    stream_tracker_init(&t, false);
    // 0-2-1-2 pattern of 100 frames a second: 1000, 300, 500, 300 bytes.
    static const uint8_t tid[] = {0, 2, 1, 2};
    static const uint32_t size[] = {1000, 300, 500, 300};
    assert_int_equal(stream_tracker_bitrate(&t, ms(0), 0), 0);
    for (unsigned i = 0; i < 300; i++) {
        (void)stream_tracker_packet(&t, ms(10 * i), 900 * i, tid[i % 4], size[i % 4]);
    }
    mono_t const now = ms(2999);
    assert_in_range(stream_tracker_bitrate(&t, now, 0), 195000, 205000);
    assert_in_range(stream_tracker_bitrate(&t, now, 1), 293000, 307000);
    assert_in_range(stream_tracker_bitrate(&t, now, 2), 410000, 430000);
    assert_int_equal(stream_tracker_bitrate(&t, now, 200), stream_tracker_bitrate(&t, now, 3));
    // It falls when packets stop.
    assert_in_range(stream_tracker_bitrate(&t, ms(3500), 2), 170000, 230000);
    assert_int_equal(stream_tracker_bitrate(&t, ms(4500), 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_tracker_lives_and_dies),
        cmocka_unit_test(stream_tracker_waits_four_frames),
        cmocka_unit_test(stream_tracker_is_patient_with_screens),
        cmocka_unit_test(stream_tracker_believes_the_publisher),
        cmocka_unit_test(stream_tracker_measures_layers_cumulatively),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

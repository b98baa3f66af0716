// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/nack_queue.h"

static struct nack_queue q;
static uint16_t sn[NACK_QUEUE_MAX];

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static void nack_queue_asks_after_the_first_delay_and_backs_off(void **state)
{
    (void)state;
    nack_queue_init(&q);
    nack_queue_set_rtt(&q, 40000);
    assert_true(mono_is_never(nack_queue_deadline(&q)));
    assert_true(nack_queue_add(&q, ms(100), 65535, 2));
    assert_int_equal(nack_queue_collect(&q, ms(109), sn, NACK_QUEUE_MAX), 0);
    assert_int_equal(nack_queue_deadline(&q).us, ms(110).us);
    // Times between the tries: RTT x 1.25^k.
    static const int64_t delays_us[] = {40000, 50000, 62500, 78125, 97656, 122070};
    mono_t now = ms(110);
    for (unsigned i = 0; i < NACK_QUEUE_TRIES; i++) {
        assert_int_equal(nack_queue_collect(&q, mono_add_us(now, -1), sn, NACK_QUEUE_MAX), 0);
        assert_int_equal(nack_queue_collect(&q, now, sn, NACK_QUEUE_MAX), 2);
        assert_int_equal(sn[0], 65535);
        assert_int_equal(sn[1], 0);
        now = nack_queue_deadline(&q);
        assert_int_equal(mono_diff_us(now, ms(110)) > 0, 1);
        if (i + 1 < NACK_QUEUE_TRIES) {
            int64_t const expect = delays_us[i];
            assert_in_range(mono_diff_us(now, ms(110)), expect, expect + 400000);
        }
    }
    assert_int_equal(nack_queue_collect(&q, now, sn, NACK_QUEUE_MAX), 0); // tries are used up
    assert_int_equal(q.count, 0);
    assert_int_equal(q.stats.given_up, 2);
    assert_int_equal(q.stats.asked, 12);
}

static void nack_queue_repeat_is_clamped(void **state)
{
    (void)state;
    static const struct {
        int64_t rtt, first;
    } rows[] = {{1000, 20000}, {70000, 70000}, {900000, 400000}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        nack_queue_init(&q);
        nack_queue_set_rtt(&q, rows[i].rtt);
        nack_queue_set_rtt(&q, 0); // ignored
        assert_true(nack_queue_add(&q, ms(0), 1, 1));
        assert_int_equal(nack_queue_collect(&q, ms(10), sn, 10), 1);
        assert_int_equal(mono_diff_us(nack_queue_deadline(&q), ms(10)), rows[i].first);
    }
}

static void nack_queue_forgets_what_arrives(void **state)
{
    (void)state;
    nack_queue_init(&q);
    assert_true(nack_queue_add(&q, ms(0), 10, 3));
    assert_true(nack_queue_remove(&q, ms(3), 11, false));
    assert_false(nack_queue_remove(&q, ms(3), 11, false));
    assert_false(nack_queue_remove(&q, ms(3), 99, true));
    assert_int_equal(nack_queue_collect(&q, ms(10), sn, 10), 2);
    assert_int_equal(sn[0], 10);
    assert_int_equal(sn[1], 12);
    nack_queue_reset(&q);
    assert_true(mono_is_never(nack_queue_deadline(&q)));
}

static void nack_queue_leaves_huge_gaps_to_key_frames(void **state)
{
    (void)state;
    nack_queue_init(&q);
    assert_true(nack_queue_add(&q, ms(0), 1, 150));
    assert_false(nack_queue_add(&q, ms(0), 200, 60)); // ten of the oldest are pushed out
    assert_int_equal(q.count, NACK_QUEUE_MAX);
    assert_int_equal(q.item[0].ext_sn, 11);
    assert_false(nack_queue_add(&q, ms(0), 1000, NACK_QUEUE_MAX + 1));
    assert_int_equal(q.count, 0);
    assert_int_equal(nack_queue_collect(&q, ms(10), sn, 10), 0);
}

static void nack_queue_gives_up_old_losses_behind_a_key_frame(void **state)
{
    (void)state;
    nack_queue_init(&q);
    assert_true(nack_queue_add(&q, ms(0), 10, 1));
    assert_true(nack_queue_add(&q, ms(500), 20, 1));
    assert_true(nack_queue_add(&q, ms(510), 40, 1));
    nack_queue_key_frame(&q, ms(600), 30);
    assert_int_equal(q.count, 3);
    nack_queue_key_frame(&q, ms(601), 30);
    assert_int_equal(q.count, 2); // only the first one is 600 ms old
    nack_queue_set_rtt(&q, 1000000);
    nack_queue_key_frame(&q, ms(2000), 30);
    assert_int_equal(q.count, 2); // a long path needs longer
    nack_queue_key_frame(&q, ms(9000), 30);
    assert_int_equal(q.count, 1); // 40 is not older than the key frame
}

static void nack_queue_waits_as_long_as_reordering_takes(void **state)
{
    (void)state;
    nack_queue_init(&q);
    uint64_t n = 1;
    for (unsigned i = 0; i < 20; i++, n += 2) {
        assert_true(nack_queue_add(&q, ms(100 * i), n, 1));
        assert_true(nack_queue_remove(&q, ms(100 * i + 17), n, false));
    }
    assert_int_equal(q.first_delay_us, 20000); // the 5 ms class above 17
    for (unsigned i = 0; i < 40; i++, n += 2) {
        assert_true(nack_queue_add(&q, ms(3000 + i), n, 1));
        assert_true(nack_queue_remove(&q, ms(3000 + i + 100), n, false));
    }
    assert_int_equal(q.first_delay_us, NACK_QUEUE_FIRST_MAX_US);
    // RTX repairs say nothing about reordering.
    nack_queue_init(&q);
    for (unsigned i = 0; i < 40; i++, n += 2) {
        assert_true(nack_queue_add(&q, ms(i), n, 1));
        assert_true(nack_queue_remove(&q, ms(i + 30), n, true));
    }
    assert_int_equal(q.first_delay_us, NACK_QUEUE_FIRST_MIN_US);
}

static void nack_queue_collects_at_most_what_fits(void **state)
{
    (void)state;
    nack_queue_init(&q);
    assert_true(nack_queue_add(&q, ms(0), 1, 30));
    assert_int_equal(nack_queue_collect(&q, ms(10), sn, 17), 17);
    assert_int_equal(sn[16], 17);
    assert_int_equal(nack_queue_collect(&q, ms(10), sn, 17), 13); // the rest is still due
    assert_int_equal(sn[0], 18);
    assert_int_equal(nack_queue_collect(&q, ms(10), sn, 17), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nack_queue_asks_after_the_first_delay_and_backs_off),
        cmocka_unit_test(nack_queue_repeat_is_clamped),
        cmocka_unit_test(nack_queue_forgets_what_arrives),
        cmocka_unit_test(nack_queue_leaves_huge_gaps_to_key_frames),
        cmocka_unit_test(nack_queue_gives_up_old_losses_behind_a_key_frame),
        cmocka_unit_test(nack_queue_waits_as_long_as_reordering_takes),
        cmocka_unit_test(nack_queue_collects_at_most_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

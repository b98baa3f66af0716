// SPDX-License-Identifier: Apache-2.0
// LINK: media
//
// Levels by loss, mute, missing layers, silence; the opinion scores of recorded servers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/quality_score.h"

static struct quality_score q;
static mono_t now;

static void begin(float weight)
{
    now = (mono_t){7 * US_PER_S};
    quality_score_init(&q, now, weight);
}

static void window(const struct quality_window *w)
{
    now = mono_add_us(now, QUALITY_SCORE_INTERVAL_US);
    quality_score_update(&q, now, w);
}

static enum quality_level level_after(unsigned windows, uint32_t expected, uint32_t lost)
{
    for (unsigned i = 0; i < windows; i++) {
        window(&(struct quality_window){.expected = expected, .lost = lost});
    }
    return quality_score_level(q.score);
}

static void assert_near(float a, float b)
{
    assert_true(a - b < 0.001F && b - a < 0.001F);
}

static void a_new_track_is_excellent(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_VIDEO);
    assert_int_equal(quality_score_level(q.score), QUALITY_EXCELLENT);
    assert_near(quality_score_mos(q.score), 4.5F);
}

static void loss_makes_it_good_then_poor(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_VIDEO);
    assert_int_equal(level_after(4, 1000, 0), QUALITY_EXCELLENT);
    assert_int_equal(level_after(4, 1000, 30), QUALITY_GOOD);
    assert_int_equal(level_after(4, 1000, 80), QUALITY_POOR);
    // Never below the floor: back within three windows.
    assert_true(q.score >= 30);
    assert_int_equal(level_after(1, 1000, 0), QUALITY_GOOD);
    assert_int_equal(level_after(2, 1000, 0), QUALITY_EXCELLENT);
    // Audio with error correction bears more.
    begin(QUALITY_SCORE_WEIGHT_OPUS);
    assert_int_equal(level_after(4, 250, 7), QUALITY_EXCELLENT);
    assert_int_equal(level_after(4, 250, 20), QUALITY_GOOD);
    assert_int_equal(level_after(4, 250, 60), QUALITY_POOR);
}

static void loss_of_few_packets_weighs_less(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_OPUS);
    (void)level_after(2, 250, 0);
    // Silence: 12 packets in five seconds, one lost.
    assert_int_equal(level_after(4, 12, 1), QUALITY_EXCELLENT);
}

static void missing_layers_cost_a_level_each(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_VIDEO);
    for (int i = 0; i < 4; i++) {
        window(&(struct quality_window){.expected = 500, .distance = 1});
    }
    assert_int_equal(quality_score_level(q.score), QUALITY_GOOD);
    for (int i = 0; i < 4; i++) {
        window(&(struct quality_window){.expected = 500, .distance = 2});
    }
    assert_int_equal(quality_score_level(q.score), QUALITY_POOR);
}

static void silence_is_poor_and_death_is_lost(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_OPUS);
    window(&(struct quality_window){0});
    assert_int_equal(quality_score_level(q.score), QUALITY_POOR);
    window(&(struct quality_window){.dead = true});
    assert_int_equal(quality_score_level(q.score), QUALITY_LOST);
    // Recording 04-client-freezes-v1.
    assert_near(quality_score_mos(q.score), 1.252F);
    // A still screen sends nothing and nothing is wrong; a dead one is.
    begin(QUALITY_SCORE_WEIGHT_VIDEO);
    window(&(struct quality_window){.sparse = true});
    assert_int_equal(quality_score_level(q.score), QUALITY_EXCELLENT);
    window(&(struct quality_window){.sparse = true, .dead = true});
    assert_int_equal(quality_score_level(q.score), QUALITY_LOST);
}

static void mute_is_excellent_at_once(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_OPUS);
    window(&(struct quality_window){.dead = true});
    quality_score_set_muted(&q, now, true);
    assert_int_equal(quality_score_level(q.score), QUALITY_EXCELLENT);
    window(&(struct quality_window){.dead = true});
    assert_int_equal(quality_score_level(q.score), QUALITY_EXCELLENT);
    // Unmuted late in the window: it does not count; the next one does.
    quality_score_set_muted(&q, mono_add_us(now, QUALITY_SCORE_INTERVAL_US * 6 / 10), false);
    quality_score_set_muted(&q, mono_add_us(now, QUALITY_SCORE_INTERVAL_US * 9 / 10), false);
    window(&(struct quality_window){0});
    assert_int_equal(quality_score_level(q.score), QUALITY_EXCELLENT);
    window(&(struct quality_window){0});
    assert_int_equal(quality_score_level(q.score), QUALITY_POOR);
}

static void delay_counts_only_where_it_is_given(void **state)
{
    (void)state;
    begin(QUALITY_SCORE_WEIGHT_OPUS);
    window(&(struct quality_window){.expected = 250, .rtt_us = 100000});
    assert_near(q.score, 100 - 0.8F * 1.25F);
    for (int i = 0; i < 6; i++) {
        window(&(struct quality_window){.expected = 250, .rtt_us = 900000, .jitter_us = 50000});
    }
    assert_int_equal(quality_score_level(q.score), QUALITY_GOOD);
}

static void opinion_scores_begin_at_one(void **state)
{
    (void)state;
    assert_near(quality_score_mos(0), 1.0F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_track_is_excellent),
        cmocka_unit_test(loss_makes_it_good_then_poor),
        cmocka_unit_test(loss_of_few_packets_weighs_less),
        cmocka_unit_test(missing_layers_cost_a_level_each),
        cmocka_unit_test(silence_is_poor_and_death_is_lost),
        cmocka_unit_test(mute_is_excellent_at_once),
        cmocka_unit_test(delay_counts_only_where_it_is_given),
        cmocka_unit_test(opinion_scores_begin_at_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

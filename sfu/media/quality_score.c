// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/quality_score.h"

#include <math.h>

// livekit scorer.go (media-plane 8.1).
#define SCORE_MAX 100.0F
#define SCORE_FLOOR 30.0F
#define SCORE_DRY 40.0F  // packets were expected and none came: POOR
#define SCORE_DEAD 20.0F // and nothing else either: LOST
#define FALLING 0.8F     // share of a new value below the present one
#define RISING 0.4F      // and above
#define LAYER_COST 35.0F // each layer missed costs a level
#define COUNTS_FROM 0.5F // share of a window in which packets were expected

// The largest packet rate fades to a half in 24 windows, two minutes: so often livekit computes its
// usual rate anew.
#define USUAL_FADE 0.97F

void quality_score_init(struct quality_score *q, mono_t now, float weight)
{
    *q = (struct quality_score){
        .score = SCORE_MAX, .loss_weight = weight, .updated = now, .unmuted = now};
}

void quality_score_set_muted(struct quality_score *q, mono_t now, bool muted)
{
    if (q->muted == muted) {
        return;
    }
    q->muted = muted;
    if (muted) {
        q->score = SCORE_MAX;
    } else {
        q->unmuted = now;
    }
}

// Loss hurts less where few packets are sent: silence (DTX), still screens.
static float loss_weight(struct quality_score *q, const struct quality_window *w, float seconds)
{
    float const pps = (float)w->expected / seconds;
    q->usual_pps = fmaxf(pps, q->usual_pps * USUAL_FADE);
    return q->usual_pps > 0 ? q->loss_weight * sqrtf(pps / q->usual_pps) : q->loss_weight;
}

// The simplified E-model that livekit took from PingPlotter: half the round trip and twice the
// jitter, in milliseconds; above 160 ms it counts four times as much.
static float delay_cost(const struct quality_window *w)
{
    float const ms = (float)w->rtt_us / 2000.0F + (float)w->jitter_us * 2.0F / 1000.0F;
    return ms > 160.0F ? (ms - 120.0F) / 10.0F : ms / 40.0F;
}

static float measured(struct quality_score *q, const struct quality_window *w, float seconds)
{
    float const percent = (float)MIN(w->lost, w->expected) * 100.0F / (float)w->expected;
    float const packets = SCORE_MAX - delay_cost(w) - percent * loss_weight(q, w, seconds);
    float const layers = SCORE_MAX - w->distance * LAYER_COST;
    float const s = fminf(packets, layers);
    float const share = s < q->score ? FALLING : RISING;
    return fmaxf(share * s + (1.0F - share) * q->score, SCORE_FLOOR);
}

void quality_score_update(struct quality_score *q, mono_t now, const struct quality_window *w)
{
    float const seconds = (float)mono_diff_us(now, q->updated) / (float)US_PER_S;
    float const heard = (float)mono_diff_us(now, q->unmuted) / (float)US_PER_S;
    q->updated = now;
    if (q->muted || seconds <= 0 || heard < seconds * COUNTS_FROM) {
        return;
    }
    if (w->expected > 0) {
        q->score = measured(q, w, seconds);
    } else if (w->dead) {
        q->score = SCORE_DEAD;
    } else if (!w->sparse) {
        q->score = SCORE_DRY;
    }
}

enum quality_level quality_score_level(float score)
{
    if (score > 80.0F) {
        return QUALITY_EXCELLENT;
    }
    if (score > 40.0F) {
        return QUALITY_GOOD;
    }
    return score > 20.0F ? QUALITY_POOR : QUALITY_LOST;
}

float quality_score_mos(float score)
{
    if (score <= 0) {
        return 1.0F;
    }
    if (score >= SCORE_MAX) {
        return 4.5F;
    }
    return 1.0F + 0.035F * score + 0.000007F * score * (score - 60.0F) * (SCORE_MAX - score);
}

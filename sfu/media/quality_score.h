// SPDX-License-Identifier: Apache-2.0
#pragma once
// How good the transmission of one track is: a score of 0..100 out of loss, delay and missing
// layers of one window after the other, smoothed, and the levels and opinion scores that clients
// are shown. Media-plane 8.1.
//
//   score    100 ──── 80 ──────── 40 ──────── 20
//   level     EXCELLENT   GOOD        POOR       LOST
//
// The floor of what is measured is 30, so that a track comes back within a few windows; LOST is
// only set by a window in which nothing at all was heard of the peer. A muted track is EXCELLENT.
//
// Pure. Thread: the worker that owns the track. Upstream: livekit
// pkg/sfu/connectionquality/scorer.go, connectionstats.go; constants are from there. Deviations: the
// usual packet rate is the largest seen of late, fading, where livekit keeps a histogram.

#include "common/base/mono.h"

// livekit connectionquality.UpdateInterval.
#define QUALITY_SCORE_INTERVAL_US (5 * US_PER_S)

// What one percent of lost packets costs. Opus carries forward error correction (useinbandfec=1 is
// in every answer): GOOD from 3.75 %, POOR from 11.25 %. Video: 2 % and 6 %.
#define QUALITY_SCORE_WEIGHT_OPUS 5.33F
#define QUALITY_SCORE_WEIGHT_VIDEO 10.0F

enum quality_level { // livekit ConnectionQuality: the numbers are on the wire
    QUALITY_POOR = 0,
    QUALITY_GOOD = 1,
    QUALITY_EXCELLENT = 2,
    QUALITY_LOST = 3,
};

struct quality_score {
    float score;
    float loss_weight; // points for one percent
    float usual_pps;   // packets per second
    bool muted;
    mono_t updated; // end of the last window
    mono_t unmuted; // since when packets are expected
};

// Totals since the last window, and what else is known of it. Zero is perfect.
struct quality_window {
    uint32_t expected; // packets that should have come; 0: nothing was sent
    uint32_t lost;     // of them
    float distance;    // layers below the one that should have come
    bool dead;         // nothing valid came from the peer, neither media nor anything else
    bool sparse;       // may be silent for seconds without anything being wrong (a still screen)
    uint32_t rtt_us;   // 0: leave the delay out, as livekit does by default
    uint32_t jitter_us;
};

// A score with what turns running totals into windows.
struct quality_meter {
    struct quality_score score;
    uint64_t expected; // totals at the end of the last window
    int64_t lost;
    uint64_t sent, holes;
    uint64_t forgiven;  // holes of our own that reports have not named yet
    int8_t wanted, got; // highest layer at the end of the last window
    uint8_t unreported; // windows in a row without a report
};

// Starts at 100. weight: QUALITY_SCORE_WEIGHT_*.
void quality_score_init(struct quality_score *q, mono_t now, float weight);

// Muted: nothing is expected. The score jumps to 100 and stays. Idempotent.
void quality_score_set_muted(struct quality_score *q, mono_t now, bool muted);

// Ends a window. One in which packets were expected for less than a half does not count.
void quality_score_update(struct quality_score *q, mono_t now, const struct quality_window *w);

// 0..100 as a level.
enum quality_level quality_score_level(float score);
// And as the mean opinion score that clients show, 1..4.5 (ITU-T G.107 annex B).
float quality_score_mos(float score);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Loudness of one audio track out of its audio level extension (RFC 6464), for active speakers.
// Media-plane 4.12.
//
// Pure. Upstream: livekit pkg/sfu/audio/audiolevel.go. Deviation: the time that one packet stands
// for is capped at one window, so that a packet after a long DTX gap cannot fill several.

#include "common/base/mono.h"

// LiveKit's defaults (config: audio.active_level, min_percentile, update_interval,
// smooth_intervals).
#define AUDIO_LEVEL_ACTIVE 35u // dBov below 0 that counts as speech
#define AUDIO_LEVEL_MIN_PERCENTILE 40u
#define AUDIO_LEVEL_INTERVAL_MS 400u
#define AUDIO_LEVEL_SMOOTH_INTERVALS 2u
// No packet for this long: silent. Above 400 ms, since Opus DTX sends every 420 ms.
#define AUDIO_LEVEL_STALE_US INT64_C(800000)

struct audio_level_params {
    uint8_t active_level;
    uint8_t min_percentile;
    uint16_t interval_ms;
    uint16_t smooth_intervals;
};

#define AUDIO_LEVEL_DEFAULTS                                                                       \
    ((struct audio_level_params){AUDIO_LEVEL_ACTIVE, AUDIO_LEVEL_MIN_PERCENTILE,                   \
                                 AUDIO_LEVEL_INTERVAL_MS, AUDIO_LEVEL_SMOOTH_INTERVALS})

struct audio_level {
    struct audio_level_params params;
    uint32_t clock;
    double smooth_factor;
    double active_threshold; // linear
    double smoothed;         // linear, 1.0 = 0 dBov
    bool started;
    uint32_t highest_ts;
    uint8_t loudest; // of the window, -dBov
    uint64_t active_ticks;
    uint64_t observed_ticks; // RTP clock units, so that rounding does not accumulate
    mono_t last_packet;
};

// clock: of RTP timestamps (48000 for Opus). Zero fields of params are replaced by the defaults.
void audio_level_init(struct audio_level *a, uint32_t clock, struct audio_level_params params);

// One packet with the extension (without it: do not call). level: -dBov, 0 loudest to 127. Late
// packets are ignored.
void audio_level_packet(struct audio_level *a, mono_t now, uint32_t ts, uint8_t level);

// Smoothed linear level 0..1 (0 when nothing came for 800 ms), and whether that is speech.
double audio_level_get(const struct audio_level *a, mono_t now, bool *ret_active);

// 0..1 rounded up to eighths, so that speaker updates are few (livekit audio.QuantizeLevel).
double audio_level_quantize(double level);

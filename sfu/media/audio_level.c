// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/audio_level.h"

#include <math.h>
#include <string.h>

#include "common/base/seq.h"

#define SILENT 127u

// dBov below 0 to linear.
static double linear(double level)
{
    return pow(10.0, -level / 20.0);
}

static void reset_window(struct audio_level *a)
{
    a->loudest = SILENT;
    a->active_ticks = 0;
    a->observed_ticks = 0;
}

void audio_level_init(struct audio_level *a, uint32_t clock, struct audio_level_params params)
{
    memset(a, 0, sizeof(*a));
    struct audio_level_params const d = AUDIO_LEVEL_DEFAULTS;
    a->params.active_level = params.active_level ? params.active_level : d.active_level;
    a->params.min_percentile = params.min_percentile ? params.min_percentile : d.min_percentile;
    a->params.interval_ms = params.interval_ms ? params.interval_ms : d.interval_ms;
    a->params.smooth_intervals =
        params.smooth_intervals ? params.smooth_intervals : d.smooth_intervals;
    a->clock = clock;
    // Weight of the newest window in an exponential average over n windows.
    a->smooth_factor = 2.0 / (a->params.smooth_intervals + 1.0);
    a->active_threshold = linear(a->params.active_level);
    reset_window(a);
}

static void end_window(struct audio_level *a)
{
    uint64_t const window = (uint64_t)a->params.interval_ms * a->clock / 1000;
    if (a->active_ticks * 100 >= window * a->params.min_percentile) {
        // Shorter speech counts as quieter.
        double const share = (double)a->active_ticks / (double)window;
        double const level = linear(a->loudest - 20.0 * log10(share));
        a->smoothed += (level - a->smoothed) * a->smooth_factor;
    } else {
        a->smoothed = 0;
    }
    reset_window(a);
}

void audio_level_packet(struct audio_level *a, mono_t now, uint32_t ts, uint8_t level)
{
    if (!a->started) {
        a->started = true;
        a->highest_ts = ts;
        a->last_packet = now;
        return; // how long it lasts is known from the next one
    }
    if (!seq32_newer(ts, a->highest_ts)) {
        return;
    }
    uint64_t const window = (uint64_t)a->params.interval_ms * a->clock / 1000;
    uint64_t const ticks = MIN((uint64_t)(ts - a->highest_ts), window);
    a->highest_ts = ts;
    a->last_packet = now;
    if (level <= a->params.active_level) {
        a->active_ticks += ticks;
        a->loudest = MIN(a->loudest, level);
    }
    a->observed_ticks += ticks;
    if (a->observed_ticks >= window) {
        end_window(a);
    }
}

double audio_level_get(const struct audio_level *a, mono_t now, bool *ret_active)
{
    bool const stale = !a->started || mono_diff_us(now, a->last_packet) > AUDIO_LEVEL_STALE_US;
    double const level = stale ? 0.0 : a->smoothed;
    *ret_active = level > 0.0 && level >= a->active_threshold;
    return level;
}

double audio_level_quantize(double level)
{
    return ceil(level * 8.0) / 8.0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/stream_tracker.h"

#include <string.h>

#include "common/base/seq.h"

// Bitrate window: LiveKit reports each second for cameras, each four seconds for screens
// (media-plane 4.10).
#define WINDOW_US INT64_C(1000000)
#define SCREEN_WINDOW_US INT64_C(4000000)
#define FRAMES_UNTIL_QUIET 4
#define INTERVAL_WEIGHT 8 // a new frame interval counts one eighth
#define KBPS UINT32_C(1000)

void stream_tracker_init(struct stream_tracker *t, bool screen_share)
{
    memset(t, 0, sizeof(*t));
    t->screen = screen_share;
}

static int64_t bucket_us(const struct stream_tracker *t)
{
    return (t->screen ? SCREEN_WINDOW_US : WINDOW_US) / STREAM_TRACKER_BUCKETS;
}

static int64_t live_us(const struct stream_tracker *t)
{
    int64_t const dead = t->screen ? STREAM_TRACKER_SCREEN_DEAD_US : STREAM_TRACKER_DEAD_US;
    int64_t const live = t->screen ? STREAM_TRACKER_SCREEN_LIVE_US : STREAM_TRACKER_LIVE_US;
    return MIN(MAX(live, FRAMES_UNTIL_QUIET * t->frame_interval_us), dead);
}

static int64_t dead_us(const struct stream_tracker *t)
{
    return t->screen ? STREAM_TRACKER_SCREEN_DEAD_US : STREAM_TRACKER_DEAD_US;
}

static bool set_state(struct stream_tracker *t, enum stream_tracker_state state)
{
    bool const changed = t->state != state;
    t->state = state;
    if (changed && state == STREAM_TRACKER_DEAD) {
        memset(t->bytes, 0, sizeof(t->bytes));
        t->started = false;
    }
    return changed;
}

// Turns the ring of buckets to `now`.
static void turn(struct stream_tracker *t, mono_t now)
{
    int64_t const width = bucket_us(t);
    int64_t const steps = mono_diff_us(now, t->bucket_start) / width;
    if (steps <= 0) {
        return;
    }
    for (int64_t i = 0; i < MIN(steps, (int64_t)STREAM_TRACKER_BUCKETS); i++) {
        t->bucket = (uint8_t)((t->bucket + 1u) % STREAM_TRACKER_BUCKETS);
        memset(t->bytes[t->bucket], 0, sizeof(t->bytes[0]));
    }
    t->bucket_start = mono_add_us(t->bucket_start, steps * width);
}

static void note_frame(struct stream_tracker *t, mono_t now, uint32_t ts)
{
    if (!seq32_newer(ts, t->last_ts)) {
        return; // another packet of the frame, or a late one
    }
    int64_t const interval = MIN(mono_diff_us(now, t->last_frame), dead_us(t));
    t->frame_interval_us =
        t->frame_interval_us == 0
            ? interval
            : t->frame_interval_us + (interval - t->frame_interval_us) / INTERVAL_WEIGHT;
    t->last_ts = ts;
    t->last_frame = now;
}

bool stream_tracker_packet(struct stream_tracker *t, mono_t now, uint32_t ts, uint8_t temporal,
                           size_t bytes)
{
    if (!t->started) {
        t->started = true;
        t->last_ts = ts;
        t->last_frame = now;
        t->frame_interval_us = 0;
        t->bucket_start = now;
        t->first_bucket = now;
    }
    note_frame(t, now, ts);
    turn(t, now);
    t->last_packet = now;
    t->bytes[t->bucket][MIN(temporal, STREAM_TRACKER_TEMPORAL_MAX - 1)] += (uint32_t)bytes;
    return set_state(t, STREAM_TRACKER_LIVE);
}

bool stream_tracker_timeout(struct stream_tracker *t, mono_t now)
{
    int64_t const silent = mono_diff_us(now, t->last_packet);
    switch (t->state) {
    case STREAM_TRACKER_LIVE:
    case STREAM_TRACKER_QUIET:
        if (silent >= dead_us(t)) {
            return set_state(t, STREAM_TRACKER_DEAD);
        }
        return silent >= live_us(t) && set_state(t, STREAM_TRACKER_QUIET);
    case STREAM_TRACKER_DEAD:
    case STREAM_TRACKER_STATE_COUNT:
        break;
    }
    return false;
}

mono_t stream_tracker_deadline(const struct stream_tracker *t)
{
    switch (t->state) {
    case STREAM_TRACKER_LIVE:
        return mono_add_us(t->last_packet, live_us(t));
    case STREAM_TRACKER_QUIET:
        return mono_add_us(t->last_packet, dead_us(t));
    case STREAM_TRACKER_DEAD:
    case STREAM_TRACKER_STATE_COUNT:
        break;
    }
    return MONO_NEVER;
}

bool stream_tracker_declare(struct stream_tracker *t, mono_t now, bool active, const uint32_t *kbps,
                            size_t temporal_count)
{
    (void)now;
    if (!active) {
        t->declared = false;
        return set_state(t, STREAM_TRACKER_DEAD);
    }
    t->declared = temporal_count > 0;
    uint32_t last = 0;
    for (size_t i = 0; i < STREAM_TRACKER_TEMPORAL_MAX; i++) {
        if (i < temporal_count) {
            last = MIN(kbps[i], UINT32_MAX / KBPS) * KBPS;
        }
        t->declared_bps[i] = last; // layers above the highest add nothing
    }
    return false;
}

uint64_t stream_tracker_bitrate(const struct stream_tracker *t, mono_t now, uint8_t temporal)
{
    uint8_t const top = (uint8_t)MIN(temporal, STREAM_TRACKER_TEMPORAL_MAX - 1);
    int64_t const window = bucket_us(t) * STREAM_TRACKER_BUCKETS;
    int64_t const seen = t->started ? mono_diff_us(now, t->first_bucket) : 0;
    // Half a window is the least that says something.
    if (seen < window / 2) {
        return t->declared ? t->declared_bps[top] : 0;
    }
    uint64_t bytes = 0;
    // Buckets that `now` has left behind since the last packet count as empty.
    int64_t const idle = mono_diff_us(now, t->bucket_start) / bucket_us(t);
    for (int64_t age = 0; age + idle < STREAM_TRACKER_BUCKETS; age++) {
        size_t const i =
            (t->bucket + STREAM_TRACKER_BUCKETS - (size_t)age) % STREAM_TRACKER_BUCKETS;
        for (size_t layer = 0; layer <= top; layer++) {
            bytes += t->bytes[i][layer];
        }
    }
    // The current bucket is still filling.
    int64_t const in_bucket = mono_diff_us(now, t->bucket_start) % bucket_us(t);
    int64_t const covered = MIN(seen, window - bucket_us(t) + in_bucket);
    return bytes * 8 * (uint64_t)US_PER_S / (uint64_t)MAX(covered, 1);
}

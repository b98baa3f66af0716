// SPDX-License-Identifier: Apache-2.0
#pragma once
// Is this encoding (or spatial layer) alive, and what is its bitrate? Media-plane 4.10.
//
//             packet                      300 ms or 4 frames without         1 s without, or
//             declared off
//   DEAD ─────────────► LIVE ◄────────► QUIET ─────────────────────────► DEAD
//                              packet
//
// (Screen share: 2.5 s and 5 s.) Feed it only media: padding-only packets and RTX copies are no
// sign of life (4.3).
//
// Pure. Upstream: livekit pkg/sfu/streamtracker (packet counts per 500 ms cycle; ours is faster by
// media-plane 4.10).

#include "common/base/mono.h"

#define STREAM_TRACKER_LIVE_US INT64_C(300000)
#define STREAM_TRACKER_DEAD_US INT64_C(1000000)
#define STREAM_TRACKER_SCREEN_LIVE_US INT64_C(2500000)
#define STREAM_TRACKER_SCREEN_DEAD_US INT64_C(5000000)
#define STREAM_TRACKER_TEMPORAL_MAX 4u
#define STREAM_TRACKER_BUCKETS 10u // of a tenth of the bitrate window: 1 s camera, 4 s screen share

enum stream_tracker_state {
    STREAM_TRACKER_DEAD,
    STREAM_TRACKER_QUIET, // neither: do not switch to it, do not give it up
    STREAM_TRACKER_LIVE,
    STREAM_TRACKER_STATE_COUNT,
};

struct stream_tracker {
    enum stream_tracker_state state;
    bool screen;
    bool started;
    uint32_t last_ts;
    mono_t last_packet;
    mono_t last_frame;
    int64_t frame_interval_us; // smoothed
    mono_t bucket_start;
    mono_t first_bucket; // start of the oldest complete observation
    uint8_t bucket;
    uint32_t bytes[STREAM_TRACKER_BUCKETS][STREAM_TRACKER_TEMPORAL_MAX];
    bool declared; // by video layers allocation
    uint32_t declared_bps[STREAM_TRACKER_TEMPORAL_MAX];
};

void stream_tracker_init(struct stream_tracker *t, bool screen_share);

// One media packet. ts: RTP timestamp (a new one = a new frame); temporal: TID, 0 if unknown. True
// if the state changed.
bool stream_tracker_packet(struct stream_tracker *t, mono_t now, uint32_t ts, uint8_t temporal,
                           size_t bytes);

// Time has passed. True if the state changed.
bool stream_tracker_timeout(struct stream_tracker *t, mono_t now);

// When stream_tracker_timeout may change something; MONO_NEVER when dead.
mono_t stream_tracker_deadline(const struct stream_tracker *t);

// What the publisher says of this layer (video layers allocation): inactive makes it dead at once;
// active gives nominal bitrates, cumulative over the temporal layers, used until measured ones
// exist. True if the state changed.
bool stream_tracker_declare(struct stream_tracker *t, mono_t now, bool active, const uint32_t *kbps,
                            size_t temporal_count);

// Bits per second of temporal layers 0..temporal: measured over the last window, else declared,
// else 0.
uint64_t stream_tracker_bitrate(const struct stream_tracker *t, mono_t now, uint8_t temporal);

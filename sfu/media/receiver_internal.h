// SPDX-License-Identifier: Apache-2.0
#pragma once
// Inside of a receiver, shared by receiver.c (packets) and receiver_rtcp.c (reports, timers, what
// others read). Nobody else includes this.

#include "sfu/media/nack_queue.h"
#include "sfu/media/packet_info.h"
#include "sfu/media/pli_throttle.h"
#include "sfu/media/receiver.h"
#include "sfu/media/red_holes.h"
#include "sfu/media/rtp_stats.h"
#include "sfu/media/rx_buffer.h"
#include "sfu/media/stream_tracker.h"
#include "sfu/media/ts_align.h"
#include "sfu/wire/dd.h"

// One NACK packet per encoding and tick (media-plane 4.5).
#define RECEIVER_NACK_TICK_US (10 * US_PER_MS)

// How often the history lets go of old packets when none come (rx_buffer_timeout).
#define RECEIVER_HOUSEKEEPING_US (100 * US_PER_MS)

struct receiver_encoding {
    uint32_t ssrc, rtx_ssrc; // 0 = not bound
    bool stopped;            // BYE
    bool has_history;
    uint16_t width, height;
    struct rtp_stats_rx stats;     // of the media SSRC
    struct rtp_stats_rx rtx_stats; // of the RTX SSRC, for its report blocks
    struct rx_buffer history;
    struct nack_queue nacks;
    mono_t nack_after; // not before: one NACK a tick
    struct stream_tracker tracker;
    struct packet_info_context context;
    bool has_frame;
    uint32_t frame_ts; // newest timestamp seen, for ts_align
    // Newest key frame: complete when its last packet is there and none is missing.
    bool key_open;
    uint64_t key_first_sn;
    uint64_t key_last_sn; // 0 until the marker came
    uint32_t key_ts;
    uint32_t key_frames;
    uint64_t packets, bytes, padding_packets, recovered, duplicates;
    struct red_holes red; // audio
};

struct receiver {
    struct receiver_view view; // first: receiver_view() casts
    bool video;
    bool seeded;
    uint8_t needed;      // bit = encoding
    mono_t housekeeping; // MONO_NEVER while no packet is held
    struct pli_throttle plis;
    struct ts_align align;
    struct dd_structure *dd; // AV1: last structure, for the dimensions; NULL for other codecs
    uint64_t verdicts[RECEIVER_VERDICT_COUNT];
    struct receiver_encoding encodings[RECEIVER_MAX_ENCODINGS];
};

// Recomputes view.live_mask from the trackers.
void receiver_update_live_(struct receiver *r);

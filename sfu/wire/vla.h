// SPDX-License-Identifier: Apache-2.0
#pragma once
// Video layers allocation, version 00
// (https://webrtc.googlesource.com/src/+/main/docs/native-code/rtp-hdrext/
// video-layers-allocation00): which layers a sender runs, and at what rate. Only Chromium sends it.
// Pure.
//
//  byte 0: RID index (2) | number of RTP streams - 1 (2) | spatial mask shared by all streams (4)
//  if that mask is 0: one 4-bit mask for each stream, padded to a byte
//  2-bit (temporal layers - 1) for each active spatial layer, padded to a byte
//  LEB128 kbit/s for each (stream, spatial, temporal), cumulative over the temporal layers
//  optionally for each active spatial layer: width - 1 (16), height - 1 (16), frames per second (8)
//  A single byte 0: nothing is sent.

#include "common/base/bytes.h"

#define VLA_STREAMS_MAX 4u
#define VLA_SPATIAL_MAX 4u
#define VLA_TEMPORAL_MAX 4u

struct vla_layer {
    bool active;
    uint8_t temporal_count;          // 1..4
    uint32_t kbps[VLA_TEMPORAL_MAX]; // cumulative: [t] includes the lower temporal layers
    uint16_t width;                  // 0 unless has_resolution
    uint16_t height;
    uint8_t fps;
};

struct vla {
    uint8_t rid_index;    // the stream that carried this
    uint8_t stream_count; // 0: everything is inactive
    bool has_resolution;
    struct vla_layer layer[VLA_STREAMS_MAX][VLA_SPATIAL_MAX];
};

// -EBADMSG: truncated, LEB128 over 32 bits, or RID index not below the stream count.
int vla_parse(struct bytes data, struct vla *ret) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can be known of a media packet without a decoder: fills packet.info once at ingress, so that
// no subscriber has to look into the payload again.
//
// Only RTP header, header extensions, payload descriptors and those payload bytes are read that
// stay in the clear when frames are encrypted end to end (media-plane 4.6, 4.7): VP8 frame tag and
// dimensions, H.264/H.265 NAL headers; of VP9 the descriptor alone; of AV1 the aggregation header
// or the dependency descriptor.
//
// Pure. Upstream: livekit pkg/sfu/buffer/helpers.go @788d4c35.

#include "sfu/media/packet_pool.h"
#include "sfu/wire/codec.h"
#include "sfu/wire/rtp_ext.h"

// What the caller remembers of an encoding between packets, for codecs without a start bit.
struct packet_info_context {
    bool started;
    uint32_t last_ts; // of the newest packet
    bool key_seen;
    uint32_t key_ts; // of the newest packet that belonged to a key frame
};

// Fills ssrc, ts, sn, pt, marker, payload bounds and the header extensions of p from its header h
// (rtp_parse of the same bytes). For RTX the caller corrects SSRC, number and payload start before
// it calls packet_info_payload.
void packet_info_header(struct packet *p, const struct rtp_header *h,
                        const struct rtp_ext_map *ext);

// Fills what the payload tells. Packets whose descriptor cannot be read keep vp8.len 0 and no
// flags: they are forwarded only where nothing has to be rewritten.
void packet_info_payload(struct packet *p, enum codec codec, struct packet_info_context *ctx);

// The dependency descriptor, empty if there is none.
struct bytes packet_info_dd(const struct packet *p);

// The abs-capture-time extension, empty if there is none.
struct bytes packet_info_capture_time(const struct packet *p);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Learns how the RTP timestamps of the simulcast encodings of one track are related.
//
// Each encoding has a random origin; the difference between two is constant for the life of the
// stream, exactly so for every frame that both captured (media-plane 5.3, recordings of both
// browsers). A first estimate comes from sender reports (1 ms off), before there are any from
// arrival times; then it is snapped to the difference at which frame timestamps of both coincide:
// the value most frame pairs near the estimate agree on.
//
// Pure. Upstream: livekit pkg/sfu/forwarder.go (estimate from sender reports for each down track
// and switch).

#include "common/base/mono.h"

#define TS_ALIGN_ENCODINGS 3
#define TS_ALIGN_PAIRS 3 // (0,1) (0,2) (1,2)

// Frames of an encoding to compare with. The larger layer of a frame may leave the pacer tens of
// milliseconds later.
#define TS_ALIGN_FRAMES 8u

// Frame pairs that must agree.
#define TS_ALIGN_VOTES 4

// Distance of a pair from the estimate: below half a frame interval at 60 frames/s, above the error
// of sender reports (1 ms recorded) or of arrival times.
#define TS_ALIGN_TOLERANCE_SR_US 5000
#define TS_ALIGN_TOLERANCE_ARRIVAL_US 8000

// A snapped value further than this from what sender reports say belongs to the wrong frame: learn
// again.
#define TS_ALIGN_REJECT_US 12000

// Arrival times tell something only if both encodings sent lately.
#define TS_ALIGN_ARRIVAL_WINDOW_US INT64_C(1000000)

struct ts_align_encoding {
    uint32_t ts[TS_ALIGN_FRAMES];
    uint8_t next;
    uint8_t count;
    mono_t arrival; // of the newest frame
    bool has_sr;
    ntp_t sr_ntp;
    uint32_t sr_ts;
};

struct ts_align_pair {
    uint32_t offset; // candidate: ts(high) - ts(low)
    int8_t votes;
    bool snapped;
};

struct ts_align {
    uint32_t clock_rate;
    struct ts_align_encoding encodings[TS_ALIGN_ENCODINGS];
    struct ts_align_pair pairs[TS_ALIGN_PAIRS];
};

void ts_align_init(struct ts_align *a, uint32_t clock_rate);

// The encoding began anew: forgets it.
void ts_align_reset(struct ts_align *a, unsigned encoding);

// First packet of a frame, in order.
void ts_align_frame(struct ts_align *a, unsigned encoding, uint32_t ts, mono_t arrival);

// An accepted sender report.
void ts_align_sr(struct ts_align *a, unsigned encoding, ntp_t ntp, uint32_t ts);

// ts(to) - ts(from) of the same instant. *ret_exact: snapped. -EAGAIN if nothing is known.
int ts_align_get(const struct ts_align *a, unsigned from, unsigned to, uint32_t *ret,
                 bool *ret_exact) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Key frame requests of one published track: many subscribers ask, the publisher is asked seldom.
// Media-plane 4.11.
//
// - the first request goes out at once; then at most one each max(300 ms, RTT) until a key frame
// starts;
// - after a key frame has started nothing goes out for 300 ms (libwebrtc encoders ignore closer
// requests);
// - a request inside a window is remembered, not dropped, and forgotten when a key frame of that
// encoding starts;
// - the windows are shared by the encodings of a track: browsers answer a request for one with key
// frames on all
//   (recordings cr-vp8-simulcast-pli1, ff-vp8-simulcast-pli1), so requests for the others wait for
//   that first;
// - a new track is asked each second for up to 30 s until its first key frame (LiveKit's "key frame
// seeder").
//
// Pure. Upstream: livekit pkg/sfu/buffer (pli throttle 500/1000/1000 ms), pkg/sfu/receiver.go
// (seeder).

#include "common/base/mono.h"

#define PLI_THROTTLE_ENCODINGS 4u
#define PLI_THROTTLE_MIN_US INT64_C(300000)
#define PLI_THROTTLE_SEED_US INT64_C(1000000)
#define PLI_THROTTLE_SEED_FOR_US INT64_C(30000000)

struct pli_throttle {
    int64_t min_us; // spacing: 300 ms, 1 s in large rooms
    int64_t rtt_us;
    mono_t window_end;                        // nothing leaves before; 0 initially
    mono_t wanted_at[PLI_THROTTLE_ENCODINGS]; // remembered request; MONO_NEVER = none
    bool seeding;
    mono_t seed_next;
    mono_t seed_end;
    uint64_t requested;
    uint64_t sent;
};

void pli_throttle_init(struct pli_throttle *p);

// Spacing for large rooms; at least 300 ms.
void pli_throttle_set_min(struct pli_throttle *p, int64_t min_us);
void pli_throttle_set_rtt(struct pli_throttle *p, int64_t rtt_us);

// Begins to ask by itself (a new video track), until the first key frame.
void pli_throttle_seed(struct pli_throttle *p, mono_t now);

// Somebody needs a key frame of this encoding. Then ask pli_throttle_poll.
void pli_throttle_request(struct pli_throttle *p, mono_t now, uint8_t encoding);

// True if a PLI for *ret_encoding is to be sent now; it counts as sent. Call after requests and at
// the deadline, until false. The seeder asks for encoding `seed_encoding` (any live one; they all
// answer).
bool pli_throttle_poll(struct pli_throttle *p, mono_t now, uint8_t seed_encoding,
                       uint8_t *ret_encoding);

// The first packet of a key frame of this encoding arrived.
void pli_throttle_key_frame(struct pli_throttle *p, mono_t now, uint8_t encoding);

// When pli_throttle_poll may return true; MONO_NEVER if nobody waits.
mono_t pli_throttle_deadline(const struct pli_throttle *p);

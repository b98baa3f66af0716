// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a subscriber is told of how long to hold video back before it shows it (RTP header extension
// playout-delay, webrtc.org experiment: least and most, in units of 10 ms), if its room asks for it
// (CreateRoom.min_playout_delay, max_playout_delay). A larger least delay plays jitter and
// retransmissions away; it follows what the subscriber reports, within the limits of the room
// (media-plane 5.10):
//
//   ten times its jitter, and 2 ms more for each percent of packets over 60 that it asked for again,
//   moved by at most 80 ms a second: a picture that is to be shown later stands still meanwhile.
//
// The extension is on each packet until a report covers the first that had it; then nothing is told
// until the value changes. A receiver keeps what it was told last.
//
// Pure. Owner thread: the worker of the subscription. Upstream: livekit pkg/sfu/playoutdelay.go.

#include "common/base/mono.h"

// Limits of a room without a maximum: what libwebrtc holds back at most by itself.
#define PLAYOUT_DELAY_MAX_DEFAULT_MS 10000u
// All that 12 bits say.
#define PLAYOUT_DELAY_MAX_MS 40950u

struct playout_delay {
    uint32_t min_ms, max_ms; // of the room
    uint32_t now_ms;         // told least delay
    uint8_t bytes[3];        // the extension
    bool told;               // a packet had it since it changed; the first one was:
    uint16_t first_sn;
    bool acked; // and a report has covered that one
    bool reported;
    mono_t report;           // the last one
    uint64_t packets, nacks; // until then
};

// Limits in milliseconds as CreateRoom has them; a least delay over the largest counts as that one.
// False: the room has none, nothing is to be told, d is not used.
bool playout_delay_init(struct playout_delay *d, uint32_t min_ms, uint32_t max_ms);

// The packet sn is to have d->bytes.
void playout_delay_attach(struct playout_delay *d, uint16_t sn);

struct playout_delay_report {
    uint16_t highest_sn;
    uint32_t jitter_ms;
    uint64_t packets, nacks; // sent, and asked for again, since the start
};

// The subscriber reported. True: the packets that follow are to have the extension.
bool playout_delay_report(struct playout_delay *d, mono_t now,
                          const struct playout_delay_report *r);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Arrival times of one publisher's transport by transport-wide sequence number, and the feedback
// made of them. Media-plane 4.8.
//
// Every packet is recorded before any decision to drop it (probes, padding, duplicates, unknown
// SSRCs). Each arrival is reported once; a packet that arrives after its number was reported lost
// is reported by a feedback of its own, whose span repeats the truth about the numbers between.
//
// Pure. Upstream: livekit mediatransportutil pkg/twcc (late packets never reported there; 100 ms).

#include "common/base/mono.h"
#include "sfu/wire/twcc.h"

#define TWCC_RECORDER_RING 2048u // numbers remembered; 0.5 s at 4000 packets/s
#define TWCC_RECORDER_LATE_US INT64_C(500000)
#define TWCC_RECORDER_INTERVAL_US INT64_C(50000)
#define TWCC_RECORDER_INTERVAL_SLOW_US INT64_C(100000) // below the rate of
#define TWCC_RECORDER_SLOW_BPS 200000
#define TWCC_RECORDER_PENDING_MAX 100u // more than this many unreported packets: report at once
// Longest feedback packet: header and fixed part 20, 256 statuses in 37 two-bit vectors (74), 256
// large deltas (512), padding.
#define TWCC_RECORDER_PACKET_MAX 612u

struct twcc_recorder {
    bool started;
    mono_t origin;    // reference time 0
    uint64_t base;    // first number not covered by a feedback yet
    uint64_t highest; // highest number received
    uint32_t pending; // arrivals not reported
    mono_t last_sent;
    uint64_t bytes; // since last_sent
    bool flushing;  // a report was begun that takes several packets
    bool has_late;
    uint64_t late_first;
    uint64_t late_last;
    uint8_t fb_count;
    uint64_t dropped;                    // recorded numbers that were too old to report
    int64_t arrival[TWCC_RECORDER_RING]; // since origin; -1 = not received
};

void twcc_recorder_init(struct twcc_recorder *r);

// A packet with this number arrived. size: RTP bytes.
void twcc_recorder_record(struct twcc_recorder *r, mono_t arrival, uint16_t sn, size_t size);

// When feedback is due; MONO_NEVER while nothing is pending. May be in the past: now.
mono_t twcc_recorder_deadline(const struct twcc_recorder *r);

// Appends one feedback packet if one is due at `now`. False if not, or if it does not fit (w->err;
// TWCC_RECORDER_PACKET_MAX always fits). Call until it returns false: a long interval takes several
// packets.
bool twcc_recorder_write(struct twcc_recorder *r, mono_t now, uint32_t sender_ssrc,
                         uint32_t media_ssrc, struct wr *w);

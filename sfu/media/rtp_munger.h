// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sequence numbers and timestamps of a down track: outgoing = incoming - offset, with an offset
// that changes when packets are left out (it grows) or when the source changes.
//
// A late packet needs the offset that was in force at its place, so closed ranges of incoming
// numbers keep theirs; a number that lies in no range was left out. Holes of upstream loss are
// kept: the subscriber asks for them, and they are filled when the publisher repeats the packet.
// All numbers are extended to 64 bits, so the rollover counter of SRTP is just the upper part of
// the outgoing number.
//
// Pure. Upstream: livekit pkg/sfu/rtpmunger.go @788d4c35 (there a range map of 100 entries;
// deviation: a left out packet behind a gap is compacted as well, since the ranges keep the gap).

#include "common/base/macros.h"

// Ranges kept for late packets: with one of four pictures forwarded (lowest of three temporal
// layers) 64 ranges are 256 pictures, 8 s at 30 fps; nothing later than the history (1.2 s) can
// arrive. A power of two.
#define RTP_MUNGER_RANGES 64u

struct rtp_munger_range {
    uint64_t first, last; // incoming, inclusive
    uint64_t offset;
};

struct rtp_munger {
    uint64_t offset;      // out = in - offset (modulo 2^64) from range_first on
    uint64_t range_first; // the open range begins here
    uint64_t highest_in;  // newest incoming number seen, left out ones included
    uint64_t last_out;    // newest outgoing number used
    uint32_t ts_offset;   // out = in - ts_offset
    uint32_t last_ts;     // outgoing timestamp of last_out
    bool last_marker;
    bool started; // something was sent
    uint8_t range_count;
    uint8_t range_next;
    struct rtp_munger_range ranges[RTP_MUNGER_RANGES];
};

enum rtp_munger_place {
    RTP_MUNGER_NEXT,      // in order
    RTP_MUNGER_GAP,       // in order, behind missing packets
    RTP_MUNGER_LATE,      // older, and has a place
    RTP_MUNGER_DUPLICATE, // the newest one again
    RTP_MUNGER_UNKNOWN,   // older, but left out, or of before the source change
};

// first_sn: outgoing number of the first packet.
void rtp_munger_init(struct rtp_munger *m, uint64_t first_sn, uint32_t first_ts);

// Attaches to a source: the incoming number becomes the next outgoing one, and incoming timestamp
// ts_in becomes ts_out. skip: outgoing numbers to leave unused before it (0 or 1).
void rtp_munger_switch(struct rtp_munger *m, uint64_t in, uint32_t ts_in, uint32_t ts_out,
                       uint32_t skip);

// Where an incoming packet stands, without changing anything. For NEXT, GAP and LATE *ret_out is
// its outgoing number.
enum rtp_munger_place rtp_munger_place(const struct rtp_munger *m, uint64_t in, uint64_t *ret_out);

// Records that the packet at a NEXT or GAP place is sent with outgoing number out and timestamp ts.
static inline void rtp_munger_sent(struct rtp_munger *m, uint64_t in, uint64_t out, uint32_t ts,
                                   bool marker)
{
    m->highest_in = in;
    m->last_out = out;
    m->last_ts = ts;
    m->last_marker = marker;
    m->started = true;
}

// Records that the packet at a NEXT or GAP place is left out: later packets close up. whole_gap:
// the missing packets before it are left out as well (they are known to belong to the same
// picture).
void rtp_munger_left_out(struct rtp_munger *m, uint64_t in, bool whole_gap);

// Takes the next outgoing number for a packet made here (padding), ts after the last one.
uint64_t rtp_munger_insert(struct rtp_munger *m, uint32_t ts, bool marker);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Lost packets of a RED publication, taken from the packets behind them: for subscribers that take
// plain Opus, who would miss what the others find in their next packet by themselves.
//
// A redundant block says how much older it is, not which number it had, and numbers are also used
// up by padding (libwebrtc probes on audio where there is no video). So the newest blocks that are
// younger than the last packet that came are the newest of the missing numbers. Where padding was
// lost among them a frame may get the number of its neighbour, which changes nothing for a decoder.
//
// Pure. Upstream: livekit pkg/sfu/redprimaryreceiver.go (by number, within 8 packets).

#include "common/base/bytes.h"
#include "sfu/wire/opus_red.h"

struct packet;

// Zeroed at the start and where the sequence starts anew.
struct red_holes {
    bool started;
    uint32_t ts;      // of the newest packet that holds a frame
    uint64_t highest; // number of the newest packet
    uint64_t filled;  // bit n: highest - n was filled
};

// Takes note of the next packet (ext_sn and info.codec are set; any codec of the track). Sets
// info.red_holes of it: how many of the numbers directly before it its blocks can fill; and
// info.red_filled: it came late, and who took what filled its hole must not get its number again.
void red_holes_packet(struct red_holes *h, struct packet *p);

// Makes `ret` (empty, writable) the packet that is missing as number i < p->info.red_holes, oldest
// first. False: it does not fit.
bool red_holes_fill(const struct packet *p, uint8_t i, struct packet *ret);

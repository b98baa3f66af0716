// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sequencer: remembers for the last outgoing packets of a down track which packet of which encoding
// they were and how they were rewritten, so that a NACK is answered from the publisher's history.
// No payload is kept.
//
// Rules for answers (media-plane 5.8; without them a receiver that asks every 110 ms multiplies an
// overload by ten): at most three for each packet, none within min(100 ms, 2 x RTT) of the last
// answer. A packet just sent for the first time cannot have been missed before one round trip has
// passed; half of it is left for errors of the estimate.
//
// Pure. Upstream: livekit pkg/sfu/sequencer.go @788d4c35 (deviation: there the first sending counts
// like an answer, so a receiver that asks at once, as libwebrtc does, is answered only when it asks
// again).

#include "common/base/mono.h"
#include "common/base/seq.h"

// Packets remembered. 512 at 300 packets/s (2.5 Mbit/s) are 1.7 s, more than a history (1.2 s). A
// power of two.
#define SEQUENCER_CAP 512u

// Rewritten payload descriptors are kept as written: recomputing would need the state of that time.
// VP8: at most 6.
#define SEQUENCER_DESC_MAX 6u

#define SEQUENCER_MAX_ANSWERS 3u
#define SEQUENCER_IGNORE_US (100 * US_PER_MS)

// 24 bytes; writing in order touches a new cache line every third packet.
struct sequencer_entry {
    uint32_t source_sn; // low half of the extended number
    uint32_t ts;        // outgoing
    uint32_t sent_ms;   // last transmission, low half of monotonic milliseconds
    uint16_t sn;        // outgoing
    uint8_t encoding : 2;
    uint8_t marker : 1;
    uint8_t used : 1;
    uint8_t answers : 3;
    uint8_t desc_in_len; // bytes of the descriptor in the source payload that desc replaces
    uint8_t desc_len;
    uint8_t desc[SEQUENCER_DESC_MAX];
};

struct sequencer {
    struct sequencer_entry entries[SEQUENCER_CAP];
};

void sequencer_reset(struct sequencer *s);

// The entry for the outgoing number sn, to be filled by the caller (all fields).
static inline struct sequencer_entry *sequencer_put(struct sequencer *s, uint16_t sn)
{
    return &s->entries[sn % SEQUENCER_CAP];
}

enum sequencer_answer {
    SEQUENCER_ANSWER,    // send it; the entry counts this as an answer
    SEQUENCER_UNKNOWN,   // never sent, left out, or too old
    SEQUENCER_TOO_SOON,  // sent or repeated just now
    SEQUENCER_EXHAUSTED, // answered often enough
};

// Looks up a requested number. highest: newest outgoing number, to refuse entries of an older
// cycle.
enum sequencer_answer sequencer_request(struct sequencer *s, mono_t now, int64_t rtt_us,
                                        uint16_t highest, uint16_t sn,
                                        const struct sequencer_entry **ret);

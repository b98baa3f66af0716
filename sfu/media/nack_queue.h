// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which sequence numbers of an encoding are missing, and when to ask the publisher for them.
// Media-plane 4.5.
//
//   gap seen ──first delay──► ask ──RTT x 1.25^k, 20..400 ms──► ask ... up to six times ──► given
//   up
//        └── arrives at any time: removed ──┘
//
// The first delay starts at 10 ms and follows the reordering that is really seen (p95, at most 40
// ms), so that packets that overtook each other are not asked for. Only for encodings that somebody
// needs; reset it when one resumes.
//
// Pure. Upstream: livekit mediatransportutil pkg/nack (100 outstanding, 5 tries, fixed 20 ms first
// delay).

#include "common/base/mono.h"

#define NACK_QUEUE_MAX 200u // outstanding; a larger gap is repaired by a key frame
#define NACK_QUEUE_TRIES 6u
#define NACK_QUEUE_FIRST_MIN_US INT64_C(10000)
#define NACK_QUEUE_FIRST_MAX_US INT64_C(40000)
#define NACK_QUEUE_REPEAT_MIN_US INT64_C(20000)
#define NACK_QUEUE_REPEAT_MAX_US INT64_C(400000)
#define NACK_QUEUE_DEFAULT_RTT_US INT64_C(70000)
#define NACK_QUEUE_STALE_US                                                                        \
    INT64_C(600000) // given up past max(this, 2 RTT) once a newer key frame is complete
#define NACK_QUEUE_REORDER_BUCKETS 9u // of 5 ms; the last one is "40 ms and more"

struct nack_queue_item {
    uint64_t ext_sn;
    mono_t seen; // when the gap was seen
    mono_t due;
    uint8_t tries;
};

struct nack_queue_stats {
    uint64_t asked;    // sequence numbers written into NACKs, repeats included
    uint64_t missing;  // sequence numbers that were ever missing
    uint64_t arrived;  // of these, arrived later
    uint64_t given_up; // tries used up, too old, or pushed out
};

struct nack_queue {
    uint32_t count;
    int64_t rtt_us;
    int64_t first_delay_us;
    mono_t reorder_halved;
    uint16_t reorder[NACK_QUEUE_REORDER_BUCKETS];
    struct nack_queue_stats stats;
    struct nack_queue_item item[NACK_QUEUE_MAX]; // ascending
};

void nack_queue_init(struct nack_queue *q);

// Round trip to the publisher (smoothed by the caller). Values <= 0 are ignored.
void nack_queue_set_rtt(struct nack_queue *q, int64_t rtt_us);

// [first, first + count) is missing; all of it is newer than anything added before. Returns false
// if it cannot be repaired by NACK (more than NACK_QUEUE_MAX in one gap, or older ones had to be
// pushed out): ask for a key frame.
bool nack_queue_add(struct nack_queue *q, mono_t now, uint64_t first, uint64_t count) NODISCARD;

// ext_sn arrived, by itself (recovered = false: a sample of reordering unless it was asked for) or
// by RTX. True if it was missing.
bool nack_queue_remove(struct nack_queue *q, mono_t now, uint64_t ext_sn, bool recovered);

// A key frame whose first packet is first_sn has arrived completely: what is older and has waited
// long is given up.
void nack_queue_key_frame(struct nack_queue *q, mono_t now, uint64_t first_sn);

// Numbers that are due, ascending, at most cap; they count as asked. Call it on packet arrival and
// at the deadline; to keep NACKs to one a tick, the caller calls it at most every 10 ms.
size_t nack_queue_collect(struct nack_queue *q, mono_t now, uint16_t *sn, size_t cap);

// When nack_queue_collect has something next; MONO_NEVER if nothing is missing.
mono_t nack_queue_deadline(const struct nack_queue *q);

// Forgets what is missing (stream restart, resumed encoding). Estimates and statistics stay.
void nack_queue_reset(struct nack_queue *q);

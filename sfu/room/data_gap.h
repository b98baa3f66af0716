// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reliable messages of one sender that came ahead of others: kept until those have come.
//
// livekit-client (2.23) puts what is sent during an attempt to resume aside, to repeat it after the
// resume; between two attempts it sends at once, over the media connection that may well live. So
// the server sees 1 2 5 6, and 3 4 only after the resume. Receivers drop what comes behind a higher
// sequence, and the sender forgets what the server says it has got, so 3 and 4 would be lost; they
// are with livekit-server. The server keeps 5 and 6 back instead, says that 2 was the last
// (ReconnectResponse.last_message_seq), and everything arrives in order.
//
// Pure: who waits for what, and for how long, is data_router's.

#include "common/base/bytes.h"
#include "sfu/base/sfu_limits.h"

// What the memory of a short message costs beyond its bytes.
#define DATA_GAP_OVERHEAD 64

struct data_held {
    struct data_held *next;
    uint32_t sequence;
    size_t n;
    uint8_t data[];
};

// Zero: nothing is kept.
struct data_gap {
    struct data_held *first, *last; // by sequence
    size_t bytes;                   // with overhead
};

// Keeps a copy. -EEXIST: not above the last one that is kept; -ENOSPC: over DATA_GAP_MAX; -ENOMEM.
int data_gap_put(struct data_gap *g, uint32_t sequence, struct bytes message) NODISCARD;

// Takes the first one out if it follows the sequence `after`, or, if `any`, whatever it is. NULL:
// none. The caller frees it with mem_free.
struct data_held *data_gap_take(struct data_gap *g, uint32_t after, bool any) NODISCARD;

void data_gap_done(struct data_gap *g);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// How fast one client's requests go to its worker. Nothing is ever dropped: whoever is too fast is not
// read until he may go on, so that TCP slows him down (livekit has no such limit).
//
// Two bounds: an allowance of requests and bytes that fills up again with time, so that a client that
// sends without end takes its share of a worker and no more; and how much may be under way to the
// worker, so that the mailbox stays small while the worker is busy (channel_credit).
//
// Pure: `now` is a parameter. Signalling thread.

#include "sfu/base/channel_msg.h"
#include "sfu/base/sfu_limits.h"

struct request_gate {
    struct channel_credit *credit;
    mono_t requests_full; // when the allowances are full again
    mono_t bytes_full;
};

// -ENOMEM.
int request_gate_init(struct request_gate *g) NODISCARD;
void request_gate_done(struct request_gate *g); // harmless after a failed or no init

// A request of `bytes` goes to the worker in m: takes from the allowances, and charges m. May take
// more than there is.
void request_gate_pass(struct request_gate *g, mono_t now, struct channel_msg *m, size_t bytes);

// The same for one that the signalling thread answers.
void request_gate_note(struct request_gate *g, mono_t now, size_t bytes);

// How long to read nothing, in ms; 0: go on. Ask again then.
int64_t request_gate_wait(const struct request_gate *g, mono_t now);

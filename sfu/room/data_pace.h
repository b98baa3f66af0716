// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much data one participant, and one room, may have copied to others in a second. A message is
// cheap to send and costs as often as there are receivers: a file of 8 MB/s to 1000 people would
// take sixteen cores, from which their audio would have to wait. Whoever is over it is read again a
// little later, so SCTP's window slows him down and nothing is lost. LiveKit's server has no such
// limit.
//
// Pure. A bucket is one time stamp: when it would be full again (ITU-T I.371).

#include "common/base/mono.h"

// Copying, encrypting and sending cost 2 ns a byte and 1.7 us a small message, measured on one core
// of the machine that this was made on; so a message counts for some bytes more than it has, and
// these are about an eighth and a quarter of a core.
#define DATA_PACE_MESSAGE 1000
#define DATA_PACE_SENDER_BYTES_S UINT64_C(64000000)
#define DATA_PACE_ROOM_BYTES_S UINT64_C(128000000)
// What may be spent at once.
#define DATA_PACE_BURST_MS 250
// A sender who has this much of his own burst left does not wait for the room: those who say little
// are heard beside those who fill it.
#define DATA_PACE_LIGHT_MS 125

struct data_pace {
    mono_t full_at;
};

// `receivers` copies of a message of n bytes were sent by sender into room. When sender may be read
// again: now or earlier if at once.
mono_t data_pace_spend(struct data_pace *sender, struct data_pace *room, mono_t now,
                       size_t receivers, size_t n);

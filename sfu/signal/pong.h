// SPDX-License-Identifier: Apache-2.0
#pragma once
// Answers to a client's pings (livekit-protocol 1.7), of which clients in calls where nobody says
// anything send most of all requests. The signalling thread answers them by itself: nothing in them is
// about the room.
//
// Most SDKs send two every 5 s, the old `ping` and `ping_req` right behind it. Of a client that was
// seen to do so the first is answered with the second, in one segment: half a millisecond later, and
// only the answer to the second is what clients measure their round trip by. A `ping` that stays alone
// after all is answered by the next one, and from then on at once.
//
// Pure: the times are parameters. Owner thread of the session.

#include "common/base/mono.h"
#include "common/base/shared_buf.h"
#include "common/lk/livekit.h"

// How long after a `ping` a `ping_req` belongs to it.
#define PONG_PAIR_MS 100

#define PONG_ANSWERS_MAX 2

struct pong {
    mono_t ping;  // when the last one came
    bool pairs;   // its `ping_req` comes as well
    bool waiting; // a `ping` waits for its answer
};

// Whether the request is one of the two.
bool pong_takes(const void *request);

// The encoded SignalResponses that are sent now, in this order; a reference each. Returns how many,
// fewer without memory.
size_t pong_answer(struct pong *p, mono_t now, wall_t wall, const Livekit__SignalRequest *req,
                   struct shared_buf *ret[static PONG_ANSWERS_MAX]);

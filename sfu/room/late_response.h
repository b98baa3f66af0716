// SPDX-License-Identifier: Apache-2.0
#pragma once
// RequestResponses that a client must not get too early. LiveKit's Rust SDKs (rtc-node, Python, C++,
// Unity) send update_metadata and begin to wait for its answer only when the socket has taken the
// request: an answer that comes within microseconds, on one machine or in one data centre, finds
// nobody who waits, and set_name, set_metadata, set_attributes fail after their 5 s
// (livekit-protocol 4.11). The original needs longer to answer, by luck; this one waits on purpose.
//
// What the answer is about is told before, without delay. Answers keep their order among themselves;
// other responses may overtake them: clients find the request by request_id, which no two unanswered
// requests share. OK and errors are awaited in the same way, so both are late.
//
// Owner thread: the room's worker.

#include "sfu/room/room.h"

typedef struct Livekit__SignalResponse Livekit__SignalResponse;

// Between a socket that has taken a request and a client that waits for its answer stand one or two
// changes of thread: well below a millisecond, some milliseconds on a busy machine. JS does not wait
// for the answer but for the update, so nobody feels this.
#define LATE_RESPONSE_MS 10

// Gives the participant a response LATE_RESPONSE_MS later, on the socket that it has then; one who is
// away then, or gone, gets none. Encodes at once, so nothing of rsp has to live on. Without memory
// the message is lost and counted (env->no_memory).
void late_response_post(struct participant *p, const Livekit__SignalResponse *rsp);

// ROOM_TIMER_RESPONSES fired.
void late_responses_timeout(struct room *r);

// The room ends: nobody is there to answer.
void late_responses_done(struct room *r);

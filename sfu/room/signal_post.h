// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a SignalResponse leaves the room layer: encoded once, handed to the signalling thread in
// order. The functions that fill responses stand beside what they tell of (signal_send, and the
// modules that have messages of their own).
//
// When memory runs out, a message is lost and counted (env->no_memory). A client that was not told
// something cannot be told what follows either: it would see media that nothing announced, or wait for
// an answer for good. Its session is therefore told nothing more and is ended in the next turn, with a
// Leave that lets the client join anew; without memory for that either, its WebSocket is closed, for
// which no memory is needed. Only what the next of its kind makes up for is just lost: speakers
// and connection quality.
//
// Owner thread: the room's worker.

#include "common/lk/livekit.h"
#include "sfu/room/room.h"

// Arena for building one message (descriptions and joins of large rooms are the largest).
#define SIGNAL_ARENA_FIRST 4096
#define SIGNAL_ARENA_CAP ((size_t)8 << 20)

// An empty response of one kind; the caller sets the member.
Livekit__SignalResponse signal_response(Livekit__SignalResponse__MessageCase kind);

// Hands encoded bytes to one participant, if it has a session. Takes data.
void signal_post_data(struct participant *p, struct shared_buf *data);

// The same for bytes whose loss does no harm.
void signal_post_news(struct participant *p, struct shared_buf *data);

// A message to p could not be made for lack of memory.
void signal_post_lost(struct participant *p);

// Encodes rsp for one session, whether a participant has it or not.
void signal_post_session(struct room_env *env, handle_t session,
                         const Livekit__SignalResponse *rsp);

// Encodes rsp for one participant; one whose WebSocket is gone is told nothing (a resume brings the
// whole state).
void signal_post(struct participant *p, const Livekit__SignalResponse *rsp);

// Encodes rsp once for everybody who has a session and whose join was answered. -ENOMEM: nobody was
// told.
int signal_post_room(struct room *r, const Livekit__SignalResponse *rsp) NODISCARD;

// The same with bytes. Takes data.
void signal_post_room_data(struct room *r, struct shared_buf *data);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a SignalResponse leaves the room layer: encoded once, handed to the signalling thread in
// order. The functions that fill responses stand beside what they tell of (signal_send, and the
// modules that have messages of their own).
//
// When memory runs out the message is lost and counted (env->no_memory); the session goes on.
//
// Owner thread: the room's worker.

#include "common/lk/livekit.h"
#include "sfu/room/room.h"

// Arena for building one message (descriptions and joins of large rooms are the largest).
#define SIGNAL_ARENA_FIRST 4096
#define SIGNAL_ARENA_CAP ((size_t)8 << 20)

// An empty response of one kind; the caller sets the member.
Livekit__SignalResponse signal_response(Livekit__SignalResponse__MessageCase kind);

// Hands encoded bytes to one session. Takes data.
void signal_post_data(struct room_env *env, handle_t session, struct shared_buf *data);

// Encodes rsp for one session.
void signal_post_session(struct room_env *env, handle_t session,
                         const Livekit__SignalResponse *rsp);

// Encodes rsp for one participant; one whose WebSocket is gone is told nothing (a resume brings the
// whole state).
void signal_post(struct participant *p, const Livekit__SignalResponse *rsp);

// Encodes rsp once for everybody who has a session and whose join was answered.
void signal_post_room(struct room *r, const Livekit__SignalResponse *rsp);

// The same with bytes. Takes data.
void signal_post_room_data(struct room *r, struct shared_buf *data);

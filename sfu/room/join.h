// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client's way into a room, and back into it after its WebSocket was lost
// (livekit-protocol 4.1, 4.10).
//
// Owner thread: the room's worker. Upstream: livekit pkg/service/roommanager.go (StartSession),
// pkg/rtc/room.go (Join).

#include "sfu/room/room_env.h"

// Handles CHANNEL_JOIN. Everything the client is told goes to its session handle; a refusal ends
// with CHANNEL_CLOSE.
void join_session(struct room_env *env, handle_t session, const struct channel_join *join);

// Handles CHANNEL_SESSION_CLOSED: the WebSocket is gone.
void join_session_closed(struct room_env *env, handle_t session);

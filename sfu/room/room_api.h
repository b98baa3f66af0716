// SPDX-License-Identifier: Apache-2.0
#pragma once
// Room service calls, answered by the room they are about (livekit-protocol 6.2). Permissions were
// checked by the signalling thread.
//
// Owner thread: the room's worker.

#include "sfu/room/room_env.h"

// Handles CHANNEL_API; exactly one CHANNEL_API_REPLY with that handle follows.
void room_api_call(struct room_env *env, handle_t call, const struct channel_api *api);

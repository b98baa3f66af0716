// SPDX-License-Identifier: Apache-2.0
#pragma once
// The room that a joining client finds missing is made as its token says: claim `roomConfig`, a
// RoomConfiguration in JSON (livekit-protocol 2.2, 4.1).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/types.ParticipantInit and
// pkg/service/roomallocator.go. Deviations: a claim that cannot be read counts as absent (there the
// join fails); so do egress (there is no such service), tags,
// and `roomPreset` (there are no named configurations): a call is worth more than its settings.

#include "sfu/room/room.h"

typedef struct Livekit__RoomAgentDispatch Livekit__RoomAgentDispatch;
struct access_claims;

// Makes the room `name` for whoever brings these claims. -ENOMEM. A room of that name must not
// exist.
int room_config_new_room(struct room_env *env, const char *name, const struct access_claims *claims,
                         struct room **ret) NODISCARD;

// The agents that a room is to have, for room_new_args.agents: the signalling thread, which keeps
// dispatches (sfu/signal/agent_dispatch.h), learns them with the room. *ret is the caller's; NULL if
// n is 0. -ENOMEM.
int room_config_agents(Livekit__RoomAgentDispatch **v, size_t n, struct shared_buf **ret) NODISCARD;

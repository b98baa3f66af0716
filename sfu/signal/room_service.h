// SPDX-License-Identifier: Apache-2.0
#pragma once
// The server API over Twirp. livekit.RoomService: checks route, content type and grants, then asks the room's
// worker and answers with what it says (livekit-protocol 6.1, 6.2). ListRooms is answered from the
// registry.
//
// livekit.AgentDispatchService is answered here (agent_dispatch.h), those services that this server
// does not have as livekit does without them (absent_services.h), all others with 404.
//
// Bodies are protobuf or JSON (proto3's mapping; answers name every field, in snake_case) as the
// request's content type says. Workers know protobuf only.
//
// Signalling thread.

#include "common/lk/keys.h"
#include "common/svc/httpd.h"
#include "sfu/signal/room_registry.h"

struct room_service {
    struct loop *loop;
    struct room_registry *registry;
    const struct api_keys *keys;
    bool auto_create; // a dispatch makes its room, as joining does
    struct handle_table calls;
    void (*post)(void *user, uint32_t worker, struct channel_msg *m);
    void *user;
};

void room_service_init(struct room_service *s, struct loop *loop, struct room_registry *registry,
                       const struct api_keys *keys,
                       void (*post)(void *, uint32_t, struct channel_msg *), void *user);
// Answers what is still open with `unavailable`.
void room_service_done(struct room_service *s);

// Handles one HTTP request under /twirp/.
void room_service_request(struct room_service *s, struct httpd_req *r);

// CHANNEL_API_REPLY. The message stays the caller's.
void room_service_reply(struct room_service *s, const struct channel_msg *m);

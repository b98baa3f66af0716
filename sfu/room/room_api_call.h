// SPDX-License-Identifier: Apache-2.0
#pragma once
// One call of the server API on its way through the room layer: what it is about, and its answer.
// The methods stand in room_api.c (rooms), room_api_participant.c and room_api_data.c; each answers
// exactly once, PerformRpc later (rpc_calls.h).
//
// Error texts are the original's without the `twirp error unknown: ` that its inner transport puts
// in front (livekit-protocol 6.1).
//
// Owner thread: the room's worker.

#include "common/lk/livekit.h"
#include "sfu/room/room.h"

// Largest answer: ListParticipants of a room of thousands.
#define ROOM_API_REPLY_MAX ((size_t)16 << 20)

struct room_api_call {
    struct room_env *env;
    handle_t handle;
    const char *room_name;
    struct room *room; // NULL: there is none of that name
};

// Answers with an encoded message; `internal` when that fails.
void room_api_reply(struct room_env *env, handle_t call, const ProtobufCMessage *msg);

// Answers with a Twirp code (a static string, common/lk/twirp.h) and a text.
void room_api_fail(struct room_env *env, handle_t call, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// invalid_argument as Twirp says it for a limit: what is wrong, a static string, alone in meta, and with
// the limit in the text.
void room_api_too_large(const struct room_api_call *c, const char *problem, unsigned limit);

// not_found in the words for a room resp. a participant.
void room_api_no_room(const struct room_api_call *c);
void room_api_no_participant(const struct room_api_call *c);

// `internal`, counted.
void room_api_no_memory(const struct room_api_call *c);

// ---- methods: `req` is the request message of the method -------------------------------------

void room_api_get_participant(const struct room_api_call *c, const void *req);
void room_api_remove_participant(const struct room_api_call *c, const void *req);
void room_api_update_participant(const struct room_api_call *c, const void *req);
void room_api_mute_track(const struct room_api_call *c, const void *req);
void room_api_update_subscriptions(const struct room_api_call *c, const void *req);
// The participant gets a token for the other room and a Leave that makes it join anew: it comes up
// there by itself, on whichever worker that room is, with the same identity and a new session, and
// publishes what it published. (RoomMovedResponse, which moves a session as it is, would tie both
// rooms to one worker, and clients that do not know it would stay where they are.)
void room_api_move_participant(const struct room_api_call *c, const void *req);
void room_api_send_data(const struct room_api_call *c, const void *req);
void room_api_perform_rpc(const struct room_api_call *c, const void *req);

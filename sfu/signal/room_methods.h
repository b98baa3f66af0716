// SPDX-License-Identifier: Apache-2.0
#pragma once
// The methods of livekit.RoomService: their messages, the grant that each needs, and what is wrong
// with a request before anybody is asked (livekit-protocol 6.2).
//
// Pure. Upstream: livekit pkg/service/{roomservice,auth}.go. Deviations: the grant is checked before
// the lengths, so that nobody without it learns anything; rooms without a name are refused; MoveParticipant
// works (room_api_participant.c), there it is not implemented. ForwardParticipant is not implemented on
// either side, in the same words (ARCHITECTURE.md says why).

#include "common/lk/access_token.h"
#include "common/lk/livekit.h"
#include "common/lk/twirp.h"
#include "sfu/base/channel_msg.h"

enum room_grant {
    ROOM_GRANT_CREATE,
    ROOM_GRANT_LIST,
    ROOM_GRANT_ADMIN, // of the room that the request names
    ROOM_GRANT_MOVE,  // and destinationRoom
};

struct room_method {
    const char *name;
    enum room_grant grant;
    // Which call of the room's worker; ROOM_API_METHOD_COUNT: answered by the signalling thread.
    enum room_api_method api;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
};

// NULL: there is none of that name.
const struct room_method *room_method_find(struct bytes name);

// The room that a request is about; "" if it names none.
const char *room_method_room(const struct room_method *m, const ProtobufCMessage *req);

// The room that somebody is to be moved to; "" if the request names none.
const char *room_method_destination(const ProtobufCMessage *req);

// Whether the token (NULL: none) allows it.
bool room_method_granted(const struct room_method *m, const struct access_token *token,
                         const ProtobufCMessage *req);

// Lengths, destinations, settings that this server does not have. -EINVAL with *ret_error filled.
int room_method_check(const struct room_method *m, const ProtobufCMessage *req,
                      struct twirp_error *ret_error) NODISCARD;

// What an absent room means: -ENOENT with *ret_error filled, or 0: an empty answer is the answer.
int room_method_absent(const struct room_method *m, struct twirp_error *ret_error) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the service signs: join tokens for users and its own tokens for the SFU's API
// (authorization-service sections 3, 4, 6.2). Pure.

#include "common/lk/access_token.h"
#include "jwt-service/base/requests.h"
#include "jwt-service/base/room_alias.h"

#define TOKEN_JOIN_LIFETIME_S 3600 // authorization-service 4.1; it limits joining, not the call
#define TOKEN_API_LIFETIME_S 600   // LiveKit's SDKs use it for calls of the server API
#define TOKEN_BACKDATE_S 10        // nbf lies before now, for an SFU whose clock is behind

// Where a user goes: room on the SFU and identity in it.
struct token_subject {
    char room[ROOM_ALIAS_SIZE];
    char identity[REQUEST_ID_MAX * 2 + 2]; // "<user>:<device>" is the longest form
};

// For the user whom the homeserver vouched for. -ENOMEM.
int token_subject_make(const struct token_request *t, const char *user_id,
                       struct token_subject *ret) NODISCARD;

// What the holder of a join token may do in the room.
struct token_rights {
    bool publish;
    bool subscribe;
    bool update_metadata; // own name, metadata, attributes
    uint32_t sources;     // bit n: livekit.TrackSource n may be published; 0: everything
    int64_t lifetime_s;
};

// The join token for it. To be freed with mem_free. Errors of access_token_mint.
int token_issue_join(const struct api_key *key, wall_t now, const struct token_subject *subject,
                     const struct token_rights *rights, char **ret) NODISCARD;

// Tokens for calls of the SFU's API, valid for TOKEN_API_LIFETIME_S; to be freed with mem_free,
// errors of access_token_mint. One that may create and delete rooms,
int token_issue_room_create(const struct api_key *key, wall_t now, char **ret) NODISCARD;
// one that may ask about this room's participants and put them out,
int token_issue_room_admin(const struct api_key *key, wall_t now, const char *room,
                           char **ret) NODISCARD;
// one that may list rooms.
int token_issue_room_list(const struct api_key *key, wall_t now, char **ret) NODISCARD;

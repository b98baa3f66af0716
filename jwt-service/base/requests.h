// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bodies of POST /sfu/get, /get_token and /delegate_delayed_leave (authorization-service 1.3
// steps 2 and 3, 1.4, 1.5). Pure.
//
// One deviation from 1.4 beside its own: of two objects with the very same key only the last one is
// read (keys that differ in case add up as there).

#include "common/base/arena.h"
#include "jwt-service/base/matrix_error.h"

enum token_endpoint {
    TOKEN_SFU_GET,   // legacy: room, device_id
    TOKEN_GET_TOKEN, // Matrix 2.0: room_id, slot_id, member
    TOKEN_DELEGATE,  // the same with delay_id and delay_timeout, without a token as answer
};

// Caps before any network call (authorization-service 1.5). Identifiers of Matrix have 255 bytes;
// room ids get more because they have lost that limit before.
#define REQUEST_ROOM_MAX 1024
#define REQUEST_ID_MAX 255
#define REQUEST_TOKEN_MAX 4096
// What the two endpoints take in all; upstream's newer service has the same limit.
#define REQUEST_BODY_MAX ((size_t)1 << 20)

// Delays beyond are cut to it (authorization-service 7.12); a leave is due within an hour anyway.
#define REQUEST_DELAY_MAX_MS ((int64_t)7 * 24 * 3600 * 1000)

// Strings are never NULL; "" where the request has none.
struct token_request {
    enum token_endpoint endpoint;
    const char *room; // room id
    const char *slot; // TOKEN_SFU_GET: "m.call#ROOM"
    const char *member_id;
    const char *claimed_user_id; // "" for TOKEN_SFU_GET
    const char *device_id;
    const char *access_token;
    const char *server_name;
    const char *delay_id; // not "": the client asks for a delegated leave
    int64_t delay_timeout_ms;
};

// Reads and checks a body; the strings of *ret live in arena. Returns MATRIX_OK or what to answer,
// and then *ret is untouched. ignore_unknown: accept keys that are not in the schema.
enum matrix_error token_request_parse(enum token_endpoint endpoint, struct bytes body,
                                      bool ignore_unknown, struct arena *arena,
                                      struct token_request *ret);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether a call comes from our homeserver, and for whom (authorization-service 11.3; MSC4512). Pure.

#include "jwt-service/base/matrix_error.h"
#include "jwt-service/openid/openid_verifier.h"

#define AS_USER_HEADER "X-Matrix-User-Identifier" // client calls: the user who called
#define AS_ORIGIN_HEADER "X-Matrix-Origin"        // federation calls: the server that called

// Compares `Authorization: Bearer <hs_token>` in constant time. MATRIX_OK, MATRIX_MISSING_TOKEN (no
// header, another scheme, no token) or MATRIX_UNKNOWN_TOKEN. authorization may be NULL.
enum matrix_error as_auth_homeserver(const char *hs_token, const char *authorization);

// A full user id: "@", a local part, ":", a server name; at most 255 bytes, no control characters
// (matrix-spec appendices, user identifiers; historical local parts included).
bool as_auth_user_id_valid(const char *user_id);

// The part behind the first colon; "" if there is none. Borrowed from user_id.
const char *as_auth_server_of(const char *user_id);

// The user of a client call, who must be of our homeserver. header may be NULL. MATRIX_OK,
// MATRIX_MISSING_CALLER, MATRIX_INVALID_USER, MATRIX_FOREIGN_USER.
enum matrix_error as_auth_user(const char *header, const char *server_name);

// The user of a federation call: header is the calling server, and user_id (of the body) must be
// one of its own. MATRIX_OK, MATRIX_MISSING_CALLER, MATRIX_INVALID_ORIGIN, MATRIX_INVALID_USER,
// MATRIX_FOREIGN_USER.
enum matrix_error as_auth_origin(const char *header, const char *user_id);

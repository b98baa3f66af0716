// SPDX-License-Identifier: Apache-2.0
#pragma once
// The error bodies of the authorization service, in one place (authorization-service 1.7). Pure.
//
// Clients act on status and errcode: Element Call repeats a legacy request without the delay fields
// on exactly 400 with M_BAD_JSON, and takes 404 as "not here".

#include "common/base/dynbuf.h"

enum matrix_error {
    MATRIX_OK = 0,
    MATRIX_NOT_JSON,
    MATRIX_MISSING_ROOM,             // /sfu/get
    MATRIX_MISSING_OPENID,           // /sfu/get
    MATRIX_MISSING_ROOM_OR_SLOT,     // /get_token
    MATRIX_MISSING_MEMBER,           // /get_token
    MATRIX_MISSING_OPENID_MEMBERS,   // /get_token
    MATRIX_MISSING_MEMBER_2,         // /delegate_delayed_leave words them otherwise
    MATRIX_MISSING_OPENID_MEMBERS_2, // the same
    MATRIX_MISSING_DELAY,
    MATRIX_BAD_DELAY_ID,
    MATRIX_FIELD_TOO_LONG,
    MATRIX_FIELD_NUL,
    MATRIX_NO_DELEGATION,        // token endpoints
    MATRIX_DELEGATION_FORBIDDEN, // /delegate_delayed_leave
    MATRIX_NO_CS_API,
    MATRIX_DENIED, // by the policy
    MATRIX_UNAUTHORIZED,
    MATRIX_TOO_LARGE,
    MATRIX_BUSY,
    MATRIX_LIMITED, // 429, with a time of its own
    MATRIX_NO_ROOM, // the SFU did not create it
    MATRIX_INTERNAL,
    MATRIX_SHUTTING_DOWN,
    // Application-service mode (11.3).
    MATRIX_UNRECOGNIZED,      // 404: no such endpoint here
    MATRIX_MISSING_TOKEN,     // no hs_token
    MATRIX_UNKNOWN_TOKEN,     // not ours
    MATRIX_MISSING_CALLER,    // the homeserver did not say for whom it calls
    MATRIX_INVALID_USER,      // that is no user id
    MATRIX_INVALID_ORIGIN,    // that is no server name
    MATRIX_FOREIGN_USER,      // a user of another server than the one that calls
    MATRIX_AS_MISSING_FIELDS, // get_token
    MATRIX_AS_MISSING_DELAY,  // delegate_delayed_leave
    MATRIX_AS_MISSING_USER,   // get_token over federation
    MATRIX_INVALID_SERVER,    // `server_name` is no server name
    MATRIX_WRONG_URL,         // not the SFU of this site
    MATRIX_NOT_JOINED,
    MATRIX_NO_MEMBERSHIP,   // the homeserver did not say whether
    MATRIX_RELAY_FORBIDDEN, // the other site said so
    MATRIX_RELAY_INVALID,   // the other site said so
    MATRIX_NO_RELAY,        // the other site could not be asked, or said something else
    MATRIX_NO_DELAYED_EVENT,
    MATRIX_DELAYED_EVENT_UNKNOWN, // the homeserver did not say whether there is one
    MATRIX_ERROR_COUNT,
};

unsigned matrix_error_status(enum matrix_error e);
const char *matrix_error_code(enum matrix_error e); // "M_NOT_JSON"
const char *matrix_error_text(enum matrix_error e);

// Appends {"errcode":...,"error":...} and a line feed.
// retry_after_ms > 0: that too.
void matrix_error_write(enum matrix_error e, int64_t retry_after_ms, struct dynbuf *out);

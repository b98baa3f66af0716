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
    MATRIX_MISSING_ROOM,           // /sfu/get
    MATRIX_MISSING_OPENID,         // /sfu/get
    MATRIX_MISSING_ROOM_OR_SLOT,   // /get_token
    MATRIX_MISSING_MEMBER,         // /get_token
    MATRIX_MISSING_OPENID_MEMBERS, // /get_token
    MATRIX_MISSING_DELAY,
    MATRIX_FIELD_TOO_LONG,
    MATRIX_FIELD_NUL,
    MATRIX_NO_DELEGATION,
    MATRIX_UNAUTHORIZED,
    MATRIX_TOO_LARGE,
    MATRIX_BUSY,
    MATRIX_NO_ROOM, // the SFU did not create it
    MATRIX_INTERNAL,
    MATRIX_SHUTTING_DOWN,
    MATRIX_ERROR_COUNT,
};

unsigned matrix_error_status(enum matrix_error e);
const char *matrix_error_code(enum matrix_error e); // "M_NOT_JSON"
const char *matrix_error_text(enum matrix_error e);

// Appends {"errcode":...,"error":...} and a line feed.
void matrix_error_write(enum matrix_error e, struct dynbuf *out);

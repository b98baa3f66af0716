// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bodies of the application-service endpoints (authorization-service 11.3; MSC4195). Pure.
//
// JSON is read by the rules of 1.4, as for the other endpoints.

#include "common/base/arena.h"
#include "jwt-service/base/matrix_error.h"
#include "jwt-service/base/requests.h"

enum as_endpoint {
    AS_CLIENT_GET_TOKEN,
    AS_CLIENT_DELEGATE,
    AS_FEDERATION_GET_TOKEN,
};

#define AS_REQUEST_URL_MAX 2048 // as long as browsers' addresses get

// Strings are never NULL; "" where the request has none.
struct as_request {
    enum as_endpoint endpoint;
    const char *url; // of the SFU, as clients found it
    const char *room_id;
    const char *slot_id;
    const char *member_id;
    const char *server_name; // AS_CLIENT_GET_TOKEN: whose SFU; "": of the own server
    const char *user_id;     // AS_FEDERATION_GET_TOKEN: for whom
    const char *delay_id;    // AS_CLIENT_DELEGATE
};

// Reads and checks a body; the strings of *ret live in arena. Returns MATRIX_OK or what to answer,
// and then *ret is untouched. ignore_unknown: accept keys that are not in the schema.
enum matrix_error as_request_parse(enum as_endpoint endpoint, struct bytes body,
                                   bool ignore_unknown, struct arena *arena,
                                   struct as_request *ret);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokens of HTTP requests: where they are, and what is said when they are no good
// (livekit-protocol 1.3, 2). Error texts are the original's, except that a refused token is never
// repeated in them.
//
// Signalling thread.

#include "common/lk/access_token.h"
#include "common/svc/httpd.h"

// What a request gets instead of service.
struct auth_refusal {
    unsigned status; // HTTP
    char text[256];  // body, text/plain
};

// Verifies the token of a request, if it has one. 0 with *ret NULL: it has none (the handler
// decides). -EACCES: *refusal says what to answer. -ENOMEM.
int auth_request(const struct httpd_req *r, const struct api_keys *keys, wall_t now,
                 struct access_token **ret, struct auth_refusal *refusal) NODISCARD;

// Fills a refusal. Returns -EACCES.
int auth_refuse(struct auth_refusal *refusal, unsigned status, const char *text);

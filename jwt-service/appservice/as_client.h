// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls of the application service to the client-server API of its own homeserver, authenticated by
// the as_token. Owner thread: the loop's.
//
// Where that API is comes from cs_discovery (the operator's override first). One attempt a call;
// whoever wants more asks again.

#include "common/base/dynbuf.h"
#include "common/svc/httpc.h"
#include "common/svc/jsonx.h"
#include "jwt-service/leave/cs_discovery.h"

#define AS_CLIENT_CALL_MS 10000 // a room state look-up; Synapse answers in milliseconds

struct as_client;
struct as_client_call;

struct as_client_conf {
    struct loop *loop;
    struct httpc *http;
    struct cs_discovery *discovery;
    const char *server_name; // borrowed
    const char *as_token;    // borrowed
};

struct as_client_request {
    const char *method;
    const char *path;   // from "/_matrix/..."; whatever others chose in it is escaped already
    struct bytes body;  // JSON, empty: none
    int64_t timeout_ms; // 0: AS_CLIENT_CALL_MS
    size_t max_body;    // 0: 64 KiB
};

struct as_client_result {
    unsigned status;          // 0: no answer
    const struct jsonx *json; // the answer's object, NULL if it has none
    const char *errcode;      // of that object, "" if there is none
    const char *step;         // no answer: "discovery", "connect", "timeout", ...
    const char *text;         // no answer: one line for the operator, without tokens
    int64_t elapsed_ms;
};

// NULL without memory. conf's objects must outlive it.
struct as_client *as_client_new(const struct as_client_conf *conf) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void as_client_free(struct as_client *c);
DEFINE_CLEANUP(struct as_client *, as_client_free)

// Starts a call; everything is copied. fn is called once from the loop, never from inside this
// call; *ret is valid until then. -ENOMEM.
int as_client_start(struct as_client *c, const struct as_client_request *req,
                    void (*fn)(void *user, const struct as_client_result *result), void *user,
                    struct as_client_call **ret) NODISCARD;

// fn will not be called.
void as_client_cancel(struct as_client_call *call);

// True if the answer says that the homeserver does not know this endpoint at all (as opposed to
// what was asked about in it): 404 or 405 with M_UNRECOGNIZED, or without any errcode.
bool as_client_unrecognized(const struct as_client_result *r);

// Appends text as (part of) one path segment or query value: every byte outside RFC 3986's
// unreserved ones is escaped. "." and ".." stay what they are, so a segment must not be one of them
// alone.
void as_client_add_segment(struct dynbuf *out, const char *text);

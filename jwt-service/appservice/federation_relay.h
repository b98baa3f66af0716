// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks the authorization service of another site for a token: our homeserver signs and sends the
// request (MSC4512, appservice/fed_proxy), the other one hands it to its own service (MSC4195).
// Owner thread: the loop's.

#include "jwt-service/appservice/as_client.h"
#include "jwt-service/appservice/as_requests.h"

#define FEDERATION_RELAY_MS 20000 // two homeservers and their discovery; proxies wait 30 s for us

struct federation_relay;
struct federation_relay_call;

struct federation_relay_result {
    enum matrix_error error; // MATRIX_OK, or what to answer the client
    const char *jwt;         // MATRIX_OK
    const char *step;        // else: what failed
    const char *text;        // else: one line for the operator
    int64_t elapsed_ms;
};

// NULL without memory. client must outlive it.
struct federation_relay *federation_relay_new(struct as_client *client) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void federation_relay_free(struct federation_relay *f);
DEFINE_CLEANUP(struct federation_relay *, federation_relay_free)

// Asks r->server_name for a token for user_id; everything is copied. fn is called once from the
// loop, never from inside this call; *ret is valid until then. -ENOMEM.
int federation_relay_start(struct federation_relay *f, const struct as_request *r,
                           const char *user_id,
                           void (*fn)(void *user, const struct federation_relay_result *result),
                           void *user, struct federation_relay_call **ret) NODISCARD;

// fn will not be called.
void federation_relay_cancel(struct federation_relay_call *c);

// What the homeserver's answer means: 200 with {status, content} is the other site's, whose 403
// M_FORBIDDEN and 400 M_INVALID_PARAM are passed on; everything else is MATRIX_NO_RELAY (MSC4195).
// ret->jwt is borrowed from r. *ret_unrecognized: the other site does not know the path. Pure.
void federation_relay_classify(const struct as_client_result *r,
                               struct federation_relay_result *ret, bool *ret_unrecognized);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connects a WebSocket: TCP connect, handshake, then a struct ws in client mode. Plain TCP only: it
// serves the test client and the load generator. Owner thread of the loop.

#include "common/base/addr.h"
#include "common/svc/ws.h"

struct ws_client;

struct ws_client_conf {
    struct addr addr;
    const char *host;    // Host header; NULL: the address
    const char *target;  // path and query
    const char *headers; // further header lines, each ending in CRLF; NULL
    int64_t timeout_ms;  // until the upgrade; 0: 15 s
    // Its on_message etc. are used after the upgrade; client is set by us. deflate: permessage-deflate
    // is offered, and used if the server takes it.
    struct ws_conf ws;
    // The upgrade was done. ws may be used from now on.
    void (*on_open)(void *user, struct ws *w);
    // It was not: status and body of the HTTP answer, or status 0 and a negative errno.
    void (*on_refused)(void *user, unsigned status, struct bytes body, int error);
    void *user;
};

// Starts. One of on_open and on_refused follows from the loop. -ENOMEM or errno of socket/connect.
int ws_client_connect(struct loop *l, const struct ws_client_conf *conf,
                      struct ws_client **ret) NODISCARD;

// Frees; a connection that is open is cut (its struct ws belongs to the client: do not ws_free it).
// NULL is fine; may be called in callbacks.
void ws_client_free(struct ws_client *c);

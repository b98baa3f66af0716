// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connections of httpd from accepting to closing: how many one address has, and until when each may
// stay in the phase it is in. Who is late is shut down, which libmicrohttpd notices as an error of
// the socket. (Its own time-out begins anew with every byte, so that a byte now and then keeps a
// connection for ever.) Used by httpd.c and httpd_req.c only. Owner thread of the loop.

#include "common/base/timer_heap.h"
#include "common/svc/httpd_internal.h"

enum httpd_phase {
    HTTPD_CONNECTED, // waits for the headers of the first request
    HTTPD_HEADERS,   // the request line of a later one is there
    HTTPD_BODY,
    HTTPD_WORKING, // with its handler, or upgraded: no deadline
    HTTPD_SENDING,
    HTTPD_IDLE, // between requests
};

struct httpd_conn {
    struct timer deadline; // first: found from it
    struct httpd *owner;
    struct httpd_peer *peer; // NULL: not counted
    int fd;
    enum httpd_phase phase;
};

// 0, -ENOMEM.
int httpd_conn_setup(struct httpd *h) NODISCARD;
void httpd_conn_teardown(struct httpd *h); // every connection is closed; harmless if never set up

// False: this address has enough connections.
bool httpd_conn_admit(struct httpd *h, const struct addr *a);

// A connection was accepted. NULL without memory.
struct httpd_conn *httpd_conn_open(struct httpd *h, const struct addr *a, int fd) NODISCARD;
void httpd_conn_close(struct httpd_conn *c); // accepts NULL

// Enters a phase. size: of the answer, HTTPD_SENDING only. NULL is fine.
void httpd_conn_enter(struct httpd_conn *c, enum httpd_phase phase, size_t size);

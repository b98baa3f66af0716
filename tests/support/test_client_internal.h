// SPDX-License-Identifier: Apache-2.0
#pragma once
// What test_client.c (the socket and the life of a client) and test_client_session.c (what the
// server says) share.

#include "tests/support/test_client.h"

struct ws_client;

enum { CLIENT_PUBLISHER, CLIENT_SUBSCRIBER }; // index of a transport

// Someone else in the room.
struct remote {
    UT_hash_handle hh;
    char sid[40];
    uint32_t tracks;
};

struct test_client {
    struct test_client_conf conf;
    struct client_net *net;
    struct client_url url;
    struct addr local;
    char *token;
    struct ws_client *connection;
    struct ws *ws;
    struct client_pc *pc[2];
    struct client_sender *senders[CLIENT_SENDERS_MAX];
    size_t sender_count;
    struct remote *remotes;
    struct client_timer timer; // ping, or the end of leaving
    int64_t ping_us;
    bool ping_again; // `ping` was sent, `ping_req` is next
    int64_t ping_sent_ms, ping_rtt_ms;
    uint32_t offer_id;
    bool outstanding, need_offer, trickled[2];
    bool leaving, resuming;
    struct test_client_status status;
};

void test_client_emit_(struct test_client *c, enum test_client_event e);

// Ends the session once, with the reason.
void test_client_finish_(struct test_client *c, bool failed, const char *text);

// A step that cannot fail with a server that keeps to the protocol: rc < 0 ends the session.
void test_client_must_(struct test_client *c, int rc, const char *what);

// Transport i. -ENOMEM, errno of sockets.
int test_client_make_pc_(struct test_client *c, size_t i) NODISCARD;

// Sections for subscriptions (v1). -E2BIG, -ENOMEM.
int test_client_add_spare_(struct test_client *c, uint32_t audio, uint32_t video) NODISCARD;

// A message of the server.
void test_client_dispatch_(struct test_client *c, const Livekit__SignalResponse *r);

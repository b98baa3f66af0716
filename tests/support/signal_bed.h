// SPDX-License-Identifier: Apache-2.0
#pragma once
// A signal_server on loopback with a stand-in for the workers, and the HTTP and WebSocket clients
// of its tests, all on one loop.

#include "common/lk/access_token.h"
#include "common/lk/livekit.h"
#include "common/svc/ws_client.h"
#include "common/svc/ws_deflate.h"
#include "sfu/signal/signal_server.h"

#define SIGNAL_BED_KEY "testkey"
#define SIGNAL_BED_SECRET "0123456789abcdef0123456789abcdef"
#define SIGNAL_BED_WORKERS 3
#define SIGNAL_BED_CONNECTS 5 // at once of one address; this machine is a trusted proxy

// What the last message of a kind to a worker said.
struct signal_bed_seen {
    unsigned joins, requests, closed, api;
    uint32_t worker;
    handle_t session;
    char room[64];
    char identity[64];
    bool v1, reconnect, auto_subscribe;
    size_t offer_bytes;
    char address[64];
    int request_case;
    enum room_api_method method;
};

struct signal_bed {
    struct loop *loop;
    struct api_keys *keys;
    struct signal_server *server;
    struct addr addr;
    struct signal_bed_seen seen;
    bool silent;      // the workers answer nothing
    bool refuse;      // joins are answered by Leave and close
    bool refuse_http; // by close alone, with this status (0: none)
    uint16_t status;
    unsigned greetings;       // pongs right behind the JoinResponse
    const char *api_error;    // Twirp code that calls end with
    struct bytes api_body;    // what they are answered, n 0: a Room with the name
    bool tells_rooms;         // a worker that makes a room tells of it
    struct channel_msg *join; // the last CHANNEL_JOIN; whoever takes it sets NULL
    bool hold;                // the workers take requests and do nothing with them
    struct channel_msg *held;
    struct cidr_set proxies;
    struct channel_msg *queue; // answers to be delivered in the next turn
};

void signal_bed_init(struct signal_bed *b, bool auto_create);
void signal_bed_done(struct signal_bed *b);
// The workers are done with what they hold, and hold no more.
void signal_bed_let_go(struct signal_bed *b);

// One turn of the loop, answers included.
void signal_bed_turn(struct signal_bed *b);
// Tells the server that a worker has the room, or no more.
void signal_bed_room(struct signal_bed *b, uint32_t worker, const char *name,
                     uint32_t participants);
void signal_bed_room_ended(struct signal_bed *b, uint32_t worker, const char *name);

// A token; NULL fields of claims get values that allow joining room "r" as "alice". Free by
// mem_free.
char *signal_bed_token(struct signal_bed *b, const struct access_claims *claims);
// Base64url of a WrappedJoinRequest. Free by mem_free.
char *signal_bed_join_request(const Livekit__JoinRequest *j, bool gzip);

struct signal_bed_answer {
    int status;
    char head[4096];
    char body[4096];
    size_t body_len;
};

// One HTTP request with further header lines (each ending in CRLF, or NULL) and a body.
void signal_bed_http(struct signal_bed *b, const char *method, const char *target,
                     const char *headers, struct bytes body, struct signal_bed_answer *ret);
// The value of a response header into ret; false if it is not there. n: how often it is there.
bool signal_bed_header(const struct signal_bed_answer *a, const char *name, char *ret, size_t cap,
                       unsigned *ret_n);

// A WebSocket client.
struct signal_bed_ws {
    struct signal_bed *bed;
    struct ws_client *client;
    struct ws *ws;
    unsigned refused; // HTTP status
    bool ended;
    uint16_t code;
    unsigned messages;
    unsigned texts;   // of them in JSON
    char text[4096];  // the last such
    int cases[32];    // of the first SignalResponses
    char token[4096]; // the last refresh_token
    int64_t pong;     // the last pong
    unsigned pongs;   // of both kinds
    bool owned;       // ws is ours, not the client's
    struct ws_deflate *deflate;
};
void signal_bed_connect(struct signal_bed *b, const char *target, const char *headers,
                        struct signal_bed_ws *ret);
void signal_bed_disconnect(struct signal_bed_ws *w);

// A WebSocket upgrade by hand: the socket, which is never read after the head. Close it by
// signal_bed_close.
// headers: further lines, each ending in CRLF, or NULL.
int signal_bed_upgrade(struct signal_bed *b, const char *target, const char *headers,
                       struct signal_bed_answer *ret);
// Speaks WebSocket over such a socket, which is taken; frees it with signal_bed_disconnect. Its
// messages are compressed.
void signal_bed_take(struct signal_bed *b, int fd, struct signal_bed_ws *ret);
void signal_bed_close(int fd);

// Turns until cond or the deadline (20 s); what cond said last.
bool signal_bed_until(struct signal_bed *b, bool (*cond)(void *arg), void *arg);

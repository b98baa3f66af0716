// SPDX-License-Identifier: Apache-2.0
#pragma once
// The room layer of one worker in this process, on a virtual clock and a virtual network: a
// room_env as sfu/worker builds it, its dispatch of messages, datagrams and timers, and the
// signalling thread as two queues of messages that take their time. Handshake steps run inline.
//
//     room_harness_init ─► room_client_join ... ─► room_harness_run ─► look at clients and env ─►
//     done
//
// Single-threaded and deterministic but for the certificates.

#include "common/lk/keys.h"
#include "sfu/room/room.h"
#include "sfu/transport/flow_table.h"
#include "sfu/transport/srtp_batch.h"
#include "tests/support/vnet.h"

struct pbuf;
struct room_client;

struct room_harness_conf {
    uint64_t seed;
    struct vnet_link link; // both directions of everybody
    int64_t signal_us;     // how long a message of the signalling takes, each way
    uint32_t max_participants;
    uint32_t packet_max; // of the pool; 0: plenty
};

struct room_mail {
    struct room_mail *prev, *next;
    mono_t at;
    bool up; // to the worker
    struct channel_msg *msg;
};

// Answer of a room service call.
struct room_api_result {
    bool done;
    char error[32]; // "" when it went well
    char text[160];
    struct pbuf *body;
};

struct room_harness {
    struct vnet *net;
    struct srtp_batch *batch;
    struct rng rng;
    mono_t now;
    int64_t signal_us;
    struct room_conf conf;
    struct room_env env;
    struct packet_pool pool;
    struct timer_heap timers;
    struct flow_table flows;
    struct vnet_endpoint ep;
    void (*flush)(struct outbox *o, void *user); // the endpoint's
    struct dtls_cert *cert, *client_cert;
    struct sctp_hub *client_hub;
    struct api_keys *keys;
    char fingerprint[128], client_fingerprint[128];
    struct addr addr;
    struct room_mail *mail;
    struct room_client *clients;
    uint32_t last_session, last_client;
    handle_t api_call;
    struct room_api_result api;
    unsigned rooms_ended, room_infos;
    struct channel_room_info last_info; // numbers only
    uint64_t unknown_source;
    // Sees each message that leaves the worker; NULL: nobody.
    void (*tap)(void *user, const struct channel_msg *m);
    void *tap_user;
    // Set: messages go to a worker of its own (room_live.h) instead of env, and clients get their
    // addresses from there.
    void (*forward)(void *user, struct channel_msg *m);
    struct addr (*address)(void *user);
    void *live;
    // Told when code of the server begins (true) and ends (false) to run, returns what it was told
    // before; NULL: nobody.
    bool (*server_runs)(bool on);
    // What no client may ever see; the first one in words. Those that name `watched` are counted
    // beside, and come first.
    const char *watched;
    unsigned violations, watched_violations;
    char violation[256];
};

// Ends the program when something cannot be had: it is a test.
void room_harness_init(struct room_harness *h, const struct room_harness_conf *conf);
// Closes all rooms and checks that everything came back: packets, handles, timers. A difference is
// a violation; the return value is their number.
unsigned room_harness_done(struct room_harness *h);

// Lets time pass.
void room_harness_run(struct room_harness *h, int64_t duration_us);
// Until cond(arg), at most limit_us; what cond said last.
bool room_harness_until(struct room_harness *h, bool (*cond)(void *arg), void *arg,
                        int64_t limit_us);

// To the worker, in order, after signal_us. Takes m.
void room_harness_post(struct room_harness *h, struct channel_msg *m);
// Somebody joins "room" (v1) without a client: nothing but the join is ever sent. Returns the session.
handle_t room_harness_join_claims(struct room_harness *h, const struct access_claims *claims,
                                  int32_t protocol);

// A room service call, waits for its answer. body is valid until the next call.
struct ProtobufCMessage;
const struct room_api_result *room_harness_api(struct room_harness *h, enum room_api_method method,
                                               const char *room,
                                               const struct ProtobufCMessage *request);

// One datagram to the worker's port, at once, from anywhere.
void room_harness_datagram(struct room_harness *h, const struct addr *src, struct bytes data);

// A message of the worker. The message stays the caller's.
void room_harness_deliver(struct room_harness *h, struct channel_msg *m);

// What on_turn_end of the worker does.
void room_harness_turn(struct room_harness *h);

// Notes what must not happen.
void room_harness_violation(struct room_harness *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Ends the program unless ok.
void room_must(bool ok, const char *what);

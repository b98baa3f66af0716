// SPDX-License-Identifier: Apache-2.0
#pragma once
// The clients of room_client.h against a real worker: its own thread, handshake threads, real UDP
// sockets on loopback, the real clock. The harness's own room_env stays unused.

#include "sfu/worker/worker.h"
#include "tests/support/room_client.h"

#define ROOM_LIVE_SOCKETS 32

struct room_live {
    struct room_harness *h;
    struct loop *loop;
    struct mailbox *mail;
    struct dtls_pool *pool;
    struct worker *worker;
    struct addr worker_addr;
    struct {
        int fd;
        struct addr addr;
    } sockets[ROOM_LIVE_SOCKETS];
    size_t socket_count;
    unsigned shutdowns_done;
};

// h is initialised by this. ipv6: the worker binds ::1 too, and clients use it.
void room_live_init(struct room_live *l, struct room_harness *h, bool ipv6);
void room_live_done(struct room_live *l);

void room_live_run(struct room_live *l, int64_t duration_us);
bool room_live_until(struct room_live *l, bool (*cond)(void *arg), void *arg, int64_t limit_us);

// Packets of what s sends that have reached c.
uint64_t room_live_received(const struct room_client *c, const struct room_sender *s);
// Runs until that many have; false: they did not within limit_us.
bool room_live_flows(struct room_live *l, const struct room_client *c, const struct room_sender *s,
                     uint64_t packets, int64_t limit_us);

// Sends a datagram to the worker from a socket of its own.
void room_live_datagram(struct room_live *l, struct bytes data);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What all test clients of a thread share: one loop, one outbox and SRTP engine, one certificate,
// one timer, receive buffers; and a UDP socket for each peer connection, as browsers have.
// Thousands of clients fit one thread.
//
// Packets leave in this order: client_net_use(net, socket); calls that write into net->out;
// client_net_flush(net).
//
// Owner thread: the loop's.

#include "common/base/rng.h"
#include "common/base/timer_heap.h"
#include "common/sys/loop.h"
#include "sfu/transport/outbox.h"
#include "tests/support/histogram.h"

struct dtls_cert;
struct sctp_hub;
struct sctp_transport;
struct srtp_batch;
struct ws_deflate;
struct client_rx_batch_;

struct client_net {
    struct loop *loop;
    struct srtp_batch *batch;
    struct dtls_cert *cert;
    struct sctp_hub *hub;
    struct ws_deflate *deflate; // of all clients' WebSockets
    struct rng rng;
    struct outbox out;
    struct client_socket *current; // what the outbox leaves by
    struct timer_heap timers;
    uint32_t timer_count; // places that are promised in the heap
    int timer_fd;
    struct loop_poll *timer_poll;
    mono_t armed;
    struct client_rx_batch_ *rx;
    mono_t now; // of this turn
    // Set by the peer connections: an SCTP transport has output or events.
    void (*on_sctp_ready)(struct sctp_transport *t);
    // What the clients see together.
    struct histogram latency;  // one way, microseconds, of checked packets
    uint32_t send_drop_ppm;    // losses of the uplink, made here
    uint32_t receive_drop_ppm; // and of the downlink
    uint64_t sent_datagrams, send_errors;
    uint64_t received_datagrams;
    uint64_t receive_calls;
};

// The net takes the loop's turn-end hook. -ENOMEM, -EIO, negative errno of timerfd.
int client_net_new(struct loop *loop, struct client_net **ret) NODISCARD;
// All clients must be gone. Accepts NULL.
void client_net_free(struct client_net *n);

// Reads the clock for a call from outside of the net's own callbacks.
void client_net_refresh(struct client_net *n);

// ---- sockets ------------------------------------------------------------------------------------

struct client_datagram {
    struct addr src;
    struct bytes_mut data; // writable; valid during the call
    mono_t arrival;        // the kernel's time with stamps, else that of this turn
};

struct client_socket {
    struct client_net *net;
    int fd;
    struct addr local;
    struct loop_poll *poll;
    bool stamps;
    void (*input)(void *user, const struct client_datagram *d);
    void *user;
};

// Binds to local (its port should be 0). stamps: arrival times of the kernel. The net's `current`
// is the socket during input, and the outbox is flushed after each batch. -ENOMEM, negative errno
// of the socket calls.
int client_socket_open(struct client_socket *s, struct client_net *n, const struct addr *local,
                       bool stamps, void (*input)(void *user, const struct client_datagram *d),
                       void *user) NODISCARD;
void client_socket_close(struct client_socket *s); // also of a zeroed struct

// Datagrams that arrived for it and found its buffer full.
uint32_t client_socket_drops(const struct client_socket *s);

static inline void client_net_use(struct client_net *n, struct client_socket *s)
{
    n->current = s;
}

static inline void client_net_flush(struct client_net *n)
{
    if (n->out.count > 0) {
        outbox_flush(&n->out);
    }
}

// The address from which this host would reach `to`, with port 0. Negative errno.
int client_net_route(const struct addr *to, struct addr *ret) NODISCARD;

// ---- timers -------------------------------------------------------------------------------------

// Embedded in its owner. fn runs with net->now set.
struct client_timer {
    struct timer t;
    void (*fn)(void *user);
    void *user;
};

// Promises a place in the heap until client_timer_done. -ENOMEM.
int client_timer_init(struct client_timer *t, struct client_net *n, void (*fn)(void *user),
                      void *user) NODISCARD;
void client_timer_done(struct client_timer *t, struct client_net *n); // also of a zeroed struct
void client_timer_set(struct client_timer *t, struct client_net *n,
                      mono_t at); // MONO_NEVER stops it

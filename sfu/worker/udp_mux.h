// SPDX-License-Identifier: Apache-2.0
#pragma once
// The UDP sockets of one worker: batches of datagrams into pool packets, and the sink of its
// outbox.
//
// A "local" is a pair (socket, local IP): a datagram is answered from the address it came to, also
// on a socket that is bound to all addresses (media-plane 1.2).
//
// Owner thread: the worker's.

#include "common/sys/loop.h"
#include "common/sys/udp.h"
#include "sfu/media/packet_pool.h"
#include "sfu/transport/outbox.h"
#include "sfu/transport/srtp_batch.h"

// IPv4 and IPv6.
#define UDP_MUX_SOCKETS 2

// Local addresses in use; index 0..254 fits outbox_slot.local.
#define UDP_MUX_LOCALS 64

struct udp_mux_local {
    uint8_t socket;
    struct addr addr;
};

struct udp_mux_counters {
    uint64_t no_buffer;     // datagrams that stayed in the kernel for lack of packets
    uint64_t no_local;      // more local addresses than UDP_MUX_LOCALS
    uint64_t blocked;       // datagrams lost to a full socket buffer
    uint64_t not_protected; // our own bug: slots that SRTP refused
};

struct udp_mux {
    struct udp_socket sockets[UDP_MUX_SOCKETS];
    struct loop_poll *polls[UDP_MUX_SOCKETS];
    size_t socket_count;
    struct udp_mux_local locals[UDP_MUX_LOCALS];
    size_t local_count;
    struct packet_pool *pool;
    struct packet *rx[UDP_RECV_BATCH]; // waiting for datagrams
    struct srtp_batch *srtp;
    struct udp_out *out; // scratch of the sink, OUTBOX_CAP
    struct udp_mux_counters counters;
};

struct udp_mux_conf {
    struct addr binds[UDP_MUX_SOCKETS]; // port 0: any free one, the same for both families
    size_t bind_count;
    uint32_t buffer_size; // wanted for each direction of each socket
};

// Opens the sockets; *ret_port is what they are bound to. Negative errno of socket and bind (an
// IPv6 socket that the system does not support is left out if there is an IPv4 one).
int udp_mux_open(struct udp_mux *m, const struct udp_mux_conf *conf, struct packet_pool *pool,
                 uint16_t *ret_port) NODISCARD;
void udp_mux_close(struct udp_mux *m);

// Receives one batch from socket i: *ret_n packets (owned by the mux: they are taken back by
// udp_mux_release) with their local index and source. -EAGAIN when there is nothing.
struct udp_mux_rx {
    struct packet *packet;
    struct addr src;
    uint8_t local;
};
int udp_mux_recv(struct udp_mux *m, size_t i, mono_t now,
                 struct udp_mux_rx ret[static UDP_RECV_BATCH], size_t *ret_n) NODISCARD;

// Gives the packets of the last batch back; those that somebody else still holds are replaced by
// fresh ones.
void udp_mux_release(struct udp_mux *m, size_t n);

// outbox sink; user is the mux.
void udp_mux_flush(struct outbox *o, void *user);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// UDP sockets in batches: recvmmsg in, sendmmsg with UDP_SEGMENT (GSO) out.
//
// The cost of a datagram is one trip through the kernel's UDP/IP stack, nearly independent of its
// size; GSO makes one trip out of up to 64 datagrams to the same destination (measured: 0.8 us a
// packet one by one, 0.1 us in eights). Linux only. A socket belongs to one thread.

#include "common/base/addr.h"
#include "common/base/mono.h"

struct sockaddr;

// Most datagrams of one udp_recv_batch. 16 to 32 are enough: larger batches gain nothing
// (measured).
#define UDP_RECV_BATCH 32

// Most datagrams that one system call of udp_send takes; longer arrays are sent in pieces.
#define UDP_SEND_BATCH 256

struct udp_conf {
    struct addr bind;     // unspecified IP: all addresses of that family; port 0: any
    uint32_t recv_buffer; // bytes asked for, 0: the system's
    uint32_t send_buffer;
    bool reuse_port; // SO_REUSEPORT: several workers share the port
};

struct udp_counters {
    uint64_t send_calls;   // sendmmsg
    uint64_t send_packets; // datagrams the kernel took
    uint64_t send_gso;     // of them in GSO messages
    uint64_t send_dropped; // refused by the kernel for good (unreachable, not permitted, too long)
    uint64_t send_blocked; // socket buffer full
    uint64_t recv_packets;
    uint64_t recv_truncated; // longer than the buffer; dropped
};

struct udp_scratch_;

struct udp_socket {
    int fd;
    struct addr local; // what it is bound to, with the real port
    bool gso;          // cleared when the path turns out not to take it
    bool wildcard;     // bound to the unspecified address: the local IP of each packet matters
    struct udp_counters counters;
    struct udp_scratch_ *scratch_;
};

// Opens a non-blocking socket. IPv6 sockets are IPv6 only. Negative errno of socket/bind; -ENOMEM.
int udp_open(struct udp_socket *s, const struct udp_conf *conf) NODISCARD;
void udp_close(struct udp_socket *s); // also after a failed udp_open or of a zeroed struct

// What the kernel granted (it doubles what was asked for and caps it at net.core.rmem_max).
uint32_t udp_recv_buffer_size(const struct udp_socket *s);

struct udp_in {
    uint8_t *data; // in: where to put it
    size_t cap;    // in: how much fits
    size_t len;    // out
    struct addr src;
    struct addr dst; // local address it came to (port = the socket's)
    mono_t arrival;  // the kernel's receive time, on the monotonic clock
};

// Receives up to n (<= UDP_RECV_BATCH) datagrams that are already there. *ret_n may be 0. Truncated
// datagrams come with len 0. Returns 0, or -EAGAIN when none was there, or another negative errno
// of the socket. `now` places the kernel's time stamps on the monotonic clock.
int udp_recv_batch(struct udp_socket *s, mono_t now, struct udp_in *in, size_t n,
                   size_t *ret_n) NODISCARD;

struct udp_out {
    struct addr dst;
    struct addr src; // local IP it must leave from; ADDR_NONE: the kernel's choice. Only for
                     // wildcard sockets
    const uint8_t *data;
    size_t len;
};

// Sends all of out in order. Neighbours with equal dst and src and equal length (the last of a run
// may be shorter) leave as one GSO message. A datagram the kernel refuses is counted and skipped.
// *ret_done is how many were dealt with (sent or refused): n, or less together with -EAGAIN when
// the socket buffer is full.
int udp_send(struct udp_socket *s, const struct udp_out *out, size_t n, size_t *ret_done) NODISCARD;

// ---- conversion -----------------------------------------------------------------------------

// Room for a struct sockaddr_in6, the largest that we use.
#define UDP_SOCKADDR_LEN 28

// Writes the sockaddr of a and returns its length (0 for ADDR_NONE). The buffer must be aligned as
// a sockaddr is.
uint32_t addr_to_sockaddr(const struct addr *a, struct sockaddr *ret, size_t cap);

// IPv4-mapped IPv6 becomes IPv4. -EAFNOSUPPORT for other families.
int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A virtual network for simulations: datagrams between addresses on a virtual clock, each direction
// with its own delay, jitter, loss, duplication, rate and queue, all from one seed. Deterministic:
// same seed, same calls, same result.
//
//     vnet_send(n, now, &src, &dst, data);                      // or vnet_outbox_sink as the flush
//     of an outbox while (vnet_next(n, now, &d)) { deliver d.data, from d.src to d.dst } next step
//     at min(vnet_deadline(n), deadlines of the machines)
//
// NAT: vnet_map makes a private address visible as another one, and may be called again to rebind
// it.

#include "common/base/addr.h"
#include "common/base/bytes.h"
#include "common/base/mono.h"
#include "common/base/rng.h"
#include "sfu/transport/outbox.h"

struct vnet;

// One direction. All zero: a perfect wire.
struct vnet_link {
    int64_t delay_us;
    int64_t jitter_us; // each datagram: delay + uniform(0..jitter); with reorder it may overtake
    bool reorder;      // false: order is kept in spite of jitter
    uint32_t loss_ppm; // of a million
    uint32_t dup_ppm;
    uint32_t burst_ppm; // chance that a loss burst starts; burst_len datagrams are lost then
    uint32_t burst_len;
    uint64_t rate_bps;  // bottleneck with 28 bytes of IP and UDP per datagram; 0: none
    size_t queue_bytes; // of the bottleneck, tail drop; 0: 64 KiB
    bool down;          // nothing passes
};

struct vnet_datagram {
    struct addr src, dst;  // as the receiver sees them
    struct bytes_mut data; // writable (decryption in place); valid until the next vnet_next
};

struct vnet_stats {
    uint64_t sent, delivered, lost, queue_drops, duplicated;
};

// Exits the program when out of memory: it is a test.
struct vnet *vnet_new(uint64_t seed);
void vnet_free(struct vnet *n);

// The link for datagrams from (private) address src to dst; NULL: any. The most specific wins:
// both, src only, dst only, none. Setting it again changes it for datagrams sent later; the state
// of its bottleneck stays.
void vnet_set_link(struct vnet *n, const struct addr *src, const struct addr *dst,
                   const struct vnet_link *link);

// Others see `inside` as `outside`; datagrams to outside reach it. Mapping it again forgets the old
// outside address.
void vnet_map(struct vnet *n, const struct addr *inside, const struct addr *outside);

void vnet_send(struct vnet *n, mono_t now, const struct addr *src, const struct addr *dst,
               struct bytes data);

// The next datagram that is due at now; false if there is none.
bool vnet_next(struct vnet *n, mono_t now, struct vnet_datagram *ret);

// When the next datagram arrives; MONO_NEVER if none is under way.
mono_t vnet_deadline(const struct vnet *n);

const struct vnet_stats *vnet_stats(const struct vnet *n);

// A tap sees each datagram when it is sent (before loss); NULL switches it off.
void vnet_set_tap(struct vnet *n,
                  void (*tap)(void *user, mono_t now, const struct vnet_datagram *d), void *user);

// An endpoint: an outbox whose flush protects SRTP slots and sends everything into the network. The
// locals are the addresses behind the socket indices. Set now before using the outbox.
struct srtp_batch;
struct vnet_endpoint {
    struct vnet *net;
    struct addr locals[4];
    mono_t now;
    struct srtp_batch *batch; // borrowed; NULL: slots must be final
    struct outbox out;
};

void vnet_endpoint_init(struct vnet_endpoint *e, struct vnet *n, const struct addr *local,
                        struct srtp_batch *batch);
void vnet_endpoint_done(struct vnet_endpoint *e);

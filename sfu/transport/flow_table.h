// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which transport a datagram belongs to: by its source address once ICE has validated that, before
// that by the local ufrag in a STUN request (RFC 7983, RFC 8445 section 7.3). One table per worker.
//
// Pure. Owner thread.

#include "common/base/addr.h"

struct flow_ufrag;
struct flow_addr;

// One transport in the table: its entries, so that its end costs what it has and not what the table
// holds. Embedded into the transport, which must stay where it is while it has entries.
struct flow_owner {
    void *user;                // what the look-ups return
    struct flow_ufrag *ufrags; // list
    struct flow_addr *addrs;   // list
};

struct flow_table {
    struct flow_ufrag *ufrags; // uthash
    struct flow_addr **buckets;
    size_t bucket_count; // power of two, 0 before the first address
    size_t addr_count;
    uint64_t seed;
};

// seed: random, peers choose their ports.
void flow_table_init(struct flow_table *t, uint64_t seed);
void flow_table_done(struct flow_table *t);

// Enters owner (borrowed) under a local ufrag. -EEXIST (draw another), -EINVAL (empty or over 32
// bytes), -ENOMEM.
int flow_table_add_ufrag(struct flow_table *t, const char *ufrag,
                         struct flow_owner *owner) NODISCARD;
void flow_table_remove_ufrag(struct flow_table *t, const char *ufrag);
// The user of the owner, NULL if there is none.
void *flow_table_by_ufrag(const struct flow_table *t, struct bytes ufrag);

// An address that ICE validated for owner. One that was somebody else's moves; whether it may is
// the caller's to decide (pc_transport.c: a source address alone proves nothing while its owner
// speaks). -ENOMEM.
int flow_table_set_addr(struct flow_table *t, const struct addr *a,
                        struct flow_owner *owner) NODISCARD;
// Only if it still belongs to owner.
void flow_table_remove_addr(struct flow_table *t, const struct addr *a,
                            const struct flow_owner *owner);
// The user of the owner, NULL if there is none.
void *flow_table_by_addr(const struct flow_table *t, const struct addr *a);

// Removes everything that belongs to owner, in time of what it has.
void flow_table_forget(struct flow_table *t, struct flow_owner *owner);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which transport a datagram belongs to: by its source address once ICE has validated that, before
// that by the local ufrag in a STUN request (RFC 7983, RFC 8445 section 7.3). One table per worker.
//
// Pure. Owner thread.

#include "common/base/addr.h"

struct flow_ufrag;
struct flow_addr;

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
int flow_table_add_ufrag(struct flow_table *t, const char *ufrag, void *owner) NODISCARD;
void flow_table_remove_ufrag(struct flow_table *t, const char *ufrag);
void *flow_table_by_ufrag(const struct flow_table *t, struct bytes ufrag);

// An address that ICE validated for owner. One that was somebody else's moves: its last
// authenticated user has it. -ENOMEM.
int flow_table_set_addr(struct flow_table *t, const struct addr *a, void *owner) NODISCARD;
// Only if it still belongs to owner.
void flow_table_remove_addr(struct flow_table *t, const struct addr *a, const void *owner);
void *flow_table_by_addr(const struct flow_table *t, const struct addr *a);

// Removes everything that belongs to owner. Linear in the size of the table: for the end of a
// transport.
void flow_table_forget(struct flow_table *t, const void *owner);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A hash table whose links stand in the objects, 16 bytes each with a tag of the owner's, and in
// which several objects may have one key: uthash needs 56 bytes an object, which a hundred thousand
// jobs would feel. The owner compares keys. Pure.

#include "common/base/mem.h"

struct leave_node {
    struct leave_node *next;
    uint32_t hash;
    uint32_t tag; // the owner's
};

struct leave_index {
    struct leave_node **slots;
    uint32_t count;
    uint32_t size; // of slots, 0 or a power of two
};

// Adds n; hash and tag must be set, the object must stay where it is. -ENOMEM. The table grows with
// its objects and does not shrink.
int leave_index_add(struct leave_index *ix, struct leave_node *n) NODISCARD;

// Takes n out; it must be in it.
void leave_index_remove(struct leave_index *ix, struct leave_node *n);

// The objects with this hash: first, then the next of each. NULL: no more.
struct leave_node *leave_index_first(const struct leave_index *ix, uint32_t hash);
struct leave_node *leave_index_next(const struct leave_node *n);

// Frees the table, not the objects. It is empty and usable afterwards.
void leave_index_done(struct leave_index *ix);

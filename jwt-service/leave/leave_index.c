// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/leave_index.h"

#define SIZE_MIN 64u

static struct leave_node **slot_of(const struct leave_index *ix, uint32_t hash)
{
    return &ix->slots[hash & (ix->size - 1)];
}

static struct leave_node *with_hash(struct leave_node *n, uint32_t hash)
{
    while (n && n->hash != hash) {
        n = n->next;
    }
    return n;
}

static int resize(struct leave_index *ix, uint32_t size)
{
    struct leave_index to = {.count = ix->count, .size = size};
    to.slots = mem_array(size, sizeof(*to.slots));
    if (!to.slots) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < ix->size; i++) {
        struct leave_node *n = ix->slots[i];
        while (n) {
            struct leave_node *const next = n->next;
            struct leave_node **const slot = slot_of(&to, n->hash);
            n->next = *slot;
            *slot = n;
            n = next;
        }
    }
    mem_free(ix->slots);
    *ix = to;
    return 0;
}

int leave_index_add(struct leave_index *ix, struct leave_node *n)
{
    // A table that cannot grow only gets slower.
    if (ix->count >= ix->size && resize(ix, MAX(ix->size * 2, SIZE_MIN)) < 0 && ix->size == 0) {
        return -ENOMEM;
    }
    struct leave_node **const slot = slot_of(ix, n->hash);
    n->next = *slot;
    *slot = n;
    ix->count++;
    return 0;
}

void leave_index_remove(struct leave_index *ix, struct leave_node *n)
{
    struct leave_node **p = slot_of(ix, n->hash);
    while (*p != n) {
        assert(*p);
        p = &(*p)->next;
    }
    *p = n->next;
    n->next = NULL;
    ix->count--;
}

struct leave_node *leave_index_first(const struct leave_index *ix, uint32_t hash)
{
    return ix->size ? with_hash(*slot_of(ix, hash), hash) : NULL;
}

struct leave_node *leave_index_next(const struct leave_node *n)
{
    return with_hash(n->next, n->hash);
}

void leave_index_done(struct leave_index *ix)
{
    mem_free(ix->slots);
    *ix = (struct leave_index){0};
}

// SPDX-License-Identifier: Apache-2.0
#include "common/base/handle.h"

#include "common/base/mem.h"

// A free slot has obj NULL and chains to the next free one; generations are odd while in use so
// that a handle of a free slot never matches.
struct handle_slot_ {
    void *obj;
    uint32_t gen;
    uint32_t next_free;
};

#define NO_SLOT UINT32_MAX
// First allocation: small, as most tables stay small.
#define FIRST_CAP 16u

void handle_table_init(struct handle_table *t, uint32_t max)
{
    *t = (struct handle_table){.max = max, .free_head = NO_SLOT};
}

void handle_table_done(struct handle_table *t)
{
    mem_free(t->slots);
    *t = (struct handle_table){.free_head = NO_SLOT};
}

static int grow(struct handle_table *t)
{
    if (t->cap >= t->max) {
        return -ENOBUFS;
    }
    uint32_t const want = t->cap == 0 ? FIRST_CAP : t->cap * 2;
    uint32_t const cap = MIN(want, t->max);
    struct handle_slot_ *const slots = mem_regrow(t->slots, cap, sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    t->slots = slots;
    // Chained so that the lowest index is used first: tables stay dense.
    for (uint32_t i = cap; i-- > t->cap;) {
        slots[i] = (struct handle_slot_){.next_free = t->free_head};
        t->free_head = i;
    }
    t->cap = cap;
    return 0;
}

int handle_table_add(struct handle_table *t, void *obj, handle_t *ret)
{
    assert(obj != NULL);
    if (t->free_head == NO_SLOT) {
        int const rc = grow(t);
        if (rc < 0) {
            return rc;
        }
    }
    uint32_t const i = t->free_head;
    struct handle_slot_ *const s = &t->slots[i];
    t->free_head = s->next_free;
    s->obj = obj;
    s->gen++;
    t->count++;
    *ret = (handle_t){i, s->gen};
    return 0;
}

void *handle_table_get(const struct handle_table *t, handle_t h)
{
    if (h.index >= t->cap || h.gen == 0 || t->slots[h.index].gen != h.gen) {
        return NULL;
    }
    return t->slots[h.index].obj;
}

void *handle_table_remove(struct handle_table *t, handle_t h)
{
    void *const obj = handle_table_get(t, h);
    if (obj == NULL) {
        return NULL;
    }
    struct handle_slot_ *const s = &t->slots[h.index];
    s->obj = NULL;
    s->gen++;
    s->next_free = t->free_head;
    t->free_head = h.index;
    t->count--;
    return obj;
}

void *handle_table_next(const struct handle_table *t, uint32_t *pos)
{
    while (*pos < t->cap) {
        void *const obj = t->slots[(*pos)++].obj;
        if (obj != NULL) {
            return obj;
        }
    }
    return NULL;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Generational handles: how an object is named across objects and threads. A stale handle finds
// nothing instead of somebody else. Pure; a table belongs to one thread.

#include "common/base/macros.h"

// Never valid when zero.
typedef struct {
    uint32_t index;
    uint32_t gen;
} handle_t;

#define HANDLE_NONE ((handle_t){0, 0})

static inline bool handle_eq(handle_t a, handle_t b)
{
    return a.index == b.index && a.gen == b.gen;
}

static inline bool handle_is_none(handle_t h)
{
    return h.gen == 0;
}

struct handle_slot_;

// Zero-initialise with handle_table_init.
struct handle_table {
    struct handle_slot_ *slots;
    uint32_t cap;
    uint32_t count;
    uint32_t max;
    uint32_t free_head;
};

// `max`: most live objects; the table grows up to it.
void handle_table_init(struct handle_table *t, uint32_t max);
void handle_table_done(struct handle_table *t);

// Enters obj (not NULL, borrowed). -ENOBUFS at max, -ENOMEM.
int handle_table_add(struct handle_table *t, void *obj, handle_t *ret) NODISCARD;

// The object, or NULL for a stale or foreign handle.
void *handle_table_get(const struct handle_table *t, handle_t h);

// Removes; returns what was there or NULL. The slot is reused with another generation.
void *handle_table_remove(struct handle_table *t, handle_t h);

// Iteration: pass *pos = 0 first; returns NULL at the end. Removal of the current object is
// allowed.
void *handle_table_next(const struct handle_table *t, uint32_t *pos);

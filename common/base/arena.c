// SPDX-License-Identifier: Apache-2.0
#include "common/base/arena.h"

#include <stdalign.h>

#include "common/base/mem.h"

#define ARENA_ALIGN alignof(max_align_t)
#define ARENA_CHUNK_MIN ((size_t)512)

struct arena_chunk_ {
    struct arena_chunk_ *next;
    size_t used;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t first, size_t cap)
{
    *a = (struct arena){.cap = cap, .next_chunk = MAX(first, ARENA_CHUNK_MIN)};
}

void arena_done(struct arena *a)
{
    struct arena_chunk_ *c = a->chunks;
    while (c) {
        struct arena_chunk_ *const next = c->next;
        mem_free(c);
        c = next;
    }
    *a = (struct arena){0};
}

// A chunk that holds at least n bytes, pushed to the front.
static struct arena_chunk_ *arena_grow(struct arena *a, size_t n)
{
    size_t const size = MAX(n, MIN(a->next_chunk, a->cap));
    struct arena_chunk_ *const c = mem_alloc(sizeof(*c) + size);
    if (!c) {
        a->no_memory = true;
        return NULL;
    }
    c->size = size;
    c->next = a->chunks;
    a->chunks = c;
    // Doubling keeps the number of chunks logarithmic in the cap.
    a->next_chunk = size > a->cap / 2 ? a->cap : size * 2;
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->cap) {
        a->over_cap = true;
        return NULL;
    }
    size_t const need = (MAX(n, 1) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (need > a->cap - a->used) {
        a->over_cap = true;
        return NULL;
    }
    struct arena_chunk_ *c = a->chunks;
    if (!c || c->size - c->used < need) {
        c = arena_grow(a, need);
        if (!c) {
            return NULL;
        }
    }
    void *const p = c->data + c->used;
    c->used += need;
    a->used += need;
    return p; // chunks come zeroed from mem_alloc and nothing is handed out twice
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t n = 0;
    if (__builtin_mul_overflow(count, size, &n)) {
        a->over_cap = true;
        return NULL;
    }
    return arena_alloc(a, n);
}

char *arena_strdup(struct arena *a, struct bytes text)
{
    if (text.n >= a->cap) {
        a->over_cap = true;
        return NULL;
    }
    char *const s = arena_alloc(a, text.n + 1);
    if (s && text.n > 0) {
        memcpy(s, text.p, text.n);
    }
    return s;
}

// SPDX-License-Identifier: Apache-2.0
#include "common/base/timer_heap.h"

#include "common/base/mem.h"

// Four children a node: half the levels of a binary heap, and siblings share a cache line of
// pointers.
#define ARITY 4u

void timer_heap_init(struct timer_heap *h)
{
    *h = (struct timer_heap){0};
}

void timer_heap_done(struct timer_heap *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        h->v[i]->pos = 0;
    }
    mem_free(h->v);
    *h = (struct timer_heap){0};
}

int timer_heap_reserve(struct timer_heap *h, uint32_t count)
{
    if (count <= h->cap) {
        return 0;
    }
    uint32_t const cap = MAX(count, h->cap * 2);
    struct timer **const v = mem_regrow(h->v, cap, sizeof(*v));
    if (v == NULL) {
        return -ENOMEM;
    }
    h->v = v;
    h->cap = cap;
    return 0;
}

static void place(struct timer_heap *h, uint32_t i, struct timer *t)
{
    h->v[i] = t;
    t->pos = i + 1;
}

static void sift_up(struct timer_heap *h, uint32_t i, struct timer *t)
{
    while (i > 0) {
        uint32_t const parent = (i - 1) / ARITY;
        if (!mono_before(t->at, h->v[parent]->at)) {
            break;
        }
        place(h, i, h->v[parent]);
        i = parent;
    }
    place(h, i, t);
}

static void sift_down(struct timer_heap *h, uint32_t i, struct timer *t)
{
    for (;;) {
        uint32_t const first = i * ARITY + 1;
        if (first >= h->count) {
            break;
        }
        uint32_t best = first;
        for (uint32_t c = first + 1; c < MIN(first + ARITY, h->count); c++) {
            if (mono_before(h->v[c]->at, h->v[best]->at)) {
                best = c;
            }
        }
        if (!mono_before(h->v[best]->at, t->at)) {
            break;
        }
        place(h, i, h->v[best]);
        i = best;
    }
    place(h, i, t);
}

void timer_heap_set(struct timer_heap *h, struct timer *t, mono_t at)
{
    if (mono_is_never(at)) {
        timer_heap_cancel(h, t);
        return;
    }
    if (t->pos == 0) {
        assert(h->count < h->cap);
        t->at = at;
        sift_up(h, h->count++, t);
        return;
    }
    bool const sooner = mono_before(at, t->at);
    t->at = at;
    if (sooner) {
        sift_up(h, t->pos - 1, t);
    } else {
        sift_down(h, t->pos - 1, t);
    }
}

void timer_heap_set_sooner(struct timer_heap *h, struct timer *t, mono_t at)
{
    if (t->pos == 0 || mono_before(at, t->at)) {
        timer_heap_set(h, t, at);
    }
}

void timer_heap_cancel(struct timer_heap *h, struct timer *t)
{
    if (t->pos == 0) {
        return;
    }
    uint32_t const i = t->pos - 1;
    t->pos = 0;
    struct timer *const last = h->v[--h->count];
    if (last == t) {
        return;
    }
    if (i > 0 && mono_before(last->at, h->v[(i - 1) / ARITY]->at)) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}

mono_t timer_heap_next(const struct timer_heap *h)
{
    return h->count > 0 ? h->v[0]->at : MONO_NEVER;
}

struct timer *timer_heap_pop(struct timer_heap *h, mono_t now)
{
    if (h->count == 0 || !mono_reached(h->v[0]->at, now)) {
        return NULL;
    }
    struct timer *const t = h->v[0];
    timer_heap_cancel(h, t);
    return t;
}

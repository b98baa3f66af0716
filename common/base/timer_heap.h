// SPDX-License-Identifier: Apache-2.0
#pragma once
// Deadlines of many objects, soonest first. Entries are embedded in their objects; setting and
// cancelling one is O(log n) and the next deadline is exact, so that a thread with nothing to do
// sleeps until there is something. (A wheel would save the logarithm but wakes up for ticks in
// which nothing happens; with some ten thousand entries the heap costs less than 0.2 us an
// operation.)
//
// Pure: `now` is a parameter. One thread.

#include "common/base/mono.h"

// Embedded in the owner. Zero-initialised means: not set.
struct timer {
    mono_t at;
    uint32_t pos;  // index in the heap + 1; 0 = not in it
    uint16_t kind; // for the owner's dispatch
};

struct timer_heap {
    struct timer **v;
    uint32_t count;
    uint32_t cap;
};

void timer_heap_init(struct timer_heap *h);
void timer_heap_done(struct timer_heap *h); // entries still set become unset

// Makes sure that `count` entries fit, so that timer_heap_set cannot fail up to there. Call it
// where objects with timers are created. -ENOMEM.
int timer_heap_reserve(struct timer_heap *h, uint32_t count) NODISCARD;

// Sets or moves t; MONO_NEVER cancels it. There must be room (timer_heap_reserve).
void timer_heap_set(struct timer_heap *h, struct timer *t, mono_t at);

// Moves t forward only: at the sooner of what is set and `at`.
void timer_heap_set_sooner(struct timer_heap *h, struct timer *t, mono_t at);

void timer_heap_cancel(struct timer_heap *h, struct timer *t);

// The soonest deadline, MONO_NEVER if there is none.
mono_t timer_heap_next(const struct timer_heap *h);

// Takes out and returns the soonest entry due at `now`, or NULL. Its owner may set it again at
// once.
struct timer *timer_heap_pop(struct timer_heap *h, mono_t now);

static inline bool timer_is_set(const struct timer *t)
{
    return t->pos != 0;
}

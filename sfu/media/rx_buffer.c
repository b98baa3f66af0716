// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rx_buffer.h"

#include "common/base/mem.h"

static bool is_pow2(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static struct packet **slot_of(const struct rx_buffer *b, uint64_t ext_sn)
{
    return &b->slot[ext_sn & (b->cap - 1)];
}

int rx_buffer_init(struct rx_buffer *b, uint32_t cap, uint32_t max)
{
    if (!is_pow2(cap) || !is_pow2(max) || cap < RX_BUFFER_MIN || cap > max || max > RX_BUFFER_MAX) {
        return -EINVAL;
    }
    *b = (struct rx_buffer){.cap = cap, .max = max};
    b->slot = mem_array(cap, sizeof(struct packet *));
    return b->slot ? 0 : -ENOMEM;
}

void rx_buffer_done(struct rx_buffer *b)
{
    if (b->slot) {
        rx_buffer_flush(b);
        mem_free(b->slot);
    }
    *b = (struct rx_buffer){0};
}

static void release(struct rx_buffer *b, struct packet **slot)
{
    if (*slot) {
        packet_unref(*slot);
        *slot = NULL;
        b->count--;
    }
}

void rx_buffer_flush(struct rx_buffer *b)
{
    for (uint32_t i = 0; i < b->cap && b->count > 0; i++) {
        release(b, &b->slot[i]);
    }
    b->started = false;
    b->crowded = false;
    b->lowest = 0;
    b->oldest = 0;
    b->highest = 0;
}

struct packet *rx_buffer_peek(const struct rx_buffer *b, uint64_t ext_sn)
{
    if (!b->started) {
        return NULL;
    }
    struct packet *const p = *slot_of(b, ext_sn);
    return p && p->ext_sn == ext_sn ? p : NULL;
}

// Moves the lower end up to `lowest`, letting go of what is below.
static void raise_lowest(struct rx_buffer *b, uint64_t lowest, mono_t now)
{
    if (lowest - b->lowest >= b->cap) {
        // Everything goes: at most one turn of the ring.
        for (uint32_t i = 0; i < b->cap; i++) {
            release(b, &b->slot[i]);
        }
        b->lowest = lowest;
        b->oldest = lowest;
        return;
    }
    for (; b->lowest < lowest; b->lowest++) {
        struct packet **const slot = slot_of(b, b->lowest);
        if (*slot) {
            int64_t const age = mono_diff_us(now, (*slot)->arrival);
            b->crowded = b->crowded || age < RX_BUFFER_WINDOW_US;
            release(b, slot);
        }
    }
    b->oldest = MAX(b->oldest, b->lowest);
}

// The window is a time, but it moves in the order of numbers: a repaired packet keeps its
// successors a little longer. Missing numbers stay welcome until something newer than them has
// left.
static void expire(struct rx_buffer *b, mono_t now)
{
    for (; b->oldest < b->highest; b->oldest++) {
        struct packet **const slot = slot_of(b, b->oldest);
        if (*slot) {
            if (mono_diff_us(now, (*slot)->arrival) < RX_BUFFER_WINDOW_US) {
                return;
            }
            release(b, slot);
            b->lowest = b->oldest + 1;
        }
    }
}

enum rx_buffer_result rx_buffer_put(struct rx_buffer *b, mono_t now, struct packet *p)
{
    assert(p->ext_sn != 0);
    uint64_t const sn = p->ext_sn;
    if (!b->started) {
        b->started = true;
        b->highest = sn;
        // Packets that were overtaken by the first one are welcome.
        b->lowest = sn > b->cap / 2 ? sn - b->cap / 2 : 1;
        b->oldest = sn;
    }
    if (sn < b->lowest) {
        return RX_BUFFER_TOO_OLD;
    }
    if (sn > b->highest) {
        if (sn - b->lowest >= b->cap) {
            raise_lowest(b, sn - b->cap + 1, now);
        }
        b->highest = sn;
    }
    struct packet **const slot = slot_of(b, sn);
    if (*slot) {
        return RX_BUFFER_DUPLICATE; // within the window a slot has one number only
    }
    *slot = packet_ref(p);
    b->count++;
    b->oldest = MIN(b->oldest, sn);
    expire(b, now);
    return RX_BUFFER_STORED;
}

void rx_buffer_timeout(struct rx_buffer *b, mono_t now)
{
    if (!b->started) {
        return;
    }
    expire(b, now);
    // The newest packet alone may be left behind by expire.
    struct packet **const newest = slot_of(b, b->highest);
    if (b->count == 1 && *newest && mono_diff_us(now, (*newest)->arrival) >= RX_BUFFER_WINDOW_US) {
        release(b, newest);
    }
    if (!b->crowded || b->cap >= b->max) {
        b->crowded = false;
        return;
    }
    uint32_t const cap = b->cap * 2;
    struct packet **const slot = mem_array(cap, sizeof(struct packet *));
    if (!slot) {
        return;
    }
    for (uint32_t i = 0; i < b->cap; i++) {
        if (b->slot[i]) {
            slot[b->slot[i]->ext_sn & (cap - 1)] = b->slot[i];
        }
    }
    mem_free(b->slot);
    b->slot = slot;
    b->cap = cap;
    b->crowded = false;
}

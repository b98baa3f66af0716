// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bit-wise reader and writer, most significant bit first, with the same sticky error as bytes.h.
// Pure.

#include "common/base/bytes.h"

struct rdbits {
    const uint8_t *p;
    size_t pos; // bits
    size_t end;
    bool err;
};

static inline struct rdbits rdbits_init(struct bytes b)
{
    return (struct rdbits){b.p, 0, b.n * 8, false};
}

static inline size_t rdbits_left(const struct rdbits *r)
{
    return r->end - r->pos;
}

static inline bool rdbits_ok(const struct rdbits *r)
{
    return !r->err;
}

// The next n (0..32) bits; 0 and err past the end.
static inline uint32_t rdbits_get(struct rdbits *r, unsigned n)
{
    assert(n <= 32);
    if (rdbits_left(r) < n) {
        r->err = true;
        r->pos = r->end;
        return 0;
    }
    uint32_t v = 0;
    while (n > 0) {
        unsigned const in_byte = 8 - (unsigned)(r->pos & 7u);
        unsigned const take = MIN(n, in_byte);
        unsigned const bits =
            ((unsigned)r->p[r->pos >> 3] >> (in_byte - take)) & ((1u << take) - 1u);
        v = (uint32_t)(((uint64_t)v << take) | bits);
        r->pos += take;
        n -= take;
    }
    return v;
}

static inline bool rdbits_flag(struct rdbits *r)
{
    return rdbits_get(r, 1) != 0;
}

// Non-symmetric unsigned value below n (AV1 specification section 4.10.7). n >= 1.
static inline uint32_t rdbits_ns(struct rdbits *r, uint32_t n)
{
    unsigned w = 0;
    for (uint32_t x = n; x != 0; x >>= 1) {
        w++;
    }
    uint32_t const m = (uint32_t)((UINT64_C(1) << w) - n);
    uint32_t const v = rdbits_get(r, w - 1);
    return v < m ? v : (v << 1) - m + rdbits_get(r, 1);
}

struct wrbits {
    uint8_t *p;
    size_t pos; // bits
    size_t end;
    bool err;
};

// Bytes are cleared as they are begun.
static inline struct wrbits wrbits_init(void *buf, size_t cap)
{
    return (struct wrbits){(uint8_t *)buf, 0, cap * 8, false};
}

static inline bool wrbits_ok(const struct wrbits *w)
{
    return !w->err;
}

// Whole bytes begun so far.
static inline size_t wrbits_len(const struct wrbits *w)
{
    return (w->pos + 7) / 8;
}

// The n (0..32) low bits of v.
static inline void wrbits_put(struct wrbits *w, uint32_t v, unsigned n)
{
    assert(n <= 32);
    if (w->err || w->end - w->pos < n) {
        w->err = true;
        return;
    }
    while (n > 0) {
        unsigned const in_byte = 8 - (unsigned)(w->pos & 7u);
        unsigned const take = MIN(n, in_byte);
        unsigned const bits = (v >> (n - take)) & ((1u << take) - 1u);
        uint8_t *const at = &w->p[w->pos >> 3];
        *at = (uint8_t)((in_byte == 8 ? 0u : *at) | (bits << (in_byte - take)));
        w->pos += take;
        n -= take;
    }
}

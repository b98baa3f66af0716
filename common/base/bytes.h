// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one reader and the one writer used for every wire format. Pure.
//
// Both are sticky: past the end a read returns 0 (a write writes nothing) and sets `err`, so a
// parser reads straight through and checks once at the end. No function here can touch memory
// outside [p, end). Everything is big endian (network order) unless the name says le.

#include <string.h>

#include "common/base/macros.h"

// A borrowed, read-only view. {NULL, 0} is the empty view.
struct bytes {
    const uint8_t *p;
    size_t n;
};

// A borrowed, writable view.
struct bytes_mut {
    uint8_t *p;
    size_t n;
};

static inline struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){(const uint8_t *)p, n};
}

static inline struct bytes bytes_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool bytes_eq_str(struct bytes a, const char *s)
{
    return bytes_eq(a, bytes_str(s));
}

// True if equal; takes the same time wherever the first difference is. For MACs, keys and tokens.
bool bytes_eq_consttime(struct bytes a, struct bytes b);

// ---- reader ---------------------------------------------------------------------------------

struct rd {
    const uint8_t *p;
    const uint8_t *end;
    bool err;
};

static inline struct rd rd_init(struct bytes b)
{
    return (struct rd){b.p, b.p ? b.p + b.n : NULL, false};
}

static inline size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->p);
}

// True while nothing was read past the end.
static inline bool rd_ok(const struct rd *r)
{
    return !r->err;
}

static inline void rd_fail(struct rd *r)
{
    r->err = true;
    r->p = r->end;
}

static inline bool rd_need_(struct rd *r, size_t n)
{
    if (LIKELY(rd_left(r) >= n)) {
        return true;
    }
    rd_fail(r);
    return false;
}

static inline uint8_t rd_u8(struct rd *r)
{
    return rd_need_(r, 1) ? *r->p++ : 0;
}

// Next byte without consuming it; 0 and err at the end.
static inline uint8_t rd_peek_u8(struct rd *r)
{
    return rd_need_(r, 1) ? *r->p : 0;
}

static inline uint16_t rd_be16(struct rd *r)
{
    if (!rd_need_(r, 2)) {
        return 0;
    }
    uint16_t const v = (uint16_t)((r->p[0] << 8) | r->p[1]);
    r->p += 2;
    return v;
}

static inline uint32_t rd_be24(struct rd *r)
{
    if (!rd_need_(r, 3)) {
        return 0;
    }
    uint32_t const v = ((uint32_t)r->p[0] << 16) | ((uint32_t)r->p[1] << 8) | r->p[2];
    r->p += 3;
    return v;
}

static inline uint32_t rd_be32(struct rd *r)
{
    if (!rd_need_(r, 4)) {
        return 0;
    }
    uint32_t const v =
        ((uint32_t)r->p[0] << 24) | ((uint32_t)r->p[1] << 16) | ((uint32_t)r->p[2] << 8) | r->p[3];
    r->p += 4;
    return v;
}

static inline uint64_t rd_be64(struct rd *r)
{
    if (!rd_need_(r, 8)) {
        return 0;
    }
    uint64_t const hi = rd_be32(r);
    return (hi << 32) | rd_be32(r);
}

// The next n bytes as a view into the input; the empty view and err if there are fewer.
static inline struct bytes rd_take(struct rd *r, size_t n)
{
    if (!rd_need_(r, n)) {
        return (struct bytes){NULL, 0};
    }
    struct bytes const b = {r->p, n};
    r->p += n;
    return b;
}

// A reader over the next n bytes, which are consumed here. On error both readers are failed.
static inline struct rd rd_sub(struct rd *r, size_t n)
{
    struct bytes const b = rd_take(r, n);
    struct rd s = rd_init(b);
    s.err = r->err;
    return s;
}

static inline void rd_skip(struct rd *r, size_t n)
{
    if (rd_need_(r, n)) {
        r->p += n;
    }
}

// Everything that is left.
static inline struct bytes rd_rest(struct rd *r)
{
    return rd_take(r, rd_left(r));
}

// ---- writer ---------------------------------------------------------------------------------

struct wr {
    uint8_t *base;
    uint8_t *p;
    uint8_t *end;
    bool err;
};

static inline struct wr wr_init(void *buf, size_t cap)
{
    return (struct wr){(uint8_t *)buf, (uint8_t *)buf, (uint8_t *)buf + cap, false};
}

static inline bool wr_ok(const struct wr *w)
{
    return !w->err;
}

// Bytes written so far. After an error: those before it (never use them without wr_ok).
static inline size_t wr_len(const struct wr *w)
{
    return (size_t)(w->p - w->base);
}

static inline size_t wr_left(const struct wr *w)
{
    return (size_t)(w->end - w->p);
}

// What was written, as a view. Empty after an error.
static inline struct bytes wr_bytes_view(const struct wr *w)
{
    return w->err ? (struct bytes){NULL, 0} : (struct bytes){w->base, wr_len(w)};
}

static inline bool wr_need_(struct wr *w, size_t n)
{
    if (LIKELY(!w->err && wr_left(w) >= n)) {
        return true;
    }
    w->err = true;
    return false;
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    if (wr_need_(w, 1)) {
        *w->p++ = v;
    }
}

static inline void wr_be16(struct wr *w, uint16_t v)
{
    if (wr_need_(w, 2)) {
        w->p[0] = (uint8_t)(v >> 8);
        w->p[1] = (uint8_t)v;
        w->p += 2;
    }
}

static inline void wr_be24(struct wr *w, uint32_t v)
{
    if (wr_need_(w, 3)) {
        w->p[0] = (uint8_t)(v >> 16);
        w->p[1] = (uint8_t)(v >> 8);
        w->p[2] = (uint8_t)v;
        w->p += 3;
    }
}

static inline void wr_be32(struct wr *w, uint32_t v)
{
    if (wr_need_(w, 4)) {
        w->p[0] = (uint8_t)(v >> 24);
        w->p[1] = (uint8_t)(v >> 16);
        w->p[2] = (uint8_t)(v >> 8);
        w->p[3] = (uint8_t)v;
        w->p += 4;
    }
}

static inline void wr_be64(struct wr *w, uint64_t v)
{
    wr_be32(w, (uint32_t)(v >> 32));
    wr_be32(w, (uint32_t)v);
}

static inline void wr_bytes(struct wr *w, struct bytes b)
{
    if (wr_need_(w, b.n) && b.n > 0) {
        memcpy(w->p, b.p, b.n);
        w->p += b.n;
    }
}

static inline void wr_str(struct wr *w, const char *s)
{
    wr_bytes(w, bytes_str(s));
}

static inline void wr_fill(struct wr *w, uint8_t v, size_t n)
{
    if (wr_need_(w, n) && n > 0) {
        memset(w->p, v, n);
        w->p += n;
    }
}

// Zero bytes up to the next multiple of `align` counted from base.
static inline void wr_pad(struct wr *w, size_t align)
{
    size_t const over = wr_len(w) % align;
    if (over != 0) {
        wr_fill(w, 0, align - over);
    }
}

// Reserves two bytes for a value known later; returns their offset for wr_patch16.
static inline size_t wr_mark16(struct wr *w)
{
    size_t const at = wr_len(w);
    wr_be16(w, 0);
    return at;
}

static inline void wr_patch16(struct wr *w, size_t at, uint16_t v)
{
    if (!w->err && at + 2 <= wr_len(w)) {
        w->base[at] = (uint8_t)(v >> 8);
        w->base[at + 1] = (uint8_t)v;
    } else {
        w->err = true;
    }
}

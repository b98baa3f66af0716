// SPDX-License-Identifier: Apache-2.0
#include "common/base/dynbuf.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/mem.h"

// Smallest allocation: a header line or a small message.
#define FIRST_CAP 256u

void dynbuf_init(struct dynbuf *b, size_t max)
{
    *b = (struct dynbuf){.max = max};
}

void dynbuf_done(struct dynbuf *b)
{
    mem_free(b->p);
    *b = (struct dynbuf){.max = b->max};
}

void dynbuf_reset(struct dynbuf *b)
{
    b->n = 0;
    b->err = false;
}

static void fail(struct dynbuf *b)
{
    dynbuf_done(b);
    b->err = true;
}

// Room for n more bytes and a terminator.
static bool reserve(struct dynbuf *b, size_t n)
{
    if (b->err) {
        return false;
    }
    if (n > b->max || b->n > b->max - n) {
        fail(b);
        return false;
    }
    size_t const need = b->n + n + 1;
    if (need <= b->cap) {
        return true;
    }
    size_t cap = MAX(b->cap, FIRST_CAP);
    while (cap < need) {
        cap *= 2;
    }
    cap = MAX(MIN(cap, b->max + 1), need);
    uint8_t *const p = mem_regrow(b->p, cap, 1);
    if (p == NULL) {
        fail(b);
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void dynbuf_add(struct dynbuf *b, struct bytes data)
{
    if (reserve(b, data.n) && data.n > 0) {
        memcpy(b->p + b->n, data.p, data.n);
        b->n += data.n;
    }
}

void dynbuf_add_str(struct dynbuf *b, const char *s)
{
    dynbuf_add(b, bytes_str(s));
}

void dynbuf_add_u8(struct dynbuf *b, uint8_t v)
{
    dynbuf_add(b, bytes_of(&v, 1));
}

void dynbuf_addf(struct dynbuf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int const n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0) {
        fail(b);
        return;
    }
    if ((size_t)n < sizeof(small)) {
        dynbuf_add(b, bytes_of(small, (size_t)n));
        return;
    }
    if (!reserve(b, (size_t)n)) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

const char *dynbuf_cstr(struct dynbuf *b)
{
    if (!reserve(b, 0)) {
        return NULL;
    }
    b->p[b->n] = 0;
    return (const char *)b->p;
}

char *dynbuf_take_cstr(struct dynbuf *b, size_t *ret_n)
{
    if (dynbuf_cstr(b) == NULL) {
        return NULL;
    }
    char *const s = (char *)b->p;
    if (ret_n != NULL) {
        *ret_n = b->n;
    }
    *b = (struct dynbuf){.max = b->max};
    return s;
}

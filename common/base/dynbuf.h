// SPDX-License-Identifier: Apache-2.0
#pragma once
// A growing byte buffer born with its maximum. A failed append sets `err` and frees the content:
// check once at the end. Pure.

#include "common/base/bytes.h"

struct dynbuf {
    uint8_t *p;
    size_t n;
    size_t cap;
    size_t max;
    bool err;
};

void dynbuf_init(struct dynbuf *b, size_t max);
void dynbuf_done(struct dynbuf *b);  // frees; the buffer may be initialised again
void dynbuf_reset(struct dynbuf *b); // empties, keeps memory, clears err

void dynbuf_add(struct dynbuf *b, struct bytes data);
void dynbuf_add_str(struct dynbuf *b, const char *s);
void dynbuf_add_u8(struct dynbuf *b, uint8_t v);
void dynbuf_addf(struct dynbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

// True while every append fitted.
static inline bool dynbuf_ok(const struct dynbuf *b)
{
    return !b->err;
}

static inline struct bytes dynbuf_view(const struct dynbuf *b)
{
    return bytes_of(b->p, b->n);
}

// Terminates with a zero that is not counted and returns the text; NULL after an error. Valid until
// the next call.
const char *dynbuf_cstr(struct dynbuf *b);

// Gives the content (zero-terminated) to the caller, to be freed with mem_free; NULL after an
// error. Leaves b empty.
char *dynbuf_take_cstr(struct dynbuf *b, size_t *ret_n) NODISCARD;

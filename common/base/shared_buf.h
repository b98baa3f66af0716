// SPDX-License-Identifier: Apache-2.0
#pragma once
// An immutable byte buffer with an atomic reference count: one encoded message that goes to many
// connections, across threads. Whoever fills it owns the only reference; once it was shared nobody
// writes. Pure.

#include <stdatomic.h>

#include "common/base/bytes.h"

struct shared_buf {
    atomic_uint refs;
    size_t n;
    uint8_t p[];
};

// n bytes, zeroed, one reference. NULL without memory.
struct shared_buf *shared_buf_new(size_t n) NODISCARD;
struct shared_buf *shared_buf_copy(struct bytes data) NODISCARD;

// Another reference to b, which is returned. Any thread.
struct shared_buf *shared_buf_ref(struct shared_buf *b);

// Drops one reference; the last one frees. Accepts NULL. Any thread.
void shared_buf_unref(struct shared_buf *b);
DEFINE_CLEANUP(struct shared_buf *, shared_buf_unref)

static inline struct bytes shared_buf_view(const struct shared_buf *b)
{
    return bytes_of(b->p, b->n);
}

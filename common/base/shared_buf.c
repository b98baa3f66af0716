// SPDX-License-Identifier: Apache-2.0
#include "common/base/shared_buf.h"

#include "common/base/mem.h"

struct shared_buf *shared_buf_new(size_t n)
{
    if (n > SIZE_MAX - sizeof(struct shared_buf)) {
        return NULL;
    }
    struct shared_buf *const b = mem_alloc(sizeof(*b) + n);
    if (!b) {
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->n = n;
    return b;
}

struct shared_buf *shared_buf_copy(struct bytes data)
{
    struct shared_buf *const b = shared_buf_new(data.n);
    if (b && data.n > 0) {
        memcpy(b->p, data.p, data.n);
    }
    return b;
}

struct shared_buf *shared_buf_ref(struct shared_buf *b)
{
    // Whoever hands out a reference holds one, so nothing needs to be ordered here.
    unsigned const before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return b;
}

void shared_buf_unref(struct shared_buf *b)
{
    if (!b) {
        return;
    }
    // Release: our reads are over. Acquire by the last one: everybody's reads are over before the
    // memory is freed.
    unsigned const before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) {
        mem_free(b);
    }
}

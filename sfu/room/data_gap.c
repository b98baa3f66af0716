// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_gap.h"

#include <errno.h>
#include <string.h>

#include "common/base/mem.h"

static size_t cost(size_t n)
{
    return n + DATA_GAP_OVERHEAD;
}

int data_gap_put(struct data_gap *g, uint32_t sequence, struct bytes message)
{
    if (g->last != NULL && sequence <= g->last->sequence) {
        return -EEXIST;
    }
    if (message.n > DATA_GAP_MAX || g->bytes + cost(message.n) > DATA_GAP_MAX) {
        return -ENOSPC;
    }
    struct data_held *const x = mem_alloc(sizeof(*x) + message.n);
    if (x == NULL) {
        return -ENOMEM;
    }
    x->sequence = sequence;
    x->n = message.n;
    if (message.n > 0) {
        memcpy(x->data, message.p, message.n);
    }
    if (g->last != NULL) {
        g->last->next = x;
    } else {
        g->first = x;
    }
    g->last = x;
    g->bytes += cost(x->n);
    return 0;
}

struct data_held *data_gap_take(struct data_gap *g, uint32_t after, bool any)
{
    struct data_held *const x = g->first;
    // Not after + 1: a peer may number up to the largest.
    if (x == NULL || (!any && x->sequence - 1 != after)) {
        return NULL;
    }
    g->first = x->next;
    if (g->first == NULL) {
        g->last = NULL;
    }
    x->next = NULL;
    g->bytes -= cost(x->n);
    return x;
}

void data_gap_done(struct data_gap *g)
{
    struct data_held *x;
    while ((x = data_gap_take(g, 0, true)) != NULL) {
        mem_free(x);
    }
}

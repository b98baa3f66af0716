// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/outbox.h"

#include "common/base/mem.h"

#define SLOT_STRIDE (OUTBOX_HEADROOM + OUTBOX_DATA_CAP)
#define CACHE_LINE 64

int outbox_init(struct outbox *o, void (*flush)(struct outbox *, void *), void *user)
{
    // One line more, so that every slot starts on a cache line (the stride is a multiple of it).
    _Static_assert(SLOT_STRIDE % CACHE_LINE == 0, "slots share cache lines");
    *o = (struct outbox){.flush = flush, .user = user};
    o->storage = mem_alloc((size_t)OUTBOX_CAP * SLOT_STRIDE + CACHE_LINE);
    if (o->storage == NULL) {
        return -ENOMEM;
    }
    uint8_t *const first = o->storage + (CACHE_LINE - (uintptr_t)o->storage % CACHE_LINE);
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        o->slots[i].data = first + i * SLOT_STRIDE + OUTBOX_HEADROOM;
    }
    return 0;
}

void outbox_done(struct outbox *o)
{
    mem_free(o->storage);
    *o = (struct outbox){0};
}

struct outbox_slot *outbox_reserve(struct outbox *o)
{
    if (o->count == OUTBOX_CAP) {
        outbox_flush(o);
    }
    struct outbox_slot *const s = &o->slots[o->count];
    uint8_t *const data = s->data;
    *s = (struct outbox_slot){.data = data};
    return s;
}

int outbox_add(struct outbox *o, uint8_t local, const struct addr *dst, struct bytes data)
{
    if (data.n > OUTBOX_DATA_CAP) {
        return -EMSGSIZE;
    }
    struct outbox_slot *const s = outbox_reserve(o);
    s->dst = *dst;
    s->local = local;
    s->len = (uint16_t)data.n;
    if (data.n > 0) {
        memcpy(s->data, data.p, data.n);
    }
    outbox_commit(o);
    return 0;
}

void outbox_flush(struct outbox *o)
{
    if (o->count > 0) {
        o->flush(o, o->user);
        // A sink that leaves slots behind is our bug; sending them again would repeat packets.
        assert(o->count == 0);
        o->count = 0;
    }
}

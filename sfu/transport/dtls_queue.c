// SPDX-License-Identifier: Apache-2.0
#include "common/base/mem.h"
#include "sfu/transport/dtls_handshake.h"

// A browser's longest flight is 3 datagrams; several may be queued while a step is out.
#define QUEUE_MAX_COUNT 16
#define QUEUE_MAX_BYTES 16384

void dtls_queue_init(struct dtls_queue *q)
{
    *q = (struct dtls_queue){.tail = &q->head};
}

void dtls_queue_done(struct dtls_queue *q)
{
    struct dtls_datagram *d = NULL;
    while ((d = dtls_queue_pop(q)) != NULL) {
        mem_free(d);
    }
}

int dtls_queue_push(struct dtls_queue *q, struct bytes datagram)
{
    if (q->count >= QUEUE_MAX_COUNT || q->bytes + datagram.n > QUEUE_MAX_BYTES) {
        return -ENOBUFS;
    }
    struct dtls_datagram *const d = mem_alloc(sizeof(*d) + datagram.n);
    if (d == NULL) {
        return -ENOMEM;
    }
    d->len = datagram.n;
    memcpy(d->data, datagram.p, datagram.n);
    *q->tail = d;
    q->tail = &d->next;
    q->count++;
    q->bytes += d->len;
    return 0;
}

struct dtls_datagram *dtls_queue_pop(struct dtls_queue *q)
{
    struct dtls_datagram *const d = q->head;
    if (d == NULL) {
        return NULL;
    }
    q->head = d->next;
    if (q->head == NULL) {
        q->tail = &q->head;
    }
    q->count--;
    q->bytes -= d->len;
    d->next = NULL;
    return d;
}

void dtls_queue_append(struct dtls_queue *to, struct dtls_queue *from)
{
    if (from->head == NULL) {
        return;
    }
    *to->tail = from->head;
    to->tail = from->tail;
    to->count += from->count;
    to->bytes += from->bytes;
    dtls_queue_init(from);
}

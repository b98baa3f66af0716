// SPDX-License-Identifier: Apache-2.0
#include "common/svc/pbuf.h"

#include <protobuf-c/protobuf-c.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"

static void *pbuf_alloc_cb(void *user, size_t n)
{
    return arena_alloc(user, n);
}

// Nothing is freed alone: the decoder's scratch memory goes with the message.
static void pbuf_free_cb(void *user, void *p)
{
    (void)user;
    (void)p;
}

struct pbuf *pbuf_new(size_t cap)
{
    struct pbuf *const p = NEW(struct pbuf);
    if (p) {
        arena_init(&p->arena, 0, cap);
    }
    return p;
}

void pbuf_free(struct pbuf *p)
{
    if (p) {
        arena_done(&p->arena);
        mem_free(p);
    }
}

// ---- text -----------------------------------------------------------------------------------

// Fields of a decoded message as its descriptor has them: memory at offsets.
static const void *member(const ProtobufCMessage *m, unsigned offset)
{
    return (const uint8_t *)m + offset;
}

static size_t count_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)member(m, f->quantifier_offset);
    }
    // Members of a oneof share their memory.
    bool const other = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                       *(const uint32_t *)member(m, f->quantifier_offset) != f->id;
    return !other && *(void *const *)member(m, f->offset) != NULL;
}

static const void *element(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t i)
{
    const void *const field = *(void *const *)member(m, f->offset);
    return f->label == PROTOBUF_C_LABEL_REPEATED ? ((void *const *)field)[i] : field;
}

// As deep as the decoder went.
static bool texts_are_utf8(const ProtobufCMessage *m)
{
    for (unsigned k = 0; k < m->descriptor->n_fields; k++) {
        const ProtobufCFieldDescriptor *const f = &m->descriptor->fields[k];
        bool const text = f->type == PROTOBUF_C_TYPE_STRING;
        if (!text && f->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        size_t const n = count_of(m, f);
        for (size_t i = 0; i < n; i++) {
            const void *const e = element(m, f, i);
            if (text ? !utf8_is_valid(bytes_str(e)) : !texts_are_utf8(e)) {
                return false;
            }
        }
    }
    return true;
}

// ---- messages -------------------------------------------------------------------------------

int pbuf_unpack(const struct ProtobufCMessageDescriptor *type, struct bytes in, size_t cap,
                struct pbuf **ret)
{
    CLEANUP(pbuf_free) struct pbuf *p = pbuf_new(cap);
    if (!p) {
        return -ENOMEM;
    }
    // Signalling messages take about twice their size: mostly one chunk.
    arena_init(&p->arena, in.n < cap / 2 ? in.n * 2 : cap, cap);
    ProtobufCAllocator a = {
        .alloc = pbuf_alloc_cb, .free = pbuf_free_cb, .allocator_data = &p->arena};
    static const uint8_t nothing[1] = {0};
    p->msg = protobuf_c_message_unpack(type, &a, in.n, in.n > 0 ? in.p : nothing);
    if (!p->msg) {
        return p->arena.no_memory ? -ENOMEM : (p->arena.over_cap ? -E2BIG : -EBADMSG);
    }
    if (!texts_are_utf8(p->msg)) {
        return -EBADMSG;
    }
    *ret = STEAL(p);
    return 0;
}

struct pbuf_sink {
    ProtobufCBuffer base;
    struct dynbuf *out;
};

static void pbuf_append_cb(ProtobufCBuffer *base, size_t n, const uint8_t *data)
{
    struct pbuf_sink *const s = CONTAINER_OF(base, struct pbuf_sink, base);
    dynbuf_add(s->out, bytes_of(data, n));
}

int pbuf_pack(const struct ProtobufCMessage *m, struct dynbuf *out)
{
    struct pbuf_sink s = {.base = {.append = pbuf_append_cb}, .out = out};
    protobuf_c_message_pack_to_buffer(m, &s.base);
    return dynbuf_ok(out) ? 0 : -ENOBUFS;
}

int pbuf_pack_shared(const struct ProtobufCMessage *m, size_t max, struct shared_buf **ret)
{
    size_t const n = protobuf_c_message_get_packed_size(m);
    if (n > max) {
        return -E2BIG;
    }
    struct shared_buf *const b = shared_buf_new(n);
    if (!b) {
        return -ENOMEM;
    }
    size_t const written = protobuf_c_message_pack(m, b->p);
    assert(written == n);
    (void)written;
    *ret = b;
    return 0;
}

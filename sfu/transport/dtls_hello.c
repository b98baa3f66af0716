// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_hello.h"

#include "common/base/mem.h"

#define HS_CLIENT_HELLO 1
#define BODY_AT (DTLS_RECORD_HEADER_LEN + DTLS_HANDSHAKE_HEADER_LEN)

struct fragment {
    uint32_t msg_len;
    uint16_t msg_seq;
    uint32_t off;
    struct bytes body;
};

int dtls_record_next(struct rd *datagram, struct dtls_record_view *ret)
{
    if (rd_left(datagram) == 0) {
        return -EAGAIN;
    }
    struct dtls_record_view r = {0};
    const uint8_t *const start = datagram->p;
    r.type = rd_u8(datagram);
    r.version = rd_be16(datagram);
    r.epoch = rd_be16(datagram);
    r.seq = (uint64_t)rd_be16(datagram) << 32;
    r.seq |= rd_be32(datagram);
    r.payload = rd_take(datagram, rd_be16(datagram));
    if (!rd_ok(datagram)) {
        return -EBADMSG;
    }
    r.raw = bytes_of(start, (size_t)(datagram->p - start));
    *ret = r;
    return 0;
}

void dtls_hello_init(struct dtls_hello *h)
{
    *h = (struct dtls_hello){0};
}

void dtls_hello_done(struct dtls_hello *h)
{
    mem_free(h->buf);
    *h = (struct dtls_hello){0};
}

// True if the record starts like a ClientHello of epoch 0; *ret_ok tells whether it is well formed.
static bool parse_fragment(const struct dtls_record_view *rec, struct fragment *ret, bool *ret_ok)
{
    if (rec->type != DTLS_HANDSHAKE || rec->epoch != 0 ||
        rec->payload.n < DTLS_HANDSHAKE_HEADER_LEN || rec->payload.p[0] != HS_CLIENT_HELLO) {
        return false;
    }
    struct rd r = rd_init(rec->payload);
    rd_skip(&r, 1);
    ret->msg_len = rd_be24(&r);
    ret->msg_seq = rd_be16(&r);
    ret->off = rd_be24(&r);
    ret->body = rd_take(&r, rd_be24(&r));
    *ret_ok = rd_ok(&r) && rd_left(&r) == 0 && ret->off + ret->body.n <= ret->msg_len;
    return true;
}

static int begin(struct dtls_hello *h, mono_t now, const struct fragment *f)
{
    dtls_hello_done(h);
    h->buf = mem_alloc(BODY_AT + f->msg_len + (f->msg_len + 7) / 8);
    if (!h->buf) {
        return -ENOMEM;
    }
    h->len = f->msg_len;
    h->seq = f->msg_seq;
    h->started = now;
    return 0;
}

// Stores the fragment. False if it contradicts bytes received before.
static bool store(struct dtls_hello *h, const struct fragment *f)
{
    uint8_t *const body = h->buf + BODY_AT;
    uint8_t *const bitmap = body + h->len;
    for (size_t i = 0; i < f->body.n; i++) {
        size_t const at = f->off + i;
        uint8_t const bit = (uint8_t)(1u << (at % 8));
        if (!(bitmap[at / 8] & bit)) {
            bitmap[at / 8] |= bit;
            body[at] = f->body.p[i];
            h->have++;
        } else if (body[at] != f->body.p[i]) {
            return false;
        }
    }
    return true;
}

static struct bytes join(struct dtls_hello *h, const struct dtls_record_view *last)
{
    struct wr w = wr_init(h->buf, BODY_AT);
    wr_u8(&w, DTLS_HANDSHAKE);
    wr_be16(&w, last->version);
    wr_be16(&w, 0);
    wr_be16(&w, (uint16_t)(last->seq >> 32));
    wr_be32(&w, (uint32_t)last->seq);
    wr_be16(&w, (uint16_t)(DTLS_HANDSHAKE_HEADER_LEN + h->len));
    wr_u8(&w, HS_CLIENT_HELLO);
    wr_be24(&w, h->len);
    wr_be16(&w, h->seq);
    wr_be24(&w, 0);
    wr_be24(&w, h->len);
    h->complete = true;
    return bytes_of(h->buf, BODY_AT + h->len);
}

enum dtls_hello_result dtls_hello_input(struct dtls_hello *h, mono_t now,
                                        const struct dtls_record_view *rec,
                                        struct bytes *ret_record)
{
    struct fragment f = {0};
    bool ok = false;

    if (h->complete) {
        dtls_hello_done(h);
    }
    if (!parse_fragment(rec, &f, &ok)) {
        return DTLS_HELLO_PASS;
    }
    if (!ok || f.msg_len > DTLS_HELLO_MAX) {
        return DTLS_HELLO_REJECT;
    }
    if (f.body.n == f.msg_len) {
        return DTLS_HELLO_PASS;
    }
    bool const stale = h->buf && (h->seq != f.msg_seq || h->len != f.msg_len ||
                                  mono_diff_ms(now, h->started) >= DTLS_HELLO_LIFETIME_MS);
    if ((!h->buf || stale) && begin(h, now, &f) < 0) {
        return DTLS_HELLO_REJECT;
    }
    if (!store(h, &f)) {
        // Another ClientHello under the same numbers (the peer started again): begin with this
        // fragment.
        if (begin(h, now, &f) < 0) {
            return DTLS_HELLO_REJECT;
        }
        (void)store(h, &f);
    }
    if (h->have < h->len) {
        return DTLS_HELLO_PARTIAL;
    }
    *ret_record = join(h, rec);
    return DTLS_HELLO_COMPLETE;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// Datagrams of a peer, before, during and after the handshake: a sequence of {operation, length
// (two bytes), bytes}.
#include <stdlib.h>

#include "common/base/mem.h"
#include "sfu/transport/dtls_record.h"
#include "sfu/transport/dtls_transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum operation {
    OP_HANDSHAKE, // datagram for a transport whose handshake is under way
    OP_TIMEOUT,
    OP_RECORD, // record for an established connection
    OP_SEALED, // first byte: content type, the rest: plain text of an authentic record for it
    OP_REPEAT, // what our last flight would be
    OP_COUNT,
};

static const struct addr peer;
static struct outbox out;

static void sink(struct outbox *o, void *user)
{
    (void)user;
    o->count = 0;
}

static void handshake(struct dtls_transport *t, mono_t now, struct bytes b)
{
    uint8_t *const copy = mem_alloc(b.n);
    struct bytes_mut d = {copy, b.n};
    struct bytes app;
    struct dtls_work *w = NULL;
    enum dtls_event e;
    if (b.n > 0) {
        memcpy(copy, b.p, b.n);
    }
    dtls_transport_input(t, now, &d, &out, 0, &peer, &app);
    while ((w = dtls_transport_take_work(t, now)) != NULL) {
        dtls_work_run(w);
        dtls_transport_finish_work(t, now, w, &out, 0, &peer);
    }
    while (dtls_transport_poll_event(t, &e)) {
        if (e == DTLS_EVENT_CONNECTED) {
            abort(); // without the peer's key
        }
    }
    outbox_flush(&out);
    mem_free(copy);
}

static void open_record(struct dtls_record *r, struct bytes b)
{
    uint8_t *const copy = mem_alloc(b.n);
    struct dtls_record_view v;
    struct bytes app = {NULL, 0};
    if (b.n > 0) {
        memcpy(copy, b.p, b.n);
    }
    struct rd rd = rd_init(bytes_of(copy, b.n));
    while (dtls_record_next(&rd, &v) == 0) {
        if (dtls_record_open(r, &v, &app) == DTLS_RECORD_DATA && app.n == 0) {
            abort();
        }
    }
    mem_free(copy);
}

static void sealed(struct dtls_record *from, struct dtls_record *to, struct bytes b)
{
    uint8_t buf[2048];
    struct wr w = wr_init(buf, sizeof(buf));
    if (b.n > 0 && dtls_record_seal(from, (enum dtls_content_type)b.p[0],
                                    bytes_of(b.p + 1, b.n - 1), &w) == 0) {
        open_record(to, wr_bytes_view(&w));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dtls_cert *cert;
    static const struct dtls_fingerprint nobody = {.hash = DTLS_HASH_SHA256};
    static const struct dtls_record_keys keys = {.next_seq = 1, .next_seq_plain = 3};
    struct rd in = rd_init(bytes_of(data, size));
    struct dtls_transport *t = NULL;
    struct dtls_record *a = NULL;
    struct dtls_record *b = NULL;
    mono_t now = {0};
    enum dtls_role const role = rd_u8(&in) & 1 ? DTLS_ROLE_CLIENT : DTLS_ROLE_SERVER;

    if (cert == NULL &&
        (dtls_cert_new(1700000000, &cert) < 0 || outbox_init(&out, sink, NULL) < 0)) {
        abort();
    }
    if (dtls_transport_new(cert, &t) == 0 && dtls_transport_start(t, now, role, &nobody, 1) == 0 &&
        dtls_record_new(&keys, (struct bytes){NULL, 0}, &a) == 0 &&
        dtls_record_new(&keys, (struct bytes){NULL, 0}, &b) == 0) {
        while (rd_left(&in) >= 3) {
            uint8_t const op = rd_u8(&in) % OP_COUNT;
            size_t const n = rd_be16(&in);
            struct bytes const body = rd_take(&in, MIN(n, rd_left(&in)));
            uint8_t buf[256];
            struct wr w = wr_init(buf, sizeof(buf));
            switch ((enum operation)op) {
            case OP_HANDSHAKE:
                handshake(t, now, body);
                break;
            case OP_TIMEOUT:
                now = mono_add_ms(now, (int64_t)n);
                dtls_transport_timeout(t, now);
                handshake(t, now, (struct bytes){NULL, 0});
                break;
            case OP_RECORD:
                open_record(a, body);
                break;
            case OP_SEALED:
                sealed(b, a, body);
                break;
            case OP_REPEAT:
                (void)!dtls_record_write_last_flight(a, &w);
                break;
            case OP_COUNT:
                break;
            }
        }
    }
    dtls_record_free(a);
    dtls_record_free(b);
    dtls_transport_free(t);
    return 0;
}

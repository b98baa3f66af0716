// SPDX-License-Identifier: Apache-2.0
// Another dtls_handshake.c, for programs that make thousands of connections a second, such as fuzz
// targets: name it in SUPPORT, and the linker takes it instead of the real one (which is why it is
// not in the folder above: all of that is in a library that comes first). Nothing is secret.
//
// It keeps the shape of a handshake as the state machines around it see one: four flights that may
// be lost, doubled or forged, retransmission, a fingerprint that must match, the server speaking
// last and repeating that, records that overtake the end. But keys follow from a number that the
// client says, and no elliptic curve is touched.
//
//     hello(number, fingerprint) ──►
//                                ◄── hello(fingerprint)
//     Finished (epoch 1)         ──►
//                                ◄── change cipher spec, Finished (epoch 1)
#include "common/base/mem.h"
#include "sfu/transport/dtls_handshake.h"

#define RETRANSMIT_MS 100
#define RETRANSMIT_MAX_MS 3200
#define VERSION_DTLS12 0xfefd
#define MAGIC UINT32_C(0x71646c73)
#define DIGEST_LEN 32 // SHA-256

struct dtls_work {
    struct dtls_fingerprint own;
    struct dtls_fingerprint fingerprints[DTLS_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    bool client, started, peer_known, keyed;
    uint64_t number;
    mono_t now, retransmit;
    int64_t interval_ms;
    uint64_t plain_seq;
    struct dtls_record *record;
    struct dtls_queue in, out, leftover;
    uint8_t finished[DTLS_RECORD_OVERHEAD + DTLS_FINISHED_LEN];
    struct dtls_result result;
};

static const uint8_t finished_message[DTLS_FINISHED_LEN] = {20};

static void fail(struct dtls_work *w, enum dtls_failure failure)
{
    w->result.status = DTLS_WORK_FAILED;
    w->result.failure = failure;
}

static void fill(uint8_t *p, size_t n, uint64_t number, uint8_t what)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)(number >> 8 * (i % 8)) ^ (uint8_t)(what + i);
    }
}

// The keys of both directions; what: 0 the client's, 1 the server's.
static bool make_keys(struct dtls_work *w)
{
    struct dtls_record_keys *const k = &w->result.record;
    struct srtp_keys *const s = &w->result.srtp;
    uint8_t const mine = w->client ? 0 : 1;
    uint8_t const other = w->client ? 1 : 0;
    if (w->keyed) {
        return true;
    }
    fill(k->local_key, sizeof(k->local_key), w->number, mine);
    fill(k->remote_key, sizeof(k->remote_key), w->number, other);
    fill(k->local_iv, sizeof(k->local_iv), w->number, (uint8_t)(2 + mine));
    fill(k->remote_iv, sizeof(k->remote_iv), w->number, (uint8_t)(2 + other));
    fill(s->local.key, sizeof(s->local.key), w->number, (uint8_t)(4 + mine));
    fill(s->remote.key, sizeof(s->remote.key), w->number, (uint8_t)(4 + other));
    fill(s->local.salt, sizeof(s->local.salt), w->number, (uint8_t)(6 + mine));
    fill(s->remote.salt, sizeof(s->remote.salt), w->number, (uint8_t)(6 + other));
    // A record layer tells a repeated Finished only when it has one itself, so it gets one that was
    // never sent.
    struct dtls_record *first = NULL;
    struct wr to = wr_init(w->finished, sizeof(w->finished));
    w->keyed = dtls_record_new(k, (struct bytes){NULL, 0}, &first) == 0 &&
               dtls_record_seal(first, DTLS_HANDSHAKE,
                                bytes_of(finished_message, sizeof(finished_message)), &to) == 0;
    dtls_record_free(first);
    k->next_seq = 1;
    w->keyed = w->keyed && dtls_record_new(k, wr_bytes_view(&to), &w->record) == 0;
    return w->keyed;
}

static void record_header(struct dtls_work *w, struct wr *to, uint8_t type, size_t len)
{
    wr_u8(to, type);
    wr_be16(to, VERSION_DTLS12);
    wr_be64(to, w->plain_seq++);
    wr_be16(to, (uint16_t)len);
}

static void send_hello(struct dtls_work *w)
{
    uint8_t buf[128];
    struct wr to = wr_init(buf, sizeof(buf));
    record_header(w, &to, DTLS_HANDSHAKE, 4 + 8 + DIGEST_LEN);
    wr_be32(&to, MAGIC);
    wr_be64(&to, w->number);
    wr_bytes(&to, bytes_of(w->own.value, DIGEST_LEN));
    (void)!dtls_queue_push(&w->out, wr_bytes_view(&to)); // full: as if lost
}

// The Finished of this side; the server's is the last word and is kept.
static void send_finished(struct dtls_work *w)
{
    uint8_t buf[DTLS_LAST_FLIGHT_LEN];
    struct wr to = wr_init(buf, sizeof(buf));
    record_header(w, &to, DTLS_CHANGE_CIPHER_SPEC, 1);
    wr_u8(&to, 1);
    size_t const head = wr_len(&to);
    if (dtls_record_seal(w->record, DTLS_HANDSHAKE,
                         bytes_of(finished_message, sizeof(finished_message)), &to) < 0) {
        fail(w, DTLS_FAILURE_RESOURCES);
        return;
    }
    if (!w->client) {
        memcpy(w->finished, buf + head, sizeof(w->finished));
        w->result.finished = bytes_of(w->finished, sizeof(w->finished));
    }
    w->result.record.next_seq++;
    (void)!dtls_queue_push(&w->out, wr_bytes_view(&to));
}

static bool known(const struct dtls_work *w, struct bytes digest)
{
    for (size_t i = 0; i < w->fingerprint_count; i++) {
        if (w->fingerprints[i].hash == DTLS_HASH_SHA256 &&
            bytes_eq(digest, bytes_of(w->fingerprints[i].value, DIGEST_LEN))) {
            return true;
        }
    }
    return false;
}

static void on_hello(struct dtls_work *w, struct bytes payload)
{
    struct rd r = rd_init(payload);
    uint32_t const magic = rd_be32(&r);
    uint64_t const number = rd_be64(&r);
    struct bytes const digest = rd_take(&r, DIGEST_LEN);
    if (!rd_ok(&r) || magic != MAGIC || (w->client && number != w->number) ||
        (w->peer_known && number != w->number)) {
        return;
    }
    if (!known(w, digest)) {
        fail(w, DTLS_FAILURE_FINGERPRINT);
        return;
    }
    w->number = number;
    w->peer_known = true;
    if (!make_keys(w)) {
        fail(w, DTLS_FAILURE_RESOURCES);
    } else if (w->client) {
        send_finished(w);
    } else {
        send_hello(w);
    }
}

// A record of epoch 1: the peer's Finished, or something that belongs to the connection already.
static void on_protected(struct dtls_work *w, const struct dtls_record_view *rec)
{
    struct bytes data;
    if (rec->type != DTLS_HANDSHAKE) {
        (void)!dtls_queue_push(&w->leftover, rec->raw);
        return;
    }
    // Told from forgeries by whether it can be opened: a window that has seen it afterwards.
    struct dtls_record_view copy = *rec;
    uint8_t buf[128];
    if (!w->keyed || rec->raw.n > sizeof(buf)) {
        return;
    }
    memcpy(buf, rec->raw.p, rec->raw.n);
    struct rd rd = rd_init(bytes_of(buf, rec->raw.n));
    if (dtls_record_next(&rd, &copy) < 0 ||
        dtls_record_open(w->record, &copy, &data) != DTLS_RECORD_REPEAT) {
        return;
    }
    if (!w->client) {
        send_finished(w);
    }
    if (w->result.status == DTLS_WORK_RUNNING) {
        w->result.record.next_seq_plain = w->plain_seq;
        w->result.status = DTLS_WORK_DONE;
    }
}

static void on_datagram(struct dtls_work *w, struct bytes datagram)
{
    struct rd rd = rd_init(datagram);
    struct dtls_record_view rec;
    while (w->result.status != DTLS_WORK_FAILED && dtls_record_next(&rd, &rec) == 0) {
        if (w->result.status == DTLS_WORK_DONE && rec.epoch == 1) {
            (void)!dtls_queue_push(&w->leftover, rec.raw);
        } else if (rec.epoch == 1) {
            on_protected(w, &rec);
        } else if (rec.epoch == 0 && rec.type == DTLS_HANDSHAKE &&
                   w->result.status == DTLS_WORK_RUNNING) {
            on_hello(w, rec.payload);
        }
    }
}

static void retransmit(struct dtls_work *w)
{
    if (w->peer_known) {
        send_finished(w);
    } else {
        send_hello(w);
    }
    w->interval_ms = w->started ? MIN(2 * w->interval_ms, RETRANSMIT_MAX_MS) : RETRANSMIT_MS;
    w->retransmit = mono_add_ms(w->now, w->interval_ms);
    w->started = true;
}

void dtls_work_run(struct dtls_work *w)
{
    struct dtls_datagram *d = NULL;
    while ((d = dtls_queue_pop(&w->in)) != NULL) {
        on_datagram(w, bytes_of(d->data, d->len));
        mem_free(d);
    }
    if (w->client && w->result.status == DTLS_WORK_RUNNING &&
        (!w->started || mono_reached(w->retransmit, w->now))) {
        retransmit(w);
    }
}

// ---- life -----------------------------------------------------------------------------------

int dtls_work_new(const struct dtls_cert *cert, enum dtls_role role,
                  const struct dtls_fingerprint *fingerprints, size_t n, struct dtls_work **ret)
{
    static uint64_t numbers;
    assert(n <= DTLS_FINGERPRINTS_MAX);
    struct dtls_work *const w = NEW(struct dtls_work);
    if (w == NULL) {
        return -ENOMEM;
    }
    (void)!dtls_fingerprint_parse(bytes_str("sha-256"), bytes_str(dtls_cert_fingerprint(cert)),
                                  &w->own);
    w->client = role == DTLS_ROLE_CLIENT;
    w->number = w->client ? ++numbers : 0;
    memcpy(w->fingerprints, fingerprints, n * sizeof(*fingerprints));
    w->fingerprint_count = n;
    w->retransmit = MONO_NEVER;
    dtls_queue_init(&w->in);
    dtls_queue_init(&w->out);
    dtls_queue_init(&w->leftover);
    *ret = w;
    return 0;
}

void dtls_work_free(struct dtls_work *w)
{
    if (w == NULL) {
        return;
    }
    dtls_record_free(w->record);
    dtls_queue_done(&w->in);
    dtls_queue_done(&w->out);
    dtls_queue_done(&w->leftover);
    mem_free(w);
}

void dtls_work_prepare(struct dtls_work *w, mono_t now, struct dtls_queue *q)
{
    w->now = now;
    dtls_queue_append(&w->in, q);
}

struct dtls_queue *dtls_work_output(struct dtls_work *w)
{
    return &w->out;
}

struct dtls_queue *dtls_work_leftover(struct dtls_work *w)
{
    return &w->leftover;
}

const struct dtls_result *dtls_work_result(const struct dtls_work *w)
{
    return &w->result;
}

mono_t dtls_work_deadline(const struct dtls_work *w)
{
    return w->retransmit;
}

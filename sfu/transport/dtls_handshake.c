// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_handshake.h"

#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "common/base/mem.h"

#define RANDOM_LEN 32
#define RETRANSMIT_MAX_MS 3200
#define HANDSHAKE_MTU 1200
#define HS_CLIENT_HELLO 1

struct dtls_work {
    mbedtls_ssl_context ssl;
    bool client;
    bool ssl_ready;
    bool answered; // we have sent something
    struct dtls_fingerprint fingerprints[DTLS_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    const struct dtls_cert *cert;

    mono_t now;
    mono_t intermediate; // timer of mbedTLS
    mono_t final;

    struct dtls_queue in;
    struct dtls_queue out;
    struct dtls_queue leftover;
    struct dtls_datagram *current; // being taken apart
    struct rd rest;                // of it
    struct dtls_hello hello;

    struct dtls_secrets secrets;
    uint8_t finished[DTLS_RECORD_OVERHEAD + DTLS_FINISHED_LEN];
    struct dtls_result result;
};

// ---- callbacks of mbedTLS -------------------------------------------------------------------

#if MBEDTLS_VERSION_MAJOR >= 3
static void on_export_keys(void *user, mbedtls_ssl_key_export_type type,
                           const unsigned char *secret, size_t secret_len,
                           const unsigned char client_random[32],
                           const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    struct dtls_secrets *const s = user;
    if (type == MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET && secret_len == sizeof(s->master)) {
        memcpy(s->master, secret, sizeof(s->master));
        memcpy(s->client_random, client_random, sizeof(s->client_random));
        memcpy(s->server_random, server_random, sizeof(s->server_random));
        s->prf = (int)prf;
        s->valid = true;
    }
}
#endif

// Notes the record numbers we use and keeps our encrypted Finished.
static void watch_output(struct dtls_work *w, struct bytes datagram)
{
    struct rd rd = rd_init(datagram);
    struct dtls_record_view rec;
    while (dtls_record_next(&rd, &rec) == 0) {
        uint64_t *const next =
            rec.epoch == 0 ? &w->result.record.next_seq_plain : &w->result.record.next_seq;
        *next = MAX(*next, rec.seq + 1);
        if (rec.epoch == 1 && rec.type == DTLS_HANDSHAKE && rec.raw.n <= sizeof(w->finished)) {
            memcpy(w->finished, rec.raw.p, rec.raw.n);
            w->result.finished = bytes_of(w->finished, rec.raw.n);
        }
    }
}

static int on_send(void *user, const unsigned char *p, size_t n)
{
    struct dtls_work *const w = user;
    watch_output(w, bytes_of(p, n));
    // A full queue is like a lost datagram.
    if (dtls_queue_push(&w->out, bytes_of(p, n)) < 0) {
        return (int)n;
    }
    w->answered = true;
    return (int)n;
}

// The next record of the queued datagrams; false when all are done.
static bool next_record(struct dtls_work *w, struct dtls_record_view *ret)
{
    for (;;) {
        if (w->current != NULL && dtls_record_next(&w->rest, ret) == 0) {
            return true;
        }
        mem_free(w->current);
        w->current = dtls_queue_pop(&w->in);
        if (w->current == NULL) {
            return false;
        }
        w->rest = rd_init(bytes_of(w->current->data, w->current->len));
    }
}

static bool is_close_notify(const struct dtls_record_view *rec)
{
    return rec->type == DTLS_ALERT && rec->epoch == 0 && rec->payload.n == 2 &&
           rec->payload.p[1] == 0;
}

// Decides what mbedTLS gets to see of a record; the empty view for nothing.
static struct bytes filter(struct dtls_work *w, const struct dtls_record_view *rec)
{
    static const struct bytes nothing = {NULL, 0};
    struct bytes joined = nothing;

    if (rec->type == DTLS_APPLICATION_DATA) {
        if (rec->epoch == 1) {
            (void)!dtls_queue_push(&w->leftover, rec->raw); // full: as if lost, SCTP repeats it
        }
        return nothing;
    }
    // close_notify in the clear is that of an older session or forged: a reload may race a
    // reconnect on the same path.
    if (rec->epoch > 1 || is_close_notify(rec)) {
        return nothing;
    }
    if (w->client) {
        return rec->raw;
    }
    // Whatever comes before the ClientHello would be a fatal error for mbedTLS.
    bool const hello = rec->type == DTLS_HANDSHAKE && rec->epoch == 0 &&
                       rec->payload.n >= DTLS_HANDSHAKE_HEADER_LEN &&
                       rec->payload.p[0] == HS_CLIENT_HELLO;
    if (!w->answered && !hello) {
        return nothing;
    }
    switch (dtls_hello_input(&w->hello, w->now, rec, &joined)) {
    case DTLS_HELLO_PASS:
        return rec->raw;
    case DTLS_HELLO_COMPLETE:
        return joined;
    case DTLS_HELLO_PARTIAL:
    case DTLS_HELLO_REJECT:
        break;
    }
    return nothing;
}

static int on_receive(void *user, unsigned char *buf, size_t cap)
{
    struct dtls_work *const w = user;
    struct dtls_record_view rec;
    while (next_record(w, &rec)) {
        struct bytes const b = filter(w, &rec);
        if (b.n > 0 && b.n <= cap) {
            memcpy(buf, b.p, b.n);
            return (int)b.n;
        }
    }
    return MBEDTLS_ERR_SSL_WANT_READ;
}

static void on_set_timer(void *user, uint32_t intermediate_ms, uint32_t final_ms)
{
    struct dtls_work *const w = user;
    if (final_ms == 0) {
        w->final = MONO_NEVER;
        return;
    }
    // mbedTLS doubles without end (see dtls_cert), the spacing on the wire stops growing here.
    w->intermediate = mono_add_ms(w->now, MIN(intermediate_ms, RETRANSMIT_MAX_MS));
    w->final = mono_add_ms(w->now, MIN(final_ms, RETRANSMIT_MAX_MS));
}

static int on_get_timer(void *user)
{
    const struct dtls_work *const w = user;
    if (mono_is_never(w->final)) {
        return -1;
    }
    if (mono_reached(w->final, w->now)) {
        return 2;
    }
    return mono_reached(w->intermediate, w->now) ? 1 : 0;
}

// ---- result ---------------------------------------------------------------------------------

static void fail(struct dtls_work *w, enum dtls_failure failure)
{
    w->result.status = DTLS_WORK_FAILED;
    w->result.failure = failure;
}

static bool fingerprint_matches(const struct dtls_fingerprint *f, const mbedtls_x509_crt *crt)
{
    static const mbedtls_md_type_t types[] = {
        [DTLS_HASH_SHA256] = MBEDTLS_MD_SHA256,
        [DTLS_HASH_SHA384] = MBEDTLS_MD_SHA384,
        [DTLS_HASH_SHA512] = MBEDTLS_MD_SHA512,
    };
    uint8_t digest[64];
    if (f->hash == DTLS_HASH_NONE || f->hash >= ARRAY_LEN(types)) {
        return false;
    }
    const mbedtls_md_info_t *const info = mbedtls_md_info_from_type(types[f->hash]);
    if (info == NULL || mbedtls_md(info, crt->raw.p, crt->raw.len, digest) != 0) {
        return false;
    }
    return bytes_eq(bytes_of(digest, mbedtls_md_get_size(info)),
                    bytes_of(f->value, mbedtls_md_get_size(info)));
}

static enum dtls_failure check_peer(struct dtls_work *w)
{
    const mbedtls_x509_crt *const crt = mbedtls_ssl_get_peer_cert(&w->ssl);
    if (crt == NULL) {
        return DTLS_FAILURE_NO_CERT;
    }
    for (size_t i = 0; i < w->fingerprint_count; i++) {
        if (fingerprint_matches(&w->fingerprints[i], crt)) {
            return DTLS_FAILURE_NONE;
        }
    }
    return DTLS_FAILURE_FINGERPRINT;
}

static bool srtp_agreed(struct dtls_work *w)
{
    mbedtls_dtls_srtp_info info;
    mbedtls_ssl_get_dtls_srtp_negotiation_result(&w->ssl, &info);
#if MBEDTLS_VERSION_MAJOR >= 3
    return info.MBEDTLS_PRIVATE(chosen_dtls_srtp_profile) ==
           MBEDTLS_TLS_SRTP_AES128_CM_HMAC_SHA1_80;
#else
    return info.chosen_dtls_srtp_profile == MBEDTLS_TLS_SRTP_AES128_CM_HMAC_SHA1_80;
#endif
}

// Expands the master secret; seed is two of the handshake's random values.
static bool expand(const struct dtls_work *w, const char *label,
                   const uint8_t first[static RANDOM_LEN], const uint8_t second[static RANDOM_LEN],
                   struct bytes_mut ret)
{
    uint8_t seed[2 * RANDOM_LEN];
    memcpy(seed, first, RANDOM_LEN);
    memcpy(seed + RANDOM_LEN, second, RANDOM_LEN);
    return mbedtls_ssl_tls_prf((mbedtls_tls_prf_types)w->secrets.prf, w->secrets.master,
                               sizeof(w->secrets.master), label, seed, sizeof(seed), ret.p,
                               ret.n) == 0;
}

static void take(struct rd *r, uint8_t *to, size_t n)
{
    memcpy(to, rd_take(r, n).p, n);
}

// SRTP master keys (RFC 5764 section 4.2: client key, server key, client salt, server salt).
static bool derive_srtp(struct dtls_work *w)
{
    uint8_t out[2 * (SRTP_KEYS_KEY_LEN + SRTP_KEYS_SALT_LEN)];
    struct srtp_master *const client = w->client ? &w->result.srtp.local : &w->result.srtp.remote;
    struct srtp_master *const server = w->client ? &w->result.srtp.remote : &w->result.srtp.local;
    struct rd r = rd_init(bytes_of(out, sizeof(out)));
    if (!expand(w, "EXTRACTOR-dtls_srtp", w->secrets.client_random, w->secrets.server_random,
                (struct bytes_mut){out, sizeof(out)})) {
        return false;
    }
    take(&r, client->key, sizeof(client->key));
    take(&r, server->key, sizeof(server->key));
    take(&r, client->salt, sizeof(client->salt));
    take(&r, server->salt, sizeof(server->salt));
    crypto_wipe(out, sizeof(out));
    return true;
}

// Record keys of an AES-128-GCM suite (RFC 5246 section 6.3: the client's first; an AEAD suite has
// no MAC keys).
static bool derive_record(struct dtls_work *w)
{
    struct dtls_record_keys *const k = &w->result.record;
    uint8_t out[2 * (sizeof(k->local_key) + sizeof(k->local_iv))];
    struct rd r = rd_init(bytes_of(out, sizeof(out)));
    if (!expand(w, "key expansion", w->secrets.server_random, w->secrets.client_random,
                (struct bytes_mut){out, sizeof(out)})) {
        return false;
    }
    take(&r, w->client ? k->local_key : k->remote_key, sizeof(k->local_key));
    take(&r, w->client ? k->remote_key : k->local_key, sizeof(k->local_key));
    take(&r, w->client ? k->local_iv : k->remote_iv, sizeof(k->local_iv));
    take(&r, w->client ? k->remote_iv : k->local_iv, sizeof(k->local_iv));
    crypto_wipe(out, sizeof(out));
    return true;
}

// Everything that came behind the Finished belongs to the established connection.
static void keep_leftover(struct dtls_work *w)
{
    struct dtls_record_view rec;
    while (next_record(w, &rec)) {
        if (rec.epoch == 1) {
            (void)!dtls_queue_push(&w->leftover, rec.raw); // full: as if lost
        }
    }
}

static void complete(struct dtls_work *w)
{
    enum dtls_failure const f = check_peer(w);
    if (f != DTLS_FAILURE_NONE) {
        fail(w, f);
    } else if (!srtp_agreed(w)) {
        fail(w, DTLS_FAILURE_NO_SRTP);
    } else if (!w->secrets.valid || !derive_srtp(w) || !derive_record(w)) {
        fail(w, DTLS_FAILURE_RESOURCES);
    } else {
        keep_leftover(w);
        if (w->client) {
            w->result.finished = (struct bytes){NULL, 0};
        }
        w->result.status = DTLS_WORK_DONE;
    }
}

// ---- steps ----------------------------------------------------------------------------------

static int set_up(struct dtls_work *w)
{
    int const e = mbedtls_ssl_setup(&w->ssl, dtls_cert_config(w->cert, w->client));
    if (e != 0) {
        return e;
    }
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_set_export_keys_cb(&w->ssl, on_export_keys, &w->secrets);
#endif
    mbedtls_ssl_set_bio(&w->ssl, w, on_send, on_receive, NULL);
    mbedtls_ssl_set_timer_cb(&w->ssl, w, on_set_timer, on_get_timer);
    mbedtls_ssl_set_mtu(&w->ssl, HANDSHAKE_MTU);
    w->ssl_ready = true;
    return 0;
}

static int step(struct dtls_work *w)
{
    if (!w->ssl_ready) {
        int const e = set_up(w);
        if (e != 0) {
            return e;
        }
    }
#if MBEDTLS_VERSION_MAJOR < 3
    dtls_cert_export_to(&w->secrets);
#endif
    int const e = mbedtls_ssl_handshake(&w->ssl);
#if MBEDTLS_VERSION_MAJOR < 3
    dtls_cert_export_to(NULL);
#endif
    return e;
}

void dtls_work_run(struct dtls_work *w)
{
    for (;;) {
        int const e = step(w);
        if (e == 0) {
            complete(w);
            return;
        }
        if (e == MBEDTLS_ERR_SSL_WANT_READ || e == MBEDTLS_ERR_SSL_WANT_WRITE) {
            // mbedTLS also returns after a retransmission or a dropped record: go on until the
            // input is used up.
            if (w->in.head == NULL && rd_left(&w->rest) == 0) {
                return;
            }
            continue;
        }
        if (!w->client && !w->answered && w->ssl_ready) {
            // A ClientHello that it does not like, before anything was agreed: wait for a better
            // one.
            if (mbedtls_ssl_session_reset(&w->ssl) == 0) {
                w->final = MONO_NEVER;
                continue;
            }
        }
        bool const memory = e == MBEDTLS_ERR_SSL_ALLOC_FAILED || e == MBEDTLS_ERR_PK_ALLOC_FAILED;
        fail(w, memory ? DTLS_FAILURE_RESOURCES : DTLS_FAILURE_HANDSHAKE);
        return;
    }
}

// ---- life -----------------------------------------------------------------------------------

int dtls_work_new(const struct dtls_cert *cert, enum dtls_role role,
                  const struct dtls_fingerprint *fingerprints, size_t n, struct dtls_work **ret)
{
    assert(n <= DTLS_FINGERPRINTS_MAX);
    struct dtls_work *const w = NEW(struct dtls_work);
    if (w == NULL) {
        return -ENOMEM;
    }
    mbedtls_ssl_init(&w->ssl);
    w->cert = cert;
    w->client = role == DTLS_ROLE_CLIENT;
    memcpy(w->fingerprints, fingerprints, n * sizeof(*fingerprints));
    w->fingerprint_count = n;
    w->final = MONO_NEVER;
    dtls_queue_init(&w->in);
    dtls_queue_init(&w->out);
    dtls_queue_init(&w->leftover);
    dtls_hello_init(&w->hello);
    *ret = w;
    return 0;
}

void dtls_work_free(struct dtls_work *w)
{
    if (w == NULL) {
        return;
    }
    mbedtls_ssl_free(&w->ssl);
    dtls_queue_done(&w->in);
    dtls_queue_done(&w->out);
    dtls_queue_done(&w->leftover);
    dtls_hello_done(&w->hello);
    mem_free(w->current);
    crypto_wipe(w, sizeof(*w));
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
    return w->final;
}

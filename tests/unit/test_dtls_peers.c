// SPDX-License-Identifier: Apache-2.0
// LINK: transport svc
// Handshakes with a DTLS implementation that is not ours (libssl), in both roles, with each kind of
// certificate and key exchange that a peer may have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "sfu/transport/dtls_transport.h"

struct theirs {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; // owned by ssl
    X509 *crt;
};

struct ours {
    struct dtls_cert *cert;
    struct dtls_transport *t;
    struct outbox out;
    struct theirs *peer;
    bool connected, failed;
};

static struct addr peer_addr;

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

static X509 *self_signed(EVP_PKEY *key)
{
    X509 *const crt = X509_new();
    assert_non_null(crt);
    ASN1_INTEGER_set(X509_get_serialNumber(crt), 1);
    X509_gmtime_adj(X509_getm_notBefore(crt), -3600);
    X509_gmtime_adj(X509_getm_notAfter(crt), 3600);
    X509_set_pubkey(crt, key);
    X509_NAME *const name = X509_get_subject_name(crt);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"peer", -1, -1, 0);
    X509_set_issuer_name(crt, name);
    assert_true(X509_sign(crt, key, EVP_sha256()) > 0);
    return crt;
}

// Takes the key.
static void theirs_init(struct theirs *p, bool client, EVP_PKEY *key, const char *groups)
{
    assert_non_null(key);
    p->ctx = SSL_CTX_new(DTLS_method());
    assert_non_null(p->ctx);
    p->crt = self_signed(key);
    SSL_CTX_set_min_proto_version(p->ctx, DTLS1_2_VERSION);
    SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
    assert_int_equal(SSL_CTX_use_certificate(p->ctx, p->crt), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->ctx, key), 1);
    assert_int_equal(SSL_CTX_set1_groups_list(p->ctx, groups), 1);
    assert_int_equal(SSL_CTX_set_tlsext_use_srtp(p->ctx, "SRTP_AES128_CM_SHA1_80"), 0);
    EVP_PKEY_free(key);
    p->ssl = SSL_new(p->ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    assert_true(p->ssl != NULL && p->in != NULL && p->out != NULL);
    BIO_set_mem_eof_return(p->in, -1);
    BIO_set_mem_eof_return(p->out, -1);
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_options(p->ssl, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(p->ssl, 1200);
    if (client) {
        SSL_set_connect_state(p->ssl);
    } else {
        SSL_set_accept_state(p->ssl);
    }
}

static void theirs_done(struct theirs *p)
{
    X509_free(p->crt);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
}

static struct dtls_fingerprint fingerprint_of(const X509 *crt)
{
    struct dtls_fingerprint f = {.hash = DTLS_HASH_SHA256};
    unsigned n = 0;
    assert_int_equal(X509_digest(crt, EVP_sha256(), f.value, &n), 1);
    return f;
}

static void send_to_peer(struct outbox *o, void *user)
{
    const struct ours *const e = user;
    for (size_t i = 0; i < o->count; i++) {
        assert_int_equal(BIO_write(e->peer->in, o->slots[i].data, o->slots[i].len),
                         o->slots[i].len);
    }
    o->count = 0;
}

static void pump(struct ours *e)
{
    mono_t const now = {0};
    struct dtls_work *w = NULL;
    enum dtls_event ev;
    while ((w = dtls_transport_take_work(e->t, now)) != NULL) {
        dtls_work_run(w);
        dtls_transport_finish_work(e->t, now, w, &e->out, 0, &peer_addr);
    }
    while (dtls_transport_poll_event(e->t, &ev)) {
        e->connected |= ev == DTLS_EVENT_CONNECTED;
        e->failed |= ev == DTLS_EVENT_FAILED;
    }
    outbox_flush(&e->out);
}

static void exchange(struct ours *e, struct theirs *p)
{
    mono_t const now = {0};
    uint8_t flight[16384];
    for (int i = 0; i < 10; i++) {
        (void)SSL_do_handshake(p->ssl);
        int const n = BIO_read(p->out, flight, sizeof(flight));
        struct bytes_mut d = {flight, n > 0 ? (size_t)n : 0};
        while (d.n > 0) {
            struct bytes data;
            dtls_transport_input(e->t, now, &d, &e->out, 0, &peer_addr, &data);
        }
        pump(e);
    }
}

// RFC 5764 section 4.2, as libssl sees it.
static void check_keys(struct ours *e, struct theirs *p, bool they_are_client)
{
    static const char label[] = "EXTRACTOR-dtls_srtp";
    uint8_t out[2 * (SRTP_KEYS_KEY_LEN + SRTP_KEYS_SALT_LEN)];
    struct srtp_keys keys;
    assert_int_equal(
        SSL_export_keying_material(p->ssl, out, sizeof(out), label, sizeof(label) - 1, NULL, 0, 0),
        1);
    assert_int_equal(dtls_transport_take_srtp_keys(e->t, &keys), 0);
    const struct srtp_master *const client = they_are_client ? &keys.remote : &keys.local;
    const struct srtp_master *const server = they_are_client ? &keys.local : &keys.remote;
    const uint8_t *const salts = out + 2 * SRTP_KEYS_KEY_LEN;
    assert_memory_equal(client->key, out, SRTP_KEYS_KEY_LEN);
    assert_memory_equal(server->key, out + SRTP_KEYS_KEY_LEN, SRTP_KEYS_KEY_LEN);
    assert_memory_equal(client->salt, salts, SRTP_KEYS_SALT_LEN);
    assert_memory_equal(server->salt, salts + SRTP_KEYS_SALT_LEN, SRTP_KEYS_SALT_LEN);
}

static void connect(bool they_are_client, EVP_PKEY *key, const char *groups)
{
    struct theirs p = {0};
    struct ours e = {.peer = &p};
    theirs_init(&p, they_are_client, key, groups);
    assert_int_equal(dtls_cert_new(1700000000, &e.cert), 0);
    assert_int_equal(dtls_transport_new(e.cert, &e.t), 0);
    assert_int_equal(outbox_init(&e.out, send_to_peer, &e), 0);
    struct dtls_fingerprint const f = fingerprint_of(p.crt);
    assert_int_equal(dtls_transport_start(e.t, (mono_t){0},
                                          they_are_client ? DTLS_ROLE_SERVER : DTLS_ROLE_CLIENT, &f,
                                          1),
                     0);
    pump(&e);
    exchange(&e, &p);
    assert_false(e.failed);
    assert_true(e.connected);
    assert_int_equal(SSL_is_init_finished(p.ssl), 1);
    check_keys(&e, &p, they_are_client);
    dtls_transport_free(e.t);
    dtls_cert_free(e.cert);
    outbox_done(&e.out);
    theirs_done(&p);
}

static void p256(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        // The curve of the server's certificate must be among the client's groups.
        connect(client, EVP_EC_gen("P-256"), "X25519:P-256");
        connect(client, EVP_EC_gen("P-256"), "P-256");
    }
}

static void p384(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        connect(client, EVP_EC_gen("P-384"), "X25519:P-384:P-256");
    }
}

static void rsa(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        connect(client, EVP_RSA_gen(2048), "X25519:P-256");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p256),
        cmocka_unit_test(p384),
        cmocka_unit_test(rsa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

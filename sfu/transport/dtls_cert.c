// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_cert.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif
#include <stdio.h>

#include "common/base/mem.h"
#include "sfu/transport/dtls_curves.h"

#define DAY_S INT64_C(86400)
// A DER certificate of ours has about 280 bytes.
#define DER_MAX 1024
#define SERIAL_LEN 16
// 14 digits; more than that only because the compiler cannot know the range of the numbers.
#define TIME_STRLEN 72

struct dtls_cert {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    mbedtls_pk_context key;     // as the certificate writer wants it
    mbedtls_pk_context signing; // the same key for handshakes, see share_key
    mbedtls_x509_crt crt;
    mbedtls_ssl_config server;
    mbedtls_ssl_config client;
    char fingerprint[DTLS_CERT_FINGERPRINT_STRLEN];
};

// RFC 8827 section 6.5: everybody must have the first one with P-256. AES-GCM only, because that is
// what dtls_record speaks; the RSA variant is for a peer (as server) that made itself an RSA
// certificate.
static const int cipher_suites[] = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    0,
};

static const mbedtls_ssl_srtp_profile srtp_profiles[] = {
    MBEDTLS_TLS_SRTP_AES128_CM_HMAC_SHA1_80,
    MBEDTLS_TLS_SRTP_UNSET,
};

// X25519 first: everybody has it, and it is the one that dtls_curves makes cheap.
#if MBEDTLS_VERSION_MAJOR >= 3
static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    0,
};
#else
static const mbedtls_ecp_group_id groups[] = {
    MBEDTLS_ECP_DP_CURVE25519,
    MBEDTLS_ECP_DP_SECP256R1,
    MBEDTLS_ECP_DP_SECP384R1,
    MBEDTLS_ECP_DP_NONE,
};
#endif

// "YYYYMMDDhhmmss" of a time in seconds since 1970 (days to civil date after Howard Hinnant's
// algorithm).
static void format_time(int64_t unix_s, char ret[static TIME_STRLEN])
{
    int64_t const days = unix_s / DAY_S;
    int64_t const rest = unix_s % DAY_S;
    int64_t const z = days + 719468;
    int64_t const era = z / 146097;
    int64_t const doe = z - era * 146097;
    int64_t const yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t const doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t const mp = (5 * doy + 2) / 153;
    int64_t const day = doy - (153 * mp + 2) / 5 + 1;
    int64_t const month = mp < 10 ? mp + 3 : mp - 9;
    int64_t const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    (void)snprintf(ret, TIME_STRLEN, "%04d%02d%02d%02d%02d%02d", (int)(year % 10000), (int)month,
                   (int)day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
}

static int set_serial(mbedtls_x509write_cert *w, const uint8_t *serial)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    uint8_t copy[SERIAL_LEN];
    memcpy(copy, serial, SERIAL_LEN);
    return mbedtls_x509write_crt_set_serial_raw(w, copy, SERIAL_LEN);
#else
    mbedtls_mpi n;
    mbedtls_mpi_init(&n);
    int e = mbedtls_mpi_read_binary(&n, serial, SERIAL_LEN);
    if (e == 0) {
        e = mbedtls_x509write_crt_set_serial(w, &n);
    }
    mbedtls_mpi_free(&n);
    return e;
#endif
}

// Writes and self-signs the certificate, then parses it into c->crt.
static int make_certificate(struct dtls_cert *c, int64_t now_unix_s)
{
    char not_before[TIME_STRLEN];
    char not_after[TIME_STRLEN];
    uint8_t serial[SERIAL_LEN];
    uint8_t der[DER_MAX];
    mbedtls_x509write_cert w;

    format_time(now_unix_s - DAY_S, not_before);
    format_time(now_unix_s + 30 * DAY_S, not_after);
    if (mbedtls_ctr_drbg_random(&c->drbg, serial, sizeof(serial)) != 0) {
        return -EIO;
    }
    // RFC 5280 section 4.1.2.2: a positive integer without leading zero bytes.
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);

    mbedtls_x509write_crt_init(&w);
    mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&w, &c->key);
    mbedtls_x509write_crt_set_issuer_key(&w, &c->key);
    int n = -1;
    if (set_serial(&w, serial) == 0 && mbedtls_x509write_crt_set_subject_name(&w, "CN=foci") == 0 &&
        mbedtls_x509write_crt_set_issuer_name(&w, "CN=foci") == 0 &&
        mbedtls_x509write_crt_set_validity(&w, not_before, not_after) == 0) {
        // Written at the end of the buffer.
        n = mbedtls_x509write_crt_der(&w, der, sizeof(der), mbedtls_ctr_drbg_random, &c->drbg);
    }
    mbedtls_x509write_crt_free(&w);
    if (n <= 0 ||
        mbedtls_x509_crt_parse_der(&c->crt, der + sizeof(der) - (size_t)n, (size_t)n) != 0) {
        return -EIO;
    }
    return 0;
}

static int make_fingerprint(struct dtls_cert *c)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t digest[32];
    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), c->crt.raw.p, c->crt.raw.len,
                   digest) != 0) {
        return -EIO;
    }
    for (size_t i = 0; i < sizeof(digest); i++) {
        c->fingerprint[3 * i] = hex[digest[i] >> 4];
        c->fingerprint[3 * i + 1] = hex[digest[i] & 15];
        c->fingerprint[3 * i + 2] = i + 1 < sizeof(digest) ? ':' : '\0';
    }
    return 0;
}

static void limit_to_dtls12(mbedtls_ssl_config *conf)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_groups(conf, groups);
#else
    // DTLS 1.2 is (3, 3) here, like TLS 1.2.
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(conf, groups);
#endif
}

#if MBEDTLS_VERSION_MAJOR < 3
static _Thread_local struct dtls_secrets *export_to;

static int on_export_keys(void *user, const unsigned char *master, const unsigned char *key_block,
                          size_t mac_len, size_t key_len, size_t iv_len,
                          const unsigned char client_random[32],
                          const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    struct dtls_secrets *const s = export_to;
    (void)user;
    (void)key_block;
    (void)mac_len;
    (void)key_len;
    (void)iv_len;
    if (s != NULL) {
        memcpy(s->master, master, sizeof(s->master));
        memcpy(s->client_random, client_random, sizeof(s->client_random));
        memcpy(s->server_random, server_random, sizeof(s->server_random));
        s->prf = (int)prf;
        s->valid = true;
    }
    return 0;
}

void dtls_cert_export_to(struct dtls_secrets *s)
{
    export_to = s;
}

// Called for the certificate that the peer shows, before anything it signed is verified.
static int on_peer_cert(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    const struct dtls_cert *const c = user;
    (void)flags;
    if (depth == 0) {
        dtls_curves_peer_key(&c->signing, &crt->pk);
    }
    return 0;
}
#endif

static int configure(struct dtls_cert *c, mbedtls_ssl_config *conf, bool client)
{
    int const endpoint = client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;
    if (mbedtls_ssl_config_defaults(conf, endpoint, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        return -ENOMEM;
    }
    limit_to_dtls12(conf);
#if MBEDTLS_VERSION_MAJOR < 3
    mbedtls_ssl_conf_export_keys_ext_cb(conf, on_export_keys, NULL);
    mbedtls_ssl_conf_verify(conf, on_peer_cert, c);
#endif
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &c->drbg);
    mbedtls_ssl_conf_ciphersuites(conf, cipher_suites);
    // The peer must show a certificate; nobody vouches for it but the fingerprint in the SDP, which
    // dtls_handshake compares.
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_OPTIONAL);
    // We double ourselves up to 3.2 s and give up after 30 s (dtls_handshake clamps what mbedTLS
    // asks for), so its own limit must not end the handshake.
    mbedtls_ssl_conf_handshake_timeout(conf, 100, 3600 * 1000);
#if defined(MBEDTLS_SSL_EXTENDED_MASTER_SECRET)
    mbedtls_ssl_conf_extended_master_secret(conf, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
#endif
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    if (client) {
        mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    }
#endif
    if (!client) {
        // No cookies: ICE has proved that the peer is reachable, and they cost a round trip.
        mbedtls_ssl_conf_dtls_cookies(conf, NULL, NULL, NULL);
        mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    }
    if (mbedtls_ssl_conf_dtls_srtp_protection_profiles(conf, srtp_profiles) != 0 ||
        mbedtls_ssl_conf_own_cert(conf, &c->crt, &c->signing) != 0) {
        return -ENOMEM;
    }
    return 0;
}

// The key for handshakes, which threads share.
static int share_key(struct dtls_cert *c)
{
#if MBEDTLS_VERSION_MAJOR < 3
    return dtls_curves_own_key(&c->key, &c->signing);
#else
    // An ECKEY is copied for each signature, without its table of multiples of the base point; an
    // ECDSA key keeps it. The first signature fills it: made here, so that later ones only read the
    // key and threads may share it.
    static const uint8_t hash[32];
    uint8_t signature[MBEDTLS_ECDSA_MAX_LEN];
    size_t n = 0;
    if (mbedtls_pk_setup(&c->signing, mbedtls_pk_info_from_type(MBEDTLS_PK_ECDSA)) != 0 ||
        mbedtls_ecdsa_from_keypair(mbedtls_pk_ec(c->signing), mbedtls_pk_ec(c->key)) != 0 ||
        mbedtls_pk_sign(&c->signing, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                        sizeof(signature), &n, mbedtls_ctr_drbg_random, &c->drbg) != 0) {
        return -EIO;
    }
    return 0;
#endif
}

static int generate(struct dtls_cert *c, int64_t now_unix_s)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    if (psa_crypto_init() != PSA_SUCCESS) {
        return -EIO;
    }
#endif
    if (mbedtls_ctr_drbg_seed(&c->drbg, mbedtls_entropy_func, &c->entropy, NULL, 0) != 0 ||
        mbedtls_pk_setup(&c->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0 ||
        mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(c->key),
                            mbedtls_ctr_drbg_random, &c->drbg) != 0) {
        return -EIO;
    }
    int e = share_key(c);
    if (e == 0) {
        e = make_certificate(c, now_unix_s);
    }
    if (e == 0) {
        e = make_fingerprint(c);
    }
    if (e == 0) {
        e = configure(c, &c->server, false);
    }
    if (e == 0) {
        e = configure(c, &c->client, true);
    }
    return e;
}

int dtls_cert_new(int64_t now_unix_s, struct dtls_cert **ret)
{
    struct dtls_cert *const c = NEW(struct dtls_cert);
    if (c == NULL) {
        return -ENOMEM;
    }
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->drbg);
    mbedtls_pk_init(&c->key);
    mbedtls_pk_init(&c->signing);
    mbedtls_x509_crt_init(&c->crt);
    mbedtls_ssl_config_init(&c->server);
    mbedtls_ssl_config_init(&c->client);
    int const e = generate(c, now_unix_s);
    if (e < 0) {
        dtls_cert_free(c);
        return e;
    }
    *ret = c;
    return 0;
}

void dtls_cert_free(struct dtls_cert *c)
{
    if (c == NULL) {
        return;
    }
    mbedtls_ssl_config_free(&c->client);
    mbedtls_ssl_config_free(&c->server);
    mbedtls_x509_crt_free(&c->crt);
    mbedtls_pk_free(&c->signing);
    mbedtls_pk_free(&c->key);
    mbedtls_ctr_drbg_free(&c->drbg);
    mbedtls_entropy_free(&c->entropy);
    mem_free(c);
}

const char *dtls_cert_fingerprint(const struct dtls_cert *c)
{
    return c->fingerprint;
}

const void *dtls_cert_config(const struct dtls_cert *c, bool client)
{
    return client ? &c->client : &c->server;
}

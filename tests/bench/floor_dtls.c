// SPDX-License-Identifier: Apache-2.0
// What the public-key arithmetic of one side of a DTLS handshake costs with what dtls_cert and
// dtls_curves make of it: an ephemeral X25519 key, the shared secret, our signature, and the
// verification of the peer's with a key that was just read. Prints the microseconds of CPU as a JSON
// object; each is the least of some rounds, because everything else on the machine only adds.
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <time.h>

#include "sfu/transport/dtls_curves.h"

#if MBEDTLS_VERSION_MAJOR < 3
#define MBEDTLS_PRIVATE(member) member
#endif

#define ROUNDS 9
#define TIMES 20

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_ecp_group x25519;
static mbedtls_mpi ours, secret;
static mbedtls_ecp_point public_key;
static mbedtls_pk_context key;
static mbedtls_pk_context signing;
static const unsigned char hash[32] = {1};
static unsigned char signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
static size_t signature_len;

static int make_key(void)
{
    return mbedtls_ecdh_gen_public(&x25519, &ours, &public_key, mbedtls_ctr_drbg_random, &drbg);
}

static int make_secret(void)
{
    return mbedtls_ecdh_compute_shared(&x25519, &secret, &public_key, &ours,
                                       mbedtls_ctr_drbg_random, &drbg);
}

static int sign(void)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_sign(&key, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                           sizeof(signature), &signature_len, mbedtls_ctr_drbg_random, &drbg);
#else
    return mbedtls_pk_sign(&signing, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                           &signature_len, mbedtls_ctr_drbg_random, &drbg);
#endif
}

// The peer's key is a new one each time, as its certificate has it.
static int verify(void)
{
    mbedtls_pk_context peer;
    mbedtls_pk_init(&peer);
    int e = mbedtls_pk_setup(&peer, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (e == 0) {
        e = mbedtls_ecp_group_load(&mbedtls_pk_ec(peer)->MBEDTLS_PRIVATE(grp),
                                   MBEDTLS_ECP_DP_SECP256R1);
    }
    if (e == 0) {
        e = mbedtls_ecp_copy(&mbedtls_pk_ec(peer)->MBEDTLS_PRIVATE(Q),
                             &mbedtls_pk_ec(key)->MBEDTLS_PRIVATE(Q));
    }
    if (e == 0) {
#if MBEDTLS_VERSION_MAJOR < 3
        dtls_curves_peer_key(&signing, &peer);
#endif
        e = mbedtls_pk_verify(&peer, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                              signature_len);
    }
    mbedtls_pk_free(&peer);
    return e;
}

// Negative when it fails.
static int prepare(void)
{
    if (mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
        mbedtls_ecp_group_load(&x25519, MBEDTLS_ECP_DP_CURVE25519) != 0 ||
        mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0 ||
        mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), mbedtls_ctr_drbg_random,
                            &drbg) != 0) {
        return -1;
    }
#if MBEDTLS_VERSION_MAJOR < 3
    return dtls_curves_own_key(&key, &signing);
#else
    return 0;
#endif
}

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

// Negative when it fails.
static double least_us(int (*operation)(void))
{
    double least = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        double const before = cpu_us();
        for (int i = 0; i < TIMES; i++) {
            if (operation() != 0) {
                return -1;
            }
        }
        double const each = (cpu_us() - before) / TIMES;
        least = each < least ? each : least;
    }
    return least;
}

int main(void)
{
    static int (*const operations[])(void) = {make_key, make_secret, sign, verify};
    static const char *const names[] = {"key", "secret", "sign", "verify"};
    double total = 0;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    mbedtls_ecp_group_init(&x25519);
    mbedtls_mpi_init(&ours);
    mbedtls_mpi_init(&secret);
    mbedtls_ecp_point_init(&public_key);
    mbedtls_pk_init(&key);
    mbedtls_pk_init(&signing);
    if (prepare() < 0) {
        return 1;
    }
    (void)printf("{");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        double const us = least_us(operations[i]);
        if (us < 0) {
            return 1;
        }
        total += us;
        (void)printf("\"%s\": %.1f, ", names[i], us);
    }
    (void)printf("\"total\": %.1f}\n", total);
    return 0;
}

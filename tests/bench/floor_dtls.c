// SPDX-License-Identifier: Apache-2.0
// What the public-key arithmetic of one side of a DTLS handshake costs with mbedTLS: an ephemeral key,
// the shared secret, our signature, and the verification of the peer's, on the curves that
// dtls_cert.c prefers. Prints the microseconds of CPU as a JSON object; each is the least of some
// rounds, because everything else on the machine only adds.
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/entropy.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS 9
#define TIMES 20

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_ecp_group x25519;
static mbedtls_mpi ours, secret;
static mbedtls_ecp_point public_key;
static mbedtls_ecdsa_context signer;
static const unsigned char hash[32] = {1};
static unsigned char signature[MBEDTLS_ECDSA_MAX_LEN];
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
    return mbedtls_ecdsa_write_signature(&signer, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                                         sizeof(signature), &signature_len, mbedtls_ctr_drbg_random,
                                         &drbg);
#else
    return mbedtls_ecdsa_write_signature(&signer, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature,
                                         &signature_len, mbedtls_ctr_drbg_random, &drbg);
#endif
}

static int verify(void)
{
    return mbedtls_ecdsa_read_signature(&signer, hash, sizeof(hash), signature, signature_len);
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
    mbedtls_ecdsa_init(&signer);
    if (mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
        mbedtls_ecp_group_load(&x25519, MBEDTLS_ECP_DP_CURVE25519) != 0 ||
        mbedtls_ecdsa_genkey(&signer, MBEDTLS_ECP_DP_SECP256R1, mbedtls_ctr_drbg_random, &drbg) !=
            0) {
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

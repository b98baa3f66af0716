// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// libcrypto's arithmetic through mbedTLS's interfaces, against mbedTLS's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <mbedtls/version.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "common/base/bytes.h"
#include "sfu/transport/dtls_curves.h"

#if MBEDTLS_VERSION_MAJOR < 3

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_pk_context own;     // mbedTLS's
static mbedtls_pk_context signing; // the same here
static const uint8_t hash[32] = {1, 2, 3};

// libcrypto's memory: everything fails once this many allocations have gone through.
static long allocations_left = -1;

static bool may_allocate(void)
{
    if (allocations_left > 0) {
        allocations_left--;
    }
    return allocations_left != 0;
}

static void *lib_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return may_allocate() ? malloc(n) : NULL;
}

static void *lib_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return may_allocate() ? realloc(p, n) : NULL;
}

static void lib_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void generate(mbedtls_pk_context *pk, mbedtls_ecp_group_id curve)
{
    mbedtls_pk_init(pk);
    assert_int_equal(mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)), 0);
    assert_int_equal(mbedtls_ecp_gen_key(curve, mbedtls_pk_ec(*pk), mbedtls_ctr_drbg_random, &drbg),
                     0);
}

static int start(void **state)
{
    (void)state;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    assert_int_equal(mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0), 0);
    generate(&own, MBEDTLS_ECP_DP_SECP256R1);
    mbedtls_pk_init(&signing);
    assert_int_equal(dtls_curves_own_key(&own, &signing), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mbedtls_pk_free(&signing);
    mbedtls_pk_free(&own);
    mbedtls_ctr_drbg_free(&drbg);
    mbedtls_entropy_free(&entropy);
    return 0;
}

static size_t sign(mbedtls_pk_context *pk, uint8_t ret[static MBEDTLS_PK_SIGNATURE_MAX_SIZE])
{
    size_t n = 0;
    assert_int_equal(mbedtls_pk_sign(pk, MBEDTLS_MD_SHA256, hash, sizeof(hash), ret, &n,
                                     mbedtls_ctr_drbg_random, &drbg),
                     0);
    return n;
}

static int verify(mbedtls_pk_context *pk, const uint8_t *signature, size_t n)
{
    return mbedtls_pk_verify(pk, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature, n);
}

static void signatures_are_good_for_mbedtls(void **state)
{
    (void)state;
    uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    size_t const n = sign(&signing, signature);
    assert_int_equal(verify(&own, signature, n), 0);
    assert_true(mbedtls_pk_can_do(&signing, MBEDTLS_PK_ECDSA));
    assert_false(mbedtls_pk_can_do(&signing, MBEDTLS_PK_RSA));
    assert_int_equal(mbedtls_pk_get_bitlen(&signing), 256);
    // It has no private half for mbedTLS: that is libcrypto's alone.
    assert_int_equal(mbedtls_mpi_bitlen(&mbedtls_pk_ec(signing)->d), 0);
}

static void keys_of_peers_verify(void **state)
{
    (void)state;
    uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    mbedtls_pk_context theirs;
    generate(&theirs, MBEDTLS_ECP_DP_SECP256R1);
    size_t const n = sign(&theirs, signature);
    dtls_curves_peer_key(&signing, &theirs);
    assert_int_equal(mbedtls_pk_get_type(&theirs), MBEDTLS_PK_ECDSA);
    assert_int_equal(mbedtls_pk_ec(theirs)->grp.id, MBEDTLS_ECP_DP_SECP256R1);
    assert_int_equal(verify(&theirs, signature, n), 0);
    assert_int_equal(verify(&signing, signature, n), MBEDTLS_ERR_ECP_VERIFY_FAILED);
    signature[n - 1] ^= 1;
    assert_int_equal(verify(&theirs, signature, n), MBEDTLS_ERR_ECP_VERIFY_FAILED);
    assert_int_equal(verify(&theirs, signature, 3), MBEDTLS_ERR_ECP_VERIFY_FAILED);
    mbedtls_pk_free(&theirs);
}

static void other_keys_stay_as_they_are(void **state)
{
    (void)state;
    uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    mbedtls_pk_context keys[2];
    generate(&keys[0], MBEDTLS_ECP_DP_SECP384R1);
    mbedtls_pk_init(&keys[1]);
    assert_int_equal(mbedtls_pk_setup(&keys[1], mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)), 0);
    assert_int_equal(
        mbedtls_rsa_gen_key(mbedtls_pk_rsa(keys[1]), mbedtls_ctr_drbg_random, &drbg, 1024, 65537),
        0);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        size_t const n = sign(&keys[i], signature);
        const mbedtls_pk_info_t *const before = keys[i].pk_info;
        dtls_curves_peer_key(&signing, &keys[i]);
        assert_ptr_equal(keys[i].pk_info, before);
        assert_int_equal(verify(&keys[i], signature, n), 0);
        mbedtls_pk_free(&keys[i]);
    }
}

// Whatever libcrypto cannot allocate: a key works then as it did, or says so; a bad signature never
// becomes a good one.
static void memory_may_be_short_anywhere(void **state)
{
    (void)state;
    uint8_t good[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    bool all = false;
    size_t const n = sign(&signing, good);
    for (long left = 1; !all; left++) {
        uint8_t bad[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
        uint8_t made[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
        mbedtls_pk_context copy, theirs;
        size_t made_len = 0;
        memcpy(bad, good, n);
        bad[n - 1] ^= 1;
        mbedtls_pk_init(&copy);
        generate(&theirs, MBEDTLS_ECP_DP_SECP256R1);
        assert_int_equal(mbedtls_ecp_copy(&mbedtls_pk_ec(theirs)->Q, &mbedtls_pk_ec(own)->Q), 0);

        allocations_left = left;
        int const made_copy = dtls_curves_own_key(&own, &copy);
        dtls_curves_peer_key(&signing, &theirs);
        int const for_good = verify(&theirs, good, n);
        int const for_bad = verify(&theirs, bad, n);
        int const signs = mbedtls_pk_sign(&signing, MBEDTLS_MD_SHA256, hash, sizeof(hash), made,
                                          &made_len, mbedtls_ctr_drbg_random, &drbg);
        all = allocations_left > 0;
        allocations_left = -1;

        assert_true(made_copy == 0 || made_copy == -ENOMEM || made_copy == -EIO);
        assert_int_not_equal(for_bad, 0);
        assert_true(!all || (made_copy == 0 && for_good == 0 && signs == 0));
        if (signs == 0) {
            assert_int_equal(verify(&own, made, made_len), 0);
        }
        mbedtls_pk_free(&copy);
        mbedtls_pk_free(&theirs);
    }
}

// ---- key exchange ---------------------------------------------------------------------------

static unsigned random_calls;

static int count_random(void *arg, unsigned char *p, size_t n)
{
    random_calls++;
    return mbedtls_ctr_drbg_random(arg, p, n);
}

static int no_random(void *arg, unsigned char *p, size_t n)
{
    (void)arg;
    (void)p;
    (void)n;
    return MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
}

// As TLS does it.
static void agree(mbedtls_ecp_group_id curve)
{
    mbedtls_ecdh_context a, b;
    uint8_t hello[200], answer[200], secret_a[100], secret_b[100];
    size_t hello_len = 0, answer_len = 0, secret_a_len = 0, secret_b_len = 0;
    mbedtls_ecdh_init(&a);
    mbedtls_ecdh_init(&b);
    assert_int_equal(mbedtls_ecdh_setup(&a, curve), 0);
    assert_int_equal(
        mbedtls_ecdh_make_params(&a, &hello_len, hello, sizeof(hello), count_random, &drbg), 0);
    const unsigned char *p = hello;
    assert_int_equal(mbedtls_ecdh_read_params(&b, &p, hello + hello_len), 0);
    assert_int_equal(mbedtls_ecdh_make_public(&b, &answer_len, answer, sizeof(answer),
                                              mbedtls_ctr_drbg_random, &drbg),
                     0);
    assert_int_equal(mbedtls_ecdh_read_public(&a, answer, answer_len), 0);
    assert_int_equal(mbedtls_ecdh_calc_secret(&a, &secret_a_len, secret_a, sizeof(secret_a),
                                              count_random, &drbg),
                     0);
    assert_int_equal(mbedtls_ecdh_calc_secret(&b, &secret_b_len, secret_b, sizeof(secret_b),
                                              mbedtls_ctr_drbg_random, &drbg),
                     0);
    assert_int_equal(secret_a_len, secret_b_len);
    assert_memory_equal(secret_a, secret_b, secret_a_len);
    mbedtls_ecdh_free(&a);
    mbedtls_ecdh_free(&b);
}

static void both_sides_get_the_same_secret(void **state)
{
    (void)state;
    agree(MBEDTLS_ECP_DP_SECP256R1);
    agree(MBEDTLS_ECP_DP_SECP384R1);
    random_calls = 0;
    agree(MBEDTLS_ECP_DP_CURVE25519);
    // mbedTLS blinds its own arithmetic with more than that.
    assert_int_equal(random_calls, 1);
}

// Ours on one side, mbedTLS's multiplication on the other.
static void x25519_agrees_with_mbedtls(void **state)
{
    (void)state;
    mbedtls_ecp_group grp;
    mbedtls_mpi d, d2, z;
    mbedtls_ecp_point q, q2, product;
    mbedtls_ecp_group_init(&grp);
    mbedtls_mpi_init(&d);
    mbedtls_mpi_init(&d2);
    mbedtls_mpi_init(&z);
    mbedtls_ecp_point_init(&q);
    mbedtls_ecp_point_init(&q2);
    mbedtls_ecp_point_init(&product);
    assert_int_equal(mbedtls_ecp_group_load(&grp, MBEDTLS_ECP_DP_CURVE25519), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mbedtls_ecdh_gen_public(&grp, &d, &q, mbedtls_ctr_drbg_random, &drbg), 0);
        assert_int_equal(mbedtls_ecp_check_privkey(&grp, &d), 0);
        assert_int_equal(mbedtls_ecp_gen_keypair(&grp, &d2, &q2, mbedtls_ctr_drbg_random, &drbg),
                         0);
        assert_int_equal(
            mbedtls_ecdh_compute_shared(&grp, &z, &q2, &d, mbedtls_ctr_drbg_random, &drbg), 0);
        assert_int_equal(mbedtls_ecp_mul(&grp, &product, &d2, &q, mbedtls_ctr_drbg_random, &drbg),
                         0);
        assert_int_equal(mbedtls_mpi_cmp_mpi(&product.X, &z), 0);
    }
    // A point of low order has no secret; no key without random numbers.
    assert_int_equal(mbedtls_mpi_lset(&q.X, 0), 0);
    assert_int_not_equal(
        mbedtls_ecdh_compute_shared(&grp, &z, &q, &d, mbedtls_ctr_drbg_random, &drbg), 0);
    assert_int_equal(mbedtls_ecdh_gen_public(&grp, &d, &q, no_random, NULL),
                     MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED);
    mbedtls_ecp_point_free(&product);
    mbedtls_ecp_point_free(&q2);
    mbedtls_ecp_point_free(&q);
    mbedtls_mpi_free(&z);
    mbedtls_mpi_free(&d2);
    mbedtls_mpi_free(&d);
    mbedtls_ecp_group_free(&grp);
}

int main(void)
{
    // Before libcrypto allocates anything.
    if (CRYPTO_set_mem_functions(lib_malloc, lib_realloc, lib_free) != 1) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_good_for_mbedtls),
        cmocka_unit_test(keys_of_peers_verify),
        cmocka_unit_test(other_keys_stay_as_they_are),
        cmocka_unit_test(memory_may_be_short_anywhere),
        cmocka_unit_test(both_sides_get_the_same_secret),
        cmocka_unit_test(x25519_agrees_with_mbedtls),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

#else

int main(void)
{
    return 0; // nothing is replaced
}

#endif

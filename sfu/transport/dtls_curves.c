// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_curves.h"

#include <mbedtls/version.h>
#if MBEDTLS_VERSION_MAJOR < 3
#include <mbedtls/ecdh.h>
#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/pk_internal.h>
#include <mbedtls/platform.h>

#include "common/base/mem.h"
#include "sfu/transport/crypto_glue.h"

// ---- keys -----------------------------------------------------------------------------------

// mbedTLS looks into a key for its curve (mbedtls_pk_ec), so the pair comes first.
struct p256_key {
    mbedtls_ecp_keypair pair;
    struct crypto_p256 *key;
};

static void *key_alloc(void)
{
    struct p256_key *const k = NEW(struct p256_key);
    if (k != NULL) {
        mbedtls_ecp_keypair_init(&k->pair);
    }
    return k;
}

static void key_free(void *p)
{
    struct p256_key *const k = p;
    crypto_p256_free(k->key);
    mbedtls_ecp_keypair_free(&k->pair);
    mem_free(k);
}

static size_t key_bits(const void *p)
{
    const struct p256_key *const k = p;
    return k->pair.grp.pbits;
}

static int key_can_do(mbedtls_pk_type_t type)
{
    return type == MBEDTLS_PK_ECDSA;
}

static int pk_error(int e)
{
    switch (e) {
    case 0:
        return 0;
    case -ENOMEM:
        return MBEDTLS_ERR_PK_ALLOC_FAILED;
    case -EBADMSG:
        return MBEDTLS_ERR_ECP_VERIFY_FAILED;
    default:
        return MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    }
}

static int key_verify(void *p, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                      const unsigned char *signature, size_t signature_len)
{
    const struct p256_key *const k = p;
    (void)md;
    return pk_error(
        crypto_p256_verify(k->key, bytes_of(hash, hash_len), bytes_of(signature, signature_len)));
}

// Callers have room for MBEDTLS_PK_SIGNATURE_MAX_SIZE bytes, which is more than ours needs.
static int key_sign(void *p, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                    unsigned char *signature, size_t *signature_len,
                    int (*rng)(void *, unsigned char *, size_t), void *rng_arg)
{
    const struct p256_key *const k = p;
    (void)md;
    (void)rng;
    (void)rng_arg;
    return pk_error(crypto_p256_sign(k->key, bytes_of(hash, hash_len), signature, signature_len));
}

static const mbedtls_pk_info_t key_type = {
    .type = MBEDTLS_PK_ECDSA,
    .name = "ECDSA",
    .get_bitlen = key_bits,
    .can_do = key_can_do,
    .verify_func = key_verify,
    .sign_func = key_sign,
    .ctx_alloc_func = key_alloc,
    .ctx_free_func = key_free,
};

// An empty key of our type with the curve and the public point of another; NULL without memory.
static struct p256_key *set_up(mbedtls_pk_context *pk, const mbedtls_ecp_keypair *from,
                               uint8_t ret_point[static CRYPTO_P256_POINT_LEN])
{
    size_t n = 0;
    if (mbedtls_pk_setup(pk, &key_type) != 0) {
        return NULL;
    }
    struct p256_key *const k = pk->pk_ctx;
    if (mbedtls_ecp_group_load(&k->pair.grp, from->grp.id) != 0 ||
        mbedtls_ecp_copy(&k->pair.Q, &from->Q) != 0 ||
        mbedtls_ecp_point_write_binary(&from->grp, &from->Q, MBEDTLS_ECP_PF_UNCOMPRESSED, &n,
                                       ret_point, CRYPTO_P256_POINT_LEN) != 0) {
        return NULL;
    }
    return k;
}

int dtls_curves_own_key(const void *key, void *ret_signing)
{
    const mbedtls_ecp_keypair *const pair = mbedtls_pk_ec(*(const mbedtls_pk_context *)key);
    mbedtls_pk_context signing;
    uint8_t point[CRYPTO_P256_POINT_LEN];
    uint8_t scalar[CRYPTO_P256_SCALAR_LEN];
    int e = -ENOMEM;
    mbedtls_pk_init(&signing);
    struct p256_key *const k = set_up(&signing, pair, point);
    if (k != NULL) {
        e = mbedtls_mpi_write_binary(&pair->d, scalar, sizeof(scalar)) == 0 ? 0 : -EIO;
    }
    if (e == 0) {
        e = crypto_p256_new_private(scalar, point, &k->key);
        crypto_wipe(scalar, sizeof(scalar));
    }
    if (e < 0) {
        mbedtls_pk_free(&signing);
        return e == -ENOMEM ? e : -EIO;
    }
    *(mbedtls_pk_context *)ret_signing = signing;
    return 0;
}

void dtls_curves_peer_key(const void *signing, void *key)
{
    const struct p256_key *const own = ((const mbedtls_pk_context *)signing)->pk_ctx;
    mbedtls_pk_context *const theirs = key;
    mbedtls_pk_context pk;
    uint8_t point[CRYPTO_P256_POINT_LEN];
    if (mbedtls_pk_get_type(theirs) != MBEDTLS_PK_ECKEY ||
        mbedtls_pk_ec(*theirs)->grp.id != MBEDTLS_ECP_DP_SECP256R1) {
        return;
    }
    mbedtls_pk_init(&pk);
    struct p256_key *const k = set_up(&pk, mbedtls_pk_ec(*theirs), point);
    if (k != NULL && crypto_p256_new_public(own->key, point, &k->key) == 0) {
        mbedtls_pk_free(theirs);
        *theirs = pk;
    } else {
        mbedtls_pk_free(&pk);
    }
}

// ---- key exchange ---------------------------------------------------------------------------

// Seen by the dynamic linker, and yielding to a static library (see the header).
#define ALTERNATIVE __attribute__((weak, visibility("default")))

// RFC 7748: numbers and coordinates are little-endian, which is what mbedTLS reads and writes for
// this curve.
static int x25519_public(const mbedtls_ecp_group *grp, mbedtls_mpi *d, mbedtls_ecp_point *q,
                         int (*rng)(void *, unsigned char *, size_t), void *rng_arg)
{
    uint8_t scalar[CRYPTO_X25519_LEN];
    uint8_t point[CRYPTO_X25519_LEN];
    int e = rng(rng_arg, scalar, sizeof(scalar));
    if (e == 0) {
        // RFC 7748 section 5; mbedTLS wants its private keys like that.
        scalar[0] &= 0xf8;
        scalar[31] = (uint8_t)((scalar[31] & 0x7f) | 0x40);
        e = crypto_x25519_public(scalar, point) == 0 ? 0 : MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    }
    if (e == 0) {
        e = mbedtls_mpi_read_binary_le(d, scalar, sizeof(scalar));
    }
    if (e == 0) {
        e = mbedtls_ecp_point_read_binary(grp, q, point, sizeof(point));
    }
    crypto_wipe(scalar, sizeof(scalar));
    return e;
}

static int x25519_shared(const mbedtls_ecp_group *grp, mbedtls_mpi *z, const mbedtls_ecp_point *q,
                         const mbedtls_mpi *d)
{
    uint8_t scalar[CRYPTO_X25519_LEN];
    uint8_t point[CRYPTO_X25519_LEN];
    uint8_t secret[CRYPTO_X25519_LEN];
    size_t n = 0;
    int e = mbedtls_mpi_write_binary_le(d, scalar, sizeof(scalar));
    if (e == 0) {
        e = mbedtls_ecp_point_write_binary(grp, q, MBEDTLS_ECP_PF_UNCOMPRESSED, &n, point,
                                           sizeof(point));
    }
    if (e == 0) {
        int const failed = crypto_x25519_shared(scalar, point, secret);
        e = failed == 0          ? mbedtls_mpi_read_binary_le(z, secret, sizeof(secret))
            : failed == -EBADMSG ? MBEDTLS_ERR_ECP_INVALID_KEY
                                 : MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    }
    crypto_wipe(scalar, sizeof(scalar));
    crypto_wipe(secret, sizeof(secret));
    return e;
}

ALTERNATIVE int mbedtls_ecdh_gen_public(mbedtls_ecp_group *grp, mbedtls_mpi *d,
                                        mbedtls_ecp_point *q,
                                        int (*rng)(void *, unsigned char *, size_t), void *rng_arg)
{
    if (grp->id == MBEDTLS_ECP_DP_CURVE25519) {
        return x25519_public(grp, d, q, rng, rng_arg);
    }
    return mbedtls_ecp_gen_keypair(grp, d, q, rng, rng_arg);
}

ALTERNATIVE int mbedtls_ecdh_compute_shared(mbedtls_ecp_group *grp, mbedtls_mpi *z,
                                            const mbedtls_ecp_point *q, const mbedtls_mpi *d,
                                            int (*rng)(void *, unsigned char *, size_t),
                                            void *rng_arg)
{
    if (grp->id == MBEDTLS_ECP_DP_CURVE25519) {
        return x25519_shared(grp, z, q, d);
    }
    mbedtls_ecp_point p;
    mbedtls_ecp_point_init(&p);
    int e = mbedtls_ecp_mul(grp, &p, d, q, rng, rng_arg);
    if (e == 0) {
        e = mbedtls_ecp_is_zero(&p) ? MBEDTLS_ERR_ECP_BAD_INPUT_DATA : mbedtls_mpi_copy(z, &p.X);
    }
    mbedtls_ecp_point_free(&p);
    return e;
}
#endif

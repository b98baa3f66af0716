// SPDX-License-Identifier: Apache-2.0
// The SHA-1 block functions are "deprecated" in OpenSSL 3 in favour of EVP, which needs an
// allocation per message or a state copy of some hundred bytes; the plain state is five words and
// two to three times faster for a 100-byte packet.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sfu/transport/crypto_glue.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#define SHA1_BLOCK_LEN 64

static void sha1_state_save(const SHA_CTX *s, uint32_t ret[static 5])
{
    ret[0] = s->h0;
    ret[1] = s->h1;
    ret[2] = s->h2;
    ret[3] = s->h3;
    ret[4] = s->h4;
}

// A state in which exactly one block was hashed.
static void sha1_state_load(SHA_CTX *s, const uint32_t h[static 5])
{
    SHA1_Init(s);
    s->h0 = h[0];
    s->h1 = h[1];
    s->h2 = h[2];
    s->h3 = h[3];
    s->h4 = h[4];
    s->Nl = SHA1_BLOCK_LEN * 8;
}

static void sha1_after_pad(struct bytes key, uint8_t pad, uint32_t ret[static 5])
{
    uint8_t block[SHA1_BLOCK_LEN];
    memset(block, pad, sizeof(block));
    for (size_t i = 0; i < key.n; i++) {
        block[i] ^= key.p[i];
    }
    SHA_CTX s;
    SHA1_Init(&s);
    SHA1_Update(&s, block, sizeof(block));
    sha1_state_save(&s, ret);
    OPENSSL_cleanse(block, sizeof(block));
    OPENSSL_cleanse(&s, sizeof(s));
}

void crypto_hmac_sha1_init(struct crypto_hmac_sha1 *h, struct bytes key)
{
    assert(key.n <= SHA1_BLOCK_LEN);
    sha1_after_pad(key, 0x36, h->inner);
    sha1_after_pad(key, 0x5c, h->outer);
}

void crypto_hmac_sha1(const struct crypto_hmac_sha1 *h, struct bytes data,
                      uint8_t ret[static CRYPTO_SHA1_LEN])
{
    SHA_CTX s;
    uint8_t inner[CRYPTO_SHA1_LEN];
    sha1_state_load(&s, h->inner);
    SHA1_Update(&s, data.p, data.n);
    SHA1_Final(inner, &s);
    sha1_state_load(&s, h->outer);
    SHA1_Update(&s, inner, sizeof(inner));
    SHA1_Final(ret, &s);
}

// The opaque types are the library's contexts themselves: no second allocation.

int crypto_ctr_new(const uint8_t key[static CRYPTO_AES128_KEY_LEN], struct crypto_ctr **ret)
{
    EVP_CIPHER_CTX *const ctx = EVP_CIPHER_CTX_new();
    if (!ctx) {
        return -ENOMEM;
    }
    if (EVP_EncryptInit_ex(ctx, EVP_aes_128_ctr(), NULL, key, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return -ENOMEM;
    }
    *ret = (struct crypto_ctr *)ctx;
    return 0;
}

void crypto_ctr_free(struct crypto_ctr *c)
{
    EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *)c);
}

int crypto_ctr_xor(struct crypto_ctr *c, const uint8_t iv[static CRYPTO_AES_BLOCK_LEN],
                   struct bytes_mut data)
{
    EVP_CIPHER_CTX *const ctx = (EVP_CIPHER_CTX *)c;
    int n = 0;
    if (EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, iv) != 1 ||
        EVP_EncryptUpdate(ctx, data.p, &n, data.p, (int)data.n) != 1) {
        return -EIO;
    }
    return 0;
}

int crypto_gcm_new(const uint8_t key[static CRYPTO_AES128_KEY_LEN], bool seal,
                   struct crypto_gcm **ret)
{
    EVP_CIPHER_CTX *const ctx = EVP_CIPHER_CTX_new();
    if (!ctx) {
        return -ENOMEM;
    }
    if (EVP_CipherInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, NULL, seal) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return -ENOMEM;
    }
    *ret = (struct crypto_gcm *)ctx;
    return 0;
}

void crypto_gcm_free(struct crypto_gcm *g)
{
    EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *)g);
}

// True if IV, AAD and data went through.
static bool gcm_run(EVP_CIPHER_CTX *ctx, const uint8_t *iv, struct bytes aad, struct bytes_mut data)
{
    int n = 0;
    return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, -1) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &n, aad.p, (int)aad.n) == 1 &&
           (data.n == 0 || EVP_CipherUpdate(ctx, data.p, &n, data.p, (int)data.n) == 1);
}

int crypto_gcm_seal(struct crypto_gcm *g, const uint8_t iv[static CRYPTO_GCM_IV_LEN],
                    struct bytes aad, struct bytes_mut data,
                    uint8_t ret_tag[static CRYPTO_GCM_TAG_LEN])
{
    EVP_CIPHER_CTX *const ctx = (EVP_CIPHER_CTX *)g;
    uint8_t rest[CRYPTO_AES_BLOCK_LEN];
    int n = 0;
    if (!gcm_run(ctx, iv, aad, data) || EVP_EncryptFinal_ex(ctx, rest, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, CRYPTO_GCM_TAG_LEN, ret_tag) != 1) {
        return -EIO;
    }
    return 0;
}

int crypto_gcm_open(struct crypto_gcm *g, const uint8_t iv[static CRYPTO_GCM_IV_LEN],
                    struct bytes aad, struct bytes_mut data,
                    const uint8_t tag[static CRYPTO_GCM_TAG_LEN])
{
    EVP_CIPHER_CTX *const ctx = (EVP_CIPHER_CTX *)g;
    uint8_t expected[CRYPTO_GCM_TAG_LEN];
    uint8_t rest[CRYPTO_AES_BLOCK_LEN];
    int n = 0;
    memcpy(expected, tag, sizeof(expected));
    if (!gcm_run(ctx, iv, aad, data) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, CRYPTO_GCM_TAG_LEN, expected) != 1 ||
        EVP_DecryptFinal_ex(ctx, rest, &n) != 1) {
        return -EBADMSG;
    }
    return 0;
}

// ---- ECDSA with P-256 -----------------------------------------------------------------------

int crypto_p256_new_private(const uint8_t scalar[static CRYPTO_P256_SCALAR_LEN],
                            const uint8_t point[static CRYPTO_P256_POINT_LEN],
                            struct crypto_p256 **ret)
{
    // Parameters take a number in the machine's order and their texts without const.
    char group[] = "prime256v1";
    uint8_t number[CRYPTO_P256_SCALAR_LEN];
    uint8_t copy[CRYPTO_P256_POINT_LEN];
    for (size_t i = 0; i < sizeof(number); i++) {
        number[i] = scalar[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? sizeof(number) - 1 - i : i];
    }
    memcpy(copy, point, sizeof(copy));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, number, sizeof(number)),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof(copy)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    int e = -EIO;
    EVP_PKEY_CTX *const ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1) {
        e = EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1 ? 0 : -EBADMSG;
    }
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_cleanse(number, sizeof(number));
    *ret = (struct crypto_p256 *)key;
    return e;
}

int crypto_p256_new_public(const struct crypto_p256 *other,
                           const uint8_t point[static CRYPTO_P256_POINT_LEN],
                           struct crypto_p256 **ret)
{
    EVP_PKEY *const key = EVP_PKEY_new();
    if (!key || EVP_PKEY_copy_parameters(key, (const EVP_PKEY *)other) != 1) {
        EVP_PKEY_free(key);
        return -ENOMEM;
    }
    if (EVP_PKEY_set1_encoded_public_key(key, point, CRYPTO_P256_POINT_LEN) != 1) {
        EVP_PKEY_free(key);
        ERR_clear_error();
        return -EBADMSG;
    }
    *ret = (struct crypto_p256 *)key;
    return 0;
}

void crypto_p256_free(struct crypto_p256 *k)
{
    EVP_PKEY_free((EVP_PKEY *)k);
}

// A context for one operation: the key itself is not changed, so that threads may share it.
static EVP_PKEY_CTX *p256_operation(const struct crypto_p256 *k)
{
    union {
        const struct crypto_p256 *constant;
        EVP_PKEY *key; // its reference count goes up and down
    } const u = {.constant = k};
    return EVP_PKEY_CTX_new(u.key, NULL);
}

int crypto_p256_sign(const struct crypto_p256 *k, struct bytes digest,
                     uint8_t ret[static CRYPTO_P256_SIGNATURE_MAX], size_t *ret_len)
{
    EVP_PKEY_CTX *const ctx = p256_operation(k);
    if (!ctx) {
        return -ENOMEM;
    }
    *ret_len = CRYPTO_P256_SIGNATURE_MAX;
    // OpenSSL 3.0 calls it a success when there is no memory for the signature's DER: the length is
    // -1 then.
    bool const ok = EVP_PKEY_sign_init(ctx) == 1 &&
                    EVP_PKEY_sign(ctx, ret, ret_len, digest.p, digest.n) == 1 &&
                    *ret_len <= CRYPTO_P256_SIGNATURE_MAX;
    EVP_PKEY_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
    }
    return ok ? 0 : -EIO;
}

int crypto_p256_verify(const struct crypto_p256 *k, struct bytes digest, struct bytes signature)
{
    EVP_PKEY_CTX *const ctx = p256_operation(k);
    if (!ctx) {
        return -ENOMEM;
    }
    bool const ok = EVP_PKEY_verify_init(ctx) == 1 &&
                    EVP_PKEY_verify(ctx, signature.p, signature.n, digest.p, digest.n) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
    }
    return ok ? 0 : -EBADMSG;
}

// ---- X25519 ---------------------------------------------------------------------------------

int crypto_x25519_public(const uint8_t scalar[static CRYPTO_X25519_LEN],
                         uint8_t ret[static CRYPTO_X25519_LEN])
{
    size_t n = CRYPTO_X25519_LEN;
    EVP_PKEY *const key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, CRYPTO_X25519_LEN);
    bool const ok = key && EVP_PKEY_get_raw_public_key(key, ret, &n) == 1;
    EVP_PKEY_free(key);
    return ok ? 0 : -EIO;
}

int crypto_x25519_shared(const uint8_t scalar[static CRYPTO_X25519_LEN],
                         const uint8_t point[static CRYPTO_X25519_LEN],
                         uint8_t ret[static CRYPTO_X25519_LEN])
{
    size_t n = CRYPTO_X25519_LEN;
    int e = -EIO;
    // The private key makes its public one as well: half of what this costs.
    EVP_PKEY *const ours =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, CRYPTO_X25519_LEN);
    EVP_PKEY *const theirs =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, point, CRYPTO_X25519_LEN);
    EVP_PKEY_CTX *const ctx = ours ? EVP_PKEY_CTX_new(ours, NULL) : NULL;
    if (ctx && theirs && EVP_PKEY_derive_init(ctx) == 1 &&
        EVP_PKEY_derive_set_peer(ctx, theirs) == 1) {
        e = EVP_PKEY_derive(ctx, ret, &n) == 1 ? 0 : -EBADMSG;
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(ours);
    if (e < 0) {
        ERR_clear_error();
    }
    return e;
}

void crypto_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

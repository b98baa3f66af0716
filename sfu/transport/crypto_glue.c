// SPDX-License-Identifier: Apache-2.0
// The SHA-1 block functions are "deprecated" in OpenSSL 3 in favour of EVP, which needs an
// allocation per message or a state copy of some hundred bytes; the plain state is five words and
// two to three times faster for a 100-byte packet.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sfu/transport/crypto_glue.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
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

void crypto_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

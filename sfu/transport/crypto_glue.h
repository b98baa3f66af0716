// SPDX-License-Identifier: Apache-2.0
#pragma once
// The primitives that the transports take from libcrypto: AES-128-CTR and HMAC-SHA1 for SRTP (RFC
// 3711), AES-128-GCM for established DTLS (RFC 5288). Kept contexts, no allocation per call.
//
// Pure. An object belongs to one thread at a time.

#include "common/base/bytes.h"

#define CRYPTO_SHA1_LEN 20
#define CRYPTO_AES128_KEY_LEN 16
#define CRYPTO_AES_BLOCK_LEN 16
#define CRYPTO_GCM_IV_LEN 12
#define CRYPTO_GCM_TAG_LEN 16

// ---- HMAC-SHA1 (RFC 2104) -------------------------------------------------------------------

// The two SHA-1 states after the padded key, in host byte order (the form that ipsec-mb takes as
// well).
struct crypto_hmac_sha1 {
    uint32_t inner[5];
    uint32_t outer[5];
};

// key: at most 64 bytes.
void crypto_hmac_sha1_init(struct crypto_hmac_sha1 *h, struct bytes key);
void crypto_hmac_sha1(const struct crypto_hmac_sha1 *h, struct bytes data,
                      uint8_t ret[static CRYPTO_SHA1_LEN]);

// ---- AES-128-CTR ----------------------------------------------------------------------------

struct crypto_ctr;

// -ENOMEM.
int crypto_ctr_new(const uint8_t key[static CRYPTO_AES128_KEY_LEN],
                   struct crypto_ctr **ret) NODISCARD;
void crypto_ctr_free(struct crypto_ctr *c); // accepts NULL; wipes

// XORs the key stream that starts at counter block iv onto data. -EIO if the library fails.
int crypto_ctr_xor(struct crypto_ctr *c, const uint8_t iv[static CRYPTO_AES_BLOCK_LEN],
                   struct bytes_mut data) NODISCARD;

// ---- AES-128-GCM ----------------------------------------------------------------------------

struct crypto_gcm;

// One direction. -ENOMEM.
int crypto_gcm_new(const uint8_t key[static CRYPTO_AES128_KEY_LEN], bool seal,
                   struct crypto_gcm **ret) NODISCARD;
void crypto_gcm_free(struct crypto_gcm *g); // accepts NULL; wipes

// Encrypts data in place and writes the tag. -EIO if the library fails.
int crypto_gcm_seal(struct crypto_gcm *g, const uint8_t iv[static CRYPTO_GCM_IV_LEN],
                    struct bytes aad, struct bytes_mut data,
                    uint8_t ret_tag[static CRYPTO_GCM_TAG_LEN]) NODISCARD;
// Decrypts data in place. -EBADMSG if the tag does not match (data is then garbage).
int crypto_gcm_open(struct crypto_gcm *g, const uint8_t iv[static CRYPTO_GCM_IV_LEN],
                    struct bytes aad, struct bytes_mut data,
                    const uint8_t tag[static CRYPTO_GCM_TAG_LEN]) NODISCARD;

// Zeroes memory that held a secret; not optimised away.
void crypto_wipe(void *p, size_t n);

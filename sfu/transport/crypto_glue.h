// SPDX-License-Identifier: Apache-2.0
#pragma once
// The primitives that the transports take from libcrypto: AES-128-CTR and HMAC-SHA1 for SRTP (RFC
// 3711), AES-128-GCM for established DTLS (RFC 5288), with kept contexts and no allocation per call;
// ECDSA with P-256 and X25519 for DTLS handshakes, where it is some ten times as fast as mbedTLS.
//
// Pure but for the random numbers of a signature. An object belongs to one thread at a time, unless
// it says otherwise.

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

// ---- ECDSA with P-256 (FIPS 186-4) ------------------------------------------------------------

#define CRYPTO_P256_SCALAR_LEN 32
#define CRYPTO_P256_POINT_LEN 65 // uncompressed (SEC 1 section 2.3.3)
// Two integers of at most 33 bytes in DER.
#define CRYPTO_P256_SIGNATURE_MAX 72

// A key, immutable: any thread may use it.
struct crypto_p256;

// A key that signs. -EBADMSG if the point is not on the curve, -EIO if the library fails (also for
// want of memory).
int crypto_p256_new_private(const uint8_t scalar[static CRYPTO_P256_SCALAR_LEN],
                            const uint8_t point[static CRYPTO_P256_POINT_LEN],
                            struct crypto_p256 **ret) NODISCARD;
// A key that verifies. It takes the curve from another one, which is four times as fast as making
// it. -EBADMSG if the point is not on the curve, -ENOMEM.
int crypto_p256_new_public(const struct crypto_p256 *other,
                           const uint8_t point[static CRYPTO_P256_POINT_LEN],
                           struct crypto_p256 **ret) NODISCARD;
void crypto_p256_free(struct crypto_p256 *k); // accepts NULL; wipes

// Signs a digest (longer ones than 32 bytes are cut, as ECDSA has it). -ENOMEM, -EIO.
int crypto_p256_sign(const struct crypto_p256 *k, struct bytes digest,
                     uint8_t ret[static CRYPTO_P256_SIGNATURE_MAX], size_t *ret_len) NODISCARD;
// -EBADMSG if that is not the key's signature of the digest, -ENOMEM.
int crypto_p256_verify(const struct crypto_p256 *k, struct bytes digest,
                       struct bytes signature) NODISCARD;

// ---- X25519 (RFC 7748) ------------------------------------------------------------------------

#define CRYPTO_X25519_LEN 32

// The public key of a private one (any 32 bytes, clamped here). -EIO if the library fails.
int crypto_x25519_public(const uint8_t scalar[static CRYPTO_X25519_LEN],
                         uint8_t ret[static CRYPTO_X25519_LEN]) NODISCARD;
// -EBADMSG if the secret would be zero whatever the scalar is (RFC 7748 section 6.1), -EIO.
int crypto_x25519_shared(const uint8_t scalar[static CRYPTO_X25519_LEN],
                         const uint8_t point[static CRYPTO_X25519_LEN],
                         uint8_t ret[static CRYPTO_X25519_LEN]) NODISCARD;

// -----------------------------------------------------------------------------------------------

// Zeroes memory that held a secret; not optimised away.
void crypto_wipe(void *p, size_t n);

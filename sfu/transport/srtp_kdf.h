// SPDX-License-Identifier: Apache-2.0
#pragma once
// SRTP session keys from master keys (RFC 3711 section 4.3), and the counter block of AES-CM
// (section 4.1.1). Pure.

#include "sfu/transport/crypto_glue.h"
#include "sfu/transport/srtp_keys.h"

struct srtp_kdf_keys {
    uint8_t key[CRYPTO_AES128_KEY_LEN];
    uint8_t salt[CRYPTO_AES_BLOCK_LEN]; // 14 bytes, then zeroes
    struct crypto_hmac_sha1 hmac;
};

// Labels 0..2 for RTP, 3..5 for RTCP. -ENOMEM.
int srtp_kdf_derive(const struct srtp_master *master, bool rtcp,
                    struct srtp_kdf_keys *ret) NODISCARD;

// index: 48 bits, ROC and sequence number, or the SRTCP index.
static inline void srtp_kdf_iv(const struct srtp_kdf_keys *s, uint32_t ssrc, uint64_t index,
                               uint8_t ret[static CRYPTO_AES_BLOCK_LEN])
{
    memcpy(ret, s->salt, CRYPTO_AES_BLOCK_LEN);
    for (size_t i = 0; i < 4; i++) {
        ret[4 + i] ^= (uint8_t)(ssrc >> (24 - 8 * i));
    }
    for (size_t i = 0; i < 6; i++) {
        ret[8 + i] ^= (uint8_t)(index >> (40 - 8 * i));
    }
}

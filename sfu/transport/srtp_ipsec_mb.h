// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ipsec-mb back end of srtp_batch: encrypts and signs up to SRTP_IPSEC_MB_JOBS packets at once,
// hashing up to 16 of them in the lanes of the vector registers. amd64 only: where the library's
// header was missing at build time, srtp_ipsec_mb_new says -ENOTSUP. Linked, not loaded at run
// time: Debian's amd64 has the library, and the loader then checks its ABI; what is optional at run
// time is the CPU.
//
// Measured (AVX-512, 1000 keys, ns per 1150-byte packet at batch 4 / 16 / 64): job interface 520 /
// 187 / 167, burst of chained jobs 506 / 177 / 161, cipher burst then hash burst 501 / 169 / 156.
// The last is what this does.
//
// Thread: one.

#include "sfu/transport/srtp_kdf.h"

#define SRTP_IPSEC_MB_JOBS 64
#define SRTP_IPSEC_MB_KEY_LEN 176 // eleven round keys

struct srtp_ipsec_mb;

struct srtp_ipsec_mb_job {
    uint8_t
        *data; // packet; its ROC stands behind it and is replaced by the tag (12 bytes are written)
    uint32_t header_len;
    uint32_t len;
    const uint8_t *key; // from srtp_ipsec_mb_expand, 16-byte aligned
    const struct crypto_hmac_sha1 *hmac;
    _Alignas(16) uint8_t iv[CRYPTO_AES_BLOCK_LEN];
};

// -ENOTSUP when the build or the CPU lacks it, -ENOMEM.
int srtp_ipsec_mb_new(struct srtp_ipsec_mb **ret) NODISCARD;
void srtp_ipsec_mb_free(struct srtp_ipsec_mb *m); // accepts NULL
const char *srtp_ipsec_mb_name(const struct srtp_ipsec_mb *m);

void srtp_ipsec_mb_expand(struct srtp_ipsec_mb *m, const uint8_t key[static CRYPTO_AES128_KEY_LEN],
                          uint8_t ret[static SRTP_IPSEC_MB_KEY_LEN]);

// n <= SRTP_IPSEC_MB_JOBS.
void srtp_ipsec_mb_protect(struct srtp_ipsec_mb *m, const struct srtp_ipsec_mb_job *jobs, size_t n);

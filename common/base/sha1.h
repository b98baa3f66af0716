// SPDX-License-Identifier: Apache-2.0
#pragma once
// SHA-1 (RFC 3174) and HMAC-SHA1 (RFC 2104), for STUN's MESSAGE-INTEGRITY only: its layer is pure,
// and a handful of 100-byte messages per second and connection do not justify a library there. Bulk
// SRTP uses srtp_batch. Pure.

#include "common/base/bytes.h"

#define SHA1_LEN 20
#define SHA1_BLOCK 64

struct sha1 {
    uint32_t h[5];
    uint64_t total; // bytes hashed so far
    uint8_t block[SHA1_BLOCK];
};

void sha1_init(struct sha1 *s);
void sha1_update(struct sha1 *s, struct bytes data);
// Writes the digest; s must be initialised again before further use.
void sha1_final(struct sha1 *s, uint8_t ret[static SHA1_LEN]);

struct hmac_sha1 {
    struct sha1 inner;
    uint8_t outer_pad[SHA1_BLOCK];
};

// Key of any length (longer than a block: hashed first, RFC 2104 section 2).
void hmac_sha1_init(struct hmac_sha1 *m, struct bytes key);
void hmac_sha1_update(struct hmac_sha1 *m, struct bytes data);
// Writes the MAC and wipes the state that was derived from the key.
void hmac_sha1_final(struct hmac_sha1 *m, uint8_t ret[static SHA1_LEN]);

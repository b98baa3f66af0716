// SPDX-License-Identifier: Apache-2.0
#pragma once
// Digests of the control plane, by mbedTLS. The packet path has its own crypto in sfu/transport.
// Pure.

#include "common/base/bytes.h"

#define DIGEST_SHA1_LEN 20   // FIPS 180-4
#define DIGEST_SHA256_LEN 32 // FIPS 180-4

// Only where a protocol prescribes it (the WebSocket handshake of RFC 6455).
void digest_sha1(struct bytes in, uint8_t ret[static DIGEST_SHA1_LEN]);

void digest_sha256(struct bytes in, uint8_t ret[static DIGEST_SHA256_LEN]);
// RFC 2104.
void digest_hmac_sha256(struct bytes key, struct bytes in, uint8_t ret[static DIGEST_SHA256_LEN]);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Room names and identities on the SFU: H(a) = unpadded standard base64 of SHA-256 over the compact
// JSON array of strings a (authorization-service section 3, MSC4195). Pure.
//
// The JSON is what JSON.stringify writes, so that clients compute the same: the original service
// escapes < > & U+2028 U+2029 like Go does, and differs from its own clients there.

#include "common/base/bytes.h"

#define ROOM_ALIAS_SIZE 44 // 43 characters and the zero

// H over n strings (UTF-8, n <= 4). -ENOMEM.
int room_alias_hash(const char *const *parts, size_t n, char ret[static ROOM_ALIAS_SIZE]) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The set of API keys and their secrets. The first one signs, all verify, so a key can be changed
// with overlap. Pure (files are read by the caller). Secrets are wiped when freed and have no way
// into logs.

#include "common/base/bytes.h"

struct api_key {
    char *key;
    char *secret;
};

struct api_keys;

#define API_KEYS_MAX 64               // a rotation needs 2; this bounds a wrong file
#define API_KEYS_SECRET_WEAK_BELOW 32 // RFC 7518 section 3.2: an HS256 key has at least 256 bits

struct api_keys *api_keys_new(void) NODISCARD;
void api_keys_free(struct api_keys *k); // accepts NULL
DEFINE_CLEANUP(struct api_keys *, api_keys_free)

// Adds a pair (copied; white space around both is cut off). -EINVAL one of them is empty, holds a
// control character or the key is known already, -E2BIG too many, -ENOMEM.
int api_keys_add(struct api_keys *k, struct bytes key, struct bytes secret) NODISCARD;

// Reads lines of the form "key: secret" (cut at the first colon; empty lines and lines that start
// with # are skipped; a pair of quotes around a value is removed), the form of LiveKit's `keys:`
// map and of LIVEKIT_KEYS. -EINVAL with *ret_line (1 = first) set to the line that is wrong, or 0
// when there is no pair at all. On failure k keeps what came before.
int api_keys_parse(struct api_keys *k, struct bytes text, unsigned *ret_line) NODISCARD;

size_t api_keys_count(const struct api_keys *k);
// The one that signs; NULL in an empty set. Valid until the set is freed.
const struct api_key *api_keys_first(const struct api_keys *k);
// NULL if unknown.
const struct api_key *api_keys_find(const struct api_keys *k, struct bytes key);
// Iteration in order of addition: i < api_keys_count.
const struct api_key *api_keys_at(const struct api_keys *k, size_t i);
// True if the secret is shorter than API_KEYS_SECRET_WEAK_BELOW: worth a warning, never a refusal.
bool api_key_is_weak(const struct api_key *k);

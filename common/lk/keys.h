// SPDX-License-Identifier: Apache-2.0
#pragma once
// The set of API keys and their secrets. All verify; the first that is due signs, so a key can be
// changed with overlap: the new one is put in front, the old one verifies until it retires. Pure:
// files are read by the caller, `now` is a parameter. Secrets are wiped when freed and have no way
// into logs.
//
// One thread: the set of a service is read and replaced by its loop.
//
// Times are the wall clock's, because a file tells them to several processes; a key is due and
// retires by them alone, nothing has to be called at that moment.

#include "common/base/bytes.h"
#include "common/base/mono.h"

#define API_KEY_NEVER ((wall_t){INT64_MAX})

struct api_key {
    char *key;
    char *secret;
    wall_t added;   // when the key was made, for its age; 0: nobody said
    wall_t signs;   // signs nothing before this moment; 0: at once
    wall_t retires; // unknown from this moment on; API_KEY_NEVER
};

struct api_keys;

#define API_KEYS_MAX 64               // a rotation needs 2; this bounds a wrong file
#define API_KEYS_SECRET_WEAK_BELOW 32 // RFC 7518 section 3.2: an HS256 key has at least 256 bits

struct api_keys *api_keys_new(void) NODISCARD;
void api_keys_free(struct api_keys *k); // accepts NULL
DEFINE_CLEANUP(struct api_keys *, api_keys_free)

// Adds a pair that signs at once and never retires (copied; white space around both is cut off).
// -EINVAL one of them is empty, holds a control character or the key is known already, -E2BIG too
// many, -ENOMEM.
int api_keys_add(struct api_keys *k, struct bytes key, struct bytes secret) NODISCARD;

// Reads lines of the form "key: secret", the form of LiveKit's `keys:` map and of LIVEKIT_KEYS: cut
// at the first colon; a pair of quotes around a value is removed (and what is escaped in it as YAML
// does: \" and \\, or ''); a # at the start of a line or after a blank begins a comment; empty lines
// and a line --- are skipped. In the comment of a pair the words
//     added TIME    signs TIME    retires TIME        (utc.h: 2026-11-21T18:00:00Z)
// set the fields of struct api_key; other words are for people. -EINVAL with *ret_line (1 = first)
// set to the line that is wrong, or 0 when there is no pair at all; -E2BIG too many, -ENOMEM. On
// failure k keeps what came before.
int api_keys_parse(struct api_keys *k, struct bytes text, unsigned *ret_line) NODISCARD;

// The new content of k is that of `from`, which holds the old one afterwards; pointers to struct
// api_keys stay good, those to struct api_key do not. A pair that k did not have (name and secret)
// does not sign for grace_us, unless nothing else can: others who read the same file may do so a
// moment later, and would refuse what it signed.
void api_keys_replace(struct api_keys *k, struct api_keys *from, wall_t now, int64_t grace_us);
// True if both hold the same pairs with the same times in the same order; grace periods of
// api_keys_replace do not count.
bool api_keys_equal(const struct api_keys *a, const struct api_keys *b);

// The one to sign with: the first that is due and not retired; if none is due, the one that is due
// soonest. NULL if there is none. Valid until the set is replaced or freed.
const struct api_key *api_keys_signer(const struct api_keys *k, wall_t now);
// The key of that name if it is not retired, else NULL. Valid as that of api_keys_signer.
const struct api_key *api_keys_find(const struct api_keys *k, struct bytes key, wall_t now);
// True if the set has that key and it is retired.
bool api_keys_is_retired(const struct api_keys *k, struct bytes key, wall_t now);
// The next moment at which the signer changes or a key retires by itself; API_KEY_NEVER.
wall_t api_keys_next_change(const struct api_keys *k, wall_t now);

// All of them in their order, also retired ones: i < api_keys_count.
size_t api_keys_count(const struct api_keys *k);
const struct api_key *api_keys_at(const struct api_keys *k, size_t i);
// The first of all, NULL in an empty set. To sign take api_keys_signer.
const struct api_key *api_keys_first(const struct api_keys *k);

static inline bool api_key_is_retired(const struct api_key *k, wall_t now)
{
    return now.us >= k->retires.us;
}
// True if the secret is shorter than API_KEYS_SECRET_WEAK_BELOW: worth a warning, never a refusal.
bool api_key_is_weak(const struct api_key *k);

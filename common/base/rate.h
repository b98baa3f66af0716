// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token buckets by key in a table of fixed size: "this address may do 10 a second and 30 at once".
// Pure: `now` is a parameter. One thread.
//
// A bucket is one time stamp (the generic cell rate algorithm, ITU-T I.371: when the bucket would
// be full again), so that a key costs 16 bytes and a bucket that is full again is the same as none.
// Keys are kept by a keyed 64-bit hash of theirs. The table has sets of RATE_WAYS places; where a
// set is full, the bucket that is nearest to being full gives way: whoever exceeds his rate is the
// last to be forgotten, also while a crowd of others passes through.

#include "common/base/bytes.h"
#include "common/base/mono.h"

#define RATE_WAYS 8

struct rate_limit {
    uint32_t per_1000s; // tokens in 1000 seconds; 0: no limit
    uint32_t burst;     // tokens of a full bucket, at least 1
};

// "10/30": 10 a second, 30 at once; "0.5/5"; "10": burst is three times the rate, at least 1; "off"
// or "0": no limit. At most a million a second and a million at once, at least one in 1000 s.
// -EINVAL: anything else.
int rate_limit_parse(struct bytes text, struct rate_limit *ret) NODISCARD;

struct rate;

// keys: how many are remembered, rounded up to a power of two times RATE_WAYS. Its pages are taken
// as they are used. -> NULL without memory.
struct rate *rate_new(struct rate_limit limit, size_t keys) NODISCARD;
void rate_free(struct rate *r); // accepts NULL
DEFINE_CLEANUP(struct rate *, rate_free)

// Takes a token from key's bucket. False: there is none, nothing was taken, and *ret_retry_ms (at
// least 1) is when there will be one.
bool rate_take(struct rate *r, mono_t now, struct bytes key, int64_t *ret_retry_ms) NODISCARD;

// Whether rate_take would succeed. Takes nothing.
bool rate_peek(const struct rate *r, mono_t now, struct bytes key, int64_t *ret_retry_ms) NODISCARD;

// Another limit from now on; buckets keep what they hold.
void rate_set_limit(struct rate *r, struct rate_limit limit);

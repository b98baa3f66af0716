// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cryptographic random generator for the pure layers: ChaCha20 (RFC 8439) with key erasure, so that
// what was given out cannot be computed from a later state. The owner seeds it from the system once
// (common/sys/random); simulations seed it with a constant and get the same numbers each time.
// Pure. One thread per generator.

#include "common/base/bytes.h"

#define RNG_SEED_LEN 32

// Bytes made at a time; the first RNG_SEED_LEN become the next key.
#define RNG_BUF_LEN 256

struct rng {
    uint8_t key[RNG_SEED_LEN];
    uint8_t buf[RNG_BUF_LEN];
    uint16_t used; // bytes of buf that are gone (and wiped)
};

void rng_seed(struct rng *r, const uint8_t seed[static RNG_SEED_LEN]);
void rng_bytes(struct rng *r, void *ret, size_t n);
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);

// Uniform in [0, n), n > 0.
uint32_t rng_below(struct rng *r, uint32_t n);

// n characters of [A-Za-z0-9] and a terminating zero (ret has n + 1 bytes): 5.95 bits each. Within
// ice-char and SDP tokens.
void rng_text(struct rng *r, char *ret, size_t n);

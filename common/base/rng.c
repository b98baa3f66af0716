// SPDX-License-Identifier: Apache-2.0
#include "common/base/rng.h"

static uint32_t rotl(uint32_t v, unsigned n)
{
    return (v << n) | (v >> (32 - n));
}

static void quarter_round(uint32_t s[static 16], size_t a, size_t b, size_t c, size_t d)
{
    s[a] += s[b];
    s[d] = rotl(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotl(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotl(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotl(s[b] ^ s[c], 7);
}

static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static void store_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

// RFC 8439 section 2.3 with a zero nonce: each key makes one refill only, so the block counter
// alone is enough.
static void chacha20_block(const uint8_t key[static RNG_SEED_LEN], uint32_t counter,
                           uint8_t ret[static 64])
{
    uint32_t init[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (size_t i = 0; i < 8; i++) {
        init[4 + i] = load_le32(key + 4 * i);
    }
    init[12] = counter;
    uint32_t s[16];
    memcpy(s, init, sizeof(s));
    for (int round = 0; round < 10; round++) {
        quarter_round(s, 0, 4, 8, 12);
        quarter_round(s, 1, 5, 9, 13);
        quarter_round(s, 2, 6, 10, 14);
        quarter_round(s, 3, 7, 11, 15);
        quarter_round(s, 0, 5, 10, 15);
        quarter_round(s, 1, 6, 11, 12);
        quarter_round(s, 2, 7, 8, 13);
        quarter_round(s, 3, 4, 9, 14);
    }
    for (size_t i = 0; i < 16; i++) {
        store_le32(ret + 4 * i, s[i] + init[i]);
    }
}

static void refill(struct rng *r)
{
    for (uint32_t i = 0; i < RNG_BUF_LEN / 64; i++) {
        chacha20_block(r->key, i, r->buf + 64 * i);
    }
    memcpy(r->key, r->buf, RNG_SEED_LEN);
    memset(r->buf, 0, RNG_SEED_LEN);
    r->used = RNG_SEED_LEN;
}

void rng_seed(struct rng *r, const uint8_t seed[static RNG_SEED_LEN])
{
    memcpy(r->key, seed, RNG_SEED_LEN);
    r->used = RNG_BUF_LEN;
}

void rng_bytes(struct rng *r, void *ret, size_t n)
{
    uint8_t *p = ret;
    while (n > 0) {
        if (r->used == RNG_BUF_LEN) {
            refill(r);
        }
        size_t const part = MIN(n, (size_t)(RNG_BUF_LEN - r->used));
        memcpy(p, r->buf + r->used, part);
        memset(r->buf + r->used, 0, part);
        r->used = (uint16_t)(r->used + part);
        p += part;
        n -= part;
    }
}

uint32_t rng_u32(struct rng *r)
{
    uint8_t b[4];
    rng_bytes(r, b, sizeof(b));
    return load_le32(b);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t const hi = rng_u32(r);
    return (hi << 32) | rng_u32(r);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    assert(n > 0);
    // Values above the largest multiple of n would favour small results.
    uint32_t const limit = UINT32_MAX - (uint32_t)(((uint64_t)UINT32_MAX + 1) % n);
    uint32_t v = rng_u32(r);
    while (v > limit) {
        v = rng_u32(r);
    }
    return v % n;
}

void rng_text(struct rng *r, char *ret, size_t n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < n; i++) {
        ret[i] = alphabet[rng_below(r, sizeof(alphabet) - 1)];
    }
    ret[n] = 0;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the floor forwarder and its load agree on: who is who, and the keys, all of it derived from
// a seed. No signalling, no ICE, no DTLS: that is the point of the floor.

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#define FLOOR_MAX_PEERS 4096u
#define FLOOR_MAX_PUBLISHERS 64u
#define FLOOR_MAGIC 0x464c4f52u // "FLOR": first byte 0x46, so never taken for RTP (RFC 7983)

#define FLOOR_KEY_LEN 16u  // AEAD_AES_128_GCM, RFC 7714 section 12
#define FLOOR_SALT_LEN 12u // the same
#define FLOOR_TAG_LEN 16u  // the same
#define FLOOR_RTP_HEADER 12u

enum { FLOOR_PUBLISHES = 1, FLOOR_SUBSCRIBES = 2 };

// A peer's introduction, all fields in network order. The forwarder notes the source address and
// sends it back as it is.
struct floor_hello {
    uint32_t magic;
    uint32_t index; // below FLOOR_MAX_PEERS; publishers come first
    uint32_t flags;
};

enum floor_direction { FLOOR_TO_SERVER, FLOOR_TO_PEER };

struct floor_keys {
    uint8_t key[FLOOR_KEY_LEN];
    uint8_t salt[FLOOR_SALT_LEN];
};

// splitmix64: differs for every peer and direction; nothing secret travels here.
static inline struct floor_keys floor_keys_of(uint64_t seed, uint32_t index,
                                              enum floor_direction direction)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + index * 2u + (uint64_t)direction;
    uint64_t words[4];
    struct floor_keys k;
    for (size_t i = 0; i < 4; i++) {
        x += 0x9e3779b97f4a7c15u;
        uint64_t z = x;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        words[i] = z ^ (z >> 31);
    }
    memcpy(k.key, words, sizeof(k.key));
    memcpy(k.salt, &words[2], sizeof(k.salt));
    return k;
}

static inline uint32_t floor_ssrc(uint32_t publisher)
{
    return 0x10000000u + publisher;
}

static inline uint32_t floor_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void floor_put32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof(v));
}

// RFC 7714 section 8.1: 00 00 | SSRC | ROC | SEQ, exclusive-or with the salt. `index` is ROC and
// SEQ.
static inline void floor_iv(uint8_t iv[FLOOR_SALT_LEN], const uint8_t *salt, uint32_t ssrc,
                            uint64_t index)
{
    uint8_t b[FLOOR_SALT_LEN] = {0};
    floor_put32(b + 2, ssrc);
    floor_put32(b + 6, (uint32_t)(index >> 16));
    b[10] = (uint8_t)(index >> 8);
    b[11] = (uint8_t)index;
    for (size_t i = 0; i < FLOOR_SALT_LEN; i++) {
        iv[i] = b[i] ^ salt[i];
    }
}

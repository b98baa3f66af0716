// SPDX-License-Identifier: Apache-2.0
#include "common/base/sha1.h"

static uint32_t rotl(uint32_t v, unsigned n)
{
    return (v << n) | (v >> (32 - n));
}

// A store that the compiler may not leave out although nobody reads it afterwards.
static void wipe(void *p, size_t n)
{
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

// One block; RFC 3174 section 6.2 (method 2: 16 words used as a ring).
static void compress(uint32_t h[static 5], const uint8_t block[static SHA1_BLOCK])
{
    uint32_t w[16];
    struct rd r = rd_init(bytes_of(block, SHA1_BLOCK));
    for (size_t i = 0; i < 16; i++) {
        w[i] = rd_be32(&r);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t t = 0; t < 80; t++) {
        size_t const s = t & 15;
        if (t >= 16) {
            w[s] = rotl(w[(s + 13) & 15] ^ w[(s + 8) & 15] ^ w[(s + 2) & 15] ^ w[s], 1);
        }
        uint32_t f, k;
        if (t < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (t < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1;
        } else if (t < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6;
        }
        uint32_t const next = rotl(a, 5) + f + e + w[s] + k;
        e = d;
        d = c;
        c = rotl(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void sha1_init(struct sha1 *s)
{
    *s = (struct sha1){.h = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}};
}

void sha1_update(struct sha1 *s, struct bytes data)
{
    size_t at = (size_t)(s->total % SHA1_BLOCK);
    s->total += data.n;
    while (data.n > 0) {
        size_t const n = MIN(data.n, SHA1_BLOCK - at);
        memcpy(s->block + at, data.p, n);
        data.p += n;
        data.n -= n;
        at += n;
        if (at == SHA1_BLOCK) {
            compress(s->h, s->block);
            at = 0;
        }
    }
}

void sha1_final(struct sha1 *s, uint8_t ret[static SHA1_LEN])
{
    uint64_t const bits = s->total * 8;
    size_t const at = (size_t)(s->total % SHA1_BLOCK);
    uint8_t pad[2 * SHA1_BLOCK];
    struct wr w = wr_init(pad, sizeof(pad));
    wr_u8(&w, 0x80);
    // Zeros until 8 bytes are left in a block.
    wr_fill(&w, 0, (SHA1_BLOCK + 55 - at) % SHA1_BLOCK);
    wr_be64(&w, bits);
    sha1_update(s, wr_bytes_view(&w));

    struct wr out = wr_init(ret, SHA1_LEN);
    for (size_t i = 0; i < 5; i++) {
        wr_be32(&out, s->h[i]);
    }
}

void hmac_sha1_init(struct hmac_sha1 *m, struct bytes key)
{
    uint8_t k[SHA1_BLOCK] = {0};
    if (key.n > SHA1_BLOCK) {
        struct sha1 s;
        sha1_init(&s);
        sha1_update(&s, key);
        sha1_final(&s, k);
    } else if (key.n > 0) {
        memcpy(k, key.p, key.n);
    }
    uint8_t inner_pad[SHA1_BLOCK];
    for (size_t i = 0; i < SHA1_BLOCK; i++) {
        inner_pad[i] = k[i] ^ 0x36;
        m->outer_pad[i] = k[i] ^ 0x5c;
    }
    sha1_init(&m->inner);
    sha1_update(&m->inner, bytes_of(inner_pad, sizeof(inner_pad)));
    wipe(k, sizeof(k));
    wipe(inner_pad, sizeof(inner_pad));
}

void hmac_sha1_update(struct hmac_sha1 *m, struct bytes data)
{
    sha1_update(&m->inner, data);
}

void hmac_sha1_final(struct hmac_sha1 *m, uint8_t ret[static SHA1_LEN])
{
    uint8_t digest[SHA1_LEN];
    sha1_final(&m->inner, digest);
    struct sha1 outer;
    sha1_init(&outer);
    sha1_update(&outer, bytes_of(m->outer_pad, SHA1_BLOCK));
    sha1_update(&outer, bytes_of(digest, sizeof(digest)));
    sha1_final(&outer, ret);
    wipe(m, sizeof(*m));
    wipe(&outer, sizeof(outer));
}

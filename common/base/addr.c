// SPDX-License-Identifier: Apache-2.0
#include "common/base/addr.h"

#include <stdio.h>

// xxh-style avalanche over the address words, keyed by seed. Not cryptographic: the seed is secret
// and random per process, which is what keeps a peer from choosing colliding source ports.
static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v * UINT64_C(0x9E3779B185EBCA87);
    h = (h << 31) | (h >> 33);
    return h * UINT64_C(0xC2B2AE3D27D4EB4F);
}

uint64_t addr_hash(const struct addr *a, uint64_t seed)
{
    uint64_t lo = 0;
    uint64_t hi = 0;
    memcpy(&lo, a->ip, 8);
    memcpy(&hi, a->ip + 8, 8);
    uint64_t h = mix(seed, lo);
    h = mix(h, hi ^ seed);
    h = mix(h, ((uint64_t)a->scope << 32) | ((uint64_t)a->port << 16) | ((uint64_t)a->tcp << 8) |
                   a->family);
    return h ^ (h >> 29);
}

static bool parse_v4(struct rd *r, uint8_t ret[4])
{
    for (int i = 0; i < 4; i++) {
        if (i > 0 && rd_u8(r) != '.') {
            return false;
        }
        unsigned v = 0;
        size_t digits = 0;
        while (rd_left(r) > 0 && *r->p >= '0' && *r->p <= '9') {
            v = v * 10 + (unsigned)(rd_u8(r) - '0');
            digits++;
            // "01" is refused: some resolvers read it as octal.
            if (v > 255 || digits > 3 || (digits > 1 && v < 10)) {
                return false;
            }
        }
        if (digits == 0) {
            return false;
        }
        ret[i] = (uint8_t)v;
    }
    return rd_ok(r) && rd_left(r) == 0;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t const l = c | 0x20;
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// RFC 4291 section 2.2 text forms.
static bool parse_v6(struct rd *r, uint8_t ret[16])
{
    uint8_t out[16] = {0};
    size_t n = 0;
    size_t gap = SIZE_MAX;
    if (rd_left(r) >= 2 && r->p[0] == ':' && r->p[1] == ':') {
        rd_skip(r, 2);
        gap = 0;
    }
    while (rd_left(r) > 0) {
        const uint8_t *const start = r->p;
        unsigned v = 0;
        size_t digits = 0;
        while (rd_left(r) > 0 && hex_value(*r->p) >= 0 && digits < 5) {
            v = (v << 4) | (unsigned)hex_value(rd_u8(r));
            digits++;
        }
        if (digits == 0 || digits > 4) {
            return false;
        }
        if (rd_left(r) > 0 && *r->p == '.') {
            r->p = start;
            if (n > 12 || !parse_v4(r, out + n)) {
                return false;
            }
            n += 4;
            break;
        }
        if (n + 2 > sizeof(out)) {
            return false;
        }
        out[n++] = (uint8_t)(v >> 8);
        out[n++] = (uint8_t)v;
        if (rd_left(r) == 0) {
            break;
        }
        if (rd_u8(r) != ':' || rd_left(r) == 0) {
            return false;
        }
        if (*r->p == ':') {
            if (gap != SIZE_MAX) {
                return false;
            }
            gap = n;
            rd_skip(r, 1);
        }
    }
    if (gap == SIZE_MAX ? n != sizeof(out) : n >= sizeof(out)) {
        return false;
    }
    if (gap != SIZE_MAX) {
        memmove(out + sizeof(out) - (n - gap), out + gap, n - gap);
        memset(out + gap, 0, sizeof(out) - n);
    }
    memcpy(ret, out, sizeof(out));
    return true;
}

int addr_parse_ip(struct bytes text, struct addr *ret)
{
    struct addr a = {0};
    struct rd r = rd_init(text);
    if (text.n > 0 && memchr(text.p, ':', text.n) == NULL) {
        a.family = ADDR_V4;
        if (!parse_v4(&r, a.ip)) {
            return -EINVAL;
        }
    } else {
        a.family = ADDR_V6;
        if (text.n == 0 || !parse_v6(&r, a.ip)) {
            return -EINVAL;
        }
    }
    *ret = a;
    return 0;
}

// RFC 5952: the longest run of two or more zero groups becomes "::".
static size_t format_v6(const uint8_t ip[16], char *buf, size_t cap)
{
    unsigned g[8];
    for (size_t i = 0; i < 8; i++) {
        g[i] = ((unsigned)ip[2 * i] << 8) | ip[2 * i + 1];
    }
    size_t best = 8;
    size_t best_len = 1;
    for (size_t i = 0; i < 8; i++) {
        size_t len = 0;
        while (i + len < 8 && g[i + len] == 0) {
            len++;
        }
        if (len > best_len) {
            best = i;
            best_len = len;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < 8; i++) {
        if (i == best) {
            n += (size_t)snprintf(buf + n, cap - n, "::");
            i += best_len - 1;
            continue;
        }
        bool const colon = i > 0 && i != best + best_len;
        n += (size_t)snprintf(buf + n, cap - n, "%s%x", colon ? ":" : "", g[i]);
    }
    return n;
}

const char *addr_format_ip(const struct addr *a, char buf[static ADDR_STRLEN])
{
    if (a->family == ADDR_V4) {
        (void)snprintf(buf, ADDR_STRLEN, "%u.%u.%u.%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3]);
    } else if (a->family == ADDR_V6) {
        size_t const n = format_v6(a->ip, buf, ADDR_STRLEN);
        if (a->scope != 0) {
            (void)snprintf(buf + n, ADDR_STRLEN - n, "%%%u", a->scope);
        }
    } else {
        (void)snprintf(buf, ADDR_STRLEN, "none");
    }
    return buf;
}

const char *addr_format(const struct addr *a, char buf[static ADDR_STRLEN])
{
    char ip[ADDR_STRLEN];
    (void)addr_format_ip(a, ip);
    // The IP text is at most 56 characters; the precision tells the compiler so.
    (void)snprintf(buf, ADDR_STRLEN, a->family == ADDR_V6 ? "[%.60s]:%u" : "%.60s:%u", ip, a->port);
    return buf;
}

static bool is_v4_mapped(const struct addr *a)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return a->family == ADDR_V6 && memcmp(a->ip, prefix, sizeof(prefix)) == 0;
}

// The IPv4 bytes of an IPv4 or IPv4-mapped address, else NULL.
static const uint8_t *v4_of(const struct addr *a)
{
    if (a->family == ADDR_V4) {
        return a->ip;
    }
    return is_v4_mapped(a) ? a->ip + 12 : NULL;
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    const uint8_t *const v4 = v4_of(a);
    return v4 != NULL ? v4[0] == 127 : a->family == ADDR_V6 && memcmp(a->ip, one, sizeof(one)) == 0;
}

bool addr_is_private(const struct addr *a)
{
    const uint8_t *const v4 = v4_of(a);
    if (v4 != NULL) {
        return v4[0] == 10 || (v4[0] == 172 && (v4[1] & 0xf0) == 16) ||
               (v4[0] == 192 && v4[1] == 168) || (v4[0] == 100 && (v4[1] & 0xc0) == 64);
    }
    return a->family == ADDR_V6 && (a->ip[0] & 0xfe) == 0xfc;
}

bool addr_is_link_local(const struct addr *a)
{
    const uint8_t *const v4 = v4_of(a);
    if (v4 != NULL) {
        return v4[0] == 169 && v4[1] == 254;
    }
    return a->family == ADDR_V6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

bool addr_is_multicast(const struct addr *a)
{
    const uint8_t *const v4 = v4_of(a);
    return v4 != NULL ? (v4[0] & 0xf0) == 0xe0 : a->family == ADDR_V6 && a->ip[0] == 0xff;
}

bool addr_is_unspecified(const struct addr *a)
{
    static const uint8_t zero[16] = {0};
    const uint8_t *const v4 = v4_of(a);
    return v4 != NULL ? memcmp(v4, zero, 4) == 0 : memcmp(a->ip, zero, sizeof(zero)) == 0;
}

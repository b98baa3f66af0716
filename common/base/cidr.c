// SPDX-License-Identifier: Apache-2.0
#include "common/base/cidr.h"

#include <stdio.h>

#include "common/base/mem.h"

#define V4_IN_V6_BITS 96 // ::ffff:0:0/96, RFC 4291 section 2.5.5.2

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct addr cidr_unmap(const struct addr *a)
{
    struct addr r = *a;
    if (a->family == ADDR_V6 && memcmp(a->ip, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        r.family = ADDR_V4;
        r.scope = 0;
        memset(r.ip, 0, sizeof(r.ip));
        memcpy(r.ip, a->ip + sizeof(mapped_prefix), 4);
    }
    return r;
}

static void clear_behind(uint8_t ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned const kept = bits > i * 8 ? MIN(bits - i * 8, 8u) : 0;
        ip[i] &= (uint8_t)(0xff00u >> kept);
    }
}

// The digits behind the slash; a sign, blanks or nothing are refused.
static int parse_bits(struct bytes text, unsigned max, unsigned *ret)
{
    unsigned v = 0;
    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0')) {
        return -EINVAL;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return -EINVAL;
        }
        v = v * 10 + (unsigned)(text.p[i] - '0');
    }
    if (v > max) {
        return -EINVAL;
    }
    *ret = v;
    return 0;
}

int cidr_parse(struct bytes text, struct cidr *ret)
{
    const uint8_t *const slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    size_t const n = slash ? (size_t)(slash - text.p) : text.n;
    struct addr a;
    if (addr_parse_ip(bytes_of(text.p, n), &a) < 0) {
        return -EINVAL;
    }
    unsigned const max = a.family == ADDR_V4 ? 32 : 128;
    unsigned bits = max;
    if (slash && parse_bits(bytes_of(slash + 1, text.n - n - 1), max, &bits) < 0) {
        return -EINVAL;
    }
    struct addr const inner = cidr_unmap(&a);
    if (inner.family != a.family && bits >= V4_IN_V6_BITS) {
        a = inner;
        bits -= V4_IN_V6_BITS;
    }
    clear_behind(a.ip, bits);
    *ret = (struct cidr){.net = a, .bits = (uint8_t)bits};
    return 0;
}

bool cidr_match(const struct cidr *c, const struct addr *a)
{
    struct addr const x = cidr_unmap(a);
    if (x.family != c->net.family) {
        return false;
    }
    size_t const whole = c->bits / 8;
    unsigned const rest = c->bits % 8;
    return memcmp(x.ip, c->net.ip, whole) == 0 &&
           (rest == 0 || ((x.ip[whole] ^ c->net.ip[whole]) & (uint8_t)(0xff00u >> rest)) == 0);
}

const char *cidr_format(const struct cidr *c, char buf[static CIDR_STRLEN])
{
    char ip[ADDR_STRLEN];
    (void)snprintf(buf, CIDR_STRLEN, "%.70s/%u", addr_format_ip(&c->net, ip), c->bits);
    return buf;
}

static int append(struct cidr_set *s, const struct cidr *c)
{
    if (s->count == CIDR_SET_MAX) {
        return -E2BIG;
    }
    struct cidr *const v = mem_regrow(s->v, s->count + 1, sizeof(*v));
    if (!v) {
        return -ENOMEM;
    }
    s->v = v;
    s->v[s->count++] = *c;
    return 0;
}

// RFC 1918, 6598, 3927, 4193, 4291: what a reverse proxy beside us may have.
static const char *const loopback[] = {"127.0.0.0/8", "::1/128", NULL};
static const char *const private_ranges[] = {
    "127.0.0.0/8",   "::1/128",        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "100.64.0.0/10", "169.254.0.0/16", "fc00::/7",   "fe80::/10",     NULL};
static const char *const all[] = {"0.0.0.0/0", "::/0", NULL};

static const struct {
    const char *word;
    const char *const *ranges;
} words[] = {
    {"loopback", loopback},
    {"private_ranges", private_ranges},
    {"all", all},
};

int cidr_set_add(struct cidr_set *s, struct bytes text)
{
    struct cidr c;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!bytes_eq_str(text, words[i].word)) {
            continue;
        }
        int r = 0;
        for (const char *const *p = words[i].ranges; *p && r == 0; p++) {
            r = cidr_parse(bytes_str(*p), &c);
            r = r == 0 ? append(s, &c) : r;
        }
        return r;
    }
    int const r = cidr_parse(text, &c);
    return r == 0 ? append(s, &c) : r;
}

void cidr_set_done(struct cidr_set *s)
{
    mem_free(s->v);
    *s = (struct cidr_set){0};
}

int cidr_set_longest(const struct cidr_set *s, const struct addr *a)
{
    int best = -1;
    for (size_t i = 0; s && i < s->count; i++) {
        if (s->v[i].bits > best && cidr_match(&s->v[i], a)) {
            best = s->v[i].bits;
        }
    }
    return best;
}

bool cidr_set_match(const struct cidr_set *s, const struct addr *a)
{
    return cidr_set_longest(s, a) >= 0;
}

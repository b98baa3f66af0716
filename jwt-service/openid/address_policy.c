// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/address_policy.h"

#include <string.h>

#define PORT_MAX 65535u

// A prefix of bytes, so that the tables can be read beside the registries they come from.
struct range {
    uint8_t ip[16];
    uint8_t bits;
};

// IANA IPv4 Special-Purpose Address Registry (RFC 6890 and those it names), what is not globally
// reachable, and multicast.
static const struct range inside_v4[] = {
    {{0}, 8},             // this network, RFC 791; 0.0.0.0 connects to this machine
    {{10}, 8},            // private, RFC 1918
    {{100, 64}, 10},      // shared between a provider and his customers, RFC 6598
    {{127}, 8},           // loopback, RFC 1122
    {{169, 254}, 16},     // link-local, RFC 3927; metadata of cloud machines
    {{172, 16}, 12},      // private
    {{192, 0, 0}, 24},    // protocol assignments, RFC 6890
    {{192, 0, 2}, 24},    // TEST-NET-1, RFC 5737
    {{192, 88, 99}, 24},  // 6to4 relays, withdrawn by RFC 7526
    {{192, 168}, 16},     // private
    {{198, 18}, 15},      // benchmarking, RFC 2544
    {{198, 51, 100}, 24}, // TEST-NET-2
    {{203, 0, 113}, 24},  // TEST-NET-3
    {{224}, 4},           // multicast, RFC 5771
    {{240}, 4},           // reserved, RFC 1112, with 255.255.255.255
};

// IANA IPv6 Special-Purpose Address Registry inside of 2000::/3; nothing outside of that is global
// unicast (RFC 4291 section 2.4), which covers ::, ::1, fc00::/7, fe80::/10, fec0::/10, ff00::/8,
// 100::/64, 64:ff9b:1::/48 and 5f00::/16.
static const struct range inside_v6[] = {
    {{0x20, 0x01, 0x00}, 23},       // protocol assignments, RFC 2928; Teredo is looked into
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, // documentation, RFC 3849
    {{0x3f, 0xff, 0x00}, 20},       // documentation, RFC 9637
    {{0x3f, 0xfe}, 16},             // 6bone, returned by RFC 3701
};
static const struct range global_v6 = {{0x20}, 3};

// Forms that carry an IPv4 address, and where. What is outside of 2000::/3 is refused whatever it
// carries, except NAT64, which leads to the Internet.
static const struct {
    struct range range;
    uint8_t at[2];   // offsets of IPv4 addresses in it; the second 0: only one
    uint8_t invert2; // the second one is stored inverted
    bool global;     // may be connected to if what is inside may be
} carriers[] = {
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, {12, 0}, 0, true},    // NAT64, RFC 6052
    {{{0x20, 0x02}, 16}, {2, 0}, 0, true},                 // 6to4, RFC 3056
    {{{0x20, 0x01, 0x00, 0x00}, 32}, {4, 12}, 0xff, true}, // Teredo, RFC 4380: server and client
    {{{0}, 96}, {12, 0}, 0, false},                        // compatible, RFC 4291
    {{{[8] = 0xff, [9] = 0xff}, 96}, {12, 0}, 0, false},   // translated, RFC 2765
};

static bool in_range(const struct range *r, const uint8_t ip[16])
{
    size_t const whole = r->bits / 8;
    unsigned const rest = r->bits % 8;
    return memcmp(ip, r->ip, whole) == 0 &&
           (rest == 0 || ((ip[whole] ^ r->ip[whole]) & (uint8_t)(0xff00u >> rest)) == 0);
}

static bool in_any(const struct range *v, size_t n, const uint8_t ip[16])
{
    for (size_t i = 0; i < n; i++) {
        if (in_range(&v[i], ip)) {
            return true;
        }
    }
    return false;
}

// :: and ::1, which look like compatible forms of 0.0.0.0 and 0.0.0.1 but are none.
static bool is_own_form(const struct addr *a)
{
    return addr_is_unspecified(a) || addr_is_loopback(a);
}

// The IPv4 addresses that a (IPv6, not mapped) carries. *ret_global: its own form may lead out.
// Returns how many.
static size_t carried(const struct addr *a, struct addr ret[2], bool *ret_global)
{
    // ISATAP (RFC 5214 section 6.1): the interface id is 0000:5efe or 0200:5efe and the address,
    // under any prefix.
    static const uint8_t isatap[2] = {0x5e, 0xfe};
    *ret_global = false;
    for (size_t i = 0; i < ARRAY_LEN(carriers); i++) {
        if (!in_range(&carriers[i].range, a->ip) || is_own_form(a)) {
            continue;
        }
        size_t const n = carriers[i].at[1] ? 2 : 1;
        for (size_t k = 0; k < n; k++) {
            uint8_t const flip = k == 1 ? carriers[i].invert2 : 0;
            const uint8_t *const p = a->ip + carriers[i].at[k];
            ret[k] = addr_v4(p[0] ^ flip, p[1] ^ flip, p[2] ^ flip, p[3] ^ flip, a->port);
        }
        *ret_global = carriers[i].global;
        return n;
    }
    if ((a->ip[8] & 0xfd) == 0 && a->ip[9] == 0 && memcmp(a->ip + 10, isatap, 2) == 0) {
        const uint8_t *const p = a->ip + 12;
        ret[0] = addr_v4(p[0], p[1], p[2], p[3], a->port);
        *ret_global =
            in_range(&global_v6, a->ip) && !in_any(inside_v6, ARRAY_LEN(inside_v6), a->ip);
        return 1;
    }
    return 0;
}

// The built-in rules for the outer form alone; a is not IPv4 in IPv6.
static bool is_outside(const struct addr *a)
{
    if (a->family == ADDR_V4) {
        return !in_any(inside_v4, ARRAY_LEN(inside_v4), a->ip);
    }
    return a->family == ADDR_V6 && in_range(&global_v6, a->ip) &&
           !in_any(inside_v6, ARRAY_LEN(inside_v6), a->ip);
}

// Lists first, then the built-in rules. `outside`: what those say of it.
static enum address_verdict judge(const struct address_policy *p, const struct addr *a,
                                  bool outside)
{
    int const allow = p ? cidr_set_longest(&p->allow, a) : -1;
    int const deny = p ? cidr_set_longest(&p->deny, a) : -1;
    if (deny >= 0 && deny >= allow) {
        return ADDRESS_LISTED;
    }
    return allow >= 0 || outside ? ADDRESS_ALLOWED : ADDRESS_INSIDE;
}

static enum address_verdict check_ip(const struct address_policy *p, const struct addr *given)
{
    struct addr const a = cidr_unmap(given);
    struct addr inner[2];
    bool global = false;
    size_t const n = a.family == ADDR_V6 ? carried(&a, inner, &global) : 0;
    enum address_verdict v = judge(p, &a, n > 0 ? global : is_outside(&a));
    for (size_t i = 0; i < n && v == ADDRESS_ALLOWED; i++) {
        v = judge(p, &inner[i], is_outside(&inner[i]));
    }
    return v;
}

bool address_is_public(const struct addr *a)
{
    return check_ip(NULL, a) == ADDRESS_ALLOWED;
}

enum address_verdict address_policy_check(const struct address_policy *p, const struct addr *a)
{
    enum address_verdict const v = check_ip(p, a);
    if (v != ADDRESS_ALLOWED || a->port == 0) {
        return v;
    }
    bool const usual = a->port == 443 || a->port >= 1024; // 8448 among them
    bool const ok = p->ports.count > 0 ? port_set_has(&p->ports, a->port) : usual;
    return ok ? ADDRESS_ALLOWED : ADDRESS_PORT;
}

bool address_policy_allows(void *user, const struct addr *a)
{
    return address_policy_check(user, a) == ADDRESS_ALLOWED;
}

void address_policy_done(struct address_policy *p)
{
    cidr_set_done(&p->allow);
    cidr_set_done(&p->deny);
    p->ports.count = 0;
}

// ---- ports ----------------------------------------------------------------------------------

static int parse_port(struct bytes text, uint16_t *ret)
{
    unsigned v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (i == 5 || text.p[i] < '0' || text.p[i] > '9') {
            return -EINVAL;
        }
        v = v * 10 + (unsigned)(text.p[i] - '0');
    }
    if (v == 0 || v > PORT_MAX) {
        return -EINVAL;
    }
    *ret = (uint16_t)v;
    return 0;
}

int port_set_add(struct port_set *s, struct bytes text)
{
    uint16_t from = 1;
    uint16_t to = PORT_MAX;
    if (!bytes_eq_str(text, "any")) {
        const uint8_t *const dash = text.n > 0 ? memchr(text.p, '-', text.n) : NULL;
        size_t const n = dash ? (size_t)(dash - text.p) : text.n;
        if (parse_port(bytes_of(text.p, n), &from) < 0) {
            return -EINVAL;
        }
        to = from;
        if (dash && (parse_port(bytes_of(dash + 1, text.n - n - 1), &to) < 0 || to < from)) {
            return -EINVAL;
        }
    }
    if (s->count == PORT_RANGES_MAX) {
        return -E2BIG;
    }
    s->v[s->count].from = from;
    s->v[s->count++].to = to;
    return 0;
}

bool port_set_has(const struct port_set *s, uint16_t port)
{
    for (size_t i = 0; i < s->count; i++) {
        if (port >= s->v[i].from && port <= s->v[i].to) {
            return true;
        }
    }
    return false;
}

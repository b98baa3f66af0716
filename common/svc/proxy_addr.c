// SPDX-License-Identifier: Apache-2.0
#include "common/svc/proxy_addr.h"

#include <strings.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trim(struct bytes t)
{
    while (t.n > 0 && is_blank(t.p[0])) {
        t = bytes_of(t.p + 1, t.n - 1);
    }
    while (t.n > 0 && is_blank(t.p[t.n - 1])) {
        t.n--;
    }
    return t;
}

static int parse_port(struct bytes text, uint16_t *ret)
{
    unsigned v = 0;
    if (text.n == 0 || text.n > 5) {
        return -EINVAL;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return -EINVAL;
        }
        v = v * 10 + (unsigned)(text.p[i] - '0');
    }
    if (v > UINT16_MAX) {
        return -EINVAL;
    }
    *ret = (uint16_t)v;
    return 0;
}

// "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711".
static int parse_node(struct bytes text, struct addr *ret)
{
    struct addr a;
    uint16_t port = 0;
    struct bytes ip = text;
    const uint8_t *const colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
    if (text.n > 0 && text.p[0] == '[') {
        const uint8_t *const end = memchr(text.p, ']', text.n);
        if (!end) {
            return -EINVAL;
        }
        ip = bytes_of(text.p + 1, (size_t)(end - text.p) - 1);
        struct bytes const rest = bytes_of(end + 1, text.n - ip.n - 2);
        if (rest.n > 0 &&
            (rest.p[0] != ':' || parse_port(bytes_of(rest.p + 1, rest.n - 1), &port) < 0)) {
            return -EINVAL;
        }
    } else if (colon && !memchr(colon + 1, ':', text.n - (size_t)(colon - text.p) - 1)) {
        ip = bytes_of(text.p, (size_t)(colon - text.p));
        if (parse_port(bytes_of(colon + 1, text.n - ip.n - 1), &port) < 0) {
            return -EINVAL;
        }
    }
    if (addr_parse_ip(ip, &a) < 0) {
        return -EINVAL;
    }
    a.port = port;
    *ret = cidr_unmap(&a);
    return 0;
}

// The last hops of a chain, oldest first.
struct chain {
    struct bytes v[PROXY_HOPS_MAX];
    size_t count;
};

static void chain_add(struct chain *c, struct bytes hop)
{
    if (c->count == PROXY_HOPS_MAX) {
        memmove(c->v, c->v + 1, sizeof(c->v) - sizeof(c->v[0]));
        c->count--;
    }
    c->v[c->count++] = hop;
}

// Up to the next `mark` outside of quotes; moves *rest behind it.
static struct bytes next_part(struct bytes *rest, uint8_t mark)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < rest->n && (quoted || rest->p[i] != mark); i++) {
        if (rest->p[i] == '"') {
            quoted = !quoted;
        } else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n) {
            i++;
        }
    }
    i = MIN(i, rest->n);
    struct bytes const part = bytes_of(rest->p, i);
    size_t const used = i < rest->n ? i + 1 : i;
    *rest = bytes_of(rest->p + used, rest->n - used);
    return trim(part);
}

static void read_forwarded_for(struct chain *c, const char *text)
{
    struct bytes rest = bytes_str(text);
    while (rest.n > 0) {
        const uint8_t *const comma = memchr(rest.p, ',', rest.n);
        size_t const n = comma ? (size_t)(comma - rest.p) : rest.n;
        struct bytes const hop = trim(bytes_of(rest.p, n));
        if (hop.n > 0) { // empty ones do not count (RFC 9110 section 5.6.1)
            chain_add(c, hop);
        }
        rest = bytes_of(rest.p + n, rest.n - n);
        if (rest.n > 0) {
            rest = bytes_of(rest.p + 1, rest.n - 1);
        }
    }
}

// The "for" of one element (RFC 7239 section 4), without quotes; empty if it has none.
static struct bytes for_of(struct bytes element)
{
    while (element.n > 0) {
        struct bytes const pair = next_part(&element, ';');
        if (pair.n < 4 || strncasecmp((const char *)pair.p, "for=", 4) != 0) {
            continue;
        }
        struct bytes v = bytes_of(pair.p + 4, pair.n - 4);
        if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"') {
            v = bytes_of(v.p + 1, v.n - 2); // an escape inside makes it no address
        }
        return v;
    }
    return bytes_of(NULL, 0);
}

static void read_forwarded(struct chain *c, const char *text)
{
    struct bytes rest = bytes_str(text);
    while (rest.n > 0) {
        struct bytes const element = next_part(&rest, ',');
        if (element.n > 0) {
            chain_add(c, for_of(element));
        }
    }
}

static void read_headers(struct chain *c, const struct proxy_headers *h)
{
    if (h->forwarded_for) {
        read_forwarded_for(c, h->forwarded_for);
    } else if (h->forwarded) {
        read_forwarded(c, h->forwarded);
    } else if (h->real_ip) {
        chain_add(c, trim(bytes_str(h->real_ip)));
    }
}

enum proxy_source proxy_addr_pick(const struct cidr_set *trusted, const struct addr *peer,
                                  const struct proxy_headers *headers, struct addr *ret)
{
    struct addr at = cidr_unmap(peer);
    if (!cidr_set_match(trusted, &at)) {
        *ret = at;
        return PROXY_PEER;
    }
    struct chain c;
    c.count = 0;
    read_headers(&c, headers);
    while (c.count > 0) {
        struct addr hop;
        if (parse_node(c.v[--c.count], &hop) < 0) {
            break;
        }
        at = hop;
        if (!cidr_set_match(trusted, &at)) {
            *ret = at;
            return PROXY_HEADER;
        }
    }
    *ret = at;
    return PROXY_UNKNOWN;
}

enum proxy_source proxy_addr_of(const struct cidr_set *trusted, struct httpd_req *r,
                                struct addr *ret)
{
    struct addr const peer = httpd_peer(r);
    struct proxy_headers h = {0};
    if (cidr_set_match(trusted, &peer)) {
        h.forwarded_for = httpd_header_all(r, "X-Forwarded-For");
        h.forwarded = h.forwarded_for ? NULL : httpd_header_all(r, "Forwarded");
        h.real_ip = h.forwarded_for || h.forwarded ? NULL : httpd_header(r, "X-Real-IP");
    }
    return proxy_addr_pick(trusted, &peer, &h, ret);
}

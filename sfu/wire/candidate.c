// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/candidate.h"

// RFC 8445 section 5.1.2.2; TCP as libwebrtc does.
#define TYPE_PREF_HOST 126
#define TYPE_PREF_PRFLX 110
#define TYPE_PREF_SRFLX 100
#define TYPE_PREF_TCP 90
#define TYPE_PREF_RELAY 0

#define COMPONENT_MAX 256 // RFC 8839 section 5.1
#define FOUNDATION_MAX (CANDIDATE_FOUNDATION_CAP - 1)

// The next word; the empty view at the end.
static struct bytes word(struct rd *r)
{
    while (rd_left(r) > 0 && (*r->p == ' ' || *r->p == '\t')) {
        rd_skip(r, 1);
    }
    const uint8_t *const start = r->p;
    while (rd_left(r) > 0 && *r->p != ' ' && *r->p != '\t') {
        rd_skip(r, 1);
    }
    return bytes_of(start, (size_t)(r->p - start));
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool word_is(struct bytes w, const char *s)
{
    struct bytes const want = bytes_str(s);
    if (w.n != want.n) {
        return false;
    }
    for (size_t i = 0; i < w.n; i++) {
        if (lower(w.p[i]) != want.p[i]) {
            return false;
        }
    }
    return true;
}

// ice-char is narrower (RFC 8839 section 5.1); what matters is that the text can be stored and
// written again.
static bool is_printable(struct bytes w)
{
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < 0x21 || w.p[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static bool word_number(struct bytes w, uint64_t max, uint64_t *ret)
{
    // 20 digits could overflow the sum.
    if (w.n == 0 || w.n > 19) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(w.p[i] - '0');
    }
    if (v > max) {
        return false;
    }
    *ret = v;
    return true;
}

// Strips "a=", "candidate:" and line ends. False if it is no candidate.
static bool unwrap(struct bytes text, struct bytes *ret)
{
    while (text.n > 0 && (text.p[text.n - 1] == '\r' || text.p[text.n - 1] == '\n' ||
                          text.p[text.n - 1] == ' ')) {
        text.n--;
    }
    if (text.n >= 2 && text.p[0] == 'a' && text.p[1] == '=') {
        text = bytes_of(text.p + 2, text.n - 2);
    }
    static const char key[] = "candidate:";
    size_t const n = sizeof(key) - 1;
    if (text.n < n || !word_is(bytes_of(text.p, n), key)) {
        return false;
    }
    *ret = bytes_of(text.p + n, text.n - n);
    return true;
}

static bool parse_type(struct bytes w, enum candidate_type *ret)
{
    static const enum candidate_type all[] = {CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_PRFLX,
                                              CANDIDATE_RELAY};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (word_is(w, candidate_type_name(all[i]))) {
            *ret = all[i];
            return true;
        }
    }
    return false;
}

// Name and value pairs behind the type. False if a known one is malformed.
static bool parse_extensions(struct rd *r, struct candidate *c)
{
    uint64_t rport = 0;
    for (struct bytes name = word(r); name.n > 0; name = word(r)) {
        struct bytes const value = word(r);
        if (word_is(name, "raddr")) {
            // A name, or Chromium's 0.0.0.0 for hidden addresses: of no use, but no error.
            if (addr_parse_ip(value, &c->raddr) != 0) {
                c->raddr = (struct addr){0};
            }
        } else if (word_is(name, "rport")) {
            if (!word_number(value, UINT16_MAX, &rport)) {
                return false;
            }
        } else if (word_is(name, "tcptype")) {
            c->tcptype = word_is(value, "active")    ? CANDIDATE_TCP_ACTIVE
                         : word_is(value, "passive") ? CANDIDATE_TCP_PASSIVE
                         : word_is(value, "so")      ? CANDIDATE_TCP_SO
                                                     : CANDIDATE_TCP_NONE;
        } else if (word_is(name, "ufrag") && is_printable(value)) {
            c->ufrag = value;
        }
    }
    c->raddr.port = c->raddr.family == ADDR_NONE ? 0 : (uint16_t)rport;
    return true;
}

int candidate_parse(struct bytes text, struct candidate *ret)
{
    if (text.n == 0) {
        return -ENODATA;
    }
    struct bytes line;
    if (!unwrap(text, &line)) {
        return -EBADMSG;
    }
    struct rd r = rd_init(line);
    struct candidate c = {0};
    struct bytes const foundation = word(&r);
    if (foundation.n == 0 || foundation.n > FOUNDATION_MAX || !is_printable(foundation)) {
        return -EBADMSG;
    }
    memcpy(c.foundation, foundation.p, foundation.n);

    uint64_t component = 0;
    uint64_t priority = 0;
    uint64_t port = 0;
    if (!word_number(word(&r), COMPONENT_MAX, &component) || component == 0) {
        return -EBADMSG;
    }
    struct bytes const transport = word(&r);
    if (!word_number(word(&r), UINT32_MAX, &priority)) {
        return -EBADMSG;
    }
    struct bytes const host = word(&r);
    if (host.n == 0 || !word_number(word(&r), UINT16_MAX, &port) || !word_is(word(&r), "typ")) {
        return -EBADMSG;
    }
    struct bytes const type = word(&r);
    if (type.n == 0) {
        return -EBADMSG;
    }
    // libwebrtc's pre-standard "ssltcp" is TCP for everybody else.
    bool const tcp = word_is(transport, "tcp") || word_is(transport, "ssltcp");
    if ((!tcp && !word_is(transport, "udp")) || !parse_type(type, &c.type)) {
        return -ENOTSUP;
    }
    c.component = (uint16_t)component;
    c.priority = (uint32_t)priority;
    if (addr_parse_ip(host, &c.addr) != 0) {
        c.is_name = true;
        c.addr = (struct addr){0};
    }
    c.addr.port = (uint16_t)port;
    c.addr.tcp = tcp;
    if (!parse_extensions(&r, &c)) {
        return -EBADMSG;
    }
    *ret = c;
    return 0;
}

static void put_number(struct wr *w, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    wr_bytes(w, bytes_of(digits + n, sizeof(digits) - n));
}

static void put_addr_port(struct wr *w, const struct addr *a, const char *between)
{
    char ip[ADDR_STRLEN];
    wr_str(w, addr_format_ip(a, ip));
    wr_str(w, between);
    put_number(w, a->port);
}

void candidate_write(struct wr *w, const struct candidate *c)
{
    wr_str(w, "candidate:");
    wr_str(w, c->foundation);
    wr_u8(w, ' ');
    put_number(w, c->component);
    wr_str(w, c->addr.tcp ? " tcp " : " udp ");
    put_number(w, c->priority);
    wr_u8(w, ' ');
    put_addr_port(w, &c->addr, " ");
    wr_str(w, " typ ");
    wr_str(w, candidate_type_name(c->type));
    if (c->raddr.family != ADDR_NONE) {
        wr_str(w, " raddr ");
        put_addr_port(w, &c->raddr, " rport ");
    }
    switch (c->tcptype) {
    case CANDIDATE_TCP_NONE:
        break;
    case CANDIDATE_TCP_ACTIVE:
        wr_str(w, " tcptype active");
        break;
    case CANDIDATE_TCP_PASSIVE:
        wr_str(w, " tcptype passive");
        break;
    case CANDIDATE_TCP_SO:
        wr_str(w, " tcptype so");
        break;
    }
    if (c->ufrag.n > 0) {
        wr_str(w, " ufrag ");
        wr_bytes(w, c->ufrag);
    }
}

uint32_t candidate_priority(enum candidate_type type, bool tcp, uint16_t local_pref)
{
    uint32_t pref = 0;
    switch (type) {
    case CANDIDATE_HOST:
        pref = tcp ? TYPE_PREF_TCP : TYPE_PREF_HOST;
        break;
    case CANDIDATE_PRFLX:
        pref = tcp ? TYPE_PREF_TCP - 10 : TYPE_PREF_PRFLX;
        break;
    case CANDIDATE_SRFLX:
        pref = tcp ? TYPE_PREF_TCP - 20 : TYPE_PREF_SRFLX;
        break;
    case CANDIDATE_RELAY:
        pref = TYPE_PREF_RELAY;
        break;
    }
    return (pref << 24) | ((uint32_t)local_pref << 8) | 255;
}

uint16_t candidate_local_pref(const struct addr *a, uint8_t index)
{
    // Four classes of 256 below the maximum.
    uint32_t const below =
        (addr_is_private(a) || addr_is_loopback(a) ? 2u : 0u) + (a->family == ADDR_V6 ? 0u : 1u);
    return (uint16_t)(UINT16_MAX - below * 256u - index);
}

const char *candidate_type_name(enum candidate_type t)
{
    switch (t) {
    case CANDIDATE_HOST:
        return "host";
    case CANDIDATE_SRFLX:
        return "srflx";
    case CANDIDATE_PRFLX:
        return "prflx";
    case CANDIDATE_RELAY:
        return "relay";
    }
    return "";
}

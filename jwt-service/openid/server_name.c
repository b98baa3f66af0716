// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/server_name.h"

#include <stdio.h>

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_host_char(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

// 1 to 5 digits, 1..65535.
static int parse_port(struct bytes text, uint16_t *ret)
{
    if (text.n == 0 || text.n > 5) {
        return -EINVAL;
    }
    uint32_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i])) {
            return -EINVAL;
        }
        v = v * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (v == 0 || v > 65535) {
        return -EINVAL;
    }
    *ret = (uint16_t)v;
    return 0;
}

// A name whose last label starts with a digit is meant as a number by resolvers (WHATWG URL, "ends
// in a number"): no top-level domain does.
static bool last_label_is_numeric(struct bytes host)
{
    size_t start = host.n;
    while (start > 0 && host.p[start - 1] != '.') {
        start--;
    }
    return is_digit(host.p[start]);
}

static int check_dns_name(struct bytes host)
{
    size_t label = 0;
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] == '.') {
            if (label == 0) {
                return -EINVAL;
            }
            label = 0;
        } else if (!is_host_char(host.p[i]) || ++label > 63) { // RFC 1035 section 2.3.4
            return -EINVAL;
        }
    }
    return label == 0 || last_label_is_numeric(host) ? -EINVAL : 0;
}

static int parse_host(struct bytes host, bool in_brackets, struct server_name *n)
{
    struct addr ip;
    if (addr_parse_ip(host, &ip) == 0) {
        n->is_ip = true;
        n->is_v6 = ip.family == ADDR_V6;
        if (n->is_v6 != in_brackets) {
            return -EINVAL;
        }
    } else if (in_brackets || check_dns_name(host) < 0) {
        return -EINVAL;
    }
    memcpy(n->host, host.p, host.n);
    return 0;
}

int server_name_parse(struct bytes text, struct server_name *ret)
{
    struct server_name n = {0};
    if (text.n == 0 || text.n > SERVER_NAME_MAX || memchr(text.p, 0, text.n)) {
        return -EINVAL;
    }
    struct bytes host = text;
    struct bytes rest = {0};
    bool const in_brackets = text.p[0] == '[';
    const uint8_t *const end =
        in_brackets ? memchr(text.p, ']', text.n) : memchr(text.p, ':', text.n);
    if (in_brackets) {
        if (!end) {
            return -EINVAL;
        }
        host = bytes_of(text.p + 1, (size_t)(end - text.p) - 1);
        rest = bytes_of(end + 1, text.n - host.n - 2);
    } else if (end) {
        host = bytes_of(text.p, (size_t)(end - text.p));
        rest = bytes_of(end, text.n - host.n);
    }
    if (rest.n > 0 &&
        (rest.p[0] != ':' || parse_port(bytes_of(rest.p + 1, rest.n - 1), &n.port) < 0)) {
        return -EINVAL;
    }
    if (host.n == 0 || parse_host(host, in_brackets, &n) < 0) {
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

void server_name_format(const char *host, bool is_v6, uint16_t port,
                        char ret[static SERVER_NAME_TEXT])
{
    char suffix[8] = "";
    if (port != 0) {
        (void)snprintf(suffix, sizeof(suffix), ":%u", (unsigned)port);
    }
    (void)snprintf(ret, SERVER_NAME_TEXT, is_v6 ? "[%s]%s" : "%s%s", host, suffix);
}

// SPDX-License-Identifier: Apache-2.0
// Text helpers of the SDP parser, and what readers of fmtp lists need.
#include "sfu/wire/sdp_parser.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool sdp_name_eq(struct bytes a, const char *b)
{
    size_t const n = strlen(b);
    if (a.n != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (lower(a.p[i]) != lower((uint8_t)b[i])) {
            return false;
        }
    }
    return true;
}

bool sdp_parse_uint(struct bytes text, uint64_t max, uint64_t *ret)
{
    if (text.n == 0 || text.n > 20) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t const c = text.p[i];
        if (c < '0' || c > '9') {
            return false;
        }
        uint64_t const digit = (uint64_t)(c - '0');
        if (digit > max || v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *ret = v;
    return true;
}

struct bytes sdp_token(struct bytes *text, char sep)
{
    struct bytes t = *text;
    while (t.n > 0 && t.p[0] == (uint8_t)sep) {
        t.p++;
        t.n--;
    }
    if (t.n == 0) {
        *text = t;
        return t;
    }
    struct bytes token = {t.p, 0};
    while (token.n < t.n && t.p[token.n] != (uint8_t)sep) {
        token.n++;
    }
    *text = (struct bytes){t.p + token.n, t.n - token.n};
    return token;
}

struct bytes sdp_trim(struct bytes b)
{
    while (b.n > 0 && (b.p[0] == ' ' || b.p[0] == '\t')) {
        b.p++;
        b.n--;
    }
    while (b.n > 0 && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t')) {
        b.n--;
    }
    return b;
}

struct bytes sdp_split(struct bytes b, char sep, struct bytes *rest)
{
    const uint8_t *const at = b.n > 0 ? memchr(b.p, sep, b.n) : NULL;
    if (at == NULL) {
        *rest = (struct bytes){NULL, 0};
        return b;
    }
    size_t const n = (size_t)(at - b.p);
    *rest = (struct bytes){at + 1, b.n - n - 1};
    return (struct bytes){b.p, n};
}

bool sdp_fmtp_param(struct bytes fmtp, const char *name, struct bytes *ret)
{
    while (fmtp.n > 0) {
        struct bytes const param = sdp_trim(sdp_split(fmtp, ';', &fmtp));
        struct bytes value;
        struct bytes const key = sdp_trim(sdp_split(param, '=', &value));
        if (sdp_name_eq(key, name)) {
            *ret = sdp_trim(value);
            return true;
        }
    }
    return false;
}

bool sdp_printable(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] < 0x20 || b.p[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

bool sdp_has_prefix(struct bytes b, const char *prefix)
{
    size_t const n = strlen(prefix);
    return b.n >= n && memcmp(b.p, prefix, n) == 0;
}

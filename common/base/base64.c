// SPDX-License-Identifier: Apache-2.0
#include "common/base/base64.h"

static const char base64_std_[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url_[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool is_url(enum base64_kind kind)
{
    return kind == BASE64_URL || kind == BASE64_URL_NOPAD;
}

static bool is_padded(enum base64_kind kind)
{
    return kind == BASE64_STD || kind == BASE64_URL;
}

void base64_encode(enum base64_kind kind, struct bytes in, struct dynbuf *out)
{
    const char *const abc = is_url(kind) ? base64_url_ : base64_std_;
    for (size_t i = 0; i < in.n; i += 3) {
        size_t const left = MIN(in.n - i, (size_t)3);
        uint32_t const v = ((uint32_t)in.p[i] << 16) | (left > 1 ? (uint32_t)in.p[i + 1] << 8 : 0) |
                           (left > 2 ? (uint32_t)in.p[i + 2] : 0);
        uint8_t quad[4] = {(uint8_t)abc[v >> 18], (uint8_t)abc[(v >> 12) & 63],
                           (uint8_t)abc[(v >> 6) & 63], (uint8_t)abc[v & 63]};
        size_t n = left + 1;
        if (is_padded(kind)) {
            memset(quad + n, '=', sizeof(quad) - n);
            n = sizeof(quad);
        }
        dynbuf_add(out, bytes_of(quad, n));
    }
}

// 0..63, or -1 for a character outside the alphabet.
static int base64_value(enum base64_kind kind, uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (is_url(kind) ? '-' : '+')) {
        return 62;
    }
    if (c == (is_url(kind) ? '_' : '/')) {
        return 63;
    }
    return -1;
}

// Removes the padding and checks that what is left has a possible length.
static int base64_strip(enum base64_kind kind, struct bytes *in)
{
    if (is_padded(kind)) {
        if (in->n % 4 != 0) {
            return -EBADMSG;
        }
        for (int i = 0; i < 2 && in->n > 0 && in->p[in->n - 1] == '='; i++) {
            in->n--;
        }
    }
    return in->n % 4 == 1 ? -EBADMSG : 0;
}

int base64_decode(enum base64_kind kind, struct bytes in, struct dynbuf *out)
{
    int const r = base64_strip(kind, &in);
    if (r < 0) {
        return r;
    }
    uint32_t acc = 0;
    unsigned bits = 0;
    uint8_t block[192]; // appended in blocks: one call per byte would dominate
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        int const v = base64_value(kind, in.p[i]);
        if (v < 0) {
            return -EBADMSG;
        }
        acc = (acc << 6) | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            block[n++] = (uint8_t)(acc >> bits);
        }
        if (n == sizeof(block)) {
            dynbuf_add(out, bytes_of(block, n));
            n = 0;
        }
    }
    dynbuf_add(out, bytes_of(block, n));
    return dynbuf_ok(out) ? 0 : -ENOBUFS;
}

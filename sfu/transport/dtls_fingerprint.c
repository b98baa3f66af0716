// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_transport.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool same_name(struct bytes name, const char *known)
{
    if (name.n != strlen(known)) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (lower(name.p[i]) != (uint8_t)known[i]) {
            return false;
        }
    }
    return true;
}

// The value of a hex digit, 16 for anything else.
static uint8_t hex_digit(uint8_t c)
{
    c = lower(c);
    if (c >= '0' && c <= '9') {
        return (uint8_t)(c - '0');
    }
    return c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10) : 16;
}

int dtls_fingerprint_parse(struct bytes hash_name, struct bytes value, struct dtls_fingerprint *ret)
{
    static const struct {
        const char *name;
        enum dtls_hash hash;
        size_t len;
    } known[] = {
        {"sha-256", DTLS_HASH_SHA256, 32},
        {"sha-384", DTLS_HASH_SHA384, 48},
        {"sha-512", DTLS_HASH_SHA512, 64},
    };
    struct dtls_fingerprint f = {0};
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (same_name(hash_name, known[i].name)) {
            f.hash = (uint8_t)known[i].hash;
            len = known[i].len;
        }
    }
    if (len == 0) {
        return -ENOTSUP;
    }
    if (value.n != len * 3 - 1) {
        return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t const hi = hex_digit(value.p[3 * i]);
        uint8_t const lo = hex_digit(value.p[3 * i + 1]);
        if (hi > 15 || lo > 15 || (i + 1 < len && value.p[3 * i + 2] != ':')) {
            return -EINVAL;
        }
        f.value[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret = f;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF. Pure.

#include "common/base/bytes.h"

// Length of the sequence at p (n > 0 bytes), or 0 if it is invalid.
static inline size_t utf8_len(const uint8_t *p, size_t n)
{
    size_t len = 0;
    uint8_t min = 0x80; // of the second byte
    uint8_t max = 0xbf;
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        min = p[0] == 0xe0 ? 0xa0 : 0x80;
        max = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        min = p[0] == 0xf0 ? 0x90 : 0x80;
        max = p[0] == 0xf4 ? 0x8f : 0xbf;
    }
    if (len == 0 || n < len || p[1] < min || p[1] > max) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0u) != 0x80u) {
            return 0;
        }
    }
    return len;
}

static inline bool utf8_is_valid(struct bytes text)
{
    for (size_t i = 0; i < text.n;) {
        size_t const len = utf8_len(text.p + i, text.n - i);
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

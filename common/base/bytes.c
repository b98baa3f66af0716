// SPDX-License-Identifier: Apache-2.0
#include "common/base/bytes.h"

bool bytes_eq_consttime(struct bytes a, struct bytes b)
{
    if (a.n != b.n) {
        return false;
    }
    uint8_t diff = 0;
    for (size_t i = 0; i < a.n; i++) {
        diff = (uint8_t)(diff | (a.p[i] ^ b.p[i]));
    }
    // The barrier keeps the compiler from turning the loop into an early exit.
    __asm__ volatile("" : "+r"(diff));
    return diff == 0;
}

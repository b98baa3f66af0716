// SPDX-License-Identifier: Apache-2.0
#include "common/sys/random.h"

#include <sys/random.h>

void rand_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t const got = getrandom(at, n, 0);
        if (got > 0) {
            at += (size_t)got;
            n -= (size_t)got;
            continue;
        }
        // EINTR is the only error of a kernel that has getrandom at all (Linux 3.17).
        bool const may_try_again = got < 0 && errno == EINTR;
        if (!may_try_again) {
            __builtin_trap();
        }
    }
}

uint32_t rand_u32(void)
{
    uint32_t v = 0;
    rand_bytes(&v, sizeof(v));
    return v;
}

uint64_t rand_u64(void)
{
    uint64_t v = 0;
    rand_bytes(&v, sizeof(v));
    return v;
}

// SPDX-License-Identifier: Apache-2.0
// Apart from mem.c, in whose place tests link an allocator that fails.
#include <string.h>

#include "common/base/mem.h"

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    size_t const len = strnlen(s, n);
    char *const p = mem_alloc(len + 1);
    if (p != NULL) {
        memcpy(p, s, len);
    }
    return p;
}

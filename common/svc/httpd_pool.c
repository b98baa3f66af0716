// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpd_pool.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Longest range that is looked at; httpd's largest pool is smaller.
#define PAGES_MAX 1024u

static bool is_zero(const unsigned char *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

size_t httpd_pool_trim(void *start, size_t size)
{
    size_t const page = (size_t)sysconf(_SC_PAGESIZE);
    size_t const pages = size / page;
    unsigned char resident[PAGES_MAX];
    size_t given = 0;
    if ((uintptr_t)start % page != 0 || pages == 0 || pages > PAGES_MAX ||
        mincore(start, pages * page, resident) != 0) {
        return 0;
    }
    // Neighbours together: nearly all of them are zeros, in one piece.
    for (size_t i = 0, n = 0; i < pages; i += n + 1) {
        unsigned char *const p = (unsigned char *)start + i * page;
        for (n = 0; i + n < pages && (resident[i + n] & 1) != 0 && is_zero(p + n * page, page);) {
            n++;
        }
        if (n > 0 && madvise(p, n * page, MADV_DONTNEED) == 0) {
            given += n * page;
        }
    }
    return given;
}

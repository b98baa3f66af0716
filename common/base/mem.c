// SPDX-License-Identifier: Apache-2.0
#include "common/base/mem.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>

static _Thread_local uint64_t allocations;

static void *counted(void *p)
{
    if (p != NULL) {
        allocations++;
    }
    return p;
}

void *mem_alloc(size_t n)
{
    return counted(calloc(1, n > 0 ? n : 1));
}

void *mem_array(size_t count, size_t size)
{
    return counted(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *mem_regrow(void *p, size_t count, size_t size)
{
    return counted(reallocarray(p, count > 0 ? count : 1, size > 0 ? size : 1));
}

void mem_free(void *p)
{
    free(p);
}

void mem_give_back(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

uint64_t mem_thread_allocations(void)
{
    return allocations;
}

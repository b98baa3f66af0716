// SPDX-License-Identifier: Apache-2.0
#include "tests/support/doubles/failing_mem.h"

#include <stdlib.h>

#include "common/base/mem.h"

struct failing_mem failing_mem;

static uint64_t allocations;

void failing_mem_plan(uint64_t first, uint64_t last)
{
    failing_mem.seen = failing_mem.failed = 0;
    failing_mem.first = first;
    failing_mem.last = last;
}

bool failing_mem_watch(bool on)
{
    bool const was = failing_mem.watched;
    failing_mem.watched = on;
    return was;
}

// Where a debugger stops to see who is refused.
__attribute__((noinline)) static void failing_mem_failed_here(void)
{
    failing_mem.failed++;
}

static bool fails(void)
{
    if (!failing_mem.watched) {
        return false;
    }
    uint64_t const n = ++failing_mem.seen;
    if (failing_mem.first == 0 || n < failing_mem.first || n > failing_mem.last) {
        return false;
    }
    failing_mem_failed_here();
    return true;
}

static void *counted(void *p)
{
    if (p != NULL) {
        allocations++;
        failing_mem.live++;
    }
    return p;
}

void *mem_alloc(size_t n)
{
    return fails() ? NULL : counted(calloc(1, n > 0 ? n : 1));
}

void *mem_array(size_t count, size_t size)
{
    return fails() ? NULL : counted(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *mem_regrow(void *p, size_t count, size_t size)
{
    void *const fresh =
        fails() ? NULL : reallocarray(p, count > 0 ? count : 1, size > 0 ? size : 1);
    return p == NULL ? counted(fresh) : fresh;
}

void mem_free(void *p)
{
    failing_mem.live -= p != NULL;
    free(p);
}

void mem_give_back(void)
{
}

uint64_t mem_thread_allocations(void)
{
    return allocations;
}

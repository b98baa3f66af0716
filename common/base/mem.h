// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only place that calls malloc. All functions return NULL on failure (never abort) and zeroed
// memory. A process-wide counter of allocations lets the benchmark show that the packet path makes
// none.

#include "common/base/macros.h"

void *mem_alloc(size_t n) NODISCARD;
// Overflow-checked count * size.
void *mem_array(size_t count, size_t size) NODISCARD;
// Grows or shrinks an array of `size`-byte elements; the new part is NOT zeroed. NULL leaves p
// valid.
void *mem_regrow(void *p, size_t count, size_t size) NODISCARD;
void mem_free(void *p); // accepts NULL
char *mem_strdup(const char *s) NODISCARD;
char *mem_strndup(const char *s, size_t n) NODISCARD;

// Number of successful allocations of the calling thread since it started.
uint64_t mem_thread_allocations(void);

static inline void mem_free_cleanup_(void *pp)
{
    mem_free(*(void **)pp);
}

// Gives memory that is free inside of the heap back to the system, which the allocator by itself does
// only at its end. Takes a while: for when a service has come to rest.
void mem_give_back(void);

#define NEW(type) ((type *)mem_alloc(sizeof(type)))

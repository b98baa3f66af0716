// SPDX-License-Identifier: Apache-2.0
#pragma once
// Compiler attributes and small helpers that every layer uses. Pure.

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

// CLEANUP(x_free) struct x *p = NULL;  calls x_free(p) when p leaves scope. The destructor accepts
// NULL. A type used with CLEANUP declares its trampoline once, in its header, with DEFINE_CLEANUP.
#define DEFINE_CLEANUP(type, destructor)                                                           \
    static inline UNUSED void destructor##_cleanup_(type *p)                                       \
    {                                                                                              \
        destructor(*p);                                                                            \
    }
#define CLEANUP(destructor) __attribute__((cleanup(destructor##_cleanup_)))

// STEAL(p) yields p and leaves NULL behind, so that a CLEANUP variable gives its object away.
#define STEAL(p)                                                                                   \
    ({                                                                                             \
        __typeof__(p) *const steal_from_ = &(p);                                                   \
        __typeof__(p) const stolen_ = *steal_from_;                                                \
        *steal_from_ = NULL;                                                                       \
        stolen_;                                                                                   \
    })

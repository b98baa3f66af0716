// SPDX-License-Identifier: Apache-2.0
#pragma once
// Serial number arithmetic (RFC 1982, RFC 3550 appendix A.1). Sequence numbers and RTP timestamps
// are compared only through these. Pure.

#include "common/base/macros.h"

// a - b on the circle: positive if a is newer.
static inline int32_t seq16_diff(uint16_t a, uint16_t b)
{
    return (int16_t)(uint16_t)(a - b);
}

static inline bool seq16_newer(uint16_t a, uint16_t b)
{
    return seq16_diff(a, b) > 0;
}

static inline int64_t seq32_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline bool seq32_newer(uint32_t a, uint32_t b)
{
    return seq32_diff(a, b) > 0;
}

// Extends a 16-bit number to 64 bits: the value nearest to `highest` (the highest extended value
// seen).
static inline uint64_t seq16_extend(uint64_t highest, uint16_t v)
{
    return highest + (uint64_t)(int64_t)seq16_diff(v, (uint16_t)highest);
}

static inline uint64_t seq32_extend(uint64_t highest, uint32_t v)
{
    return highest + (uint64_t)seq32_diff(v, (uint32_t)highest);
}

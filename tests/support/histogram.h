// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts of values in classes that are at most 1/32 wide (3 %), exact below 64: percentiles of
// latencies without keeping them. Pure.

#include "common/base/bytes.h"

#define HISTOGRAM_SUB_BITS 5u
#define HISTOGRAM_EXACT 64u
// 26 powers of two above the exact part, 32 classes each: up to 2^32 - 1.
#define HISTOGRAM_CLASSES (HISTOGRAM_EXACT + 26u * (1u << HISTOGRAM_SUB_BITS))

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint32_t max;
    uint32_t n[HISTOGRAM_CLASSES];
};

void histogram_reset(struct histogram *h);

// Negative values count as 0, larger ones than 2^32 - 1 as that.
void histogram_add(struct histogram *h, int64_t value);

void histogram_merge(struct histogram *into, const struct histogram *from);

// The value below or at which `per_mille` thousandths of the values lie (upper edge of its class);
// 0 without values.
uint32_t histogram_percentile(const struct histogram *h, unsigned per_mille);

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/histogram.h"

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
}

static unsigned class_of(uint32_t v)
{
    if (v < HISTOGRAM_EXACT) {
        return v;
    }
    unsigned const exponent = 31u - (unsigned)__builtin_clz(v); // 6..31
    unsigned const sub = (v >> (exponent - HISTOGRAM_SUB_BITS)) & ((1u << HISTOGRAM_SUB_BITS) - 1);
    return HISTOGRAM_EXACT + ((exponent - 6u) << HISTOGRAM_SUB_BITS) + sub;
}

// The largest value of a class.
static uint32_t edge_of(unsigned c)
{
    if (c < HISTOGRAM_EXACT) {
        return c;
    }
    unsigned const exponent = ((c - HISTOGRAM_EXACT) >> HISTOGRAM_SUB_BITS) + 6u;
    uint64_t const sub = (c - HISTOGRAM_EXACT) & ((1u << HISTOGRAM_SUB_BITS) - 1);
    uint64_t const next =
        (UINT64_C(1) << exponent) + ((sub + 1) << (exponent - HISTOGRAM_SUB_BITS));
    return (uint32_t)(next - 1);
}

void histogram_add(struct histogram *h, int64_t value)
{
    uint32_t const v = value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    h->n[class_of(v)]++;
    h->count++;
    h->sum += v;
    h->max = MAX(h->max, v);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
        into->n[i] += from->n[i];
    }
    into->count += from->count;
    into->sum += from->sum;
    into->max = MAX(into->max, from->max);
}

uint32_t histogram_percentile(const struct histogram *h, unsigned per_mille)
{
    uint64_t const wanted = (h->count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
        seen += h->n[i];
        if (seen >= wanted && h->n[i] > 0) {
            return MIN(edge_of(i), h->max);
        }
    }
    return h->max;
}

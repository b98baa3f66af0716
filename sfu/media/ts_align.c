// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/ts_align.h"

#include "common/base/seq.h"

void ts_align_init(struct ts_align *a, uint32_t clock_rate)
{
    *a = (struct ts_align){.clock_rate = clock_rate};
}

static unsigned pair_index(unsigned low, unsigned high)
{
    return low + high - 1; // (0,1) 0, (0,2) 1, (1,2) 2
}

void ts_align_reset(struct ts_align *a, unsigned encoding)
{
    a->encodings[encoding] = (struct ts_align_encoding){0};
    for (unsigned other = 0; other < TS_ALIGN_ENCODINGS; other++) {
        if (other != encoding) {
            a->pairs[pair_index(MIN(encoding, other), MAX(encoding, other))] =
                (struct ts_align_pair){0};
        }
    }
}

static uint32_t ticks(const struct ts_align *a, int64_t us)
{
    return (uint32_t)(us * (int64_t)a->clock_rate / US_PER_S);
}

static bool estimate_by_sr(const struct ts_align *a, unsigned low, unsigned high, uint32_t *ret)
{
    const struct ts_align_encoding *const l = &a->encodings[low];
    const struct ts_align_encoding *const h = &a->encodings[high];
    if (!l->has_sr || !h->has_sr) {
        return false;
    }
    *ret = h->sr_ts - l->sr_ts - ticks(a, ntp_diff_us(h->sr_ntp, l->sr_ntp));
    return true;
}

static bool estimate_by_arrival(const struct ts_align *a, unsigned low, unsigned high,
                                uint32_t *ret)
{
    const struct ts_align_encoding *const l = &a->encodings[low];
    const struct ts_align_encoding *const h = &a->encodings[high];
    if (l->count == 0 || h->count == 0) {
        return false;
    }
    int64_t const apart = mono_diff_us(h->arrival, l->arrival);
    if (apart > TS_ALIGN_ARRIVAL_WINDOW_US || apart < -TS_ALIGN_ARRIVAL_WINDOW_US) {
        return false;
    }
    uint32_t const lt = l->ts[(l->next - 1u) % TS_ALIGN_FRAMES];
    uint32_t const ht = h->ts[(h->next - 1u) % TS_ALIGN_FRAMES];
    *ret = ht - lt - ticks(a, apart);
    return true;
}

static bool near(const struct ts_align *a, uint32_t x, uint32_t y, int64_t limit_us)
{
    int64_t const d = seq32_diff(x, y);
    int64_t const limit = limit_us * (int64_t)a->clock_rate / US_PER_S;
    return d <= limit && d >= -limit;
}

// Majority vote (Boyer, Moore): chance agreements cancel each other, the true difference recurs
// with every frame.
static void vote(struct ts_align_pair *p, uint32_t diff)
{
    if (p->votes == 0) {
        p->offset = diff;
        p->votes = 1;
    } else {
        p->votes = (int8_t)(p->votes + (p->offset == diff ? 1 : -1));
    }
}

static void learn(struct ts_align *a, unsigned low, unsigned high, uint32_t ts, bool of_high)
{
    struct ts_align_pair *const p = &a->pairs[pair_index(low, high)];
    if (p->snapped) {
        return;
    }
    uint32_t estimate = 0;
    bool const by_sr = estimate_by_sr(a, low, high, &estimate);
    if (!by_sr && !estimate_by_arrival(a, low, high, &estimate)) {
        return;
    }
    const struct ts_align_encoding *const other = &a->encodings[of_high ? low : high];
    for (unsigned i = 0; i < other->count; i++) {
        uint32_t const diff = of_high ? ts - other->ts[i] : other->ts[i] - ts;
        if (near(a, diff, estimate,
                 by_sr ? TS_ALIGN_TOLERANCE_SR_US : TS_ALIGN_TOLERANCE_ARRIVAL_US)) {
            vote(p, diff);
        }
    }
    if (p->votes >= TS_ALIGN_VOTES) {
        p->snapped = true;
    }
}

void ts_align_frame(struct ts_align *a, unsigned encoding, uint32_t ts, mono_t arrival)
{
    struct ts_align_encoding *const e = &a->encodings[encoding];
    e->ts[e->next] = ts;
    e->next = (uint8_t)((e->next + 1u) % TS_ALIGN_FRAMES);
    e->count = (uint8_t)MIN(e->count + 1u, TS_ALIGN_FRAMES);
    e->arrival = arrival;
    for (unsigned other = 0; other < TS_ALIGN_ENCODINGS; other++) {
        if (other < encoding) {
            learn(a, other, encoding, ts, true);
        } else if (other > encoding) {
            learn(a, encoding, other, ts, false);
        }
    }
}

static void check(struct ts_align *a, unsigned low, unsigned high)
{
    struct ts_align_pair *const p = &a->pairs[pair_index(low, high)];
    uint32_t estimate = 0;
    if (p->votes > 0 && estimate_by_sr(a, low, high, &estimate) &&
        !near(a, p->offset, estimate, TS_ALIGN_REJECT_US)) {
        *p = (struct ts_align_pair){0};
    }
}

void ts_align_sr(struct ts_align *a, unsigned encoding, ntp_t ntp, uint32_t ts)
{
    struct ts_align_encoding *const e = &a->encodings[encoding];
    e->has_sr = true;
    e->sr_ntp = ntp;
    e->sr_ts = ts;
    for (unsigned other = 0; other < TS_ALIGN_ENCODINGS; other++) {
        if (other != encoding) {
            check(a, MIN(encoding, other), MAX(encoding, other));
        }
    }
}

int ts_align_get(const struct ts_align *a, unsigned from, unsigned to, uint32_t *ret,
                 bool *ret_exact)
{
    if (from >= TS_ALIGN_ENCODINGS || to >= TS_ALIGN_ENCODINGS) {
        return -EINVAL;
    }
    if (from == to) {
        *ret = 0;
        *ret_exact = true;
        return 0;
    }
    unsigned const low = MIN(from, to);
    unsigned const high = MAX(from, to);
    const struct ts_align_pair *const p = &a->pairs[pair_index(low, high)];
    uint32_t offset = p->offset;
    if (!p->snapped && !estimate_by_sr(a, low, high, &offset) &&
        !estimate_by_arrival(a, low, high, &offset)) {
        return -EAGAIN;
    }
    *ret = from == low ? offset : 0u - offset;
    *ret_exact = p->snapped;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rtp_munger.h"

void rtp_munger_init(struct rtp_munger *m, uint64_t first_sn, uint32_t first_ts)
{
    *m = (struct rtp_munger){.last_out = first_sn - 1, .last_ts = first_ts};
}

void rtp_munger_switch(struct rtp_munger *m, uint64_t in, uint32_t ts_in, uint32_t ts_out,
                       uint32_t skip)
{
    m->offset = in - (m->last_out + 1 + skip);
    m->range_first = in;
    m->highest_in = in - 1;
    m->ts_offset = ts_in - ts_out;
    m->range_count = 0;
    m->range_next = 0;
}

// Offset of a number before the open range; false if no range holds it.
static bool find_range(const struct rtp_munger *m, uint64_t in, uint64_t *ret_offset)
{
    for (unsigned i = 1; i <= m->range_count; i++) {
        const struct rtp_munger_range *const r =
            &m->ranges[(m->range_next - i) % RTP_MUNGER_RANGES];
        if (in > r->last) {
            return false; // between two ranges: left out
        }
        if (in >= r->first) {
            *ret_offset = r->offset;
            return true;
        }
    }
    return false;
}

enum rtp_munger_place rtp_munger_place(const struct rtp_munger *m, uint64_t in, uint64_t *ret_out)
{
    if (LIKELY(in > m->highest_in)) {
        *ret_out = in - m->offset;
        return in == m->highest_in + 1 ? RTP_MUNGER_NEXT : RTP_MUNGER_GAP;
    }
    if (in == m->highest_in) {
        return RTP_MUNGER_DUPLICATE;
    }
    uint64_t offset = m->offset;
    if (in < m->range_first && !find_range(m, in, &offset)) {
        return RTP_MUNGER_UNKNOWN;
    }
    uint64_t const out = in - offset;
    if (out > m->last_out) {
        return RTP_MUNGER_UNKNOWN;
    }
    *ret_out = out;
    return RTP_MUNGER_LATE;
}

static void close_range(struct rtp_munger *m, uint64_t last)
{
    if (last < m->range_first) {
        return; // nothing in it: the numbers before were left out as well
    }
    m->ranges[m->range_next] = (struct rtp_munger_range){m->range_first, last, m->offset};
    m->range_next = (uint8_t)((m->range_next + 1u) % RTP_MUNGER_RANGES);
    if (m->range_count < RTP_MUNGER_RANGES) {
        m->range_count++;
    }
}

void rtp_munger_left_out(struct rtp_munger *m, uint64_t in, bool whole_gap)
{
    uint64_t const first = whole_gap ? m->highest_in + 1 : in;
    close_range(m, first - 1);
    m->offset += in - first + 1;
    m->range_first = in + 1;
    m->highest_in = in;
    if (!whole_gap) {
        // Numbers of the gap stay reserved for late packets, so the next one goes behind them.
        m->last_out = in - m->offset;
    }
}

uint64_t rtp_munger_insert(struct rtp_munger *m, uint32_t ts, bool marker)
{
    // The open range ends with what was received so far: late packets keep their numbers.
    close_range(m, m->highest_in);
    m->range_first = m->highest_in + 1;
    // last_out may lie behind a hole of lost packets, whose numbers stay reserved.
    uint64_t const out = m->last_out + 1;
    m->offset -= 1;
    m->last_out = out;
    m->last_ts = ts;
    m->last_marker = marker;
    m->started = true;
    return out;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/playout_delay.h"

#include "sfu/wire/rtp_ext.h"

// Of the jitter; and when a loss counts, per cent, and how much for each per cent more.
#define JITTER_FACTOR 10u
#define NACK_PERCENT 60u
#define NACK_FACTOR 2u

// The fastest change, milliseconds a second.
#define RATE_MS_PER_S 80

static void tell(struct playout_delay *d)
{
    struct wr w = wr_init(d->bytes, sizeof(d->bytes));
    rtp_ext_playout_delay_write(&w, (uint16_t)(d->now_ms / 10), (uint16_t)(d->max_ms / 10));
    d->told = false;
    d->acked = false;
}

bool playout_delay_init(struct playout_delay *d, uint32_t min_ms, uint32_t max_ms)
{
    if (min_ms == 0 && max_ms == 0) {
        return false;
    }
    uint32_t const max = max_ms != 0 ? max_ms : PLAYOUT_DELAY_MAX_DEFAULT_MS;
    *d = (struct playout_delay){.max_ms = MIN(max, PLAYOUT_DELAY_MAX_MS)};
    d->min_ms = MIN(min_ms, d->max_ms);
    d->now_ms = d->min_ms;
    tell(d);
    return true;
}

void playout_delay_attach(struct playout_delay *d, uint16_t sn)
{
    if (!d->told) {
        d->told = true;
        d->first_sn = sn;
    }
}

static uint32_t target(const struct playout_delay *d, const struct playout_delay_report *r)
{
    uint64_t const packets = r->packets - d->packets;
    uint64_t const nacks = r->nacks - d->nacks;
    uint64_t const percent = packets > 0 ? MIN(nacks * 100 / packets, UINT64_C(100)) : 0;
    uint64_t ms = (uint64_t)r->jitter_ms * JITTER_FACTOR;
    if (percent > NACK_PERCENT) {
        ms += (percent - NACK_PERCENT) * NACK_FACTOR;
    }
    return (uint32_t)MIN(MAX(ms, (uint64_t)d->min_ms), (uint64_t)d->max_ms);
}

bool playout_delay_report(struct playout_delay *d, mono_t now, const struct playout_delay_report *r)
{
    d->acked |= d->told && (uint16_t)(r->highest_sn - d->first_sn) < 0x8000u;
    if (!d->reported) {
        d->reported = true;
    } else {
        int64_t const us = MAX(now.us - d->report.us, INT64_C(0));
        uint32_t const step = (uint32_t)MIN(us * RATE_MS_PER_S / US_PER_S, INT64_C(40960));
        uint32_t const to = target(d, r);
        uint32_t const before = d->now_ms / 10;
        if (step < 10) {
            return !d->acked; // too soon for a change; all of it counts with the next report
        }
        d->now_ms = to > d->now_ms ? d->now_ms + MIN(step, to - d->now_ms)
                                   : d->now_ms - MIN(step, d->now_ms - to);
        if (d->now_ms / 10 != before) {
            tell(d);
        }
    }
    d->report = now;
    d->packets = r->packets;
    d->nacks = r->nacks;
    return !d->acked;
}

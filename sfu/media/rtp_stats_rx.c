// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rtp_stats.h"

#include <string.h>

// Sequence numbers begin one cycle up, so that the first packet may have been overtaken and 0 is
// never used.
#define EXT_SN_START UINT64_C(0x10000)
#define EXT_TS_START (UINT64_C(1) << 32)

// SR plausibility (media-plane 4.9): slope of RTP against NTP time within 20 % of the clock rate.
// Short intervals and timestamps taken at another moment than the wall clock scatter, hence some
// absolute room: two frames at 15 per second.
#define SR_SLOPE_DIV 5
#define SR_SLACK_US INT64_C(133000)

void rtp_stats_rx_init(struct rtp_stats_rx *s, uint32_t clock)
{
    memset(s, 0, sizeof(*s));
    s->clock = clock;
}

// ---- the window of numbers seen -------------------------------------------------------------

static uint64_t *seen_word(struct rtp_stats_rx *s, uint64_t ext_sn, uint64_t *ret_bit)
{
    uint64_t const i = ext_sn % RTP_STATS_WINDOW;
    *ret_bit = UINT64_C(1) << (i % 64);
    return &s->seen[i / 64];
}

static bool seen_test_and_set(struct rtp_stats_rx *s, uint64_t ext_sn)
{
    uint64_t bit;
    uint64_t *const word = seen_word(s, ext_sn, &bit);
    bool const was = (*word & bit) != 0;
    *word |= bit;
    return was;
}

static void advance(struct rtp_stats_rx *s, uint64_t to)
{
    if (to - s->highest_sn >= RTP_STATS_WINDOW) {
        memset(s->seen, 0, sizeof(s->seen));
    } else {
        for (uint64_t sn = s->highest_sn + 1; sn <= to; sn++) {
            uint64_t bit = 0;
            uint64_t *const word = seen_word(s, sn, &bit);
            *word &= ~bit;
        }
    }
    s->highest_sn = to;
}

// ---- packets --------------------------------------------------------------------------------

// RFC 3550 A.8 with the integer form of the filter, once a frame: the packets of a video frame
// leave in a burst and would inflate it (media-plane 4.9).
static void update_jitter(struct rtp_stats_rx *s, mono_t arrival, uint64_t ext_ts)
{
    if (s->has_transit && ext_ts <= s->jitter_ts) {
        return;
    }
    // Seconds and rest apart: microseconds since boot times the clock would overflow after some
    // years.
    int64_t const clock = s->clock;
    int64_t const at = arrival.us / US_PER_S * clock + arrival.us % US_PER_S * clock / US_PER_S;
    int64_t const transit = at - (int64_t)ext_ts;
    if (s->has_transit) {
        int64_t const d = transit - s->transit;
        uint64_t const abs_d = (uint64_t)(d < 0 ? -d : d);
        s->jitter_q4 += abs_d;
        s->jitter_q4 -= (s->jitter_q4 - abs_d + 8) >> 4;
    }
    s->has_transit = true;
    s->transit = transit;
    s->jitter_ts = ext_ts;
}

static void start(struct rtp_stats_rx *s, uint64_t ext_sn, uint64_t ext_ts)
{
    s->started = true;
    s->first_sn = ext_sn;
    s->highest_sn = ext_sn;
    s->highest_ts = ext_ts;
    memset(s->seen, 0, sizeof(s->seen));
    (void)seen_test_and_set(s, ext_sn);
    s->has_transit = false;
    s->has_probe = false;
    s->frames++;
}

static uint64_t expected_now(const struct rtp_stats_rx *s)
{
    return s->started ? s->highest_sn - s->first_sn + 1 : 0;
}

// The stream goes on at another place; numbers continue upwards in the next cycle so that they
// never repeat.
static void restart(struct rtp_stats_rx *s, uint16_t sn, uint32_t ts, struct rtp_flow_info *f)
{
    s->lost_before = rtp_stats_rx_lost(s);
    s->base_packets = s->packets;
    s->report_expected = 0;
    s->report_received = s->packets;
    s->restarts++;
    f->flow = RTP_FLOW_RESTART;
    f->ext_sn = ((s->highest_sn >> 16) + 1) << 16 | sn;
    f->ext_sn += f->ext_sn - s->highest_sn <= RTP_STATS_WINDOW ? EXT_SN_START : 0;
    f->ext_ts = seq32_extend(s->highest_ts, ts);
    start(s, f->ext_sn, f->ext_ts);
    s->has_sr = false;
    s->has_rejected = false;
}

static enum rtp_flow late(struct rtp_stats_rx *s, uint64_t ext_sn)
{
    if (seen_test_and_set(s, ext_sn)) {
        s->duplicates++;
        return RTP_FLOW_DUPLICATE;
    }
    s->first_sn =
        MIN(s->first_sn, ext_sn); // overtaken before the first one: it was expected after all
    s->late++;
    return RTP_FLOW_LATE;
}

static void classify(struct rtp_stats_rx *s, uint16_t sn, uint32_t ts, struct rtp_flow_info *f)
{
    f->ext_sn = seq16_extend(s->highest_sn, sn);
    f->ext_ts = seq32_extend(s->highest_ts, ts);
    int32_t const diff = seq16_diff(sn, (uint16_t)s->highest_sn);
    if (diff > 0 && diff < RTP_STATS_MAX_DROPOUT) {
        f->flow = RTP_FLOW_NEXT;
        f->gap_first = s->highest_sn + 1;
        f->gap_count = (uint64_t)diff - 1;
        advance(s, f->ext_sn);
        (void)seen_test_and_set(s, f->ext_sn);
        s->has_probe = false;
    } else if (diff <= 0 && diff > -RTP_STATS_MAX_MISORDER) {
        f->flow = late(s, f->ext_sn);
    } else if (s->has_probe && sn == s->probe_sn) {
        restart(s, sn, ts, f); // two in a row at the new place (RFC 3550 A.1)
    } else {
        s->has_probe = true;
        s->probe_sn = (uint16_t)(sn + 1);
        s->strays++;
        f->flow = RTP_FLOW_STRAY;
    }
}

struct rtp_flow_info rtp_stats_rx_packet(struct rtp_stats_rx *s, mono_t arrival, uint16_t sn,
                                         uint32_t ts, size_t bytes, size_t payload)
{
    struct rtp_flow_info f = {.flow = RTP_FLOW_FIRST};
    if (!s->started) {
        f.ext_sn = EXT_SN_START + sn;
        f.ext_ts = s->has_sr ? seq32_extend(s->sr.ext_ts, ts) : EXT_TS_START + ts;
        start(s, f.ext_sn, f.ext_ts);
    } else {
        classify(s, sn, ts, &f);
    }
    if (f.flow == RTP_FLOW_DUPLICATE || f.flow == RTP_FLOW_STRAY) {
        return f;
    }
    s->packets++;
    s->bytes += bytes;
    s->payload_bytes += payload;
    if (payload == 0) {
        s->padding_packets++;
    } else if (f.flow != RTP_FLOW_LATE) {
        update_jitter(s, arrival, f.ext_ts);
    }
    if (f.flow == RTP_FLOW_NEXT && f.ext_ts > s->highest_ts && payload > 0) {
        s->highest_ts = f.ext_ts;
        s->frames++;
    }
    return f;
}

bool rtp_stats_rx_extend(const struct rtp_stats_rx *s, uint16_t sn, uint64_t *ret_ext_sn)
{
    int32_t const diff = seq16_diff(sn, (uint16_t)s->highest_sn);
    if (!s->started || diff <= -(int32_t)RTP_STATS_WINDOW || diff >= RTP_STATS_MAX_DROPOUT) {
        return false;
    }
    *ret_ext_sn = seq16_extend(s->highest_sn, sn);
    return true;
}

// ---- sender reports -------------------------------------------------------------------------

static bool fits(const struct rtp_stats_rx *s, const struct rtp_stats_sr *a,
                 const struct rtp_stats_sr *b)
{
    int64_t const ntp_us = ntp_diff_us(b->ntp, a->ntp);
    int64_t const ticks = (int64_t)(b->ext_ts - a->ext_ts);
    if (ntp_us <= 0 || ticks < 0) {
        return false;
    }
    int64_t const rtp_us = ticks / s->clock * US_PER_S + ticks % s->clock * US_PER_S / s->clock;
    int64_t const diff = rtp_us > ntp_us ? rtp_us - ntp_us : ntp_us - rtp_us;
    return diff <= ntp_us / SR_SLOPE_DIV + SR_SLACK_US;
}

bool rtp_stats_rx_sender_report(struct rtp_stats_rx *s, mono_t arrival, const struct rtcp_sr *sr)
{
    // A layer's first report may come before its first packet (recording cr-vp8-simulcast).
    uint64_t const near = s->has_sr    ? s->sr.ext_ts
                          : s->started ? s->highest_ts
                                       : EXT_TS_START + sr->rtp_ts;
    struct rtp_stats_sr const next = {
        .ntp = sr->ntp,
        .rtp_ts = sr->rtp_ts,
        .ext_ts = seq32_extend(near, sr->rtp_ts),
        .arrival = arrival,
        .packets = sr->packets,
        .octets = sr->octets,
    };
    bool const good =
        !s->has_sr || fits(s, &s->sr, &next) || (s->has_rejected && fits(s, &s->rejected, &next));
    if (!good) {
        s->rejected = next;
        s->has_rejected = true;
        return false;
    }
    s->sr = next;
    s->has_sr = true;
    s->has_rejected = false;
    return true;
}

const struct rtp_stats_sr *rtp_stats_rx_last_sr(const struct rtp_stats_rx *s)
{
    return s->has_sr ? &s->sr : NULL;
}

// ---- reports --------------------------------------------------------------------------------

uint64_t rtp_stats_rx_lost(const struct rtp_stats_rx *s)
{
    uint64_t const expected = expected_now(s);
    uint64_t const received = s->packets - s->base_packets;
    return s->lost_before + (expected > received ? expected - received : 0);
}

uint32_t rtp_stats_rx_jitter(const struct rtp_stats_rx *s)
{
    return (uint32_t)MIN(s->jitter_q4 >> 4, UINT32_MAX);
}

bool rtp_stats_rx_report(struct rtp_stats_rx *s, mono_t now, struct rtcp_report_block *ret)
{
    if (!s->started) {
        return false;
    }
    uint64_t const expected = expected_now(s);
    uint64_t const interval_expected = expected - s->report_expected;
    uint64_t const interval_received = s->packets - s->report_received;
    s->report_expected = expected;
    s->report_received = s->packets;
    ret->fraction_lost = 0;
    if (interval_expected > interval_received) {
        uint64_t const lost = interval_expected - interval_received;
        ret->fraction_lost = (uint8_t)MIN((lost << 8) / interval_expected, UINT8_MAX);
    }
    ret->cumulative_lost = (int32_t)MIN(rtp_stats_rx_lost(s), INT32_MAX);
    ret->highest_sn = (uint32_t)(s->highest_sn - EXT_SN_START);
    ret->jitter = rtp_stats_rx_jitter(s);
    ret->lsr = 0;
    ret->dlsr = 0;
    if (s->has_sr) {
        int64_t const held = MAX(mono_diff_us(now, s->sr.arrival), 0);
        ret->lsr = ntp_mid32(s->sr.ntp);
        ret->dlsr = (uint32_t)MIN((uint64_t)held * 65536u / US_PER_S, UINT32_MAX);
    }
    return true;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rtp_stats.h"

#include <string.h>

void rtp_stats_tx_init(struct rtp_stats_tx *s, uint32_t clock)
{
    memset(s, 0, sizeof(*s));
    s->clock = clock;
}

void rtp_stats_tx_packet(struct rtp_stats_tx *s, uint64_t ext_sn, size_t bytes, size_t payload)
{
    if (!s->started) {
        s->started = true;
        s->first_sn = ext_sn;
        s->highest_sn = ext_sn;
    }
    s->first_sn = MIN(s->first_sn, ext_sn);
    s->highest_sn = MAX(s->highest_sn, ext_sn);
    s->bytes += bytes;
    if (payload > 0) {
        s->packets++;
        s->payload_bytes += payload;
    }
}

void rtp_stats_tx_rtx(struct rtp_stats_tx *s, size_t bytes)
{
    s->rtx_packets++;
    s->rtx_bytes += bytes;
}

void rtp_stats_tx_sender_report(struct rtp_stats_tx *s, mono_t now, ntp_t ntp)
{
    uint32_t const i = s->sr_count++ % RTP_STATS_SRS;
    s->sr_mid[i] = ntp_mid32(ntp);
    s->sr_at[i] = now;
}

// Round trip by our own clock: the report's NTP time may be of the publisher's domain
// (media-plane 5.11).
static bool round_trip(const struct rtp_stats_tx *s, mono_t now, uint32_t lsr, uint32_t dlsr,
                       int64_t *ret_us)
{
    uint32_t const n = MIN(s->sr_count, RTP_STATS_SRS);
    for (uint32_t i = 0; i < n; i++) {
        if (s->sr_mid[i] == lsr) {
            int64_t const rtt = mono_diff_us(now, s->sr_at[i]) - (int64_t)dlsr * US_PER_S / 65536;
            *ret_us = MAX(rtt, 0); // rounding of DLSR on a local path
            return rtt >= -US_PER_MS && rtt <= RTP_STATS_RTT_MAX_US;
        }
    }
    return false;
}

bool rtp_stats_tx_report(struct rtp_stats_tx *s, mono_t now, const struct rtcp_report_block *b)
{
    if (!s->started) {
        return false;
    }
    // The receiver counts cycles from its own start: only the lower half is ours.
    uint64_t const acked = seq16_extend(s->highest_sn, (uint16_t)b->highest_sn);
    if (acked > s->highest_sn) {
        return false; // names what was never sent
    }
    if (s->has_report) {
        uint64_t const expected = acked > s->acked_sn ? acked - s->acked_sn : 0;
        int64_t const lost = (int64_t)b->cumulative_lost - s->cumulative_lost;
        s->interval_expected = (uint32_t)MIN(expected, UINT32_MAX);
        s->interval_lost = lost > 0 ? (uint32_t)MIN(lost, (int64_t)s->interval_expected) : 0;
    }
    s->has_report = true;
    s->report_at = now;
    s->fraction_lost = b->fraction_lost;
    s->cumulative_lost = b->cumulative_lost;
    s->acked_sn = acked;
    s->jitter = b->jitter;
    int64_t rtt = 0;
    if (b->lsr == 0 || !round_trip(s, now, b->lsr, b->dlsr, &rtt)) {
        return false;
    }
    // The new value weighs 0.75 (livekit: smoothing of the NACK round trip).
    s->rtt_us = s->has_rtt ? (s->rtt_us + 3 * rtt) / 4 : rtt;
    s->has_rtt = true;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
// Down track: retransmission, reports, statistics.
#include "sfu/media/down_track_internal.h"

#include "common/base/seq.h"

// media-plane 5.11: sender reports each second for video, each two for audio, spread by up to a
// fifth.
#define SR_INTERVAL_VIDEO_US (1 * US_PER_S)
#define SR_INTERVAL_AUDIO_US (2 * US_PER_S)
// No report of the publisher for the source yet: look again.
#define SR_RETRY_US (100 * US_PER_MS)

// media-plane 5.8: NACKs for packets before the key frame that a PLI asked for are pointless for
// that long.
#define NACK_GATE_PACKETS 2000

// Budget that must be there before a retransmission: one full packet.
#define RTX_SAVED_MIN 1400u

// Until a round trip is known (appendix C).
#define DEFAULT_RTT_US (70 * US_PER_MS)

void down_track_rtcp_block(struct down_track *dt, mono_t now, const struct rtcp_report_block *b)
{
    if (b->ssrc != dt->conf.ssrc) {
        return;
    }
    dt->mid_left = 0; // it knows the SSRC
    if (rtp_stats_tx_report(&dt->stats, now, b)) {
        dt->rtt_us = dt->stats.rtt_us;
    }
    if (dt->has_delay) {
        struct playout_delay_report const r = {
            .highest_sn = (uint16_t)b->highest_sn,
            .jitter_ms = (uint32_t)((uint64_t)b->jitter * 1000 / dt->conf.clock_rate),
            .packets = dt->stats.packets,
            .nacks = dt->nacks,
        };
        dt->delay_due = playout_delay_report(&dt->delay, now, &r);
    }
}

void down_track_rtcp_nack(struct down_track *dt, mono_t now, const uint16_t *sns, size_t n)
{
    (void)now; // answers are decided on, and timed, when they are written
    if (!dt->sequencer || dt->block != DOWN_TRACK_SENT) {
        return;
    }
    dt->nacks += n;
    for (size_t i = 0; i < n; i++) {
        if (dt->nack_count == DOWN_TRACK_NACKS) {
            dt->nacks_missed += n - i;
            return;
        }
        dt->nack_sns[((size_t)dt->nack_head + dt->nack_count) % DOWN_TRACK_NACKS] = sns[i];
        dt->nack_count++;
    }
}

void down_track_rtcp_pli(struct down_track *dt, mono_t now)
{
    if (dt->block != DOWN_TRACK_SENT || !dt->forwarder.video) {
        return; // receivers of a paused track ask for ever (media-plane 5.12)
    }
    dt->plis++;
    dt->pli_pending = true;
    // Until the key frame comes retransmissions help more than nothing.
    if (!mono_reached(down_track_keys_at_(dt), now)) {
        dt->plis_late++;
        return;
    }
    dt->nack_gate = true;
    dt->nack_count = 0;
}

void down_track_set_rtt(struct down_track *dt, int64_t rtt_us)
{
    if (rtt_us > 0) {
        dt->rtt_us = rtt_us;
    }
}

// True if an answer would come too late to be of use.
static bool is_pointless(const struct down_track *dt, uint16_t sn)
{
    if (dt->nack_gate) {
        return true;
    }
    uint64_t const highest = dt->forwarder.rtp.last_out;
    if (dt->key_sn == 0 || highest - dt->key_sn > NACK_GATE_PACKETS) {
        return false;
    }
    return seq16_extend(highest, sn) < dt->key_sn;
}

// The source of a requested number, if it is to be answered now.
static const struct packet *find_source(struct down_track *dt, mono_t now, const struct receiver *r,
                                        uint16_t sn, const struct sequencer_entry **ret)
{
    const struct sequencer_entry *e = NULL;
    // Checked before the answer is counted; what is left over is saved for the next packet.
    if (is_pointless(dt, sn) || dt->rtx_saved < RTX_SAVED_MIN) {
        return NULL;
    }
    int64_t const rtt = dt->rtt_us > 0 ? dt->rtt_us : DEFAULT_RTT_US;
    if (sequencer_request(dt->sequencer, now, rtt, (uint16_t)dt->forwarder.rtp.last_out, sn, &e) !=
        SEQUENCER_ANSWER) {
        return NULL;
    }
    // A layer that was left: its last frames were followed by a key frame, nobody misses them.
    if (e->encoding != dt->forwarder.encoding) {
        return NULL;
    }
    *ret = e;
    uint64_t const highest = receiver_highest(r, e->encoding);
    return receiver_history_get(r, e->encoding, seq32_extend(highest, e->source_sn));
}

static void write_rtx(struct down_track *dt, mono_t now, const struct packet *p,
                      const struct sequencer_entry *e, uint16_t *twcc_sn,
                      struct down_track_out *out)
{
    struct down_track_packet const pkt = {
        .ssrc = dt->conf.rtx_ssrc,
        .pt = dt->conf.rtx_pt,
        .sn = dt->rtx_sn++,
        .ts = e->ts,
        .marker = e->marker,
        .rtx = true,
        .osn = e->sn,
        .desc = {e->desc, e->desc_len},
        .desc_in_len = e->desc_in_len,
        .payload = down_track_payload_(dt, p),
        .source = p,
    };
    down_track_write_packet_(dt, now, &pkt, twcc_sn, out);
    dt->rtx_saved -= MIN(dt->rtx_saved, (uint32_t)out->len);
    rtp_stats_tx_rtx(&dt->stats, out->len);
    dt->nacks_answered++;
}

// A source that began with a late packet: what passed before it was attached and was not sent
// since.
static enum down_track_result write_catch_up(struct down_track *dt, mono_t now,
                                             const struct receiver *r, uint16_t *twcc_sn,
                                             struct down_track_out *out)
{
    struct forwarder *const f = &dt->forwarder;
    const struct packet *p;
    while ((p = forwarder_take_catch_up(f, r)) != NULL) {
        uint64_t sn = 0;
        enum rtp_munger_place const place = rtp_munger_place(&f->rtp, p->ext_sn, &sn);
        const struct sequencer_entry *const e = sequencer_put(dt->sequencer, (uint16_t)sn);
        bool const sent = place == RTP_MUNGER_LATE && e->used && e->sn == (uint16_t)sn &&
                          e->source_sn == (uint32_t)p->ext_sn && e->encoding == p->info.encoding;
        if (!sent && down_track_write(dt, now, r, p, twcc_sn, out) == DOWN_TRACK_SENT) {
            return DOWN_TRACK_SENT;
        }
    }
    return DOWN_TRACK_NOTHING;
}

enum down_track_result down_track_write_rtx(struct down_track *dt, mono_t now,
                                            const struct receiver *r, uint16_t *twcc_sn,
                                            struct down_track_out *out)
{
    if (UNLIKELY(down_track_has_catch_up(dt)) &&
        write_catch_up(dt, now, r, twcc_sn, out) == DOWN_TRACK_SENT) {
        return DOWN_TRACK_SENT;
    }
    while (dt->nack_count > 0) {
        uint16_t const sn = dt->nack_sns[dt->nack_head];
        const struct sequencer_entry *e = NULL;
        dt->nack_head = (uint16_t)((dt->nack_head + 1u) % DOWN_TRACK_NACKS);
        dt->nack_count--;
        const struct packet *const p = find_source(dt, now, r, sn, &e);
        if (!p || out->cap < down_track_room_(p)) {
            dt->nacks_missed++;
            continue;
        }
        write_rtx(dt, now, p, e, twcc_sn, out);
        return DOWN_TRACK_SENT;
    }
    return DOWN_TRACK_NOTHING;
}

// Reports of many tracks must not come in the same instant; the SSRC is random, so a hash of it
// spreads them.
static int64_t sr_interval(struct down_track *dt)
{
    int64_t const base = dt->forwarder.video ? SR_INTERVAL_VIDEO_US : SR_INTERVAL_AUDIO_US;
    uint32_t const x =
        (dt->conf.ssrc + dt->sr_round++) * 2654435761u; // Knuth's multiplicative hash
    return base - base / 10 + (int64_t)(x >> 16) * (base / 5) / 65536;
}

int down_track_write_sr(struct down_track *dt, mono_t now, const struct receiver *r, bool force,
                        struct rtcp_out *out)
{
    if (dt->block != DOWN_TRACK_SENT || !dt->stats.started ||
        (!force && !mono_reached(dt->sr_next, now))) {
        return -EAGAIN;
    }
    const struct forwarder *const f = &dt->forwarder;
    const struct rtp_stats_sr *const in = receiver_last_sr(r, f->encoding);
    if (!in || f->resync || f->epoch != receiver_epoch(r, f->encoding)) {
        dt->sr_next = mono_add_us(now, SR_RETRY_US);
        return -EAGAIN;
    }
    // The publisher's clock goes on: time of its last report plus what has passed since, on both
    // scales.
    int64_t const elapsed = mono_diff_us(now, in->arrival);
    struct rtcp_sr const sr = {
        .ssrc = dt->conf.ssrc,
        .ntp = ntp_add_us(in->ntp, elapsed),
        .rtp_ts = in->rtp_ts - f->rtp.ts_offset +
                  (uint32_t)(elapsed * (int64_t)dt->conf.clock_rate / US_PER_S),
        .packets = (uint32_t)dt->stats.packets,
        .octets = (uint32_t)dt->stats.payload_bytes,
    };
    int const res = rtcp_out_add_sr(out, &sr, bytes_str(dt->conf.cname));
    if (res < 0) {
        return res;
    }
    rtp_stats_tx_sender_report(&dt->stats, now, sr.ntp);
    dt->sr_next = mono_add_us(now, sr_interval(dt));
    return 0;
}

void down_track_get_stats(const struct down_track *dt, struct down_track_stats *ret)
{
    *ret = (struct down_track_stats){
        .packets = dt->stats.packets,
        .bytes = dt->stats.bytes,
        .rtx_packets = dt->stats.rtx_packets,
        .rtx_bytes = dt->stats.rtx_bytes,
        .nacks = dt->nacks,
        .nacks_answered = dt->nacks_answered,
        .nacks_missed = dt->nacks_missed,
        .plis = dt->plis,
        .plis_late = dt->plis_late,
        .key_frames = dt->forwarder.key_frames,
        .layer_switches = dt->forwarder.switches,
        .rtt_us = dt->rtt_us,
        .fraction_lost = dt->stats.fraction_lost,
        .lost = dt->stats.cumulative_lost,
        .jitter_us = (uint32_t)((uint64_t)dt->stats.jitter * 1000000u / dt->conf.clock_rate),
        .interval_expected = dt->stats.interval_expected,
        .interval_lost = dt->stats.interval_lost,
    };
    memcpy(ret->results, dt->results, sizeof(ret->results));
}

void down_track_get_totals(const struct down_track *dt, struct down_track_totals *ret)
{
    const struct rtp_stats_tx *const s = &dt->stats;
    uint64_t const numbers = s->started ? s->highest_sn - s->first_sn + 1 : 0;
    uint64_t const made = s->packets + dt->padding_sent;
    *ret = (struct down_track_totals){
        .block = (enum down_track_result)dt->block,
        .sent = s->packets,
        .holes = numbers > made ? numbers - made : 0,
        .reported = s->has_report && s->acked_sn >= s->first_sn ? s->acked_sn - s->first_sn + 1 : 0,
        .lost = MAX(s->cumulative_lost, 0),
    };
}

// SPDX-License-Identifier: Apache-2.0
// Receiver: reports, feedback, timers, and what others read.
#include "sfu/media/receiver_internal.h"

#include "sfu/wire/rtcp_fb.h"

// Smallest NACK: common header, two SSRCs, one PID/BLP pair (RFC 4585 section 6.2.1).
#define NACK_MIN_LEN 16u
// Fixed part of it.
#define NACK_BASE_LEN 12u
#define PLI_LEN 12u

static struct receiver_encoding *find_encoding(struct receiver *r, uint32_t ssrc,
                                               uint8_t *ret_index)
{
    for (uint8_t i = 0; ssrc != 0 && i < r->view.conf.encodings; i++) {
        if (r->encodings[i].ssrc == ssrc) {
            *ret_index = i;
            return &r->encodings[i];
        }
    }
    return NULL;
}

void receiver_rtcp_sr(struct receiver *r, mono_t now, const struct rtcp_sr *sr)
{
    uint8_t i = 0;
    struct receiver_encoding *const e = find_encoding(r, sr->ssrc, &i);
    if (e && rtp_stats_rx_sender_report(&e->stats, now, sr)) {
        ts_align_sr(&r->align, i, sr->ntp, sr->rtp_ts);
    }
}

void receiver_rtcp_bye(struct receiver *r, mono_t now, uint32_t ssrc)
{
    uint8_t i = 0;
    struct receiver_encoding *const e = find_encoding(r, ssrc, &i);
    if (e) {
        e->stopped = true;
        nack_queue_reset(&e->nacks);
        stream_tracker_declare(&e->tracker, now, false, NULL, 0);
        receiver_update_live_(r);
    }
}

void receiver_set_rtt(struct receiver *r, int64_t rtt_us)
{
    if (rtt_us <= 0) {
        return;
    }
    r->view.rtt_us = rtt_us;
    pli_throttle_set_rtt(&r->plis, rtt_us);
    // Half of the answers take longer than the mean: a repetition exactly one round trip later
    // would mostly bring twins.
    int64_t const wait = rtt_us + rtt_us / 4;
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        nack_queue_set_rtt(&r->encodings[i].nacks, wait);
    }
}

void receiver_set_needed(struct receiver *r, uint8_t mask)
{
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        bool const was = r->needed & (1u << i);
        bool const is = mask & (1u << i);
        if (was != is) {
            nack_queue_reset(&r->encodings[i].nacks);
        }
    }
    r->needed = mask;
}

uint8_t receiver_needed(const struct receiver *r)
{
    return r->needed;
}

void receiver_request_key_frame(struct receiver *r, mono_t now, uint8_t encoding)
{
    if (r->video && r->view.conf.pli && encoding < r->view.conf.encodings) {
        pli_throttle_request(&r->plis, now, encoding);
    }
}

void receiver_set_key_frame_spacing(struct receiver *r, int64_t min_spacing_us)
{
    pli_throttle_set_min(&r->plis, MAX(min_spacing_us, PLI_THROTTLE_MIN_US));
}

static mono_t nack_deadline(const struct receiver_encoding *e)
{
    mono_t const due = nack_queue_deadline(&e->nacks);
    return mono_is_never(due) ? due : mono_max(due, e->nack_after);
}

mono_t receiver_deadline(const struct receiver *r)
{
    mono_t t = mono_min(pli_throttle_deadline(&r->plis), r->housekeeping);
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        t = mono_min(t, nack_deadline(&r->encodings[i]));
        t = mono_min(t, stream_tracker_deadline(&r->encodings[i].tracker));
    }
    return t;
}

static int send_nacks(struct receiver_encoding *e, mono_t now, struct rtcp_out *out)
{
    if (!mono_reached(nack_deadline(e), now)) {
        return 0;
    }
    if (rtcp_out_left(out) < NACK_MIN_LEN) {
        return -ENOBUFS;
    }
    uint16_t sns[NACK_QUEUE_MAX];
    // At worst every number takes a pair of its own.
    size_t const cap = MIN(ARRAY_LEN(sns), (rtcp_out_left(out) - NACK_BASE_LEN) / 4);
    size_t const n = nack_queue_collect(&e->nacks, now, sns, cap);
    if (n > 0 && rtcp_out_add_nack(out, e->ssrc, sns, n) < 0) {
        return -ENOBUFS;
    }
    if (n < cap) {
        e->nack_after = mono_add_us(now, RECEIVER_NACK_TICK_US);
    }
    return n == cap ? -ENOBUFS : 0;
}

// The SSRC to ask: of the encoding, or of any that is bound (a browser answers with key frames on
// all of them).
static uint32_t ssrc_to_ask(const struct receiver *r, uint8_t encoding)
{
    if (r->encodings[encoding].ssrc != 0) {
        return r->encodings[encoding].ssrc;
    }
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        if (r->encodings[i].ssrc != 0) {
            return r->encodings[i].ssrc;
        }
    }
    return 0;
}

static int send_plis(struct receiver *r, mono_t now, struct rtcp_out *out)
{
    uint8_t encoding = 0;
    for (;;) {
        if (rtcp_out_left(out) < PLI_LEN) {
            return mono_reached(pli_throttle_deadline(&r->plis), now) ? -ENOBUFS : 0;
        }
        if (!pli_throttle_poll(&r->plis, now, 0, &encoding)) {
            return 0;
        }
        uint32_t const ssrc = ssrc_to_ask(r, encoding < r->view.conf.encodings ? encoding : 0);
        if (ssrc != 0 && rtcp_out_add_pli(out, ssrc) < 0) {
            return -ENOBUFS;
        }
    }
}

static void housekeep(struct receiver *r, mono_t now)
{
    bool held = false;
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        struct receiver_encoding *const e = &r->encodings[i];
        if (e->has_history) {
            rx_buffer_timeout(&e->history, now);
            held |= e->history.count > 0;
        }
    }
    r->housekeeping = held ? mono_add_us(now, RECEIVER_HOUSEKEEPING_US) : MONO_NEVER;
}

int receiver_timeout(struct receiver *r, mono_t now, struct rtcp_out *out)
{
    bool changed = false;
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        struct receiver_encoding *const e = &r->encodings[i];
        changed |= stream_tracker_timeout(&e->tracker, now);
        int const res = send_nacks(e, now, out);
        if (res < 0) {
            return res;
        }
    }
    if (changed) {
        receiver_update_live_(r);
    }
    if (mono_reached(r->housekeeping, now)) {
        housekeep(r, now);
    }
    return send_plis(r, now, out);
}

int receiver_report(struct receiver *r, mono_t now, struct rtcp_out *out, uint8_t *cursor)
{
    for (; *cursor < 2 * r->view.conf.encodings; (*cursor)++) {
        struct receiver_encoding *const e = &r->encodings[*cursor / 2];
        bool const rtx = *cursor % 2;
        uint32_t const ssrc = rtx ? e->rtx_ssrc : e->ssrc;
        struct rtp_stats_rx *const stats = rtx ? &e->rtx_stats : &e->stats;
        if (ssrc == 0 || e->stopped || !stats->started) {
            continue;
        }
        if (out->rr.block_count == RTCP_COUNT_MAX || rtcp_out_left(out) < RTCP_REPORT_BLOCK_LEN) {
            return -ENOBUFS;
        }
        struct rtcp_report_block b = {0};
        if (!rtp_stats_rx_report(stats, now, &b)) {
            continue;
        }
        b.ssrc = ssrc;
        int const res = rtcp_out_add_block(out, &b);
        if (res < 0) {
            return res;
        }
    }
    return 0;
}

struct packet *receiver_history_get(const struct receiver *r, uint8_t encoding, uint64_t ext_sn)
{
    if (encoding >= r->view.conf.encodings || !r->encodings[encoding].has_history) {
        return NULL;
    }
    return rx_buffer_peek(&r->encodings[encoding].history, ext_sn);
}

int receiver_ts_offset(const struct receiver *r, uint8_t from, uint8_t to, uint32_t *ret)
{
    bool exact = false;
    return ts_align_get(&r->align, from, to, ret, &exact);
}

const struct rtp_stats_sr *receiver_last_sr(const struct receiver *r, uint8_t encoding)
{
    return encoding < r->view.conf.encodings ? rtp_stats_rx_last_sr(&r->encodings[encoding].stats)
                                             : NULL;
}

void receiver_get_encoding_stats(const struct receiver *r, mono_t now, uint8_t encoding,
                                 struct receiver_encoding_stats *ret)
{
    *ret = (struct receiver_encoding_stats){0};
    if (encoding >= r->view.conf.encodings) {
        return;
    }
    const struct receiver_encoding *const e = &r->encodings[encoding];
    *ret = (struct receiver_encoding_stats){
        .ssrc = e->ssrc,
        .rtx_ssrc = e->rtx_ssrc,
        .live = r->view.live_mask & (1u << encoding),
        .width = e->width,
        .height = e->height,
        .packets = e->packets,
        .bytes = e->bytes,
        .padding_packets = e->padding_packets,
        .recovered = e->recovered,
        .duplicates = e->duplicates,
        .lost = rtp_stats_rx_lost(&e->stats),
        .jitter_us = (uint32_t)((uint64_t)rtp_stats_rx_jitter(&e->stats) * 1000000u /
                                r->view.conf.clock_rate),
        .nacks_sent = e->nacks.stats.asked,
        .key_frames = e->key_frames,
    };
    for (uint8_t t = 0; t < RECEIVER_TEMPORAL_MAX; t++) {
        ret->bitrate[t] = stream_tracker_bitrate(&e->tracker, now, t);
    }
    if (ret->live && e->tracker.frame_interval_us > 0) {
        ret->fps_x10 = (uint32_t)(10 * US_PER_S / e->tracker.frame_interval_us);
    }
}

void receiver_get_totals(const struct receiver *r, struct receiver_totals *ret)
{
    *ret = (struct receiver_totals){0};
    for (uint8_t i = 0; i < r->view.conf.encodings; i++) {
        const struct rtp_stats_rx *const s = &r->encodings[i].stats;
        uint64_t const lost = rtp_stats_rx_lost(s);
        ret->lost += lost;
        ret->expected += s->packets + lost;
    }
}

uint64_t receiver_plis_sent(const struct receiver *r)
{
    return r->plis.sent;
}

const uint64_t *receiver_verdicts(const struct receiver *r)
{
    return r->verdicts;
}

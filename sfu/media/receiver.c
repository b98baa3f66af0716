// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/receiver_internal.h"

#include "common/base/mem.h"
#include "common/base/seq.h"
#include "sfu/wire/packet_trailer.h"
#include "sfu/wire/vla.h"

static int init_encoding(struct receiver_encoding *e, const struct receiver_conf *conf, bool video)
{
    rtp_stats_rx_init(&e->stats, conf->clock_rate);
    rtp_stats_rx_init(&e->rtx_stats, conf->clock_rate);
    nack_queue_init(&e->nacks);
    stream_tracker_init(&e->tracker, conf->screen_share);
    if (!video) {
        return 0; // no RTX on audio: nothing is ever repeated from a history
    }
    int const res = rx_buffer_init(&e->history, RX_BUFFER_MIN, RX_BUFFER_MAX);
    e->has_history = res == 0;
    return res;
}

int receiver_new(const struct receiver_conf *conf, struct receiver **ret)
{
    bool const video = codec_kind(conf->codec) == MEDIA_VIDEO;
    if (conf->encodings < 1 || conf->encodings > RECEIVER_MAX_ENCODINGS || conf->clock_rate == 0 ||
        codec_kind(conf->codec) == MEDIA_NONE) {
        return -EINVAL;
    }
    struct receiver *const r = NEW(struct receiver);
    if (!r) {
        return -ENOMEM;
    }
    r->view.conf = *conf;
    r->view.rtt_us = NACK_QUEUE_DEFAULT_RTT_US;
    r->video = video;
    r->needed = (uint8_t)((1u << conf->encodings) - 1);
    r->housekeeping = MONO_NEVER;
    pli_throttle_init(&r->plis);
    ts_align_init(&r->align, conf->clock_rate);
    for (unsigned i = 0; i < conf->encodings; i++) {
        if (init_encoding(&r->encodings[i], conf, video) < 0) {
            goto fail;
        }
    }
    if (conf->codec == CODEC_AV1) {
        r->dd = NEW(struct dd_structure);
        if (!r->dd) {
            goto fail;
        }
    }
    *ret = r;
    return 0;
fail:
    receiver_free(r);
    return -ENOMEM;
}

void receiver_free(struct receiver *r)
{
    if (!r) {
        return;
    }
    for (unsigned i = 0; i < RECEIVER_MAX_ENCODINGS; i++) {
        if (r->encodings[i].has_history) {
            rx_buffer_done(&r->encodings[i].history);
        }
    }
    mem_free(r->dd);
    mem_free(r);
}

void receiver_update_live_(struct receiver *r)
{
    uint8_t mask = 0;
    for (unsigned i = 0; i < r->view.conf.encodings; i++) {
        if (r->encodings[i].tracker.state != STREAM_TRACKER_DEAD) {
            mask |= (uint8_t)(1u << i);
        }
    }
    r->view.live_mask = mask;
}

// The sequence of an encoding starts anew: nothing derived from the old one is valid.
static void restart(struct receiver *r, uint8_t encoding)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    if (e->has_history) {
        rx_buffer_flush(&e->history);
    }
    nack_queue_reset(&e->nacks);
    ts_align_reset(&r->align, encoding);
    e->context = (struct packet_info_context){0};
    e->has_frame = false;
    e->key_open = false;
    e->red = (struct red_holes){0};
    r->view.highest[encoding] = 0;
    r->view.epoch[encoding]++;
}

void receiver_bind(struct receiver *r, uint8_t encoding, bool rtx, uint32_t ssrc)
{
    if (encoding >= r->view.conf.encodings) {
        return;
    }
    struct receiver_encoding *const e = &r->encodings[encoding];
    uint32_t *const bound = rtx ? &e->rtx_ssrc : &e->ssrc;
    if (*bound == ssrc) {
        return;
    }
    bool const moved = *bound != 0;
    *bound = ssrc;
    if (!moved) {
        return;
    }
    rtp_stats_rx_init(rtx ? &e->rtx_stats : &e->stats, r->view.conf.clock_rate);
    if (!rtx) {
        restart(r, encoding);
        e->stopped = false;
    }
}

// A video layers allocation tells at once which encodings run; measuring takes a second.
static void note_allocation(struct receiver *r, mono_t now, struct bytes data)
{
    struct vla v;
    if (vla_parse(data, &v) < 0) {
        return;
    }
    for (unsigned s = 0; s < r->view.conf.encodings; s++) {
        uint8_t const encoding = r->view.conf.vla_encoding[s];
        if (encoding >= r->view.conf.encodings) {
            continue;
        }
        struct receiver_encoding *const e = &r->encodings[encoding];
        const struct vla_layer *top = NULL;
        for (unsigned l = 0; s < v.stream_count && l < VLA_SPATIAL_MAX; l++) {
            top = v.layer[s][l].active ? &v.layer[s][l] : top;
        }
        stream_tracker_declare(&e->tracker, now, top != NULL, top ? top->kbps : NULL,
                               top ? top->temporal_count : 0);
        if (top && v.has_resolution) {
            e->width = top->width;
            e->height = top->height;
        }
    }
}

static void note_dimensions(struct receiver *r, struct receiver_encoding *e, const struct packet *p)
{
    struct dd d;
    if (r->dd && p->info.key_frame && dd_parse(packet_info_dd(p), NULL, &d, r->dd) == 0 &&
        d.has_structure && r->dd->resolution_count > 0) {
        e->width = r->dd->width[r->dd->resolution_count - 1];
        e->height = r->dd->height[r->dd->resolution_count - 1];
    } else if (p->info.width > 0) {
        e->width = p->info.width;
        e->height = p->info.height;
    }
}

// A key frame is complete when its last packet has come and no packet of it is missing.
static void check_key_complete(struct receiver_encoding *e, mono_t now)
{
    if (!e->key_open || e->key_last_sn == 0) {
        return;
    }
    for (uint32_t i = 0; i < e->nacks.count; i++) {
        uint64_t const sn = e->nacks.item[i].ext_sn;
        if (sn >= e->key_first_sn && sn <= e->key_last_sn) {
            return;
        }
    }
    e->key_open = false;
    nack_queue_key_frame(&e->nacks, now, e->key_first_sn);
}

static void note_key_frame(struct receiver *r, mono_t now, uint8_t encoding, const struct packet *p)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    if (p->info.key_frame && p->info.frame_start && !(e->key_open && e->key_ts == p->ts)) {
        e->key_open = true;
        e->key_first_sn = p->ext_sn;
        e->key_last_sn = 0;
        e->key_ts = p->ts;
        e->key_frames++;
        pli_throttle_key_frame(&r->plis, now, encoding);
        note_dimensions(r, e, p);
    }
    if (e->key_open && p->ts == e->key_ts && p->marker) {
        e->key_last_sn = p->ext_sn;
    }
    check_key_complete(e, now);
}

// Everything that a new packet with payload tells, its codec fields being set.
static void note_media(struct receiver *r, mono_t now, uint8_t encoding, const struct packet *p)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    if (r->video) {
        note_key_frame(r, now, encoding, p);
    }
    if (p->info.recovered) {
        return; // no sign of life: it may be a probe that repeats an old packet
    }
    uint8_t const tid = p->info.temporal < STREAM_TRACKER_TEMPORAL_MAX ? p->info.temporal : 0;
    if (stream_tracker_packet(&e->tracker, now, p->ts, tid, p->len)) {
        receiver_update_live_(r);
    }
    if (!e->has_frame || seq32_newer(p->ts, e->frame_ts)) {
        e->has_frame = true;
        e->frame_ts = p->ts;
        if (r->view.conf.encodings > 1) {
            ts_align_frame(&r->align, encoding, p->ts, p->arrival);
        }
    }
}

// Missing numbers before a new packet. They are asked for only if somebody needs the encoding.
static void note_gap(struct receiver *r, mono_t now, uint8_t encoding,
                     const struct rtp_flow_info *flow)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    if (flow->gap_count == 0 || !r->view.conf.nack || !(r->needed & (1u << encoding))) {
        return;
    }
    bool const repairable = nack_queue_add(&e->nacks, now, flow->gap_first, flow->gap_count);
    uint64_t const known_from = flow->gap_count > NACK_QUEUE_MAX
                                    ? flow->gap_first + flow->gap_count - NACK_QUEUE_MAX
                                    : flow->gap_first;
    for (uint64_t sn = known_from; e->has_history && sn < flow->gap_first + flow->gap_count; sn++) {
        if (rx_buffer_peek(&e->history, sn)) {
            (void)nack_queue_remove(&e->nacks, now, sn,
                                    true); // RTX had brought it before the gap was seen
        }
    }
    if (!repairable && r->video) {
        receiver_request_key_frame(r, now, encoding);
    }
}

static enum receiver_verdict store(struct receiver *r, mono_t now, uint8_t encoding,
                                   struct packet *p)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    if (e->has_history) {
        // The history is what keeps many packets: small ones go into small buffers. One that was
        // held for its description and released in the same batch still has another owner.
        if (LIKELY(p->refs == 1)) {
            packet_compact(p);
        }
        switch (rx_buffer_put(&e->history, now, p)) {
        case RX_BUFFER_DUPLICATE:
            e->duplicates++;
            return RECEIVER_DROP_DUPLICATE;
        case RX_BUFFER_TOO_OLD:
            return RECEIVER_DROP_TOO_OLD;
        case RX_BUFFER_STORED:
            break;
        }
        if (mono_is_never(r->housekeeping)) {
            r->housekeeping = mono_add_us(now, RECEIVER_HOUSEKEEPING_US);
        }
    }
    p->info.late = p->ext_sn < r->view.highest[encoding];
    p->info.epoch = (uint8_t)r->view.epoch[encoding];
    r->view.highest[encoding] = MAX(r->view.highest[encoding], p->ext_sn);
    e->packets++;
    e->bytes += p->len;
    e->padding_packets += p->info.padding_only;
    e->recovered += p->info.recovered;
    return RECEIVER_FORWARD;
}

// RTX (RFC 4588): the payload begins with the original sequence number. Nothing is moved: the
// fields of the packet say what it was originally.
static enum receiver_verdict input_rtx(struct receiver *r, mono_t now, uint8_t encoding,
                                       struct packet *p)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    (void)rtp_stats_rx_packet(&e->rtx_stats, p->arrival, p->sn, p->ts, p->len, p->info.payload_len);
    if (p->info.payload_len < 2) {
        return RECEIVER_DROP_RTX_PADDING;
    }
    if (!e->stats.started || !e->has_history) {
        return RECEIVER_DROP_RTX_EARLY;
    }
    struct rd rd = rd_init(packet_payload(p));
    p->sn = rd_be16(&rd);
    p->ssrc = e->ssrc;
    p->info.payload_off = (uint16_t)(p->info.payload_off + 2);
    p->info.payload_len = (uint16_t)(p->info.payload_len - 2);
    p->info.padding_only = p->info.payload_len == 0;
    p->info.recovered = true;
    if (!rtp_stats_rx_extend(&e->stats, p->sn, &p->ext_sn)) {
        return RECEIVER_DROP_TOO_OLD;
    }
    if (rx_buffer_peek(&e->history, p->ext_sn)) {
        e->duplicates++;
        return RECEIVER_DROP_DUPLICATE;
    }
    (void)nack_queue_remove(&e->nacks, now, p->ext_sn, true);
    return RECEIVER_FORWARD;
}

static enum receiver_verdict input_media(struct receiver *r, mono_t now, uint8_t encoding,
                                         struct packet *p)
{
    struct receiver_encoding *const e = &r->encodings[encoding];
    struct rtp_flow_info const flow =
        rtp_stats_rx_packet(&e->stats, p->arrival, p->sn, p->ts, p->len, p->info.payload_len);
    p->ext_sn = flow.ext_sn;
    switch (flow.flow) {
    case RTP_FLOW_DUPLICATE:
        e->duplicates++;
        return RECEIVER_DROP_DUPLICATE;
    case RTP_FLOW_STRAY:
        return RECEIVER_DROP_PROBATION;
    case RTP_FLOW_RESTART:
        restart(r, encoding);
        if (r->video) {
            receiver_request_key_frame(r, now, encoding);
        }
        break;
    case RTP_FLOW_LATE:
        (void)nack_queue_remove(&e->nacks, now, p->ext_sn, false);
        break;
    case RTP_FLOW_NEXT:
        note_gap(r, now, encoding, &flow);
        break;
    case RTP_FLOW_FIRST:
        break;
    }
    e->stopped = false;
    return RECEIVER_FORWARD;
}

static enum receiver_verdict input(struct receiver *r, mono_t now,
                                   const struct rtp_demux_route *route, struct packet *p,
                                   const struct rtp_header *h)
{
    uint8_t const encoding = route->encoding;
    const struct receiver_conf *const conf = &r->view.conf;
    if (encoding >= conf->encodings) {
        return RECEIVER_DROP_ENCODING;
    }
    bool const red = route->codec == CODEC_RED && conf->codec == CODEC_OPUS;
    if (route->codec != conf->codec && !red) {
        return RECEIVER_DROP_CODEC;
    }
    packet_info_header(p, h, &conf->ext);
    p->info.encoding = encoding;
    receiver_bind(r, encoding, route->rtx, h->ssrc);
    if (r->video && conf->pli && !r->seeded) {
        r->seeded = true;
        pli_throttle_seed(&r->plis, now);
    }
    enum receiver_verdict v =
        route->rtx ? input_rtx(r, now, encoding, p) : input_media(r, now, encoding, p);
    if (v != RECEIVER_FORWARD) {
        return v;
    }
    packet_info_payload(p, (enum codec)route->codec, &r->encodings[encoding].context);
    if (conf->encodings > 1) {
        p->info.spatial = encoding;
    }
    if (UNLIKELY(conf->trailers) && (p->marker || p->info.frame_end)) {
        struct bytes const payload = packet_payload(p);
        size_t const desc = p->info.vp8.len;
        p->info.trailer_len = packet_trailer_len(bytes_of(payload.p + desc, payload.n - desc));
    }
    if (red && conf->encrypted) {
        p->info.red_primary_off = 0; // ciphertext may look like anything
    }
    if (red || r->encodings[encoding].red.started) {
        red_holes_packet(&r->encodings[encoding].red, p);
    }
    struct bytes vla = {NULL, 0};
    if (rtp_ext_find(h, conf->ext.id[RTP_EXT_VIDEO_LAYERS_ALLOCATION], &vla)) {
        note_allocation(r, now, vla);
        receiver_update_live_(r);
    }
    v = store(r, now, encoding, p);
    if (v == RECEIVER_FORWARD && !p->info.padding_only) {
        note_media(r, now, encoding, p);
    }
    return v;
}

bool receiver_fill_hole(struct receiver *r, const struct packet *p, uint8_t i, struct packet *ret)
{
    if (!red_holes_fill(p, i, ret)) {
        return false;
    }
    r->encodings[p->info.encoding].recovered++;
    return true;
}

enum receiver_verdict receiver_input(struct receiver *r, mono_t now,
                                     const struct rtp_demux_route *route, struct packet *p,
                                     const struct rtp_header *h)
{
    enum receiver_verdict const v = input(r, now, route, p, h);
    r->verdicts[v]++;
    return v;
}

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/seq.h"
#include "sfu/media/rtcp_out.h"
#include "sfu/transport/srtp_transport.h"
#include "sfu/wire/opus_red.h"
#include "sfu/wire/rtcp_fb.h"
#include "sfu/wire/rtp_ext.h"
#include "tests/support/room_client.h"

#define AUDIO_US 20000
#define AUDIO_TICKS 960
#define AUDIO_PAYLOAD 60u
#define AUDIO_SR_PACKETS 50 // one report a second

// Number 7, as client-sdk-js appends it (src/frameMetadata/frameMetadata.ts).
#define ROOM_TRAILER "\xfd\xfb\xff\xff\xff\xf8\xf4LKTS"
#define TRAILER_LEN (sizeof(ROOM_TRAILER) - 1)

// ---- sending --------------------------------------------------------------------------------

struct room_sender *room_sender_new(struct room_client *c, enum room_media media)
{
    struct room_sender *const s = NEW(struct room_sender);
    room_must(s != NULL && c->sender_count < ROOM_CLIENT_SENDERS, "room for a sender");
    uint32_t const id = c->number * 64 + (uint32_t)c->sender_count;
    s->media = media;
    s->level = 30;
    s->codec = CODEC_VP8;
    (void)snprintf(s->cid, sizeof(s->cid), "cid-%u-%zu", c->number, c->sender_count);
    s->audio_ssrc = 0x50000000u + id;
    s->audio_sn = 65000 + id % 500; // wraps soon
    model_publisher_init(&s->model, c->h->now, 1000 + id);
    for (unsigned i = 0; i < MODEL_LAYERS; i++) {
        s->model.layers[i].ssrc += id * 16;
        s->model.layers[i].rtx_ssrc += id * 16;
        s->model.layers[i].active = i == 0 || media == ROOM_VIDEO_SIMULCAST;
    }
    model_link_init(&s->link, 0, 0, 0);
    c->senders[c->sender_count++] = s;
    return s;
}

void room_sender_free(struct room_sender *s)
{
    model_publisher_done(&s->model);
    model_link_done(&s->link);
    mem_free(s);
}

static const struct jsep_codec *codec_of(const struct room_sender *s)
{
    const struct jsep_codec *const c =
        jsep_codec_find(s->section, s->media == ROOM_AUDIO ? CODEC_OPUS : s->codec);
    return c != NULL ? c : s->section->codecs;
}

static size_t add_ext(struct rtp_ext_elem *v, size_t n, const struct jsep_transceiver *t,
                      enum rtp_ext_type type, struct bytes data)
{
    if (t->ext_send.id[type] != 0) {
        v[n++] = (struct rtp_ext_elem){t->ext_send.id[type], data};
    }
    return n;
}

static void send_rtp(struct room_sender *s, struct room_pc *p, const struct rtp_header *h,
                     struct bytes payload, const struct rtp_ext_elem *ext, size_t ext_count,
                     uint64_t ext_sn)
{
    uint8_t buf[MODEL_MTU + 64 + TRAILER_LEN];
    struct wr w = wr_init(buf, sizeof(buf));
    rtp_write_with_ext(&w, h, ext, ext_count, NULL);
    size_t const header = wr_len(&w);
    wr_bytes(&w, payload);
    if (wr_ok(&w) &&
        peer_connection_send_rtp(p->pc, wr_bytes_view(&w), header, ext_sn, &p->ep.out) == 0) {
        s->packets++;
    }
}

// Model packets get the header that was negotiated: payload type, mid, rid, transport-wide number.
static void send_model_packet(struct room_sender *s, struct room_pc *p,
                              const struct model_datagram *d)
{
    static const char *const rids[MODEL_LAYERS] = {"q", "h", "f"};
    struct rtp_header h;
    if (d->data[1] >= 200 && d->data[1] < 208) {
        (void)!peer_connection_send_rtcp(p->pc, bytes_of(d->data, d->len), &p->ep.out);
        return;
    }
    room_must(rtp_parse(bytes_of(d->data, d->len), &h) == 0, "model packet");
    bool rtx = false;
    int const layer = model_publisher_layer(&s->model, h.ssrc, &rtx);
    room_must(layer >= 0, "model layer");
    const struct jsep_codec *const codec = codec_of(s);
    struct bytes payload = rtp_payload(bytes_of(d->data, d->len), &h);
    h.pt = rtx ? codec->rtx_pt : codec->pt;
    if (s->muted || (rtx && h.pt == 0)) {
        return;
    }
    uint8_t sn[2] = {(uint8_t)(p->client->twcc_sn >> 8), (uint8_t)p->client->twcc_sn};
    p->client->twcc_sn++;
    struct rtp_ext_elem ext[4];
    size_t n = add_ext(ext, 0, s->section, RTP_EXT_MID, bytes_str(s->section->mid));
    if (s->media == ROOM_VIDEO_SIMULCAST) {
        n = add_ext(ext, n, s->section, rtx ? RTP_EXT_RRID : RTP_EXT_RID, bytes_str(rids[layer]));
    }
    n = add_ext(ext, n, s->section, RTP_EXT_TRANSPORT_CC, bytes_of(sn, 2));
    uint64_t *const last = &s->ext_sn[layer * 2 + rtx];
    *last = *last == 0 ? MAX(1u, h.sn) : seq16_extend(*last, h.sn);
    uint8_t buf[MODEL_MTU + TRAILER_LEN];
    if (s->trailers && h.marker) {
        struct wr w = wr_init(buf, sizeof(buf));
        wr_bytes(&w, payload);
        wr_bytes(&w, bytes_of(ROOM_TRAILER, TRAILER_LEN));
        payload = wr_bytes_view(&w);
    }
    send_rtp(s, p, &h, payload, ext, n, *last);
}

static void send_audio_report(struct room_sender *s, struct room_pc *p)
{
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    struct rtcp_sr const sr = {.ssrc = s->audio_ssrc,
                               .ntp = ntp_from_wall(p->client->h->env.wall),
                               .rtp_ts = (uint32_t)(s->audio_sn * AUDIO_TICKS),
                               .packets = (uint32_t)s->packets,
                               .octets = (uint32_t)(s->packets * AUDIO_PAYLOAD)};
    rtcp_sr_write(&w, &sr);
    (void)!peer_connection_send_rtcp(p->pc, wr_bytes_view(&w), &p->ep.out);
}

static void fill_frame(uint8_t frame[static AUDIO_PAYLOAD], uint64_t sn)
{
    for (size_t i = 0; i < AUDIO_PAYLOAD; i++) {
        frame[i] = (uint8_t)(sn * 7 + i);
    }
}

// The frame of a packet; with RED the two before it as well, as Chromium does.
static struct bytes write_audio(const struct room_sender *s, bool red, uint8_t *buf, size_t cap)
{
    uint8_t frames[3][AUDIO_PAYLOAD];
    struct opus_red blocks = {0};
    uint8_t const before = (uint8_t)(red ? MIN(s->audio_run, 2u) : 0);
    for (uint8_t i = 0; i <= before; i++) {
        uint8_t const back = (uint8_t)(before - i);
        fill_frame(frames[i], s->audio_sn - back);
        blocks.block[blocks.count++] = (struct opus_red_block){
            codec_of(s)->pt, (uint16_t)(back * AUDIO_TICKS), {frames[i], AUDIO_PAYLOAD}};
    }
    struct wr w = wr_init(buf, cap);
    if (red) {
        opus_red_write(&w, &blocks);
    } else {
        wr_bytes(&w, bytes_of(frames[0], AUDIO_PAYLOAD));
    }
    return wr_bytes_view(&w);
}

static void send_audio(struct room_sender *s, struct room_pc *p)
{
    // What stands first in the answer is what a browser sends.
    const struct jsep_codec *const first = &s->section->codecs[0];
    bool const red = first->codec == CODEC_RED;
    uint8_t buf[4 * AUDIO_PAYLOAD];
    struct bytes const payload = write_audio(s, red, buf, sizeof(buf));
    struct rtp_header const h = {.pt = red ? first->pt : codec_of(s)->pt,
                                 .sn = (uint16_t)s->audio_sn,
                                 .ts = (uint32_t)(s->audio_sn * AUDIO_TICKS),
                                 .ssrc = s->audio_ssrc};
    uint8_t const level = rtp_ext_audio_level_byte(s->level, true);
    struct rtp_ext_elem ext[2];
    size_t n = add_ext(ext, 0, s->section, RTP_EXT_MID, bytes_str(s->section->mid));
    n = add_ext(ext, n, s->section, RTP_EXT_AUDIO_LEVEL, bytes_of(&level, 1));
    if (!s->muted) {
        send_rtp(s, p, &h, payload, ext, n, s->audio_sn);
    }
    s->audio_run = s->muted ? 0 : s->audio_run + 1;
    if (s->audio_sn++ % AUDIO_SR_PACKETS == 0) {
        send_audio_report(s, p);
    }
}

void room_sender_tick(struct room_sender *s, struct room_pc *p)
{
    mono_t const now = p->client->h->now;
    if (s->section == NULL || !s->section->sender_live || s->section->codec_count == 0 ||
        (s->section->direction & SDP_SENDONLY) == 0) {
        return;
    }
    if (s->media == ROOM_AUDIO) {
        while (mono_reached(s->audio_at, now)) {
            send_audio(s, p);
            s->audio_at = mono_add_us(s->audio_at.us == 0 ? now : s->audio_at, AUDIO_US);
        }
        return;
    }
    struct model_datagram d;
    // What was not captured while there was no connection does not come in a burst.
    while (mono_reached(
        mono_add_us(s->model.start, (int64_t)(s->model.frame + 3) * US_PER_S / MODEL_FPS), now)) {
        s->model.frame++;
    }
    if (s->muted) {
        return; // no frame is encoded, and no number is used up
    }
    model_publisher_tick(&s->model, now, &s->link);
    while (model_link_take(&s->link, now, &d)) {
        send_model_packet(s, p, &d);
    }
}

// ---- receiving ------------------------------------------------------------------------------

void room_stream_free(struct room_stream *s)
{
    if (!s->audio) {
        model_subscriber_done(&s->model);
    }
    model_link_done(&s->link);
    mem_free(s);
}

static struct room_stream *by_ssrc(const struct room_client *c, uint32_t ssrc)
{
    struct room_stream *s = c->streams;
    while (s != NULL && s->ssrc != ssrc && s->rtx_ssrc != ssrc) {
        s = s->next;
    }
    return s;
}

static void add_stream(struct room_client *c, const struct jsep_transceiver *t)
{
    const struct jsep_ssrc *const id = &t->remote->ssrcs[0];
    struct room_stream *const s = NEW(struct room_stream);
    room_must(s != NULL, "memory");
    s->ssrc = id->ssrc;
    s->rtx_ssrc = id->rtx_ssrc;
    s->audio = t->kind == JSEP_AUDIO;
    s->delay_id = t->ext_recv.id[RTP_EXT_PLAYOUT_DELAY];
    const char *const bar = strchr(t->remote->stream_id, '|');
    room_must(bar != NULL, "a stream id PA|TR");
    (void)snprintf(s->publisher_sid, sizeof(s->publisher_sid), "%.*s",
                   (int)(bar - t->remote->stream_id), t->remote->stream_id);
    (void)snprintf(s->track_sid, sizeof(s->track_sid), "%.23s", t->remote->track_id);
    if (!s->audio) {
        model_subscriber_init(&s->model, s->ssrc, s->rtx_ssrc);
    }
    rtp_stats_rx_init(&s->rx, s->audio ? 48000 : 90000);
    model_link_init(&s->link, 0, 0, 0);
    DL_PREPEND(c->streams, s); // newest first: a track may have had another stream before
}

void room_streams_update(struct room_client *c, struct room_pc *p)
{
    for (size_t i = 0; i < jsep_count(p->jsep); i++) {
        const struct jsep_transceiver *const t = jsep_at(p->jsep, i);
        bool const media = t->kind == JSEP_AUDIO || t->kind == JSEP_VIDEO;
        if (media && !t->stopped && t->remote != NULL && t->remote->ssrc_count > 0 &&
            by_ssrc(c, t->remote->ssrcs[0].ssrc) == NULL) {
            add_stream(c, t);
        }
    }
}

// Of both tables of payload types (sfu/transport/jsep_codecs.c).
#define RED_PT 63

static void check_frame(struct room_stream *s, const struct opus_red_block *b, struct bytes primary,
                        bool padding)
{
    s->audio_bad += b->data.n != AUDIO_PAYLOAD && !padding;
    for (size_t i = 0; i < b->data.n && i < primary.n; i++) {
        uint8_t const before = (uint8_t)(b->ts_offset / AUDIO_TICKS * 7);
        s->audio_bad += (uint8_t)(b->data.p[i] + before - primary.p[0]) != (uint8_t)i;
    }
}

static void receive_audio(struct room_stream *s, struct bytes packet)
{
    struct rtp_header h;
    if (rtp_parse(packet, &h) < 0) {
        s->audio_bad++;
        return;
    }
    struct opus_red red = {.count = 1, .block = {{.data = rtp_payload(packet, &h)}}};
    if (h.pt == RED_PT && h.padding_len == 0) {
        s->audio_bad += opus_red_parse(rtp_payload(packet, &h), &red) < 0;
        s->red++;
    }
    for (uint8_t i = 0; i < red.count; i++) {
        check_frame(s, &red.block[i], red.block[red.count - 1].data, h.padding_len > 0);
    }
    uint64_t const ext = s->packets == 0 ? 65536u + h.sn : seq16_extend(s->highest, h.sn);
    s->highest = MAX(s->highest, ext);
    s->packets++;
}

void room_media_rtp(struct room_client *c, struct bytes packet)
{
    struct rtp_header h;
    struct room_stream *const s = rtp_parse(packet, &h) == 0 ? by_ssrc(c, h.ssrc) : NULL;
    if (s == NULL) {
        // Media and signalling of a worker with threads go separate ways: as on the Internet, the first
        // packets may be there before the description that names them.
        if (c->h->live == NULL) {
            room_harness_violation(c->h, "%s got RTP of a stream that no description named",
                                   c->identity);
        }
        return;
    }
    const struct room_pc *const pc = c->conf.v0 ? c->subscriber : c->publisher;
    if (s->packets == 0) {
        // A description named it: it is not one of the few that may come unannounced.
        room_must(srtp_transport_bind_ssrc(peer_connection_srtp(pc->pc), h.ssrc) == 0, "bind");
    }
    if (h.ssrc == s->ssrc) {
        (void)rtp_stats_rx_packet(&s->rx, c->h->now, h.sn, h.ts, packet.n,
                                  rtp_payload(packet, &h).n);
    }
    struct bytes delay;
    if (h.ssrc == s->ssrc && rtp_ext_find(&h, s->delay_id, &delay) &&
        rtp_ext_playout_delay(delay, &s->delay_min, &s->delay_max)) {
        s->delays++;
    }
    bool const padding_only = h.ssrc == s->ssrc && h.padding_len > 0 && h.payload_len == 0;
    s->padding += padding_only;
    if (s->audio) {
        receive_audio(s, packet);
    } else if (padding_only) {
        s->packets++; // nothing for a decoder: between pictures it would be a hole to the model
    } else {
        s->packets++;
        s->trailers += packet.n >= TRAILER_LEN &&
                       memcmp(packet.p + packet.n - TRAILER_LEN, ROOM_TRAILER, TRAILER_LEN) == 0;
        model_subscriber_rtp(&s->model, c->h->now, packet);
    }
}

static void feed_senders(struct room_client *c, struct room_pc *p, struct bytes compound)
{
    for (size_t i = 0; i < c->sender_count; i++) {
        struct room_sender *const s = c->senders[i];
        if (s->media != ROOM_AUDIO) {
            model_publisher_rtcp(&s->model, c->h->now, compound, &s->link);
        }
    }
    (void)p;
}

void room_media_rtcp(struct room_client *c, struct room_pc *p, struct bytes compound)
{
    struct rtcp_iter it;
    struct rtcp_packet packet;
    struct rtcp_sr sr;
    rtcp_iter_init(&it, compound);
    while (rtcp_next(&it, &packet)) {
        struct room_stream *const s =
            packet.type == RTCP_SR && rtcp_sr_parse(&packet, &sr) == 0 ? by_ssrc(c, sr.ssrc) : NULL;
        if (s != NULL) {
            s->srs++;
            (void)rtp_stats_rx_sender_report(&s->rx, c->h->now, &sr);
        }
    }
    if (it.bad) {
        room_harness_violation(c->h, "%s got malformed RTCP", c->identity);
    }
    if (!p->subscriber) {
        feed_senders(c, p, compound);
    }
}

// As libwebrtc does for video; for audio it takes its time.
#define REPORT_US INT64_C(1000000)

static void send_reports(struct room_client *c, struct room_pc *p)
{
    struct rtcp_out o;
    rtcp_out_init(&o, 0x60000000u + c->number);
    struct room_stream *s = NULL;
    DL_FOREACH(c->streams, s)
    {
        struct rtcp_report_block b = {0};
        if (rtp_stats_rx_report(&s->rx, c->h->now, &b)) {
            b.ssrc = s->ssrc;
            (void)!rtcp_out_add_block(&o, &b); // more than a report holds: not these
        }
    }
    uint8_t buf[RTCP_OUT_CAP];
    size_t n = 0;
    if (!rtcp_out_is_empty(&o) &&
        rtcp_out_finish(&o, (struct bytes_mut){buf, sizeof(buf)}, &n) == 0) {
        (void)!peer_connection_send_rtcp(p->pc, bytes_of(buf, n), &p->ep.out);
    }
}

void room_streams_tick(struct room_client *c, struct room_pc *p)
{
    if (mono_reached(c->next_report, c->h->now)) {
        c->next_report = mono_add_us(c->h->now, REPORT_US);
        send_reports(c, p);
    }
    struct room_stream *s = NULL;
    DL_FOREACH(c->streams, s)
    {
        if (s->audio) {
            continue;
        }
        struct model_datagram d;
        model_subscriber_tick(&s->model, c->h->now, &c->rng, &s->link);
        while (model_link_take(&s->link, c->h->now, &d)) {
            (void)!peer_connection_send_rtcp(p->pc, bytes_of(d.data, d.len), &p->ep.out);
        }
    }
}

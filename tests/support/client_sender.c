// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_sender.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/seq.h"
#include "common/sys/clock.h"
#include "sfu/transport/srtp_batch.h"
#include "sfu/wire/vp8.h"
#include "tests/support/client_pattern.h"
#include "tests/support/client_pc.h"

// RTP payload of the largest packet: with header, extensions and tag it stays under 1280 bytes.
#define VP8_HEADER 10u
// Behind by more than this, frames are left out: a stopped process must not burst.
#define LATE_US INT64_C(200000)

enum { FRAME_START = 1, FRAME_END = 2, FRAME_KEY = 4 };

struct client_sent_ {
    uint64_t ext_sn;
    int64_t sent_us;
    uint32_t counter, frame, ts;
    uint16_t picture_id;
    uint8_t tl0;
    uint8_t flags;
};

const char *const client_rids[CLIENT_LAYERS_MAX] = {"q", "h", "f"};

// ---- life ---------------------------------------------------------------------------------------

static void send_due(void *user);

static int init_encoding(struct client_sender *s, struct client_encoding *e)
{
    struct rng *const r = &s->net->rng;
    e->ssrc = rng_u32(r) | 1u;
    e->rtx_ssrc = s->conf.audio ? 0 : rng_u32(r) | 1u;
    e->ts_base = rng_u32(r);
    // Below 2^15, so that a lost first packet cannot desynchronise the rollover counter (RFC 3711
    // section 3.3.1).
    e->ext_sn = rng_u32(r) & 0x7fff;
    e->rtx_sn = rng_u32(r) & 0x7fff;
    e->picture_id = (uint16_t)(rng_u32(r) & 0x7fff);
    e->tl0 = (uint8_t)rng_u32(r);
    e->want_key = true;
    e->history = mem_array(CLIENT_HISTORY, sizeof(*e->history));
    return e->history != NULL ? 0 : -ENOMEM;
}

int client_sender_new(struct client_net *n, struct client_pc *pc,
                      const struct client_track_conf *conf, uint32_t publisher, uint8_t index,
                      struct client_sender **ret)
{
    struct client_sender *const s = NEW(struct client_sender);
    if (s == NULL) {
        return -ENOMEM;
    }
    s->net = n;
    s->pc = pc;
    s->conf = *conf;
    s->conf.layers = conf->audio ? 1 : (uint8_t)MAX(1, MIN(conf->layers, CLIENT_LAYERS_MAX));
    s->publisher = publisher;
    s->index = index;
    char random[17];
    rng_text(&n->rng, random, sizeof(random) - 1);
    (void)snprintf(s->cid, sizeof(s->cid), "%s-%s", conf->audio ? "audio" : "video", random);
    int rc = client_timer_init(&s->timer, n, send_due, s);
    for (uint8_t i = 0; i < s->conf.layers && rc == 0; i++) {
        rc = init_encoding(s, &s->layer[i]);
    }
    if (rc < 0) {
        client_sender_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void client_sender_free(struct client_sender *s)
{
    if (s == NULL) {
        return;
    }
    client_timer_done(&s->timer, s->net);
    for (size_t i = 0; i < CLIENT_LAYERS_MAX; i++) {
        mem_free(s->layer[i].history);
    }
    mem_free(s);
}

int client_sender_attach(struct client_sender *s, struct jsep_transceiver *section)
{
    bool const simulcast = s->conf.layers > 1;
    struct jsep_sender d = {
        .stream_id = "-",
        .track_id = s->cid,
        .cname = s->cid,
        .ssrc = s->layer[0].ssrc,
        .rtx_ssrc = s->layer[0].rtx_ssrc,
        .no_ssrc_lines = simulcast,
        .preferred = s->conf.audio ? CODEC_OPUS : CODEC_VP8,
        .rid_count = simulcast ? s->conf.layers : 0,
    };
    for (uint8_t i = 0; i < d.rid_count; i++) {
        d.rids[i] = client_rids[i];
    }
    s->section = section;
    return jsep_transceiver_set_sender(section, &d);
}

// ---- one packet ---------------------------------------------------------------------------------

static const struct rtp_ext_map *ext_of(const struct client_sender *s)
{
    return &s->section->ext_send;
}

struct elements {
    struct rtp_ext_elem e[6];
    size_t n;
    uint8_t level, twcc[2], send_time[3];
};

static void add_element(struct elements *x, uint8_t id, struct bytes data)
{
    if (id != 0 && data.n > 0) {
        x->e[x->n++] = (struct rtp_ext_elem){.id = id, .data = data};
    }
}

static void fill_elements(struct client_sender *s, const struct client_encoding *e, bool rtx,
                          mono_t now, struct elements *x)
{
    const struct rtp_ext_map *const m = ext_of(s);
    // libwebrtc names the stream until the receiver has reported on it (rtp_sender.cc).
    if (rtx ? !e->rtx_reported : !e->reported) {
        const char *const rid = s->conf.layers > 1 ? client_rids[e - s->layer] : "";
        add_element(x, m->id[RTP_EXT_MID], bytes_str(s->section->mid));
        add_element(x, m->id[rtx ? RTP_EXT_RRID : RTP_EXT_RID], bytes_str(rid));
    }
    if (s->conf.audio) {
        x->level = rtp_ext_audio_level_byte(s->conf.level, true);
        add_element(x, m->id[RTP_EXT_AUDIO_LEVEL], bytes_of(&x->level, 1));
    }
    if (m->id[RTP_EXT_TRANSPORT_CC] != 0) {
        uint16_t const sn = s->pc->twcc_sn++;
        x->twcc[0] = (uint8_t)(sn >> 8);
        x->twcc[1] = (uint8_t)sn;
        add_element(x, m->id[RTP_EXT_TRANSPORT_CC], bytes_of(x->twcc, 2));
    }
    uint32_t const t = rtp_ext_abs_send_time_from_us(now.us);
    x->send_time[0] = (uint8_t)(t >> 16);
    x->send_time[1] = (uint8_t)(t >> 8);
    x->send_time[2] = (uint8_t)t;
    add_element(x, m->id[RTP_EXT_ABS_SEND_TIME], bytes_of(x->send_time, 3));
}

// RFC 7741 descriptor, and an RFC 6386 frame header in front of the first packet of a frame.
static void write_vp8(struct wr *w, const struct client_sent_ *p, const struct client_layer_conf *c)
{
    bool const start = (p->flags & FRAME_START) != 0;
    struct vp8_desc const d = {
        .start = start,
        .has_picture_id = true,
        .picture_id_15 = true,
        .picture_id = p->picture_id,
        .has_tl0 = true,
        .tl0_pic_idx = p->tl0,
        .has_tid = true,
    };
    vp8_desc_write(w, &d);
    if (!start) {
        return;
    }
    bool const key = (p->flags & FRAME_KEY) != 0;
    // Frame tag: bit 0 clear says key frame, then version 0, shown, and a first partition of one
    // byte.
    wr_u8(w, (uint8_t)(key ? 0x30 : 0x31));
    wr_u8(w, 0);
    wr_u8(w, 0);
    wr_u8(w, 0x9d);
    wr_u8(w, 0x01);
    wr_u8(w, 0x2a);
    wr_u8(w, (uint8_t)c->width);
    wr_u8(w, (uint8_t)(c->width >> 8));
    wr_u8(w, (uint8_t)c->height);
    wr_u8(w, (uint8_t)(c->height >> 8));
}

static void write_payload(struct client_sender *s, const struct client_encoding *e,
                          const struct client_sent_ *p, struct wr *w)
{
    uint8_t const layer = (uint8_t)(e - s->layer);
    const struct client_layer_conf *const c = &s->conf.layer[layer];
    size_t const before = wr_len(w);
    if (!s->conf.audio) {
        write_vp8(w, p, c);
    }
    size_t const used = wr_len(w) - before;
    size_t const size = MAX((size_t)c->packet_size, used + CLIENT_PATTERN_LEN);
    struct client_pattern const pattern = {
        .publisher = s->publisher,
        .track = s->index,
        .layer = layer,
        .flags = p->flags,
        .counter = p->counter,
        .frame = p->frame,
        .sent_us = p->sent_us,
    };
    client_pattern_write(w, &pattern, size - used);
}

// Writes one packet into the outbox: the original, or its repetition.
static void emit(struct client_sender *s, struct client_encoding *e, const struct client_sent_ *p,
                 bool rtx)
{
    const struct peer_connection_path *const path = client_pc_path(s->pc);
    struct client_net *const n = s->net;
    if (path == NULL) {
        return;
    }
    struct outbox_slot *const slot = outbox_reserve(&n->out);
    uint64_t const ext_sn = rtx ? e->rtx_sn++ : p->ext_sn;
    struct rtp_header const h = {
        .marker = (p->flags & FRAME_END) != 0 && !s->conf.audio,
        .pt = rtx ? s->rtx_pt : s->pt,
        .sn = (uint16_t)ext_sn,
        .ts = p->ts,
        .ssrc = rtx ? e->rtx_ssrc : e->ssrc,
    };
    struct elements x = {.n = 0};
    fill_elements(s, e, rtx, n->now, &x);
    struct wr w = wr_init(slot->data, OUTBOX_DATA_CAP - OUTBOX_TAILROOM);
    rtp_write_with_ext(&w, &h, x.e, x.n, NULL);
    size_t const header_len = wr_len(&w);
    if (rtx) {
        wr_be16(&w, (uint16_t)p->ext_sn);
    }
    write_payload(s, e, p, &w);
    if (!wr_ok(&w)) {
        n->send_errors++;
        return;
    }
    slot->dst = path->dst;
    slot->local = path->local;
    slot->len = (uint16_t)wr_len(&w);
    slot->protect = OUTBOX_PROTECT_RTP;
    slot->rtp_header_len = (uint16_t)header_len;
    slot->rtp_roc = srtp_egress_roc(ext_sn);
    slot->srtp = path->srtp;
    bool const lost = n->send_drop_ppm > 0 && rng_below(&n->rng, 1000000) < n->send_drop_ppm;
    if (!lost) {
        outbox_commit(&n->out);
    }
}

// ---- frames -------------------------------------------------------------------------------------

uint32_t client_sender_rtp_ts(const struct client_sender *s, const struct client_encoding *e,
                              mono_t now)
{
    int64_t const us = mono_diff_us(now, s->epoch);
    int64_t const rate = s->conf.audio ? 48 : 90; // per millisecond (RFC 7587, RFC 7741)
    return e->ts_base + (uint32_t)(us * rate / US_PER_MS);
}

static void send_frame(struct client_sender *s, struct client_encoding *e)
{
    const struct client_layer_conf *const c = &s->conf.layer[e - s->layer];
    bool const key = e->want_key || (s->conf.key_every > 0 && e->frames % s->conf.key_every == 0);
    uint16_t const packets = MAX(c->packets, (uint16_t)1);
    int64_t const sent_us = clock_mono().us;
    uint32_t const ts = client_sender_rtp_ts(s, e, s->next);
    e->picture_id = (uint16_t)((e->picture_id + 1) & 0x7fff);
    e->tl0++;
    for (uint16_t i = 0; i < packets; i++) {
        struct client_sent_ *const p = &e->history[e->ext_sn % CLIENT_HISTORY];
        *p = (struct client_sent_){
            .ext_sn = e->ext_sn,
            .sent_us = sent_us,
            .counter = e->counter++,
            .frame = e->frame,
            .ts = ts,
            .picture_id = e->picture_id,
            .tl0 = e->tl0,
            .flags = (uint8_t)((i == 0 ? FRAME_START : 0) | (i + 1 == packets ? FRAME_END : 0) |
                               (key ? FRAME_KEY : 0)),
        };
        emit(s, e, p, false);
        e->ext_sn++;
        e->packets++;
        e->payload_bytes += c->packet_size;
    }
    e->last_ts = ts;
    e->frame++;
    e->frames++;
    e->key_frames += key;
    e->want_key = false;
}

static bool may_send(const struct client_sender *s)
{
    return s->pt != 0 && !s->muted && !s->paused && client_pc_path(s->pc) != NULL;
}

static void send_due(void *user)
{
    struct client_sender *const s = user;
    struct client_net *const n = s->net;
    if (!may_send(s)) {
        return;
    }
    if (mono_diff_us(n->now, s->next) > LATE_US) {
        s->next = n->now;
    }
    client_net_use(n, &s->pc->socket);
    while (mono_reached(s->next, n->now)) {
        for (uint8_t i = 0; i < s->conf.layers; i++) {
            send_frame(s, &s->layer[i]);
        }
        s->next = mono_add_us(s->next, s->conf.interval_us);
    }
    client_net_flush(n);
    client_timer_set(&s->timer, n, s->next);
}

static void start_or_stop(struct client_sender *s)
{
    if (!may_send(s)) {
        client_timer_set(&s->timer, s->net, MONO_NEVER);
    } else if (!timer_is_set(&s->timer.t)) {
        // Publishers that begin together do not send together.
        s->next = mono_add_us(s->net->now, rng_below(&s->net->rng, s->conf.interval_us));
        s->epoch = s->epoch.us == 0 ? s->net->now : s->epoch;
        client_timer_set(&s->timer, s->net, s->next);
    }
}

void client_sender_update(struct client_sender *s)
{
    const struct jsep_transceiver *const t = s->section;
    bool const live =
        t != NULL && t->negotiated && !t->stopped && (t->direction & SDP_SENDONLY) != 0;
    const struct jsep_codec *const c =
        live ? jsep_codec_find(t, s->conf.audio ? CODEC_OPUS : CODEC_VP8) : NULL;
    s->pt = c != NULL ? c->pt : 0;
    s->rtx_pt = c != NULL ? c->rtx_pt : 0;
    start_or_stop(s);
}

void client_sender_set_paused(struct client_sender *s, bool paused)
{
    s->paused = paused;
    start_or_stop(s);
}

void client_sender_set_muted(struct client_sender *s, bool muted)
{
    s->muted = muted;
    for (uint8_t i = 0; i < s->conf.layers && !muted; i++) {
        s->layer[i].want_key = true;
    }
    start_or_stop(s);
}

// ---- feedback -----------------------------------------------------------------------------------

struct client_encoding *client_sender_find(struct client_sender *s, uint32_t ssrc)
{
    for (uint8_t i = 0; i < s->conf.layers; i++) {
        if (s->layer[i].ssrc == ssrc || (ssrc != 0 && s->layer[i].rtx_ssrc == ssrc)) {
            return &s->layer[i];
        }
    }
    return NULL;
}

void client_sender_repeat(struct client_sender *s, struct client_encoding *e, uint16_t sn)
{
    uint64_t const ext_sn = seq16_extend(e->ext_sn, sn);
    const struct client_sent_ *const p = &e->history[ext_sn % CLIENT_HISTORY];
    e->nacked++;
    if (s->rtx_pt == 0 || e->packets == 0 || p->ext_sn != ext_sn) {
        return;
    }
    struct client_sent_ const copy = *p;
    emit(s, e, &copy, true);
    e->repeated++;
}

uint64_t client_sender_packets(const struct client_sender *s)
{
    uint64_t n = 0;
    for (uint8_t i = 0; i < s->conf.layers; i++) {
        n += s->layer[i].packets;
    }
    return n;
}

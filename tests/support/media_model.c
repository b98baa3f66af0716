// SPDX-License-Identifier: Apache-2.0
#include "tests/support/media_model.h"

#include <stdlib.h>

#include "common/base/seq.h"
#include "sfu/wire/rtcp_fb.h"
#include "sfu/wire/rtp_ext.h"
#include "sfu/wire/vp8.h"

// The recorded browsers answer a PLI within 10 to 210 ms and ignore requests less than 300 ms
// apart.
#define KEY_DELAY_US (20 * US_PER_MS)
#define KEY_SPACING_US (300 * US_PER_MS)

// Clear bytes of an encrypted VP8 frame (livekit-client), and our own numbers behind them.
#define CLEAR_KEY 10u
#define CLEAR_DELTA 3u
#define STAMP_LEN 12u

uint32_t model_rand(struct model_rng *r)
{
    // splitmix64
    uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(z >> 32);
}

bool model_chance(struct model_rng *r, unsigned permille)
{
    return model_rand(r) % 1000 < permille;
}

// ---- link -----------------------------------------------------------------------------------

void model_link_init(struct model_link *l, int64_t delay_us, int64_t jitter_us,
                     unsigned loss_permille)
{
    *l = (struct model_link){
        .loss_permille = loss_permille, .delay_us = delay_us, .jitter_us = jitter_us};
    l->queue = calloc(MODEL_LINK_CAP, sizeof(*l->queue));
}

void model_link_done(struct model_link *l)
{
    free(l->queue);
    l->queue = NULL;
}

void model_link_send(struct model_link *l, mono_t now, struct model_rng *r, struct bytes data)
{
    l->sent++;
    if (model_chance(r, l->loss_permille) || l->count == MODEL_LINK_CAP || data.n > MODEL_MTU) {
        l->lost++;
        return;
    }
    int64_t const jitter = l->jitter_us > 0 ? model_rand(r) % l->jitter_us : 0;
    mono_t const at = mono_add_us(now, l->delay_us + jitter);
    size_t i = l->count++;
    for (; i > 0 && mono_before(at, l->queue[i - 1].at); i--) {
        l->queue[i] = l->queue[i - 1];
    }
    l->queue[i].at = at;
    l->queue[i].len = (uint16_t)data.n;
    memcpy(l->queue[i].data, data.p, data.n);
}

bool model_link_take(struct model_link *l, mono_t now, struct model_datagram *ret)
{
    if (l->count == 0 || !mono_reached(l->queue[0].at, now)) {
        return false;
    }
    *ret = l->queue[0];
    memmove(l->queue, l->queue + 1, --l->count * sizeof(*l->queue));
    return true;
}

// ---- publisher ------------------------------------------------------------------------------

void model_publisher_init(struct model_publisher *p, mono_t now, uint64_t seed)
{
    *p = (struct model_publisher){
        .rng = {seed}, .start = now, .key_at = MONO_NEVER, .last_key = {0}};
    p->sr_at = mono_add_us(now, 300 * US_PER_MS);
    for (unsigned i = 0; i < MODEL_LAYERS; i++) {
        struct model_layer *const l = &p->layers[i];
        l->active = true;
        l->key_next = true;
        l->ssrc = 0x10000000u + i;
        l->rtx_ssrc = 0x20000000u + i;
        l->ts_origin = model_rand(&p->rng);
        l->sn = (uint16_t)model_rand(&p->rng);
        l->rtx_sn = (uint16_t)model_rand(&p->rng);
        l->picture_id = (uint16_t)(model_rand(&p->rng) & 0x7fff);
        l->tl0 = (uint8_t)model_rand(&p->rng);
        l->history = calloc(MODEL_HISTORY, sizeof(*l->history));
    }
}

void model_publisher_done(struct model_publisher *p)
{
    for (unsigned i = 0; i < MODEL_LAYERS; i++) {
        free(p->layers[i].history);
    }
}

void model_publisher_set_active(struct model_publisher *p, int layer, bool active)
{
    p->layers[layer].active = active;
    for (unsigned i = 0; active && i < MODEL_LAYERS; i++) {
        p->layers[i].key_next = true; // a layer that starts makes all send key frames
    }
}

int model_publisher_layer(const struct model_publisher *p, uint32_t ssrc, bool *ret_rtx)
{
    for (int i = 0; i < MODEL_LAYERS; i++) {
        if (p->layers[i].ssrc == ssrc || p->layers[i].rtx_ssrc == ssrc) {
            *ret_rtx = p->layers[i].rtx_ssrc == ssrc;
            return i;
        }
    }
    return -1;
}

// The part of a payload that nobody but the two ends can read: a stamp, then bytes that follow from
// it.
static void write_body(struct wr *w, uint8_t layer, uint8_t tid, uint8_t index, uint8_t count,
                       uint32_t frame, bool key, size_t len)
{
    struct model_rng body = {((uint64_t)frame << 24) ^ ((uint64_t)layer << 16) ^ index ^ len};
    wr_u8(w, layer);
    wr_u8(w, (uint8_t)(tid | (key ? 0x80 : 0)));
    wr_u8(w, index);
    wr_u8(w, count);
    wr_be32(w, frame);
    wr_be32(w, (uint32_t)len);
    for (size_t i = STAMP_LEN; i < len; i++) {
        wr_u8(w, (uint8_t)model_rand(&body));
    }
}

static uint32_t capture_ticks(uint32_t frame)
{
    // Whole milliseconds, as a capture clock gives them.
    return (uint32_t)((uint64_t)frame * 1000 / MODEL_FPS) * (MODEL_CLOCK / 1000);
}

static void send_packet(struct model_publisher *p, mono_t now, uint8_t layer, uint8_t tid,
                        bool sync, bool key, uint8_t index, uint8_t count, struct model_link *up)
{
    struct model_layer *const l = &p->layers[layer];
    struct model_sent *const h = &l->history[l->sn % MODEL_HISTORY];
    struct rtp_header const head = {.pt = MODEL_PT,
                                    .sn = l->sn,
                                    .ts = l->ts_origin + capture_ticks(p->frame),
                                    .ssrc = l->ssrc,
                                    .marker = index + 1 == count};
    static const uint8_t zero[2] = {0};
    struct rtp_ext_elem const ext = {MODEL_EXT_TWCC, {zero, 2}};
    struct vp8_desc const d = {.start = index == 0,
                               .has_picture_id = true,
                               .picture_id_15 = true,
                               .picture_id = l->picture_id,
                               .has_tl0 = true,
                               .tl0_pic_idx = l->tl0,
                               .has_tid = true,
                               .tid = tid,
                               .layer_sync = sync};
    static const uint8_t key_tag[CLEAR_KEY] = {0x10, 0,    0,    0x9d, 0x01,
                                               0x2a, 0x40, 0x01, 0xb4, 0x00};
    static const uint8_t delta_tag[CLEAR_DELTA] = {0x11, 0, 0};
    struct wr w = wr_init(h->data, MODEL_MTU);
    rtp_write_with_ext(&w, &head, &ext, 1, NULL);
    vp8_desc_write(&w, &d);
    if (index == 0) {
        wr_bytes(&w, key ? bytes_of(key_tag, CLEAR_KEY) : bytes_of(delta_tag, CLEAR_DELTA));
    }
    write_body(&w, layer, tid, index, count, p->frame, key,
               200u + 300u * layer + model_rand(&p->rng) % 100);
    h->sn = l->sn++;
    h->len = (uint16_t)wr_len(&w);
    l->packets++;
    l->octets += h->len;
    model_link_send(up, now, &p->rng, bytes_of(h->data, h->len));
}

static void send_frame(struct model_publisher *p, mono_t now, uint8_t layer, struct model_link *up)
{
    // libvpx pattern for three temporal layers; the second half of eight refers to newer pictures
    // (no sync).
    static const uint8_t tids[8] = {0, 2, 1, 2, 0, 2, 1, 2};
    static const bool syncs[8] = {false, true, true, false, false, false, false, false};
    struct model_layer *const l = &p->layers[layer];
    bool const key = l->key_next;
    l->key_next = false;
    l->phase = key ? 0 : l->phase + 1;
    uint8_t const tid = tids[l->phase % 8];
    l->picture_id = (l->picture_id + 1) & 0x7fff;
    l->tl0 = (uint8_t)(l->tl0 + (tid == 0));
    p->keys += key;
    uint8_t const count = (uint8_t)((1u + layer) * (key ? 4u : 1u) + (tid == 0 ? 1u : 0u));
    for (uint8_t i = 0; i < count; i++) {
        send_packet(p, now, layer, tid, syncs[l->phase % 8], key, i, count, up);
    }
}

static void send_reports(struct model_publisher *p, mono_t now, struct model_link *up)
{
    uint32_t const ticks = (uint32_t)(mono_diff_us(now, p->start) * MODEL_CLOCK / US_PER_S);
    for (unsigned i = 0; i < MODEL_LAYERS; i++) {
        const struct model_layer *const l = &p->layers[i];
        uint8_t buf[64];
        struct wr w = wr_init(buf, sizeof(buf));
        // Recorded reports are off by up to 90 ticks.
        struct rtcp_sr const sr = {
            .ssrc = l->ssrc,
            .ntp = ntp_from_wall((wall_t){now.us + INT64_C(1700000000) * US_PER_S}),
            .rtp_ts = l->ts_origin + ticks + model_rand(&p->rng) % 180 - 90,
            .packets = l->packets,
            .octets = l->octets};
        rtcp_sr_write(&w, &sr);
        if (l->active && l->packets > 0) {
            model_link_send(up, now, &p->rng, wr_bytes_view(&w));
        }
    }
    p->sr_at = mono_add_us(now, (600 + model_rand(&p->rng) % 800) * US_PER_MS);
}

void model_publisher_tick(struct model_publisher *p, mono_t now, struct model_link *up)
{
    if (mono_reached(p->key_at, now)) {
        p->key_at = MONO_NEVER;
        p->last_key = now;
        for (unsigned i = 0; i < MODEL_LAYERS; i++) {
            p->layers[i].key_next = true;
        }
    }
    while (mono_reached(mono_add_us(p->start, (int64_t)p->frame * US_PER_S / MODEL_FPS), now)) {
        for (uint8_t i = 0; i < MODEL_LAYERS; i++) {
            if (p->layers[i].active) {
                send_frame(p, now, i, up);
            }
        }
        p->frame++;
    }
    if (mono_reached(p->sr_at, now)) {
        send_reports(p, now, up);
    }
}

static void answer_nack(struct model_publisher *p, mono_t now, const struct rtcp_fb *fb,
                        struct model_link *up)
{
    struct rtcp_nack_iter it;
    uint16_t sn = 0;
    bool rtx = false;
    int const layer = model_publisher_layer(p, fb->media_ssrc, &rtx);
    if (layer < 0 || rtx) {
        return;
    }
    struct model_layer *const l = &p->layers[layer];
    rtcp_nack_iter_init(&it, fb);
    while (rtcp_nack_next(&it, &sn)) {
        const struct model_sent *const h = &l->history[sn % MODEL_HISTORY];
        struct rtp_header head;
        p->nacks++;
        if (h->len == 0 || h->sn != sn || rtp_parse(bytes_of(h->data, h->len), &head) < 0) {
            continue;
        }
        uint8_t buf[MODEL_MTU];
        struct wr w = wr_init(buf, sizeof(buf));
        struct bytes const payload = rtp_payload(bytes_of(h->data, h->len), &head);
        head.pt = MODEL_RTX_PT;
        head.ssrc = l->rtx_ssrc;
        head.sn = l->rtx_sn++;
        rtp_write(&w, &head);
        wr_be16(&w, sn);
        wr_bytes(&w, payload);
        p->rtx_sent++;
        model_link_send(up, now, &p->rng, wr_bytes_view(&w));
    }
}

void model_publisher_rtcp(struct model_publisher *p, mono_t now, struct bytes compound,
                          struct model_link *up)
{
    struct rtcp_iter it;
    struct rtcp_packet packet;
    struct rtcp_fb fb;
    rtcp_iter_init(&it, compound);
    while (rtcp_next(&it, &packet)) {
        if (rtcp_fb_parse(&packet, &fb) < 0) {
            continue;
        }
        if (rtcp_is_pli(&fb)) {
            p->plis++;
            if (mono_is_never(p->key_at) && mono_diff_us(now, p->last_key) > KEY_SPACING_US) {
                p->key_at = mono_add_us(now, KEY_DELAY_US);
            }
        } else if (fb.type == RTCP_RTPFB && fb.fmt == RTCP_RTPFB_NACK) {
            answer_nack(p, now, &fb, up);
        }
    }
}

// ---- reading a payload ----------------------------------------------------------------------

// Checks every bit behind the descriptor. False if anything differs from what the publisher made.
bool model_read_payload_(struct bytes payload, struct model_received *ret);

bool model_read_payload_(struct bytes payload, struct model_received *ret)
{
    struct vp8_info v;
    if (vp8_parse(payload, &v) < 0 || !v.desc.has_picture_id || !v.desc.has_tl0 ||
        !v.desc.has_tid) {
        return false;
    }
    size_t const clear = v.frame_start ? v.key_frame ? CLEAR_KEY : CLEAR_DELTA : 0;
    if (payload.n < v.desc.len + clear + STAMP_LEN) {
        return false;
    }
    struct bytes const body =
        bytes_of(payload.p + v.desc.len + clear, payload.n - v.desc.len - clear);
    struct rd r = rd_init(body);
    ret->layer = rd_u8(&r);
    uint8_t const tid = rd_u8(&r);
    ret->index = rd_u8(&r);
    ret->count = rd_u8(&r);
    ret->frame = rd_be32(&r);
    uint32_t const len = rd_be32(&r);
    ret->tid = tid & 3;
    ret->key = tid & 0x80;
    ret->start = v.frame_start;
    ret->picture_id = v.desc.picture_id;
    ret->tl0 = v.desc.tl0_pic_idx;
    uint8_t expect[MODEL_MTU];
    struct wr w = wr_init(expect, sizeof(expect));
    if (len != body.n || len > MODEL_MTU) {
        return false;
    }
    write_body(&w, ret->layer, ret->tid, ret->index, ret->count, ret->frame, ret->key, len);
    return bytes_eq(wr_bytes_view(&w), body) && v.frame_start == (ret->index == 0) &&
           v.desc.tid == ret->tid && (!v.frame_start || v.key_frame == ret->key);
}

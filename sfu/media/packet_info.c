// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/packet_info.h"

#include "common/base/seq.h"
#include "sfu/wire/av1.h"
#include "sfu/wire/h264.h"
#include "sfu/wire/h265.h"
#include "sfu/wire/opus_red.h"
#include "sfu/wire/vp9.h"

static void note_extensions(struct packet *p, const struct rtp_header *h,
                            const struct rtp_ext_map *ext)
{
    struct packet_info *const i = &p->info;
    struct rtp_ext_iter it;
    struct rtp_ext_elem e;
    rtp_ext_iter_init(&it, h);
    while (rtp_ext_next(&it, &e)) {
        uint16_t const off = (uint16_t)(e.data.p - p->data);
        if (e.id == ext->id[RTP_EXT_AUDIO_LEVEL]) {
            bool voice = false;
            if (rtp_ext_audio_level(e.data, &i->audio_level, &voice)) {
                i->audio_voice = voice;
            }
        } else if (e.id == ext->id[RTP_EXT_DEPENDENCY_DESCRIPTOR] && e.data.n > 0) {
            i->dd_off = off;
            i->dd_len = (uint8_t)e.data.n;
        } else if (e.id == ext->id[RTP_EXT_ABS_CAPTURE_TIME] && (e.data.n == 8 || e.data.n == 16)) {
            i->capture_time_off = off;
            i->capture_time_len = (uint8_t)e.data.n;
        }
    }
}

void packet_info_header(struct packet *p, const struct rtp_header *h, const struct rtp_ext_map *ext)
{
    p->ssrc = h->ssrc;
    p->ts = h->ts;
    p->sn = h->sn;
    p->pt = h->pt;
    p->marker = h->marker;
    p->info = (struct packet_info){
        .temporal = PACKET_NO_TEMPORAL,
        .audio_level = PACKET_NO_AUDIO_LEVEL,
        .payload_off = h->header_len,
        .payload_len = h->payload_len,
        .padding_only = h->payload_len == 0,
    };
    if (h->has_ext) {
        note_extensions(p, h, ext);
    }
}

struct bytes packet_info_dd(const struct packet *p)
{
    return p->info.dd_len > 0 ? bytes_of(p->data + p->info.dd_off, p->info.dd_len)
                              : bytes_of(NULL, 0);
}

struct bytes packet_info_capture_time(const struct packet *p)
{
    return p->info.capture_time_len > 0
               ? bytes_of(p->data + p->info.capture_time_off, p->info.capture_time_len)
               : bytes_of(NULL, 0);
}

// Mandatory part of a dependency descriptor and its first flag (AV1 RTP specification A.8.2);
// enough to find frames, and unlike the templates readable without the structure of the key frame.
static bool note_dd(struct packet_info *i, struct bytes dd)
{
    struct rd r = rd_init(dd);
    uint8_t const first = rd_u8(&r);
    rd_skip(&r, 2);
    if (!rd_ok(&r)) {
        return false;
    }
    uint8_t const flags = rd_left(&r) > 0 ? rd_u8(&r) : 0;
    i->frame_start = first & 0x80;
    i->frame_end = first & 0x40;
    i->key_frame = flags & 0x80; // template_dependency_structure_present
    return true;
}

static void note_vp8(struct packet_info *i, struct bytes payload)
{
    struct vp8_info v;
    if (vp8_parse(payload, &v) < 0) {
        return;
    }
    i->vp8 = v.desc;
    i->frame_start = v.frame_start;
    i->key_frame = v.key_frame;
    i->temporal = v.desc.has_tid ? v.desc.tid : PACKET_NO_TEMPORAL;
    i->layer_sync = v.desc.has_tid && v.desc.layer_sync;
    i->width = v.width;
    i->height = v.height;
}

static void note_vp9(struct packet_info *i, struct bytes payload)
{
    struct vp9_desc d;
    if (vp9_parse(payload, &d) < 0) {
        return;
    }
    i->frame_start = d.start;
    i->frame_end = d.end;
    i->key_frame = d.key_frame;
    if (d.has_layer) {
        i->temporal = d.tid;
        i->spatial = d.sid;
        i->layer_sync = d.switch_up;
    }
    if (d.has_ss && d.ss_has_resolution && d.ss_spatial_count > 0) {
        i->width = d.ss_width[d.ss_spatial_count - 1];
        i->height = d.ss_height[d.ss_spatial_count - 1];
    }
}

// Codecs without a start bit: a frame starts where the timestamp changes, or where its first key
// packet comes (parameter sets may follow a delimiter or SEI of the same frame, and decoding can
// begin there).
static void note_start_by_time(struct packet *p, const struct packet_info_context *ctx)
{
    bool const new_ts = !ctx->started || p->ts != ctx->last_ts;
    bool const first_key = p->info.key_frame && !(ctx->key_seen && ctx->key_ts == p->ts);
    p->info.frame_start = p->info.key_frame ? first_key : new_ts;
    p->info.frame_end = p->marker;
}

static void note_h264(struct packet *p, const struct packet_info_context *ctx)
{
    struct h264_info v;
    p->info.key_frame = h264_parse(packet_payload(p), &v) == 0 && v.key_frame;
    note_start_by_time(p, ctx);
}

static void note_h265(struct packet *p, const struct packet_info_context *ctx)
{
    struct h265_info v;
    if (h265_parse(packet_payload(p), &v) == 0) {
        p->info.key_frame = v.key_frame;
        p->info.temporal = v.tid;
    }
    note_start_by_time(p, ctx);
}

static void note_av1(struct packet *p, const struct packet_info_context *ctx)
{
    if (p->info.dd_len > 0 && note_dd(&p->info, packet_info_dd(p))) {
        return;
    }
    struct av1_info v;
    if (av1_parse(packet_payload(p), &v) == 0) {
        p->info.key_frame = v.key_frame;
        if (v.has_layer) {
            p->info.temporal = v.tid;
            p->info.spatial = v.sid;
        }
    }
    note_start_by_time(p, ctx);
}

static void note_red(struct packet_info *i, struct bytes payload)
{
    struct opus_red red;
    if (opus_red_parse(payload, &red) == 0) {
        const struct opus_red_block *const primary = &red.block[red.count - 1];
        i->red_primary_off = (uint16_t)(primary->data.p - payload.p);
    }
}

static void remember(const struct packet *p, struct packet_info_context *ctx)
{
    if (!ctx->started || seq32_newer(p->ts, ctx->last_ts)) {
        ctx->last_ts = p->ts;
        ctx->started = true;
    }
    if (p->info.key_frame) {
        ctx->key_ts = p->ts;
        ctx->key_seen = true;
    }
}

void packet_info_payload(struct packet *p, enum codec codec, struct packet_info_context *ctx)
{
    p->info.codec = (uint8_t)codec;
    if (p->info.payload_len == 0) {
        return;
    }
    struct packet_info *const i = &p->info;
    switch (codec) {
    case CODEC_VP8:
        note_vp8(i, packet_payload(p));
        i->frame_end = p->marker;
        break;
    case CODEC_VP9:
        note_vp9(i, packet_payload(p));
        break;
    case CODEC_H264:
        note_h264(p, ctx);
        break;
    case CODEC_H265:
        note_h265(p, ctx);
        break;
    case CODEC_AV1:
        note_av1(p, ctx);
        break;
    case CODEC_RED:
        note_red(i, packet_payload(p));
        i->frame_start = true;
        i->frame_end = true;
        break;
    case CODEC_OPUS:
    case CODEC_PCMU:
    case CODEC_PCMA:
    case CODEC_G722:
        i->frame_start = true;
        i->frame_end = true;
        break;
    case CODEC_NONE:
    case CODEC_RTX:
    case CODEC_COUNT:
        break;
    }
    remember(p, ctx);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/track_media.h"

#include <stdio.h>

#include "sfu/media/down_track.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/router.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// In rooms with more subscribers than this, key frames of a layer are asked for at most once a
// second: late joiners come all the time there (media-plane 11.6).
#define LARGE_ROOM_OUTPUTS 100
#define LARGE_ROOM_KEY_FRAME_US INT64_C(1000000)

void track_media_init(struct track_media *m, struct published_track *t, uint8_t index,
                      enum codec codec)
{
    *m = (struct track_media){
        .track = t,
        .index = index,
        .codec = codec,
        .asked =
            index < t->info.codec_count && t->info.codecs[index].mime[0] != 0 ? codec : CODEC_NONE,
        .video = t->info.type == TRACK_VIDEO,
    };
}

// What TrackInfo says of this codec; NULL if it says nothing.
static struct track_codec *codec_info(const struct track_media *m)
{
    struct track_info *const info = &m->track->info;
    return m->index < info->codec_count ? &info->codecs[m->index] : NULL;
}

static void name_layers(struct track_media *m, const struct jsep_remote_media *remote)
{
    const char *rids[RECEIVER_MAX_ENCODINGS] = {0};
    uint8_t const n = (uint8_t)MIN(remote->rid_count, RECEIVER_MAX_ENCODINGS);
    for (uint8_t i = 0; i < n; i++) {
        rids[track_info_rid_rank(bytes_str(remote->rids[i]), i, n)] = remote->rids[i];
    }
    for (uint8_t i = 0; i < n; i++) {
        if (rids[i] == NULL) {
            return; // two rids of one rank: names we do not understand
        }
    }
    track_info_set_rids(&m->track->info, m->index, rids, n);
}

void track_media_set_section(struct track_media *m, struct jsep_transceiver *section)
{
    const struct track_info *const info = &m->track->info;
    m->section = section;
    m->section_id = section->id;
    section->recv_owner = m->track->handle;
    struct jsep_receiver const r = {
        .accept = true,
        .preferred = (uint8_t)m->codec,
        .red = track_info_red(info),
        .dtx = track_info_dtx(info),
        .stereo = track_info_stereo(info),
    };
    jsep_transceiver_set_receiver(section, &r);
    if (section->remote != NULL) {
        name_layers(m, section->remote);
    }
}

// Stream number in video-layers-allocation is the order of a=simulcast.
static void map_vla(const struct jsep_remote_media *m, struct receiver_conf *conf)
{
    for (uint8_t i = 0; i < RECEIVER_MAX_ENCODINGS; i++) {
        conf->vla_encoding[i] = i;
    }
    uint8_t const n = (uint8_t)MIN(m->rid_count, RECEIVER_MAX_ENCODINGS);
    for (uint8_t i = 0; i < n; i++) {
        conf->vla_encoding[i] = track_info_rid_rank(bytes_str(m->rids[i]), i, n);
    }
}

static void tell_info(struct track_media *m)
{
    struct track_info *const info = &m->track->info;
    struct track_codec *const tc = codec_info(m);
    // What the client sends is what stands first in the answer (livekit-protocol 3.6).
    bool const red = m->section->codecs[0].codec == CODEC_RED;
    const char *const mime = codec_mime(red ? CODEC_RED : m->codec);
    track_info_number_layers(info, m->index);
    if (m->index == 0) {
        (void)snprintf(info->mime, sizeof(info->mime), "%s", mime);
        (void)snprintf(info->mid, sizeof(info->mid), "%.16s", m->section->mid);
    }
    if (tc != NULL) {
        (void)snprintf(tc->mime, sizeof(tc->mime), "%s", mime);
        (void)snprintf(tc->mid, sizeof(tc->mid), "%.16s", m->section->mid);
    }
}

int track_media_receive(struct track_media *m)
{
    const struct track_info *const info = &m->track->info;
    const struct jsep_transceiver *const s = m->section;
    const struct jsep_codec *c = jsep_codec_find(s, (uint8_t)m->codec);
    if (c == NULL && s->codec_count > 0) {
        // The codec of add_track was not agreed: the first one of the answer is what the client
        // sends.
        c = &s->codecs[0];
        m->codec = (enum codec)c->codec;
    }
    if (c == NULL || s->remote == NULL) {
        return -ENOTSUP;
    }
    uint8_t const n = (uint8_t)MAX(1, MIN(s->remote->rid_count, RECEIVER_MAX_ENCODINGS));
    struct receiver_conf conf = {
        .codec = m->codec,
        .encodings = n,
        .nack = (c->fb & SDP_FB_NACK) != 0,
        .pli = (c->fb & SDP_FB_PLI) != 0,
        .screen_share = info->source == TRACK_SOURCE_SCREEN_SHARE,
        .encrypted = info->encryption != 0,
        .trailers = m->video && info->trailer_feature_count > 0,
        .clock_rate = codec_clock(m->codec),
        .ext = s->ext_recv,
    };
    map_vla(s->remote, &conf);
    int const rc = receiver_new(&conf, &m->receiver);
    if (rc < 0) {
        return rc;
    }
    tell_info(m);
    return 0;
}

void track_media_detach(struct track_media *m)
{
    struct pc_transport *const transport = m->track->publisher->publisher;
    if (m->section == NULL) {
        return;
    }
    m->section->recv_owner = HANDLE_NONE;
    m->section = NULL;
    if (transport != NULL) {
        pc_transport_set_track(transport, m->section_id, NULL);
    }
}

// What was true of the section and its packets; what add_track said stays.
static void forget_info(struct track_media *m)
{
    struct track_codec *const tc = codec_info(m);
    if (tc == NULL) {
        return;
    }
    tc->mid[0] = 0;
    for (uint8_t i = 0; i < tc->layer_count; i++) {
        tc->layers[i].ssrc = 0;
        tc->layers[i].repair_ssrc = 0;
    }
}

void track_media_close(struct track_media *m)
{
    struct published_track *const t = m->track;
    assert(m->output_count == 0);
    router_forget(t->publisher->room->env, m);
    track_media_detach(m);
    mem_free(m->outputs);
    receiver_free(m->receiver);
    forget_info(m);
    track_media_init(m, t, m->index, m->asked != CODEC_NONE ? m->asked : m->codec);
}

bool track_media_is_awaited(const struct track_media *m)
{
    const struct published_track *const t = m->track;
    if (m->section != NULL || m->receiver != NULL) {
        return false;
    }
    return m->index == 0 ? t->state == TRACK_PENDING
                         : m->index < t->info.codec_count && t->info.codecs[m->index].cid[0] != 0;
}

void track_media_layer_bound(struct track_media *m, uint8_t encoding, bool rtx, uint32_t ssrc)
{
    struct track_codec *const tc = codec_info(m);
    if (tc == NULL || encoding >= tc->layer_count) {
        return;
    }
    struct track_layer *const l = &tc->layers[encoding];
    uint32_t *const field = rtx ? &l->repair_ssrc : &l->ssrc;
    if (*field != ssrc) {
        *field = ssrc;
        participant_changed(m->track->publisher, false);
    }
}

int track_media_reserve_output(struct track_media *m)
{
    if (m->output_count < m->output_cap) {
        return 0;
    }
    uint32_t const cap = m->output_cap == 0 ? 4 : m->output_cap * 2;
    struct track_output *const v = mem_regrow(m->outputs, cap, sizeof(*v));
    if (v == NULL) {
        return -ENOMEM;
    }
    m->outputs = v;
    m->output_cap = cap;
    return 0;
}

void track_media_add_output(struct track_media *m, struct subscription *s)
{
    assert(m->output_count < m->output_cap);
    s->media = m;
    s->output = m->output_count;
    m->outputs[m->output_count++] =
        (struct track_output){s->down_track, participant_sending(s->subscriber), s};
    if (m->output_count == LARGE_ROOM_OUTPUTS) {
        receiver_set_key_frame_spacing(m->receiver, LARGE_ROOM_KEY_FRAME_US);
    }
}

void track_media_remove_output(struct track_media *m, struct subscription *s)
{
    assert(s->media == m && s->output < m->output_count && m->outputs[s->output].subscription == s);
    m->outputs[s->output] = m->outputs[--m->output_count];
    m->outputs[s->output].subscription->output = s->output;
    s->media = NULL;
    if (m->output_count == 0) {
        track_media_update_needed(m); // nothing: at once
    }
    if (m->output_count == LARGE_ROOM_OUTPUTS - 1) {
        receiver_set_key_frame_spacing(m->receiver, 0);
    }
}

void track_media_need(struct track_media *m, const struct down_track *dt)
{
    uint8_t const needed = m->video ? receiver_needed(m->receiver) : UINT8_MAX;
    uint8_t const mask = down_track_needed_mask(dt);
    if ((mask & ~needed) != 0) {
        receiver_set_needed(m->receiver, needed | mask);
    }
}

void track_media_update_needed(struct track_media *m)
{
    if (!m->video || m->receiver == NULL) {
        return;
    }
    uint8_t mask = 0;
    for (uint32_t i = 0; i < m->output_count; i++) {
        mask |= down_track_needed_mask(m->outputs[i].down_track);
    }
    receiver_set_needed(m->receiver, mask);
}

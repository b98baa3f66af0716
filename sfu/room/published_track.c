// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/published_track.h"

#include <stdio.h>

#include "sfu/media/down_track.h"
#include "sfu/room/active_speaker.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/room_event.h"
#include "sfu/room/router.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// In rooms with more subscribers than this, key frames of a layer are asked for at most once a
// second: late joiners come all the time there (media-plane 11.6).
#define LARGE_ROOM_OUTPUTS 100
#define LARGE_ROOM_KEY_FRAME_US INT64_C(1000000)

int published_track_new(struct participant *p, const struct track_info *info,
                        struct published_track **ret)
{
    struct room_env *const env = p->room->env;
    if (p->track_count >= PARTICIPANT_TRACKS_MAX) {
        return -ENOBUFS;
    }
    struct published_track *const t = NEW(struct published_track);
    if (t == NULL || handle_table_add(&env->tracks, t, &t->handle) < 0) {
        mem_free(t);
        return -ENOMEM;
    }
    t->publisher = p;
    t->info = *info;
    t->codec = track_info_codec(info);
    uint8_t random[SID_RANDOM_LEN];
    rng_bytes(env->rng, random, sizeof(random));
    (void)sid_make_track(info->type, info->source, random, t->info.sid);
    HASH_ADD_KEYPTR(hh_sid, p->room->tracks, t->info.sid, strlen(t->info.sid), t);
    if (room_track(p->room, t->info.sid) != t) {
        (void)handle_table_remove(&env->tracks, t->handle);
        mem_free(t);
        return -ENOMEM;
    }
    DL_APPEND(p->tracks, t);
    p->track_count++;
    *ret = t;
    return 0;
}

void published_track_close(struct published_track *t)
{
    if (t == NULL) {
        return;
    }
    struct participant *const p = t->publisher;
    struct room_env *const env = p->room->env;
    bool const published = t->state == TRACK_PUBLISHED;
    if (published) {
        room_event_track(t, false);
    }
    DL_DELETE(p->tracks, t);
    HASH_DELETE(hh_sid, p->room->tracks, t);
    p->track_count--;
    router_forget(env, t);
    // Subscribers learn that the track is gone before their section falls silent.
    if (published && !p->closing) {
        participant_changed(p, true);
    }
    struct participant *s = NULL;
    for (s = p->room->participants; s != NULL; s = s->hh.next) {
        struct subscription *const sub = subscription_find(s, t);
        if (sub != NULL) {
            subscription_close(sub);
            negotiation_request(s);
        }
    }
    if (t->section != NULL) {
        t->section->recv_owner = HANDLE_NONE;
        if (p->publisher != NULL) {
            pc_transport_set_track(p->publisher, t->section_id, NULL);
        }
    }
    assert(t->output_count == 0);
    mem_free(t->outputs);
    receiver_free(t->receiver);
    (void)handle_table_remove(&env->tracks, t->handle);
    mem_free(t);
}

struct published_track *published_track_by_sid(struct participant *p, const char *sid)
{
    struct published_track *const t = room_track(p->room, sid);
    return t != NULL && t->publisher == p ? t : NULL;
}

static bool has_cid(const struct published_track *t, const char *cid)
{
    for (uint8_t i = 0; i < t->info.codec_count; i++) {
        if (strcmp(t->info.codecs[i].cid, cid) == 0 ||
            strcmp(t->info.codecs[i].sdp_cid, cid) == 0) {
            return true;
        }
    }
    return false;
}

struct published_track *published_track_match(struct participant *p, enum track_type type,
                                              const char *track_id)
{
    struct published_track *first = NULL;
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (t->state != TRACK_PENDING || t->info.type != type) {
            continue;
        }
        if (track_id[0] != 0 && has_cid(t, track_id)) {
            return t;
        }
        if (first == NULL) {
            first = t;
        }
    }
    // Firefox sends other ids in its SDP than in add_track (livekit-protocol 4.5).
    if (first != NULL && track_id[0] != 0 && first->info.codec_count > 0) {
        (void)snprintf(first->info.codecs[0].sdp_cid, sizeof(first->info.codecs[0].sdp_cid), "%s",
                       track_id);
    }
    return first;
}

static void name_layers(struct published_track *t, const struct jsep_remote_media *m)
{
    const char *rids[RECEIVER_MAX_ENCODINGS] = {0};
    uint8_t const n = (uint8_t)MIN(m->rid_count, RECEIVER_MAX_ENCODINGS);
    for (uint8_t i = 0; i < n; i++) {
        rids[track_info_rid_rank(bytes_str(m->rids[i]), i, n)] = m->rids[i];
    }
    for (uint8_t i = 0; i < n; i++) {
        if (rids[i] == NULL) {
            return; // two rids of one rank: names we do not understand
        }
    }
    track_info_set_rids(&t->info, rids, n);
}

void published_track_set_section(struct published_track *t, struct jsep_transceiver *section)
{
    t->section = section;
    t->section_id = section->id;
    t->state = TRACK_MATCHED;
    section->recv_owner = t->handle;
    struct jsep_receiver const r = {
        .accept = true,
        .preferred = (uint8_t)t->codec,
        .dtx = t->info.type == TRACK_AUDIO && !t->info.disable_dtx,
        .stereo = t->info.stereo,
    };
    jsep_transceiver_set_receiver(section, &r);
    if (section->remote != NULL) {
        name_layers(t, section->remote);
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

static int make_receiver(struct published_track *t)
{
    const struct jsep_transceiver *const s = t->section;
    const struct jsep_codec *c = jsep_codec_find(s, (uint8_t)t->codec);
    if (c == NULL && s->codec_count > 0) {
        // The codec of add_track was not agreed: the first one of the answer is what the client
        // sends.
        c = &s->codecs[0];
        t->codec = (enum codec)c->codec;
    }
    if (c == NULL || s->remote == NULL) {
        return -ENOTSUP;
    }
    uint8_t const n = (uint8_t)MAX(1, MIN(s->remote->rid_count, RECEIVER_MAX_ENCODINGS));
    struct receiver_conf conf = {
        .codec = t->codec,
        .encodings = n,
        .nack = (c->fb & SDP_FB_NACK) != 0,
        .pli = (c->fb & SDP_FB_PLI) != 0,
        .screen_share = t->info.source == TRACK_SOURCE_SCREEN_SHARE,
        .encrypted = t->info.encryption != 0,
        .clock_rate = codec_clock(t->codec),
        .ext = s->ext_recv,
    };
    map_vla(s->remote, &conf);
    int const rc = receiver_new(&conf, &t->receiver);
    if (rc == 0) {
        (void)snprintf(t->info.mime, sizeof(t->info.mime), "%s", codec_mime(t->codec));
        (void)snprintf(t->info.mid, sizeof(t->info.mid), "%.16s", s->mid);
        if (t->info.codec_count > 0) {
            struct track_codec *const tc = &t->info.codecs[0];
            (void)snprintf(tc->mime, sizeof(tc->mime), "%s", t->info.mime);
            (void)snprintf(tc->mid, sizeof(tc->mid), "%s", t->info.mid);
        }
    }
    return rc;
}

int published_track_publish(struct published_track *t)
{
    if (t->state != TRACK_MATCHED) {
        return 0;
    }
    struct participant *const p = t->publisher;
    struct room_env *const env = p->room->env;
    int const rc = make_receiver(t);
    if (rc < 0) {
        return rc;
    }
    t->state = TRACK_PUBLISHED;
    t->info.version_us = env->wall.us;
    if (t->info.type == TRACK_AUDIO) {
        audio_level_init(&t->level, codec_clock(t->codec), AUDIO_LEVEL_DEFAULTS);
        active_speaker_start(p->room);
    }
    pc_transport_set_track(p->publisher, t->section_id, t);
    if (!p->is_publisher) {
        p->is_publisher = true;
        p->room->publisher_count++;
    }
    participant_changed(p, true);
    room_event_track(t, true);
    subscription_reconcile_track(t);
    return 0;
}

void published_track_layer_bound(struct published_track *t, uint8_t encoding, bool rtx,
                                 uint32_t ssrc)
{
    if (t->info.codec_count == 0 || encoding >= t->info.codecs[0].layer_count) {
        return;
    }
    struct track_layer *const l = &t->info.codecs[0].layers[encoding];
    uint32_t *const field = rtx ? &l->repair_ssrc : &l->ssrc;
    if (*field != ssrc) {
        *field = ssrc;
        participant_changed(t->publisher, false);
    }
}

void published_track_set_muted(struct published_track *t, bool muted)
{
    if (t->info.muted == muted) {
        return;
    }
    t->info.muted = muted;
    struct room_env *const env = t->publisher->room->env;
    for (uint32_t i = 0; i < t->output_count; i++) {
        down_track_set_publisher_muted(t->outputs[i].down_track, env->now, muted);
        pc_transport_media_by(t->outputs[i].transport, env->now);
    }
    if (t->state == TRACK_PUBLISHED) {
        participant_changed(t->publisher, true);
    }
}

int published_track_add_output(struct published_track *t, struct subscription *s)
{
    if (t->output_count == t->output_cap) {
        uint32_t const cap = t->output_cap == 0 ? 4 : t->output_cap * 2;
        struct track_output *const v = mem_regrow(t->outputs, cap, sizeof(*v));
        if (v == NULL) {
            return -ENOMEM;
        }
        t->outputs = v;
        t->output_cap = cap;
    }
    s->output = t->output_count;
    t->outputs[t->output_count++] =
        (struct track_output){s->down_track, participant_sending(s->subscriber), s};
    if (t->output_count == LARGE_ROOM_OUTPUTS) {
        receiver_set_key_frame_spacing(t->receiver, LARGE_ROOM_KEY_FRAME_US);
    }
    if (!t->subscribed_told && !s->subscriber->permission.hidden) {
        t->subscribed_told = true;
        signal_send_track_subscribed(t->publisher, t->info.sid);
    }
    return 0;
}

void published_track_remove_output(struct published_track *t, struct subscription *s)
{
    assert(s->output < t->output_count && t->outputs[s->output].subscription == s);
    t->outputs[s->output] = t->outputs[--t->output_count];
    t->outputs[s->output].subscription->output = s->output;
    if (t->output_count == LARGE_ROOM_OUTPUTS - 1) {
        receiver_set_key_frame_spacing(t->receiver, 0);
    }
}

void published_track_update_needed(struct published_track *t)
{
    if (t->info.type != TRACK_VIDEO) {
        return;
    }
    uint8_t mask = 0;
    for (uint32_t i = 0; i < t->output_count; i++) {
        mask |= down_track_needed_mask(t->outputs[i].down_track);
    }
    receiver_set_needed(t->receiver, mask);
}

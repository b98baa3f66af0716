// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/published_track.h"

#include <stdio.h>

#include "sfu/media/down_track.h"
#include "sfu/room/active_speaker.h"
#include "sfu/room/connection_quality.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/room_event.h"
#include "sfu/room/room_update.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/stream_state.h"
#include "sfu/room/subscription.h"
#include "sfu/room/track_preference.h"

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
    for (uint8_t i = 0; i < TRACK_INFO_CODECS_MAX; i++) {
        track_media_init(&t->media[i], t, i, track_info_codec(info, i));
    }
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
    // Subscribers learn that the track is gone before their section falls silent.
    if (published && !p->closing) {
        participant_changed(p, true);
    }
    struct participant *s = NULL;
    for (s = p->room->participants; s != NULL; s = s->hh.next) {
        struct subscription *const sub = subscription_find(s, t);
        if (sub != NULL) {
            subscription_close(sub);
            if (!p->closing) {
                negotiation_request(s);
            }
        }
        track_preference_forget(s, t->info.sid);
    }
    for (size_t i = 0; i < ARRAY_LEN(t->media); i++) {
        track_media_close(&t->media[i]);
    }
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

void published_track_set_section(struct published_track *t, struct jsep_transceiver *section)
{
    track_media_set_section(&t->media[0], section);
    t->state = TRACK_MATCHED;
}

struct track_media *published_track_media_of(struct published_track *t,
                                             const struct jsep_transceiver *section)
{
    for (size_t i = 0; i < ARRAY_LEN(t->media); i++) {
        if (t->media[i].section == section) {
            return &t->media[i];
        }
    }
    return NULL;
}

int published_track_publish(struct published_track *t)
{
    if (t->state != TRACK_MATCHED) {
        return 0;
    }
    struct participant *const p = t->publisher;
    struct room_env *const env = p->room->env;
    int const rc = track_media_receive(&t->media[0]);
    if (rc < 0) {
        return rc;
    }
    t->state = TRACK_PUBLISHED;
    t->info.version_us = env->wall.us;
    connection_quality_publish(t);
    if (t->info.type == TRACK_AUDIO) {
        audio_level_init(&t->level, codec_clock(t->media[0].codec), AUDIO_LEVEL_DEFAULTS);
        active_speaker_start(p->room);
    }
    pc_transport_set_track(p->publisher, t->media[0].section_id, &t->media[0]);
    room_count_publisher(p);
    participant_changed(p, true);
    room_event_track(t, true);
    subscription_reconcile_track(t);
    return 0;
}

void published_track_set_muted(struct published_track *t, bool muted)
{
    if (t->info.muted == muted) {
        return;
    }
    t->info.muted = muted;
    struct room_env *const env = t->publisher->room->env;
    for (size_t k = 0; k < ARRAY_LEN(t->media); k++) {
        struct track_media *const m = &t->media[k];
        for (uint32_t i = 0; i < m->output_count; i++) {
            down_track_set_publisher_muted(m->outputs[i].down_track, env->now, muted);
            pc_transport_media_by(m->outputs[i].transport, env->now);
        }
        if (!muted) {
            stream_state_unmuted(m);
        }
    }
    if (t->state == TRACK_PUBLISHED) {
        participant_changed(t->publisher, true);
    }
}

void published_track_subscribed(struct published_track *t, const struct participant *subscriber)
{
    if (!t->subscribed_told && !subscriber->permission.hidden) {
        t->subscribed_told = true;
        signal_send_track_subscribed(t->publisher, t->info.sid);
    }
}

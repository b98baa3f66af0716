// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/published_track.h"

#include <stdio.h>

#include "sfu/media/down_track.h"
#include "sfu/room/active_speaker.h"
#include "sfu/room/add_track.h"
#include "sfu/room/backup_codec.h"
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

// Of one track: its end, dynacast.
#define TRACK_TIMERS 2

int published_track_new(struct participant *p, const struct track_info *info,
                        struct published_track **ret)
{
    struct room_env *const env = p->room->env;
    if (p->track_count >= PARTICIPANT_TRACKS_MAX) {
        return -ENOBUFS;
    }
    struct published_track *const t = NEW(struct published_track);
    if (t == NULL || room_env_claim_timers(env, TRACK_TIMERS) < 0) {
        mem_free(t);
        return -ENOMEM;
    }
    if (handle_table_add(&env->tracks, t, &t->handle) < 0) {
        room_env_release_timers(env, TRACK_TIMERS);
        mem_free(t);
        return -ENOMEM;
    }
    t->publisher = p;
    t->info = *info;
    t->end.kind = ROOM_TIMER_TRACK;
    dynacast_init(&t->dynacast);
    for (uint8_t i = 0; i < TRACK_INFO_CODECS_MAX; i++) {
        track_media_init(&t->media[i], t, i, track_info_codec(info, i));
    }
    uint8_t random[SID_RANDOM_LEN];
    rng_bytes(env->rng, random, sizeof(random));
    (void)sid_make_track(info->type, info->source, random, t->info.sid);
    HASH_ADD_KEYPTR(hh_sid, p->room->tracks, t->info.sid, strlen(t->info.sid), t);
    if (room_track(p->room, t->info.sid) != t) {
        (void)handle_table_remove(&env->tracks, t->handle);
        room_env_release_timers(env, TRACK_TIMERS);
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
    t->closing = true;
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
    timer_heap_cancel(env->timers, &t->end);
    timer_heap_cancel(env->timers, &t->dynacast.timer);
    room_env_release_timers(env, TRACK_TIMERS);
    (void)handle_table_remove(&env->tracks, t->handle);
    mem_free(t);
    add_track_queue_next(p);
}

struct published_track *published_track_by_sid(struct participant *p, const char *sid)
{
    struct published_track *const t = room_track(p->room, sid);
    return t != NULL && t->publisher == p ? t : NULL;
}

// ---- sections -------------------------------------------------------------------------------

static bool has_cid(const struct track_codec *c, const char *cid)
{
    return strcmp(c->cid, cid) == 0 || strcmp(c->sdp_cid, cid) == 0;
}

struct published_track *published_track_by_cid(struct participant *p, const char *cid)
{
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        for (uint8_t i = 0; i < t->info.codec_count; i++) {
            if (has_cid(&t->info.codecs[i], cid)) {
                return t;
            }
        }
    }
    return NULL;
}

// The first that waits for a section of the kind, with that cid unless that is NULL.
static struct track_media *find_awaited(struct participant *p, enum track_type type,
                                        const char *cid)
{
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        for (uint8_t i = 0; t->info.type == type && i < t->info.codec_count; i++) {
            if (track_media_is_awaited(&t->media[i]) &&
                (cid == NULL || has_cid(&t->info.codecs[i], cid))) {
                return &t->media[i];
            }
        }
    }
    return NULL;
}

struct track_media *published_track_match(struct participant *p, enum track_type type,
                                          const char *track_id)
{
    return track_id[0] != 0 ? find_awaited(p, type, track_id) : NULL;
}

struct track_media *published_track_match_any(struct participant *p, enum track_type type,
                                              const char *track_id)
{
    struct track_media *const m = find_awaited(p, type, NULL);
    if (m != NULL && track_id[0] != 0) {
        struct track_codec *const c = &m->track->info.codecs[m->index];
        (void)snprintf(c->sdp_cid, sizeof(c->sdp_cid), "%s", track_id);
    }
    return m;
}

void published_track_set_section(struct track_media *m, struct jsep_transceiver *section)
{
    track_media_set_section(m, section);
    m->track->ending = false; // a backup came when the primary one was on its way out
    if (m->track->state == TRACK_PENDING) {
        m->track->state = TRACK_MATCHED;
    }
}

static bool lives(const struct published_track *t)
{
    for (uint8_t i = 0; i < t->info.codec_count; i++) {
        if (!t->media[i].ending && t->media[i].section != NULL) {
            return true;
        }
    }
    return false;
}

void published_track_section_silent(struct track_media *m)
{
    struct published_track *const t = m->track;
    struct room_env *const env = t->publisher->room->env;
    track_media_detach(m);
    if (t->state != TRACK_PUBLISHED && m->index == 0) {
        published_track_close(t);
        return;
    }
    if (t->state != TRACK_PUBLISHED || m->receiver == NULL) {
        track_media_close(m);
        return;
    }
    m->ending = true;
    t->ending = !lives(t);
    timer_heap_set_sooner(env->timers, &t->end, mono_add_ms(env->now, PUBLISHED_TRACK_END_MS));
}

void published_track_timeout(struct published_track *t)
{
    if (!lives(t)) {
        published_track_close(t);
        return;
    }
    for (uint8_t i = 0; i < t->info.codec_count; i++) {
        if (t->media[i].ending) {
            backup_codec_ended(&t->media[i]);
        }
    }
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

// ---- publishing -----------------------------------------------------------------------------

static void announce(struct published_track *t)
{
    struct participant *const p = t->publisher;
    t->state = TRACK_PUBLISHED;
    t->info.version_us = p->room->env->wall.us;
    connection_quality_publish(t);
    if (t->info.type == TRACK_AUDIO) {
        audio_level_init(&t->level, codec_clock(t->media[0].codec), AUDIO_LEVEL_DEFAULTS);
        active_speaker_start(p->room);
    }
    room_count_publisher(p);
    participant_changed(p, true);
    room_event_track(t, true);
    subscription_reconcile_track(t);
    dynacast_start(t);
}

// -ENOTSUP: no usable codec; -ENOMEM.
static int publish(struct track_media *m)
{
    struct participant *const p = m->track->publisher;
    int const rc = track_media_receive(m);
    if (rc < 0) {
        return rc;
    }
    pc_transport_set_track(p->publisher, m->section_id, m);
    if (m->track->state == TRACK_PUBLISHED) {
        backup_codec_started(m);
    } else {
        announce(m->track);
    }
    return 0;
}

// False: it is gone.
static bool publish_track(struct published_track *t)
{
    for (uint8_t i = 0; i < t->info.codec_count; i++) {
        struct track_media *const m = &t->media[i];
        if (m->section == NULL || m->receiver != NULL || publish(m) == 0) {
            continue;
        }
        if (t->state != TRACK_PUBLISHED) {
            published_track_close(t);
            return false;
        }
        track_media_close(m);
    }
    return true;
}

void published_track_publish_matched(struct participant *p)
{
    struct published_track *t = p->tracks;
    while (t != NULL) {
        // The end of one may begin another, which is published from within: start over.
        t = publish_track(t) ? t->next : p->tracks;
    }
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
    dynacast_muted(t);
}

void published_track_subscribed(struct published_track *t, const struct participant *subscriber)
{
    if (!t->subscribed_told && !subscriber->permission.hidden) {
        t->subscribed_told = true;
        signal_send_track_subscribed(t->publisher, t->info.sid);
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/subscription.h"

#include <stdio.h>

#include "sfu/room/audience.h"
#include "sfu/room/connection_quality.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/router.h"
#include "sfu/room/stream_state.h"
#include "sfu/room/subscription_codec.h"
#include "sfu/room/subscription_permission.h"
#include "sfu/room/subscription_timer.h"
#include "sfu/room/track_preference.h"
#include "sfu/transport/peer_connection.h"

// ---- preferences ----------------------------------------------------------------------------

void subscription_set_desired(struct participant *p, const char *track_sid, bool desired)
{
    struct track_preference *const pref = track_preference_need(p, track_sid);
    if (pref == NULL) {
        return;
    }
    pref->has_desired = true;
    pref->desired = desired;
    struct published_track *const t = room_track(p->room, track_sid);
    struct subscription *const s = t != NULL ? subscription_find(p, t) : NULL;
    if (desired && s != NULL && s->codec_refused) {
        // Asked for once more: it may have another codec now.
        s->codec_refused = false;
        negotiation_request(p);
    }
}

static void settle_later(struct participant *p, struct track_preference *pref)
{
    if (mono_is_never(pref->apply_at)) {
        pref->apply_at = mono_add_ms(p->room->env->now, TRACK_PREFERENCE_SETTLE_MS);
        subscription_timer_by(p, pref->apply_at);
    }
}

void subscription_set_settings(struct participant *p, const char *track_sid, bool disabled,
                               uint8_t quality, uint32_t width, uint32_t height, uint32_t fps)
{
    struct track_preference *const pref = track_preference_need(p, track_sid);
    if (pref == NULL) {
        return;
    }
    bool const enabled = pref->has_settings && pref->disabled && !disabled;
    pref->has_settings = true;
    pref->disabled = disabled;
    pref->quality = quality;
    pref->width = width;
    pref->height = height;
    pref->fps = fps;
    // What is to be seen again must not wait; everything else may be one of several.
    if (enabled) {
        subscription_settings_settled(p, pref);
    } else {
        settle_later(p, pref);
    }
}

void subscription_set_disabled(struct participant *p, const char *track_sid)
{
    struct track_preference *const pref = track_preference_need(p, track_sid);
    if (pref == NULL) {
        return;
    }
    if (!pref->has_settings) {
        pref->quality = p->adaptive_stream ? 0 : 2; // LOW or HIGH, as at the start
    }
    pref->has_settings = true;
    pref->disabled = true;
    settle_later(p, pref);
}

void subscription_settings_settled(struct participant *p, struct track_preference *pref)
{
    struct published_track *const t = room_track(p->room, pref->sid);
    struct subscription *const s = t != NULL ? subscription_find(p, t) : NULL;
    pref->apply_at = MONO_NEVER;
    if (s == NULL) {
        return;
    }
    subscription_apply_settings(s);
}

// Frame rates of the temporal layers are unknown without measuring; L1T3 halves each time, and
// livekit assumes 30 at the top.
static int temporal_for_fps(uint32_t fps)
{
    if (fps == 0 || fps > 15) {
        return DOWN_TRACK_TEMPORAL_MAX;
    }
    return fps > 7 ? 1 : 0;
}

static int layer_for(const struct published_track *t, uint8_t codec,
                     const struct track_preference *pref)
{
    if (pref->width == 0 && pref->height == 0) {
        return pref->quality > 2 ? DOWN_TRACK_NO_LAYER
                                 : track_info_layer_for_quality(&t->info, codec, pref->quality);
    }
    uint32_t heights[TRACK_INFO_LAYERS_MAX] = {0};
    size_t n = 0;
    for (uint8_t i = 0; codec < t->info.codec_count && i < t->info.codecs[codec].layer_count; i++) {
        heights[n++] = t->info.codecs[codec].layers[i].height;
    }
    return down_track_layer_for_size(heights, n, t->info.width, t->info.height, pref->width,
                                     pref->height);
}

void subscription_apply_settings(struct subscription *s)
{
    struct room_env *const env = s->subscriber->room->env;
    const struct track_media *const m =
        s->media != NULL || s->section == NULL ? s->media : subscription_promised(s, s->section);
    if (m == NULL || !m->video) {
        return;
    }
    const struct track_preference *const pref =
        track_preference_find(s->subscriber, s->track->info.sid);
    bool const has = pref != NULL && pref->has_settings;
    // livekit-protocol 4.9.1: LOW until an adaptive client says what it shows.
    int const unasked = s->subscriber->adaptive_stream ? 0 : DOWN_TRACK_SPATIAL_MAX;
    int const layer = has ? layer_for(s->track, m->index, pref) : unasked;
    bool const disabled = has && pref->disabled;
    bool const starts = s->disabled && !disabled;
    bool const wants = layer >= 0 && !disabled;
    s->disabled = disabled;
    if (s->down_track != NULL) {
        down_track_set_max_layers(s->down_track, layer,
                                  has ? temporal_for_fps(pref->fps) : DOWN_TRACK_TEMPORAL_MAX);
        if (has) {
            down_track_set_disabled(s->down_track, env->now, pref->disabled);
        }
        track_media_need(s->media, s->down_track);
        pc_transport_media_by(participant_sending(s->subscriber), env->now);
    }
    dynacast_set_need(s, m->index,
                      wants ? track_info_layer_quality(&s->track->info, m->index, layer)
                            : DYNACAST_NOTHING);
    if (starts && s->down_track != NULL) {
        stream_state_started(s);
    }
}

// ---- life -----------------------------------------------------------------------------------

struct subscription *subscription_find(struct participant *p, const struct published_track *t)
{
    struct subscription *s = NULL;
    HASH_FIND(hh, p->subscriptions, &t->handle, sizeof(t->handle), s);
    return s;
}

static bool wanted(struct participant *p, const struct published_track *t)
{
    if (!p->permission.can_subscribe || t->publisher == p || t->state != TRACK_PUBLISHED ||
        t->ending) {
        return false;
    }
    const struct track_preference *const pref = track_preference_find(p, t->info.sid);
    if (pref != NULL && pref->has_desired) {
        return pref->desired;
    }
    // Nobody is told of a hidden publisher, and clients drop tracks of people they do not know.
    return p->auto_subscribe && !t->publisher->permission.hidden;
}

// p may not have t, or had it until now: it is told once.
static void deny(struct participant *p, const struct published_track *t)
{
    struct track_preference *const pref = track_preference_need(p, t->info.sid);
    if (pref != NULL && !pref->denied) {
        pref->denied = true;
        subscription_permission_tell(p, t, false);
    }
}

static void try_again(struct participant *p)
{
    p->reconcile_again = true;
    subscription_timer_by(p, mono_add_ms(p->room->env->now, SUBSCRIPTION_RETRY_MS));
}

static bool open_subscription(struct participant *p, struct published_track *t)
{
    struct room_env *const env = p->room->env;
    struct subscription *const s = NEW(struct subscription);
    if (s == NULL || handle_table_add(&env->subscriptions, s, &s->handle) < 0) {
        mem_free(s);
        env->no_memory++;
        try_again(p);
        return false;
    }
    s->subscriber = p;
    s->track = t;
    s->track_key = t->handle;
    s->bind_by = MONO_NEVER;
    HASH_ADD(hh, p->subscriptions, track_key, sizeof(s->track_key), s);
    if (subscription_find(p, t) != s) {
        (void)handle_table_remove(&env->subscriptions, s->handle);
        mem_free(s);
        env->no_memory++;
        try_again(p);
        return false;
    }
    struct track_preference *const pref = track_preference_find(p, t->info.sid);
    if (pref != NULL) {
        pref->denied = false;
        s->key_full = pref->key_full;
    }
    subscription_permission_tell(p, t, true);
    if (p->state == PARTICIPANT_ACTIVE) {
        s->bind_by = mono_add_ms(env->now, SUBSCRIPTION_BIND_MS);
        subscription_timer_by(p, mono_add_ms(env->now, SUBSCRIPTION_RETRY_MS));
    }
    return true;
}

static void leave_outputs(struct pc_transport *t, struct subscription *s)
{
    HASH_DELETE(hh_ssrc, t->outputs, s);
    if (s->rtx_ssrc != 0) {
        HASH_DELETE(hh_rtx, t->outputs_rtx, s);
    }
}

void subscription_detach(struct subscription *s)
{
    struct participant *const p = s->subscriber;
    dynacast_set_need(s, 0, DYNACAST_NOTHING);
    s->promised = false;
    if (s->down_track != NULL) {
        track_media_remove_output(s->media, s);
        leave_outputs(participant_sending(p), s);
        s->key_full = down_track_key_full(s->down_track);
        down_track_free(s->down_track);
        s->down_track = NULL;
        audience_left(p, s->track->publisher);
    }
    if (s->section != NULL) {
        s->section->send_owner = HANDLE_NONE;
        jsep_transceiver_clear_sender(s->section);
        s->section = NULL;
        negotiation_request_after_end(p);
    }
    s->state = SUBSCRIPTION_WAITING;
}

void subscription_close(struct subscription *s)
{
    if (s == NULL) {
        return;
    }
    struct participant *const p = s->subscriber;
    subscription_detach(s);
    struct track_preference *const pref = track_preference_find(p, s->track->info.sid);
    if (pref != NULL) {
        pref->key_full = s->key_full;
    }
    HASH_DEL(p->subscriptions, s);
    (void)handle_table_remove(&p->room->env->subscriptions, s->handle);
    mem_free(s);
}

// True if a subscription began. One that ends renegotiates by itself (subscription_close).
static bool reconcile_one(struct participant *p, struct published_track *t)
{
    struct subscription *const s = subscription_find(p, t);
    bool const want = wanted(p, t);
    bool const allowed = !want || subscription_permission_allows(t, p);
    if (s != NULL && !(want && allowed)) {
        subscription_close(s);
    }
    if (!allowed) {
        deny(p, t);
    }
    return want && allowed && s == NULL && open_subscription(p, t);
}

void subscription_reconcile_sid(struct participant *p, const char *track_sid)
{
    struct published_track *const t = room_track(p->room, track_sid);
    if (t != NULL && !p->closing && participant_sending(p) != NULL && reconcile_one(p, t)) {
        effort_turn(p, EFFORT_SUBSCRIPTION_US);
        negotiation_request(p);
    }
}

bool subscription_reconcile(struct participant *p)
{
    // Nothing to send on yet: v0 publisher-only sessions before their subscriber transport, closed
    // ones.
    if (p->closing || participant_sending(p) == NULL) {
        return false;
    }
    bool opened = false;
    effort_turn(p, HASH_CNT(hh_sid, p->room->tracks) / EFFORT_LOOKS_PER_US);
    // Most people only listen: no need to look at all of them.
    size_t left = HASH_CNT(hh_sid, p->room->tracks);
    for (struct participant *o = p->room->participants; o != NULL && left > 0; o = o->hh.next) {
        struct published_track *t = NULL;
        DL_FOREACH(o->tracks, t)
        {
            opened |= reconcile_one(p, t);
            left--;
        }
    }
    if (opened) {
        negotiation_request(p);
    }
    return opened;
}

void subscription_reconcile_track(struct published_track *t)
{
    int64_t work_us = 0;
    for (struct participant *p = t->publisher->room->participants; p != NULL; p = p->hh.next) {
        if (!p->closing && participant_sending(p) != NULL && p->state == PARTICIPANT_ACTIVE &&
            reconcile_one(p, t)) {
            work_us += EFFORT_SUBSCRIPTION_US;
            // Several tracks that begin together are negotiated together.
            work_us += timer_is_set(&p->negotiation) ? 0 : EFFORT_NEGOTIATION_US;
            negotiation_request(p);
        }
    }
    effort_turn(t->publisher, HASH_COUNT(t->publisher->room->participants) / EFFORT_LOOKS_PER_US);
    effort_work(t->publisher, work_us);
}

void subscription_reconcile_publisher(struct participant *p)
{
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        subscription_reconcile_track(t);
    }
}

// ---- negotiation ----------------------------------------------------------------------------

static uint32_t draw_ssrc(struct pc_transport *t)
{
    for (;;) {
        uint32_t const ssrc = rng_u32(t->env->rng);
        struct subscription *s = NULL;
        struct subscription *x = NULL;
        HASH_FIND(hh_ssrc, t->outputs, &ssrc, sizeof(ssrc), s);
        HASH_FIND(hh_rtx, t->outputs_rtx, &ssrc, sizeof(ssrc), x);
        if (ssrc != 0 && ssrc != t->rtcp_ssrc && s == NULL && x == NULL) {
            return ssrc;
        }
    }
}

// Longest name of a stream that goes into descriptions; those of clients are "camera" and the like.
#define SYNC_STREAM_MAX 32 // also in the format below

// A name that a client chose for its stream goes into the descriptions of others: only what has no
// meaning there, and what does not look like the sid of a track.
static bool is_plain_stream(const char *name)
{
    size_t const n =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= SYNC_STREAM_MAX && name[n] == 0 && strncmp(name, "TR", 2) != 0;
}

// livekit-protocol 4.4: with sync_streams tracks of one source share a stream, so that they are
// played in sync. Clients then find the track by mid_to_track_id, which old ones do not know and
// Firefox does not use.
static bool is_synced(const struct subscription *s)
{
    const struct client_traits *const c = &s->subscriber->client;
    return s->subscriber->room->sync_streams && c->protocol > 9 && !c->firefox &&
           is_plain_stream(s->track->info.stream);
}

int subscription_assign(struct subscription *s, struct jsep_transceiver *section)
{
    struct pc_transport *const t = participant_sending(s->subscriber);
    // In our own offer (v0) the section has no codecs of the peer yet: subscription_start finds
    // out.
    struct track_media *media = NULL;
    if (section->negotiated && section->codec_count > 0 &&
        subscription_match_codec(s, section, &media) == NULL &&
        subscription_promised(s, section) == NULL) {
        return -ENOTSUP;
    }
    char cname[2 * SID_SIZE + 2];
    char stream[SID_SIZE + SYNC_STREAM_MAX + 2];
    (void)snprintf(cname, sizeof(cname), "%s|%s", s->track->publisher->sid, s->track->info.sid);
    (void)snprintf(stream, sizeof(stream), "%s|%.32s", s->track->publisher->sid,
                   is_synced(s) ? s->track->info.stream : s->track->info.sid);
    s->ssrc = draw_ssrc(t);
    s->rtx_ssrc = s->track->info.type == TRACK_VIDEO ? draw_ssrc(t) : 0;
    struct jsep_sender const sender = {
        .stream_id = stream,
        .track_id = s->track->info.sid,
        .cname = cname,
        .ssrc = s->ssrc,
        .rtx_ssrc = s->rtx_ssrc,
        .stereo = track_info_stereo(&s->track->info),
    };
    int const rc = jsep_transceiver_set_sender(section, &sender);
    if (rc < 0) {
        return rc;
    }
    s->section = section;
    section->send_owner = s->handle;
    s->state = SUBSCRIPTION_ASSIGNED;
    return 0;
}

static int make_down_track(struct subscription *s, const struct track_media *m,
                           const struct jsep_codec *c)
{
    struct rng *const rng = s->subscriber->room->env->rng;
    // RED names the payload type of what it wraps, and is passed on as it is.
    const struct jsep_codec *const opus =
        m->codec == CODEC_OPUS ? jsep_codec_find(m->section, CODEC_OPUS) : NULL;
    const struct jsep_codec *const red =
        opus != NULL && opus->pt == c->pt ? jsep_codec_find(s->section, CODEC_RED) : NULL;
    struct down_track_conf conf = {
        .codec = m->codec,
        .clock_rate = codec_clock(m->codec),
        .pt = c->pt,
        .rtx_pt = c->rtx_pt,
        .red_pt = red != NULL ? red->pt : 0,
        .cut_trailers = s->track->info.trailer_feature_count > 0 && !s->subscriber->client.trailers,
        .padding_first = s->subscriber->client.tracks_by_rtp,
        .ssrc = s->ssrc,
        .rtx_ssrc = s->rtx_ssrc,
        .first_ts = rng_u32(rng),
        .first_sn = (uint16_t)rng_u32(rng),
        .first_rtx_sn = (uint16_t)rng_u32(rng),
        .ext = s->section->ext_send,
        .key_full = s->key_full,
        .min_playout_delay_ms = s->subscriber->room->min_playout_delay_ms,
        .max_playout_delay_ms = s->subscriber->room->max_playout_delay_ms,
    };
    // Nobody reads transport-wide feedback yet (the bandwidth estimator will), and numbered packets
    // would make each subscriber send 16 to 20 feedback packets a second for nothing. The extension
    // stays negotiated: it begins with the estimator.
    conf.ext.id[RTP_EXT_TRANSPORT_CC] = 0;
    (void)snprintf(conf.mid, sizeof(conf.mid), "%.16s", s->section->mid);
    (void)snprintf(conf.cname, sizeof(conf.cname), "%s|%s", s->track->publisher->sid,
                   s->track->info.sid);
    return down_track_new(&conf, &s->down_track);
}

// Reports about s find it from now on. -ENOMEM.
static int enter_outputs(struct pc_transport *t, struct subscription *s)
{
    struct subscription *found = NULL;
    HASH_ADD(hh_ssrc, t->outputs, ssrc, sizeof(s->ssrc), s);
    HASH_FIND(hh_ssrc, t->outputs, &s->ssrc, sizeof(s->ssrc), found);
    if (found != s) {
        return -ENOMEM;
    }
    if (s->rtx_ssrc == 0) {
        return 0;
    }
    HASH_ADD(hh_rtx, t->outputs_rtx, rtx_ssrc, sizeof(s->rtx_ssrc), s);
    HASH_FIND(hh_rtx, t->outputs_rtx, &s->rtx_ssrc, sizeof(s->rtx_ssrc), found);
    if (found != s) {
        HASH_DELETE(hh_ssrc, t->outputs, s);
        return -ENOMEM;
    }
    return 0;
}

// livekit-protocol 4.9.1: an adaptive client says anew what is hidden once it has the track; a flag
// from before could leave it dark for good.
static void settings_at_bind(struct subscription *s)
{
    struct track_preference *const pref = track_preference_find(s->subscriber, s->track->info.sid);
    if (pref != NULL) {
        pref->disabled &= !s->subscriber->adaptive_stream;
        pref->apply_at = MONO_NEVER;
    }
}

int subscription_start(struct subscription *s)
{
    struct pc_transport *const t = participant_sending(s->subscriber);
    struct room_env *const env = s->subscriber->room->env;
    struct track_media *media = NULL;
    const struct jsep_codec *const c = subscription_match_codec(s, s->section, &media);
    if (c == NULL) {
        s->promised = subscription_promised(s, s->section) != NULL;
        subscription_apply_settings(s);
        return s->promised || s->track->ending ? 0 : -ENOTSUP;
    }
    int rc = track_media_reserve_output(media);
    if (rc == 0) {
        rc = make_down_track(s, media, c);
    }
    if (rc < 0) {
        return rc;
    }
    rc = enter_outputs(t, s);
    if (rc < 0) {
        down_track_free(s->down_track);
        s->down_track = NULL;
        return rc;
    }
    track_media_add_output(media, s);
    s->promised = false;
    s->state = SUBSCRIPTION_LIVE;
    connection_quality_subscribe(s);
    settings_at_bind(s);
    published_track_subscribed(s->track, s->subscriber);
    down_track_set_publisher_muted(s->down_track, env->now, s->track->info.muted);
    subscription_apply_settings(s);
    if (t->connected) {
        down_track_set_writable(s->down_track, env->now, true);
        track_media_need(media, s->down_track);
    }
    audience_joined(s);
    stream_state_started(s);
    pc_transport_media_by(t, env->now);
    return 0;
}

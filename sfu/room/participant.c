// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/participant.h"

#include "sfu/room/active_speaker.h"
#include "sfu/room/add_track.h"
#include "sfu/room/connection_quality.h"
#include "sfu/room/data_router.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_info.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/published_track.h"
#include "sfu/room/resume.h"
#include "sfu/room/room.h"
#include "sfu/room/room_event.h"
#include "sfu/room/room_news.h"
#include "sfu/room/room_update.h"
#include "sfu/room/rpc_calls.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/simulate.h"
#include "sfu/room/subscription.h"
#include "sfu/room/subscription_timer.h"
#include "sfu/room/track_preference.h"

// Timers of one participant: its own, negotiation, out of step, subscriptions, requests, two of data,
// and two for each of two transports.
#define PARTICIPANT_TIMERS 11

void participant_attributes_free(struct participant_attribute *v, size_t n)
{
    for (size_t i = 0; v != NULL && i < n; i++) {
        mem_free(v[i].key);
        mem_free(v[i].value);
    }
    mem_free(v);
}

void participant_free(struct participant *p)
{
    if (p == NULL) {
        return;
    }
    track_preference_free_all(p);
    subscription_permission_clear(&p->permitted);
    mem_free(p->identity);
    mem_free(p->name);
    mem_free(p->metadata);
    participant_attributes_free(p->attributes, p->attribute_count);
    access_token_free(p->token);
    channel_credit_unref(p->credit);
    channel_msg_free(p->close);
    participant_info_drop(p);
    data_gap_done(&p->data_gap);
    mem_free(p);
}

static int copy_attributes(struct participant *p, const struct access_attribute *v, size_t n)
{
    n = MIN(n, PARTICIPANT_ATTRIBUTES_MAX);
    p->attributes = mem_array(n, sizeof(*p->attributes));
    if (p->attributes == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        p->attributes[i].key = mem_strdup(v[i].key);
        p->attributes[i].value = mem_strdup(v[i].value);
        p->attribute_count = i + 1;
        if (p->attributes[i].key == NULL || p->attributes[i].value == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

static char *dup_or_empty(const char *s)
{
    return mem_strdup(s != NULL ? s : "");
}

int participant_new(struct room *room, const struct participant_new_args *args,
                    struct participant **ret)
{
    struct room_env *const env = room->env;
    if (room_env_claim_timers(env, PARTICIPANT_TIMERS) < 0) {
        return -ENOMEM;
    }
    struct participant *const p = NEW(struct participant);
    if (p == NULL) {
        goto fail;
    }
    p->room = room;
    p->identity = dup_or_empty(args->identity);
    p->name = dup_or_empty(args->name);
    p->metadata = dup_or_empty(args->metadata);
    if (p->identity == NULL || p->name == NULL || p->metadata == NULL ||
        copy_attributes(p, args->attributes, args->attribute_count) < 0) {
        goto fail;
    }
    (void)room_env_sid(env, SID_PARTICIPANT, p->sid);
    p->kind = args->kind;
    p->kind_details = args->kind_details;
    p->permission = args->permission;
    p->client = args->client;
    p->v1 = args->v1;
    p->auto_subscribe = args->auto_subscribe;
    p->adaptive_stream = args->adaptive_stream;
    p->auto_subscribe_data = args->auto_subscribe_data;
    // Protocol 2 and older has the publisher as primary (livekit-protocol 3.3).
    p->subscriber_primary = !p->v1 && p->permission.can_subscribe && p->client.protocol > 2;
    p->joined_at = env->wall;
    p->heard = env->now;
    p->timer.kind = ROOM_TIMER_PARTICIPANT;
    p->negotiation.kind = ROOM_TIMER_NEGOTIATE;
    p->out_of_step_timer.kind = ROOM_TIMER_OUT_OF_STEP;
    p->subscription_timer.kind = ROOM_TIMER_SUBSCRIBE;
    p->data.timer.kind = ROOM_TIMER_DATA;
    p->data_gap_timer.kind = ROOM_TIMER_DATA_GAP;
    p->effort.timer.kind = ROOM_TIMER_REQUESTS;
    effort_begin(p);
    HASH_ADD_KEYPTR(hh, room->participants, p->identity, strlen(p->identity), p);
    if (room_participant(room, p->identity) != p) {
        goto fail;
    }
    HASH_ADD_KEYPTR(hh_sid, room->by_sid, p->sid, strlen(p->sid), p);
    bool const named = room_participant_by_sid(room, p->sid) == p;
    if (!named || participant_set_session(p, args->session) < 0) {
        HASH_DEL(room->participants, p);
        if (named) {
            HASH_DELETE(hh_sid, room->by_sid, p);
        }
        goto fail;
    }
    timer_heap_set(env->timers, &p->timer, mono_add_ms(env->now, PARTICIPANT_JOIN_DEADLINE_MS));
    p->token = args->token != NULL ? access_token_ref(args->token) : NULL;
    p->credit = channel_credit_ref(args->credit);
    room_count_in(room, p);
    *ret = p;
    return 0;
fail:
    participant_free(p);
    room_env_release_timers(env, PARTICIPANT_TIMERS);
    return -ENOMEM;
}

static void close_tracks(struct participant *p)
{
    while (p->subscriptions != NULL) {
        subscription_close(p->subscriptions);
    }
    while (p->tracks != NULL) {
        published_track_close(p->tracks);
    }
    add_track_queue_clear(p);
    data_track_close_all(p);
}

void participant_close(struct participant *p, enum disconnect_reason reason)
{
    struct room *const room = p->room;
    struct room_env *const env = room->env;
    if (p->closing) {
        return;
    }
    data_router_flush(p);
    p->closing = true;
    // Clients pass over the end of somebody whose beginning they were not told.
    room_news_forget(p);
    rpc_calls_participant_gone(p);
    close_tracks(p);
    data_channels_close(p);
    pc_transport_close(p->publisher);
    pc_transport_close(p->subscriber);
    p->publisher = NULL;
    p->subscriber = NULL;
    timer_heap_cancel(env->timers, &p->timer);
    timer_heap_cancel(env->timers, &p->negotiation);
    timer_heap_cancel(env->timers, &p->out_of_step_timer);
    timer_heap_cancel(env->timers, &p->subscription_timer);
    timer_heap_cancel(env->timers, &p->data_gap_timer);
    effort_drop(p);
    simulate_done(p);
    room_env_release_timers(env, PARTICIPANT_TIMERS);
    signal_send_close(p);
    (void)participant_set_session(p, HANDLE_NONE);
    connection_quality_leave(p);
    HASH_DEL(room->participants, p);
    HASH_DELETE(hh_sid, room->by_sid, p);
    room_count_out(room, p);
    active_speaker_gone(p);

    bool const told = p->state != PARTICIPANT_JOINING;
    bool const was_active = p->state == PARTICIPANT_ACTIVE;
    p->state = PARTICIPANT_DISCONNECTED;
    p->reason = reason;
    p->version++;
    room_event_participant(p, was_active);
    if (told) {
        // A session that the same identity replaces is no departure: others see the new sid
        // (livekit-protocol 4.12).
        if (!p->permission.hidden && reason != DISCONNECT_DUPLICATE_IDENTITY) {
            departures_add(&room->departures, env->now, p->sid, p->identity, p->version,
                           (uint8_t)reason);
        }
        p->gone_next = room->gone;
        room->gone = p;
        room_update_soon(room, false);
    } else {
        participant_free(p);
    }
    room_population_changed(room);
}

int participant_set_session(struct participant *p, handle_t session)
{
    struct room_env *const env = p->room->env;
    if (!handle_is_none(p->session)) {
        HASH_DELETE(hh_session, env->sessions, p);
        effort_drop(p);
        p->session_lost = env->now;
    }
    p->session = HANDLE_NONE;
    channel_msg_free(p->close);
    p->close = NULL;
    // A session that begins is told everything.
    p->out_of_step = false;
    timer_heap_cancel(env->timers, &p->out_of_step_timer);
    if (handle_is_none(session)) {
        return 0;
    }
    p->close = channel_msg_new(CHANNEL_CLOSE, session);
    if (p->close == NULL) {
        return -ENOMEM;
    }
    p->session = session;
    HASH_ADD(hh_session, env->sessions, session, sizeof(p->session), p);
    if (participant_by_session(env, session) != p) {
        p->session = HANDLE_NONE;
        return -ENOMEM; // close goes with the participant, or with the next session
    }
    return 0;
}

mono_t participant_heard(const struct participant *p)
{
    return mono_max(p->heard, channel_credit_pinged(p->credit));
}

struct participant *participant_by_session(struct room_env *env, handle_t session)
{
    struct participant *p = NULL;
    HASH_FIND(hh_session, env->sessions, &session, sizeof(session), p);
    return p;
}

void participant_set_state(struct participant *p, enum participant_state state)
{
    if (state <= p->state) {
        return;
    }
    p->state = state;
    participant_changed(p, false);
}

void participant_changed(struct participant *p, bool urgent)
{
    p->version++;
    effort_news(p);
    room_news_add(p);
    room_update_soon(p->room, urgent);
    if (urgent) {
        room_news_tell_self(p);
    }
}

uint32_t participant_publish_codecs(const struct participant *p)
{
    return client_codecs_publish(&p->client.codecs, p->room->env->conf->codecs);
}

struct pc_transport *participant_primary(const struct participant *p)
{
    return p->v1 || !p->subscriber_primary ? p->publisher : p->subscriber;
}

struct pc_transport *participant_sending(const struct participant *p)
{
    return p->v1 ? p->publisher : p->subscriber;
}

bool participant_is_cut_off(const struct participant *p)
{
    return (p->publisher != NULL && p->publisher->failed) ||
           (p->subscriber != NULL && p->subscriber->failed);
}

// ---- transports -----------------------------------------------------------------------------

void participant_transport_connected(struct participant *p, struct pc_transport *t)
{
    struct room_env *const env = p->room->env;
    // Once: a transport that comes back after a resume finds it ACTIVE.
    if (t == participant_primary(p) && p->state < PARTICIPANT_ACTIVE) {
        participant_set_state(p, PARTICIPANT_ACTIVE);
        negotiation_open_subscriber(p);
        subscription_timer_active(p);
        data_subscription_reconcile(p);
        room_event_participant(p, true);
    }
    if (p->state == PARTICIPANT_ACTIVE && !participant_is_cut_off(p)) {
        timer_heap_cancel(env->timers, &p->timer);
    }
    if (t == p->publisher) {
        published_track_publish_matched(p);
    }
    struct subscription *s = NULL;
    for (s = p->subscriptions; t == participant_sending(p) && s != NULL; s = s->hh.next) {
        if (s->down_track != NULL) {
            down_track_set_writable(s->down_track, env->now, true);
            pc_transport_media_by(t, env->now);
        }
    }
    (void)subscription_reconcile(p);
}

void participant_transport_failed(struct participant *p, struct pc_transport *t)
{
    struct room_env *const env = p->room->env;
    if (t == participant_sending(p)) {
        for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
            if (s->down_track != NULL) {
                down_track_set_writable(s->down_track, env->now, false);
            }
        }
    }
    resume_transport_failed(p, t);
}

void participant_timeout(struct participant *p)
{
    if (p->state < PARTICIPANT_ACTIVE && !participant_is_cut_off(p)) {
        signal_send_leave(p, DISCONNECT_JOIN_FAILURE, LEAVE_DISCONNECT);
        participant_close(p, DISCONNECT_JOIN_FAILURE);
    } else {
        resume_end(p, DISCONNECT_CONNECTION_TIMEOUT);
    }
}

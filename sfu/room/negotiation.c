// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/negotiation.h"

#include "common/base/dynbuf.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"
#include "sfu/transport/peer_connection.h"

static void fail_session(struct participant *p)
{
    signal_send_leave(p, DISCONNECT_STATE_MISMATCH, LEAVE_RECONNECT);
    participant_close(p, DISCONNECT_STATE_MISMATCH);
}

// ---- publications ---------------------------------------------------------------------------

static bool peer_sends(const struct jsep_transceiver *s)
{
    return (s->kind == JSEP_AUDIO || s->kind == JSEP_VIDEO) && !s->stopped && s->remote != NULL &&
           (s->remote_direction == SDP_SENDONLY || s->remote_direction == SDP_SENDRECV);
}

static struct published_track *track_of_section(const struct participant *p,
                                                const struct jsep_transceiver *s)
{
    return handle_table_get(&p->room->env->tracks, s->recv_owner);
}

// Sections that began to send get their tracks, tracks whose section fell silent end.
static void match_publications(struct participant *p)
{
    struct jsep *const j = p->publisher->jsep;
    for (size_t i = 0; i < jsep_count(j); i++) {
        struct jsep_transceiver *const s = jsep_at(j, i);
        struct published_track *t = track_of_section(p, s);
        if (!peer_sends(s)) {
            published_track_close(t);
            continue;
        }
        if (t == NULL) {
            t = published_track_match(p, s->kind == JSEP_VIDEO ? TRACK_VIDEO : TRACK_AUDIO,
                                      s->remote->track_id);
            if (t != NULL) {
                published_track_set_section(t, s);
            }
        }
    }
}

// What the client rejected, or whose m-line it gave to another section, carries nothing any more.
static void close_stopped_publications(struct participant *p)
{
    struct published_track *t = NULL;
    struct published_track *next = NULL;
    DL_FOREACH_SAFE(p->tracks, t, next)
    {
        if (t->media[0].section != NULL && t->media[0].section->stopped) {
            published_track_close(t);
        }
    }
}

static void publish_matched(struct participant *p)
{
    struct published_track *t = NULL;
    struct published_track *next = NULL;
    DL_FOREACH_SAFE(p->tracks, t, next)
    {
        if (t->state == TRACK_MATCHED && p->publisher->connected &&
            published_track_publish(t) < 0) {
            published_track_close(t);
        }
    }
}

// ---- subscriptions --------------------------------------------------------------------------

static enum jsep_kind kind_of(const struct subscription *s)
{
    return s->track->info.type == TRACK_VIDEO ? JSEP_VIDEO : JSEP_AUDIO;
}

static void refuse(struct subscription *s)
{
    if (!s->codec_refused) {
        s->codec_refused = true;
        signal_send_subscription_error(s->subscriber, s->track->info.sid,
                                       SUBSCRIPTION_ERROR_CODEC_UNSUPPORTED);
    }
}

// Ends those whose section the client rejected; refused: it will not have the track, and is told.
static void close_stopped_subscriptions(struct participant *p, bool refused)
{
    struct subscription *s = NULL;
    struct subscription *next = NULL;
    HASH_ITER(hh, p->subscriptions, s, next)
    {
        if (s->section == NULL || !s->section->stopped) {
            continue;
        }
        if (refused) {
            refuse(s);
        }
        subscription_close(s);
    }
}

// v1: puts waiting subscriptions into free sections of the client's offer.
static void assign_free_sections(struct participant *p)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state != SUBSCRIPTION_WAITING || s->codec_refused) {
            continue;
        }
        struct jsep_transceiver *const section = jsep_find_free(p->publisher->jsep, kind_of(s));
        if (section != NULL && subscription_assign(s, section) == -ENOTSUP) {
            refuse(s);
        }
    }
}

// v0: adds sections to our next offer.
static void add_sections(struct participant *p)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        struct jsep_transceiver *section = NULL;
        if (s->state != SUBSCRIPTION_WAITING || s->codec_refused ||
            jsep_add_sender_section(p->subscriber->jsep, kind_of(s), &section) < 0) {
            continue;
        }
        if (subscription_assign(s, section) == -ENOTSUP) {
            refuse(s);
        }
    }
}

// A description is finished: what it carries may flow.
static void start_assigned(struct participant *p)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state == SUBSCRIPTION_ASSIGNED && s->section->sender_live &&
            subscription_start(s) == -ENOTSUP) {
            s->section->send_owner = HANDLE_NONE;
            jsep_transceiver_clear_sender(s->section);
            s->section = NULL;
            s->state = SUBSCRIPTION_WAITING;
            refuse(s);
        }
    }
}

// v1: sections that are still missing are asked for (livekit-protocol 4.4).
static void ask_for_sections(struct participant *p, bool always)
{
    uint32_t missing[2] = {0, 0};
    for (const struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state == SUBSCRIPTION_WAITING && !s->codec_refused) {
            missing[kind_of(s) == JSEP_VIDEO]++;
        }
    }
    uint32_t const free_audio = (uint32_t)jsep_count_free(p->publisher->jsep, JSEP_AUDIO);
    uint32_t const free_video = (uint32_t)jsep_count_free(p->publisher->jsep, JSEP_VIDEO);
    uint32_t const audios = missing[0] > free_audio ? missing[0] - free_audio : 0;
    uint32_t const videos = missing[1] > free_video ? missing[1] - free_video : 0;
    uint32_t const more_audios = audios > p->sections_audio ? audios - p->sections_audio : 0;
    uint32_t const more_videos = videos > p->sections_video ? videos - p->sections_video : 0;
    if (!always && more_audios == 0 && more_videos == 0) {
        return;
    }
    p->sections_audio += more_audios;
    p->sections_video += more_videos;
    signal_send_sections_requirement(p, more_audios, more_videos);
}

// ---- client offers --------------------------------------------------------------------------

static void answer(struct participant *p, uint32_t id, const struct jsep_applied *applied)
{
    struct pc_transport *const t = p->publisher;
    struct dynbuf text;
    dynbuf_init(&text, JSEP_MAX_TEXT);
    int const rc = jsep_create_answer(t->jsep, &text);
    const char *const sdp = rc == 0 ? dynbuf_cstr(&text) : NULL;
    if (sdp == NULL) {
        dynbuf_done(&text);
        fail_session(p);
        return;
    }
    // Participants always before their media.
    room_flush_updates(p->room);
    signal_send_description(p, false, sdp, id, t->jsep);
    dynbuf_done(&text);
    if (pc_transport_apply_remote(t, applied) < 0 || pc_transport_update_ingress(t) < 0) {
        fail_session(p);
        return;
    }
    publish_matched(p);
    if (p->v1) {
        start_assigned(p);
        ask_for_sections(p, false);
    }
}

void negotiation_offer(struct participant *p, const char *sdp, uint32_t id)
{
    struct jsep_applied applied = {0};
    if (p->publisher == NULL && pc_transport_new(p, PC_PUBLISHER, &p->publisher) < 0) {
        fail_session(p);
        return;
    }
    struct pc_transport *const t = p->publisher;
    if (jsep_set_remote_offer(t->jsep, bytes_str(sdp), &applied) < 0) {
        return;
    }
    p->sections_audio = 0;
    p->sections_video = 0;
    if (p->v1) {
        close_stopped_subscriptions(p, false);
        (void)subscription_reconcile(p);
    }
    close_stopped_publications(p);
    match_publications(p);
    if (p->v1) {
        assign_free_sections(p);
    }
    if (pc_transport_prepare_answer(t, &applied) < 0) {
        fail_session(p);
        return;
    }
    answer(p, id, &applied);
}

void negotiation_track_added(struct participant *p)
{
    // The section came before its add_track: it was answered in the offered order already.
    if (p->publisher == NULL || jsep_state(p->publisher->jsep) != JSEP_STABLE) {
        return;
    }
    match_publications(p);
    publish_matched(p);
}

// ---- our offers (v0) ------------------------------------------------------------------------

static void offer(struct participant *p)
{
    struct pc_transport *const t = p->subscriber;
    if (t == NULL) {
        return;
    }
    if (p->offer_pending) {
        p->negotiate_again = true;
        return;
    }
    add_sections(p);
    struct dynbuf text;
    dynbuf_init(&text, JSEP_MAX_TEXT);
    const char *const sdp = jsep_create_offer(t->jsep, &text) == 0 ? dynbuf_cstr(&text) : NULL;
    if (sdp == NULL) {
        dynbuf_done(&text);
        fail_session(p);
        return;
    }
    // livekit starts at a random id and counts up (livekit-protocol 4.2).
    p->offer_id = p->offer_id == 0 ? 1 + (rng_u32(p->room->env->rng) & 0xff) : p->offer_id + 1;
    p->offer_pending = true;
    room_flush_updates(p->room);
    signal_send_description(p, true, sdp, p->offer_id, t->jsep);
    dynbuf_done(&text);
    timer_heap_set(p->room->env->timers, &p->negotiation,
                   mono_add_ms(p->room->env->now, NEGOTIATION_TIMEOUT_MS));
}

void negotiation_answer(struct participant *p, const char *sdp, uint32_t id)
{
    struct pc_transport *const t = p->subscriber;
    // v1 has no server offers: any answer is ignored. Rust and Go answer with id 0, so the id
    // decides nothing.
    (void)id;
    if (t == NULL) {
        return;
    }
    struct jsep_applied applied = {0};
    if (jsep_set_remote_answer(t->jsep, bytes_str(sdp), &applied) < 0 ||
        pc_transport_apply_remote(t, &applied) < 0 || pc_transport_update_ingress(t) < 0) {
        fail_session(p);
        return;
    }
    p->offer_pending = false;
    timer_heap_cancel(p->room->env->timers, &p->negotiation);
    close_stopped_subscriptions(p, true);
    start_assigned(p);
    if (p->negotiate_again || jsep_needs_negotiation(t->jsep)) {
        p->negotiate_again = false;
        negotiation_request(p);
    }
}

int negotiation_start_subscriber(struct participant *p)
{
    int rc = pc_transport_new(p, PC_SUBSCRIBER, &p->subscriber);
    if (rc == 0) {
        rc = jsep_add_data_section(p->subscriber->jsep);
    }
    if (rc == 0) {
        (void)subscription_reconcile(p);
        offer(p);
    }
    return rc;
}

void negotiation_restart_subscriber(struct participant *p)
{
    if (p->subscriber == NULL) {
        return;
    }
    if (pc_transport_restart_ice(p->subscriber) < 0) {
        fail_session(p);
        return;
    }
    // An offer that was lost with the old socket is replaced.
    p->offer_pending = false;
    offer(p);
}

// ---- pace -----------------------------------------------------------------------------------

void negotiation_request(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (p->closing || participant_sending(p) == NULL) {
        return;
    }
    if (p->offer_pending) {
        p->negotiate_again = true;
        return;
    }
    timer_heap_set_sooner(env->timers, &p->negotiation,
                          mono_add_ms(env->now, NEGOTIATION_DELAY_MS));
}

void negotiation_timeout(struct participant *p)
{
    if (p->offer_pending) {
        fail_session(p);
        return;
    }
    if (!p->v1) {
        offer(p);
        return;
    }
    // Only an offer of the client can be answered; (0, 0) means: simply offer again.
    room_flush_updates(p->room);
    ask_for_sections(p, true);
}

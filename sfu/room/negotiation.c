// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/negotiation.h"

#include "common/base/dynbuf.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/room_news.h"
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

static struct track_media *media_of_section(const struct participant *p,
                                            const struct jsep_transceiver *s)
{
    struct published_track *const t = handle_table_get(&p->room->env->tracks, s->recv_owner);
    return t != NULL ? published_track_media_of(t, s) : NULL;
}

// Sections that began to send get their tracks: first those whose id is known, so that the others
// cannot take what is theirs.
static void match_sending(struct participant *p, bool any)
{
    struct jsep *const j = p->publisher->jsep;
    for (size_t i = 0; i < jsep_count(j); i++) {
        struct jsep_transceiver *const s = jsep_at(j, i);
        if (!peer_sends(s) || media_of_section(p, s) != NULL) {
            continue;
        }
        enum track_type const type = s->kind == JSEP_VIDEO ? TRACK_VIDEO : TRACK_AUDIO;
        struct track_media *const m = any ? published_track_match_any(p, type, s->remote->track_id)
                                          : published_track_match(p, type, s->remote->track_id);
        if (m != NULL) {
            published_track_set_section(m, s);
        }
    }
}

// Tracks whose section fell silent end.
static void end_silent(struct participant *p)
{
    struct jsep *const j = p->publisher->jsep;
    for (size_t i = 0; i < jsep_count(j); i++) {
        struct jsep_transceiver *const s = jsep_at(j, i);
        struct track_media *const m = media_of_section(p, s);
        if (m != NULL && !peer_sends(s)) {
            published_track_section_silent(m);
        }
    }
}

static void match_publications(struct participant *p)
{
    end_silent(p);
    match_sending(p, false);
    match_sending(p, true);
}

// What the client rejected, or whose m-line it gave to another section, carries nothing any more.
static void close_stopped_publications(struct participant *p)
{
    struct published_track *t = NULL;
    struct published_track *next = NULL;
    DL_FOREACH_SAFE(p->tracks, t, next)
    {
        for (uint8_t i = t->info.codec_count; i-- > 0;) {
            const struct jsep_transceiver *const s = t->media[i].section;
            if (s != NULL && s->stopped) {
                // The primary one goes last: with it a track that is not published yet is gone.
                published_track_section_silent(&t->media[i]);
            }
        }
    }
}

static void publish_matched(struct participant *p)
{
    if (p->publisher->connected) {
        published_track_publish_matched(p);
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

// Those whose section the client rejected, or gave to something else, need another one; refused: it
// will not have the track, and is told.
static void detach_stopped_subscriptions(struct participant *p, bool refused)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->section == NULL || !s->section->stopped) {
            continue;
        }
        subscription_detach(s);
        if (refused) {
            refuse(s);
        }
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

// What the subscriptions of p need in sections, by kind (0 audio, 1 video).
struct section_needs {
    uint32_t waiting[2]; // subscriptions
    uint32_t free[2];    // sections that may be taken now
    uint32_t freeing[2]; // sections that are free once a description has said so
    uint32_t room[2];    // sections that may be added
};

static uint32_t room_for(size_t used, uint32_t each)
{
    return used < NEGOTIATION_TEXT_MAX ? (uint32_t)(NEGOTIATION_TEXT_MAX - used) / each : 0;
}

static struct section_needs count_needs(const struct participant *p)
{
    struct section_needs n = {0};
    const struct jsep *const j = participant_sending(p)->jsep;
    for (const struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        n.waiting[kind_of(s) == JSEP_VIDEO] +=
            s->state == SUBSCRIPTION_WAITING && !s->codec_refused;
    }
    size_t used = (size_t)p->sections_audio * NEGOTIATION_AUDIO_BYTES +
                  (size_t)p->sections_video * NEGOTIATION_VIDEO_BYTES;
    for (size_t i = 0; i < jsep_count(j); i++) {
        used +=
            jsep_at(j, i)->kind == JSEP_VIDEO ? NEGOTIATION_VIDEO_BYTES : NEGOTIATION_AUDIO_BYTES;
    }
    for (size_t k = 0; k < 2; k++) {
        enum jsep_kind const kind = k == 1 ? JSEP_VIDEO : JSEP_AUDIO;
        n.free[k] = (uint32_t)(p->v1 ? jsep_count_free(j, kind) : jsep_count_reusable(j, kind));
        n.freeing[k] = (uint32_t)jsep_count_freeing(j, kind);
        n.room[k] = room_for(used, k == 1 ? NEGOTIATION_VIDEO_BYTES : NEGOTIATION_AUDIO_BYTES);
    }
    return n;
}

// v0: adds sections to our next offer. One that the same offer frees is waited for, so that their
// number does not grow with each change of subscriptions. True if some wait for that.
static bool add_sections(struct participant *p)
{
    struct section_needs n = count_needs(p);
    bool held = false;
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state != SUBSCRIPTION_WAITING || s->codec_refused) {
            continue;
        }
        size_t const k = kind_of(s) == JSEP_VIDEO;
        if (n.free[k] > 0) {
            n.free[k]--;
        } else if (n.freeing[k] > 0) {
            n.freeing[k]--;
            held = true;
            continue;
        } else if (n.room[k] > 0) {
            n.room[k]--;
        } else {
            continue;
        }
        struct jsep_transceiver *section = NULL;
        if (jsep_add_sender_section(p->subscriber->jsep, kind_of(s), &section) == 0 &&
            subscription_assign(s, section) == -ENOTSUP) {
            refuse(s);
        }
    }
    return held;
}

// A description is finished: what it carries may flow.
static void start_assigned(struct participant *p)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state == SUBSCRIPTION_ASSIGNED && s->section->sender_live &&
            subscription_start(s) == -ENOTSUP) {
            subscription_detach(s);
            refuse(s);
        }
    }
}

static uint32_t missing(uint32_t waiting, uint32_t have, uint32_t asked, uint32_t room)
{
    uint32_t const more = waiting > have ? waiting - have : 0;
    return more > asked ? MIN(more - asked, room) : 0;
}

// v1: sections that are still missing are asked for (livekit-protocol 4.4).
static void ask_for_sections(struct participant *p, bool always)
{
    struct section_needs const n = count_needs(p);
    uint32_t const audios =
        missing(n.waiting[0], n.free[0] + n.freeing[0], p->sections_audio, n.room[0]);
    // What audio takes is not there for video.
    uint32_t const taken =
        (audios * NEGOTIATION_AUDIO_BYTES + NEGOTIATION_VIDEO_BYTES - 1) / NEGOTIATION_VIDEO_BYTES;
    uint32_t const videos = missing(n.waiting[1], n.free[1] + n.freeing[1], p->sections_video,
                                    n.room[1] > taken ? n.room[1] - taken : 0);
    if (!always && audios == 0 && videos == 0) {
        return;
    }
    p->sections_audio += audios;
    p->sections_video += videos;
    p->negotiated_at = p->room->env->now;
    signal_send_sections_requirement(p, audios, videos);
}

// Whether another description would bring a subscription further.
static bool can_progress(const struct participant *p)
{
    struct section_needs const n = count_needs(p);
    for (size_t k = 0; k < 2; k++) {
        uint32_t const asked = k == 1 ? p->sections_video : p->sections_audio;
        if (n.waiting[k] > 0 && n.free[k] + n.freeing[k] + n.room[k] + asked > 0) {
            return true;
        }
    }
    for (const struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->state == SUBSCRIPTION_ASSIGNED) {
            return true;
        }
    }
    return false;
}

// v1, after an answer: what it could not carry needs another one; what it said needs none.
static void look_for_more(struct participant *p)
{
    timer_heap_cancel(p->room->env->timers, &p->negotiation);
    struct section_needs const n = count_needs(p);
    if (jsep_needs_negotiation(p->publisher->jsep) || (n.waiting[0] > 0 && n.free[0] > 0) ||
        (n.waiting[1] > 0 && n.free[1] > 0)) {
        negotiation_request(p);
    }
    ask_for_sections(p, false);
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
    room_news_tell_publishers(p);
    signal_send_description(p, false, sdp, id, t->jsep);
    dynbuf_done(&text);
    if (p->out_of_step) {
        return; // it has no answer, and does not know what would flow
    }
    if (pc_transport_apply_remote(t, applied) < 0 || pc_transport_update_ingress(t) < 0) {
        fail_session(p);
        return;
    }
    publish_matched(p);
    if (p->v1) {
        start_assigned(p);
        look_for_more(p);
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
    effort_turn(p, EFFORT_OFFER_US + (int64_t)(strlen(sdp) >> 10) * EFFORT_SDP_KIB_US);
    int const rc = jsep_set_remote_offer(t->jsep, bytes_str(sdp), &applied);
    if (rc == -ENOMEM) {
        fail_session(p); // one that is not understood gets no answer, but this one is
    }
    if (rc < 0) {
        return;
    }
    p->sections_audio = 0;
    p->sections_video = 0;
    if (p->v1) {
        detach_stopped_subscriptions(p, false);
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
    p->negotiate_again = add_sections(p);
    p->negotiated_at = p->room->env->now;
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
    room_news_tell_publishers(p);
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
    detach_stopped_subscriptions(p, true);
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

void negotiation_open_subscriber(struct participant *p)
{
    if (p->v1 || p->subscriber_primary || p->subscriber != NULL || p->closing ||
        p->state != PARTICIPANT_ACTIVE || !p->permission.can_subscribe) {
        return;
    }
    int rc = pc_transport_new(p, PC_SUBSCRIBER, &p->subscriber);
    if (rc == 0) {
        rc = jsep_add_data_section(p->subscriber->jsep);
    }
    if (rc < 0) {
        p->room->env->no_memory++;
        pc_transport_close(p->subscriber);
        p->subscriber = NULL;
        return;
    }
    (void)subscription_reconcile(p);
    negotiation_request(p);
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

static void request_in(struct participant *p, int64_t delay_ms)
{
    struct room_env *const env = p->room->env;
    if (p->closing || participant_sending(p) == NULL) {
        return;
    }
    if (p->offer_pending) {
        p->negotiate_again = true;
        return;
    }
    mono_t const paced = mono_add_ms(p->negotiated_at, NEGOTIATION_INTERVAL_MS);
    timer_heap_set_sooner(env->timers, &p->negotiation,
                          mono_max(mono_add_ms(env->now, delay_ms), paced));
}

void negotiation_request(struct participant *p)
{
    request_in(p, NEGOTIATION_DELAY_MS);
}

void negotiation_request_after_end(struct participant *p)
{
    request_in(p, NEGOTIATION_END_DELAY_MS);
}

void negotiation_retry(struct participant *p)
{
    if (participant_sending(p) != NULL && !p->offer_pending && can_progress(p)) {
        negotiation_request(p);
    }
}

void negotiation_timeout(struct participant *p)
{
    if (p->offer_pending) {
        // A client without a socket cannot answer: its resume brings a new offer.
        if (!handle_is_none(p->session)) {
            fail_session(p);
        }
        return;
    }
    if (!p->v1) {
        offer(p);
        return;
    }
    // Only an offer of the client can be answered; (0, 0) means: simply offer again.
    room_news_tell_publishers(p);
    ask_for_sections(p, true);
}

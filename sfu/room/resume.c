// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/resume.h"

#include "common/lk/livekit.h"
#include "sfu/room/audience.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/departures.h"
#include "sfu/room/dynacast.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_info.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/simulate.h"

// Clients before this protocol take no DISCONNECTED entries after a resume (livekit-protocol 4.10).
#define REPLAY_PROTOCOL 9

void resume_note_heard(struct participant *p)
{
    p->heard = p->room->env->now;
}

void resume_detach(struct participant *p)
{
    signal_send_close(p);
    (void)participant_set_session(p, HANDLE_NONE);
}

void resume_transport_failed(struct participant *p, const struct pc_transport *t)
{
    struct room_env *const env = p->room->env;
    int64_t ms = PARTICIPANT_RESUME_DEADLINE_MS;
    if (t->beyond_repair) {
        ms = 0;
    } else if (p->was_resumed && mono_diff_ms(env->now, p->resumed) < RESUME_SETTLE_MS &&
               !handle_is_none(p->session)) {
        ms = PARTICIPANT_RESTART_DEADLINE_MS;
    } else {
        signal_send_leave(p, DISCONNECT_CONNECTION_TIMEOUT, LEAVE_RESUME);
        resume_detach(p);
    }
    timer_heap_set_sooner(env->timers, &p->timer, mono_add_ms(env->now, ms));
}

void resume_end(struct participant *p, enum disconnect_reason reason)
{
    signal_send_leave(p, reason, LEAVE_RECONNECT);
    participant_close(p, reason);
}

// ---- those who left -------------------------------------------------------------------------

// Since when the client may not know what others did.
static mono_t missed_since(const struct participant *p)
{
    mono_t const lost = handle_is_none(p->session) ? p->session_lost : p->room->env->now;
    return mono_max(participant_heard(p), mono_add_ms(lost, -RESUME_MISSED_MS));
}

// An identity that is back is told with its new session: livekit-client removes by identity.
static bool is_missed(const struct room *r, const struct departure *x, mono_t since)
{
    return !mono_before(x->at, since) && room_participant(r, x->identity) == NULL;
}

static void fill_departure(Livekit__ParticipantInfo *info, const struct departure *x)
{
    livekit__participant_info__init(info);
    LK_SET_STR(info, sid, x->sid);
    LK_SET_STR(info, identity, x->identity);
    LK_SET(info, version, x->version);
    LK_SET(info, state, LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED);
    LK_SET(info, disconnect_reason, (Livekit__DisconnectReason)x->reason);
}

// One message: DEPARTURES_MAX entries of two short strings each.
static void replay_departures(struct participant *p, mono_t since)
{
    const struct room *const r = p->room;
    uint32_t const count = p->client.protocol >= REPLAY_PROTOCOL ? r->departures.count : 0;
    if (count == 0) {
        return;
    }
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__ParticipantUpdate u = LIVEKIT__PARTICIPANT_UPDATE__INIT;
    u.participants = arena_array(&a, count, sizeof(*u.participants));
    Livekit__ParticipantInfo *const infos = arena_array(&a, count, sizeof(*infos));
    for (uint32_t i = 0; u.participants != NULL && infos != NULL && i < count; i++) {
        const struct departure *const x = departures_at(&r->departures, i);
        if (is_missed(r, x, since)) {
            u.participants[u.n_participants] = &infos[u.n_participants];
            fill_departure(&infos[u.n_participants++], x);
        }
    }
    if (u.participants == NULL || infos == NULL) {
        r->env->no_memory++;
    } else if (u.n_participants > 0) {
        Livekit__SignalResponse rsp = signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE);
        rsp.update = &u;
        signal_post(p, &rsp);
    }
    arena_done(&a);
}

// ---- coming back ----------------------------------------------------------------------------

// The media has to come back as well if it was lost: signalling alone keeps nobody.
static void set_deadline(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (p->state != PARTICIPANT_ACTIVE) {
        return; // the deadline of the join stands
    }
    if (participant_is_cut_off(p)) {
        timer_heap_set(env->timers, &p->timer,
                       mono_add_ms(env->now, PARTICIPANT_RESTART_DEADLINE_MS));
    } else {
        timer_heap_cancel(env->timers, &p->timer);
    }
}

static void refuse(struct room_env *env, handle_t session, const struct channel_join *join)
{
    const Livekit__JoinRequest *const req = join->request->msg;
    int32_t const protocol = req->client_info != NULL ? req->client_info->protocol : 0;
    signal_send_refusal(env, session, DISCONNECT_STATE_MISMATCH, LEAVE_RECONNECT, protocol);
}

// Whether the client means this session: another one of the same identity (an older tab, back from
// a dead network) has other connections, and would take the signalling away from those that live.
static bool means(const struct participant *p, const struct channel_join *join)
{
    const char *const sid =
        lk_str(((const Livekit__JoinRequest *)join->request->msg)->participant_sid);
    return p->v1 == join->v1 && (*sid == 0 || strcmp(sid, p->sid) == 0);
}

static void take_over(struct participant *p, handle_t session, const struct channel_join *join)
{
    mono_t const since = missed_since(p);
    if (!handle_is_none(p->session)) {
        signal_send_close(p);
    }
    if (participant_set_session(p, session) < 0) {
        signal_send_refusal(p->room->env, session, DISCONNECT_JOIN_FAILURE, LEAVE_RECONNECT,
                            p->client.protocol);
        return;
    }
    channel_credit_unref(p->credit);
    p->credit = channel_credit_ref(join->credit);
    resume_note_heard(p);
    p->resumed = p->room->env->now;
    p->was_resumed = true;
    set_deadline(p);
    participant_renew_token(p, join->token);
    signal_send_reconnect(p);
    replay_departures(p, since);
    participant_info_send_snapshot(p);
    signal_send_room_update(p);
    audience_resumed(p);
    dynacast_resumed(p);
    data_subscription_resumed(p);
    if (simulate_resumed(p)) {
        return; // its socket was closed again
    }
    // v1: the client offers. v0: we restart ICE on the transport that is ours to offer.
    if (!p->v1) {
        negotiation_restart_subscriber(p);
    }
}

void resume_session(struct room_env *env, struct participant *p, handle_t session,
                    const struct channel_join *join)
{
    if (p == NULL || !means(p, join)) {
        refuse(env, session, join);
        return;
    }
    // What the room was to be told is told before the new socket is there: its first message must
    // be the ReconnectResponse.
    room_flush_updates(p->room);
    if (!departures_complete(&p->room->departures, missed_since(p))) {
        refuse(env, session, join);
        return;
    }
    if (simulate_refuses_resume(p, session)) {
        return;
    }
    take_over(p, session, join);
}

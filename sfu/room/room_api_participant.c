// SPDX-License-Identifier: Apache-2.0
// Calls of the server API about one participant.
#include "common/lk/livekit.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room_api_call.h"
#include "sfu/room/signal_dispatch.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"

static struct participant *named(const struct room_api_call *c, const char *identity)
{
    struct participant *const p =
        c->room != NULL ? room_participant(c->room, lk_str(identity)) : NULL;
    if (p == NULL) {
        room_api_no_participant(c);
    }
    return p;
}

static void reply_info(const struct room_api_call *c, const struct participant *p)
{
    struct arena a;
    arena_init(&a, 4096, ROOM_API_REPLY_MAX);
    const Livekit__ParticipantInfo *const info = proto_map_participant(p, &a);
    if (info != NULL) {
        room_api_reply(c->env, c->handle, &info->base);
    } else {
        room_api_no_memory(c);
    }
    arena_done(&a);
}

void room_api_get_participant(const struct room_api_call *c, const void *msg)
{
    const Livekit__RoomParticipantIdentity *const req = msg;
    const struct participant *const p = named(c, req->identity);
    if (p != NULL) {
        reply_info(c, p);
    }
}

void room_api_remove_participant(const struct room_api_call *c, const void *msg)
{
    const Livekit__RoomParticipantIdentity *const req = msg;
    struct participant *const p = named(c, req->identity);
    if (p == NULL) {
        return;
    }
    signal_send_leave(p, DISCONNECT_PARTICIPANT_REMOVED, LEAVE_DISCONNECT);
    participant_close(p, DISCONNECT_PARTICIPANT_REMOVED);
    Livekit__RemoveParticipantResponse const rsp = LIVEKIT__REMOVE_PARTICIPANT_RESPONSE__INIT;
    room_api_reply(c->env, c->handle, &rsp.base);
}

// ---- MoveParticipant ------------------------------------------------------------------------

void room_api_move_participant(const struct room_api_call *c, const void *msg)
{
    const Livekit__MoveParticipantRequest *const req = msg;
    struct participant *const p = named(c, req->identity);
    if (p == NULL) {
        return;
    }
    if (!participant_post_claims_of(p, lk_str(req->destination_room))) {
        // Its socket is away: it would come back to this room, with the token that it has.
        room_api_fail(c->env, c->handle, "unavailable", "participant is not connected");
        return;
    }
    signal_send_leave(p, DISCONNECT_MIGRATION, LEAVE_RECONNECT);
    participant_close(p, DISCONNECT_MIGRATION);
    Livekit__MoveParticipantResponse const rsp = LIVEKIT__MOVE_PARTICIPANT_RESPONSE__INIT;
    room_api_reply(c->env, c->handle, &rsp.base);
}

// ---- UpdateParticipant ----------------------------------------------------------------------

// It replaces the whole set: what is not named is taken away.
static struct participant_permission permission_of(const Livekit__ParticipantPermission *m)
{
    struct participant_permission perm = {
        .can_subscribe = m->can_subscribe,
        .can_publish = m->can_publish,
        .can_publish_data = m->can_publish_data,
        .can_update_metadata = m->can_update_metadata,
        .hidden = m->hidden,
        .recorder = m->recorder,
        .agent = m->agent,
        .can_subscribe_metrics = m->can_subscribe_metrics,
        .can_manage_agent_session = m->can_manage_agent_session,
    };
    for (size_t i = 0; i < m->n_can_publish_sources; i++) {
        unsigned const source = (unsigned)m->can_publish_sources[i];
        perm.sources |= source < 32 ? 1u << source : 1u; // as in tokens: unknown ones are UNKNOWN
    }
    return perm;
}

static const char *text_or_keep(const char *text)
{
    return *lk_str(text) != 0 ? text : NULL;
}

// -ENOMEM, -E2BIG: together with those that it has the attributes are too large.
static int update_own_data(struct participant *p, const Livekit__UpdateParticipantRequest *req)
{
    struct arena a;
    arena_init(&a, 4096, ROOM_API_REPLY_MAX);
    struct access_attribute *const v = arena_array(&a, req->n_attributes, sizeof(*v));
    int rc = v != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < req->n_attributes; i++) {
        v[i] = (struct access_attribute){lk_str(req->attributes[i]->key),
                                         lk_str(req->attributes[i]->value)};
    }
    if (rc == 0) {
        rc = participant_update(p, text_or_keep(req->name), text_or_keep(req->metadata), v,
                                req->n_attributes);
    }
    arena_done(&a);
    return rc;
}

void room_api_update_participant(const struct room_api_call *c, const void *msg)
{
    const Livekit__UpdateParticipantRequest *const req = msg;
    struct participant *const p = named(c, req->identity);
    if (p == NULL) {
        return;
    }
    int const rc = update_own_data(p, req);
    if (rc == -ENOMEM) {
        room_api_no_memory(c);
        return;
    }
    if (rc < 0) {
        room_api_too_large(c, "attribute size exceeds limits", PARTICIPANT_ATTRIBUTES_BYTES_MAX);
        return;
    }
    if (req->permission != NULL) {
        struct participant_permission const perm = permission_of(req->permission);
        (void)participant_set_permission(p, &perm);
    }
    reply_info(c, p);
}

// ---- MutePublishedTrack ---------------------------------------------------------------------

static void tell_mute(struct participant *p, const char *sid, bool muted)
{
    Livekit__MuteTrackRequest m = LIVEKIT__MUTE_TRACK_REQUEST__INIT;
    LK_SET_STR(&m, sid, sid);
    LK_SET(&m, muted, muted);
    Livekit__SignalResponse rsp = signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MUTE);
    rsp.mute = &m;
    signal_post(p, &rsp);
}

static void reply_track(const struct room_api_call *c, const struct published_track *t)
{
    struct arena a;
    arena_init(&a, 4096, ROOM_API_REPLY_MAX);
    Livekit__MuteRoomTrackResponse rsp = LIVEKIT__MUTE_ROOM_TRACK_RESPONSE__INIT;
    rsp.track = t != NULL ? track_info_to_proto(&t->info, &a) : NULL;
    if (t == NULL || rsp.track != NULL) {
        room_api_reply(c->env, c->handle, &rsp.base);
    } else {
        room_api_no_memory(c);
    }
    arena_done(&a);
}

void room_api_mute_track(const struct room_api_call *c, const void *msg)
{
    const Livekit__MuteRoomTrackRequest *const req = msg;
    struct participant *const p = named(c, req->identity);
    if (p == NULL) {
        return;
    }
    if (!req->muted && !c->env->conf->remote_unmute) {
        room_api_fail(c->env, c->handle, "failed_precondition", "remote unmute not enabled");
        return;
    }
    struct published_track *const t = published_track_by_sid(p, lk_str(req->track_sid));
    if (t != NULL) {
        // Before the update that shows it: clients that see another state than their own without
        // having been asked to change it put it right again (livekit-protocol 4.7).
        tell_mute(p, t->info.sid, req->muted);
        published_track_set_muted(t, req->muted);
    }
    reply_track(c, t);
}

// ---- UpdateSubscriptions --------------------------------------------------------------------

void room_api_update_subscriptions(const struct room_api_call *c, const void *msg)
{
    const Livekit__UpdateSubscriptionsRequest *const req = msg;
    struct participant *const p = named(c, req->identity);
    if (p == NULL) {
        return;
    }
    Livekit__UpdateSubscription update = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    update.track_sids = req->track_sids;
    update.n_track_sids = req->n_track_sids;
    update.participant_tracks = req->participant_tracks;
    update.n_participant_tracks = req->n_participant_tracks;
    update.subscribe = req->subscribe;
    signal_dispatch_subscription(p, &update);
    Livekit__UpdateSubscriptionsResponse const rsp = LIVEKIT__UPDATE_SUBSCRIPTIONS_RESPONSE__INIT;
    room_api_reply(c->env, c->handle, &rsp.base);
}

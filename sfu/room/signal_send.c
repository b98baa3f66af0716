// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/signal_send.h"

#include "sfu/room/data_router.h"
#include "sfu/room/late_response.h"
#include "sfu/room/participant_info.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"

// livekit pkg/rtc/room.go: the client's keep-alive, and when it declares the link dead.
#define PING_INTERVAL_S 5
#define PING_TIMEOUT_S 15

// As every refusal for lack of resources (join.c).
#define NO_MEMORY_TEXT "node has exceeded its configured limit"

static bool fill_join(struct participant *p, Livekit__JoinResponse *j, struct arena *a)
{
    const struct room_env *const env = p->room->env;
    j->room = proto_map_room(p->room, a);
    j->participant = proto_map_participant(p, a);
    j->server_info = proto_map_server(env, a);
    j->enabled_publish_codecs =
        proto_map_codecs(participant_publish_codecs(p), a, &j->n_enabled_publish_codecs);
    LK_SET_STR(j, server_version, env->conf->server_version);
    LK_SET_STR(j, server_region, env->conf->region);
    LK_SET(j, subscriber_primary, p->subscriber_primary);
    LK_SET(j, ping_timeout, PING_TIMEOUT_S);
    LK_SET(j, ping_interval, PING_INTERVAL_S);
    LK_SET_BYTES(j, sif_trailer, bytes_str(p->room->sif_trailer));
    LK_SET(j, fast_publish, p->permission.can_publish);
    return client_codecs_to_proto(&p->client.codecs, a, &j->client_configuration) == 0 &&
           j->room != NULL && j->participant != NULL && j->server_info != NULL &&
           j->enabled_publish_codecs != NULL;
}

void signal_send_join(struct participant *p)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__JoinResponse j = LIVEKIT__JOIN_RESPONSE__INIT;
    if (fill_join(p, &j, &a)) {
        participant_info_send_join(p, &j.base);
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

void signal_send_reconnect(struct participant *p)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__ReconnectResponse r = LIVEKIT__RECONNECT_RESPONSE__INIT;
    r.server_info = proto_map_server(p->room->env, &a);
    LK_SET(&r, last_message_seq, data_router_last_sequence(p));
    if (r.server_info != NULL &&
        client_codecs_to_proto(&p->client.codecs, &a, &r.client_configuration) == 0) {
        Livekit__SignalResponse rsp = signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_RECONNECT);
        rsp.reconnect = &r;
        signal_post(p, &rsp);
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

void signal_send_description(struct participant *p, bool offer, const char *sdp, uint32_t id,
                             const struct jsep *j)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__SessionDescription *const d =
        proto_map_description(offer ? "offer" : "answer", sdp, id, j, &a);
    if (d != NULL) {
        Livekit__SignalResponse rsp =
            signal_response(offer ? LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER
                                  : LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER);
        if (offer) {
            rsp.offer = d;
        } else {
            rsp.answer = d;
        }
        signal_post(p, &rsp);
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

void signal_send_track_published(struct participant *p, const char *cid,
                                 const struct published_track *t)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__TrackPublishedResponse r = LIVEKIT__TRACK_PUBLISHED_RESPONSE__INIT;
    LK_SET_STR(&r, cid, cid);
    r.track = track_info_to_proto(&t->info, &a);
    if (r.track != NULL) {
        Livekit__SignalResponse rsp =
            signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_PUBLISHED);
        rsp.track_published = &r;
        signal_post(p, &rsp);
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

void signal_send_track_unpublished(struct participant *p, const char *track_sid)
{
    Livekit__TrackUnpublishedResponse r = LIVEKIT__TRACK_UNPUBLISHED_RESPONSE__INIT;
    LK_SET_STR(&r, track_sid, track_sid);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_UNPUBLISHED);
    rsp.track_unpublished = &r;
    signal_post(p, &rsp);
}

void signal_send_track_subscribed(struct participant *p, const char *track_sid)
{
    // SDK RUST with a protocol before 10 does not know it (livekit-protocol 3.3).
    if (p->client.sdk == LIVEKIT__CLIENT_INFO__SDK__RUST && p->client.protocol < 10) {
        return;
    }
    Livekit__TrackSubscribed r = LIVEKIT__TRACK_SUBSCRIBED__INIT;
    LK_SET_STR(&r, track_sid, track_sid);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_SUBSCRIBED);
    rsp.track_subscribed = &r;
    signal_post(p, &rsp);
}

void signal_send_subscription_error(struct participant *p, const char *track_sid,
                                    enum subscription_error error)
{
    Livekit__SubscriptionResponse r = LIVEKIT__SUBSCRIPTION_RESPONSE__INIT;
    LK_SET_STR(&r, track_sid, track_sid);
    LK_SET(&r, err, (Livekit__SubscriptionError)error);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIPTION_RESPONSE);
    rsp.subscription_response = &r;
    signal_post(p, &rsp);
}

void signal_send_sections_requirement(struct participant *p, uint32_t audios, uint32_t videos)
{
    Livekit__MediaSectionsRequirement r = LIVEKIT__MEDIA_SECTIONS_REQUIREMENT__INIT;
    LK_SET(&r, num_audios, audios);
    LK_SET(&r, num_videos, videos);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MEDIA_SECTIONS_REQUIREMENT);
    rsp.media_sections_requirement = &r;
    signal_post(p, &rsp);
}

static void leave_to(struct room_env *env, handle_t session, enum disconnect_reason reason,
                     enum leave_action action, int32_t protocol)
{
    Livekit__LeaveRequest r = LIVEKIT__LEAVE_REQUEST__INIT;
    LK_SET(&r, reason, (Livekit__DisconnectReason)reason);
    // Clients before protocol 13 know no action, only whether to come back (livekit-protocol 3.3).
    if (protocol > 12) {
        LK_SET(&r, action, (Livekit__LeaveRequest__Action)action);
    } else {
        LK_SET(&r, can_reconnect, action != LEAVE_DISCONNECT);
    }
    Livekit__SignalResponse rsp = signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE);
    rsp.leave = &r;
    signal_post_session(env, session, &rsp);
}

void signal_send_leave(struct participant *p, enum disconnect_reason reason,
                       enum leave_action action)
{
    if (!handle_is_none(p->session)) {
        leave_to(p->room->env, p->session, reason, action, p->client.protocol);
    }
}

static void fill_close(struct channel_msg *m, unsigned status, const char *text)
{
    m->u.close.code = 1000;
    m->u.close.http_status = (uint16_t)status;
    m->u.close.http_text = text;
}

static void close_session(struct room_env *env, handle_t session, unsigned status, const char *text)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_CLOSE, session);
    if (m == NULL) {
        env->no_memory++;
        return;
    }
    fill_close(m, status, text);
    room_env_post(env, m);
}

void signal_send_close(struct participant *p)
{
    if (!handle_is_none(p->session)) {
        struct channel_msg *const m = p->close;
        p->close = NULL;
        fill_close(m, 503, NO_MEMORY_TEXT); // if it was not even told about its join
        room_env_post(p->room->env, m);
    }
}

void signal_send_refusal(struct room_env *env, handle_t session, enum disconnect_reason reason,
                         enum leave_action action, int32_t protocol)
{
    leave_to(env, session, reason, action, protocol);
    close_session(env, session, 503, NO_MEMORY_TEXT); // if there was none for the Leave
}

void signal_send_refusal_http(struct room_env *env, handle_t session, unsigned status,
                              const char *text)
{
    close_session(env, session, status, text);
}

struct shared_buf *signal_pack_speakers(struct room_env *env, const struct speaker_entry *v,
                                        size_t n)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    struct shared_buf *data = NULL;
    Livekit__SpeakersChanged r = LIVEKIT__SPEAKERS_CHANGED__INIT;
    r.speakers = arena_array(&a, n, sizeof(*r.speakers));
    Livekit__SpeakerInfo *const m = arena_array(&a, n, sizeof(*m));
    if (r.speakers != NULL && m != NULL) {
        for (size_t i = 0; i < n; i++) {
            livekit__speaker_info__init(&m[i]);
            LK_SET_STR(&m[i], sid, v[i].sid);
            m[i].level = v[i].level;
            m[i].has_level = v[i].level > 0;
            LK_SET(&m[i], active, v[i].active);
            r.speakers[i] = &m[i];
        }
        r.n_speakers = n;
        Livekit__SignalResponse rsp =
            signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SPEAKERS_CHANGED);
        rsp.speakers_changed = &r;
        (void)!pbuf_pack_shared(&rsp.base, SIGNAL_MESSAGE_MAX, &data);
    }
    env->no_memory += data == NULL;
    arena_done(&a);
    return data;
}

void signal_send_speakers(struct participant *p, const struct speaker_entry *v, size_t n)
{
    if (handle_is_none(p->session)) {
        return;
    }
    struct shared_buf *const data = signal_pack_speakers(p->room->env, v, n);
    if (data != NULL) {
        signal_post_news(p, data);
    }
}

// False: its client does not know what to do with it.
static bool fill_result(const struct participant *p, Livekit__RequestResponse *r,
                        enum request_result result, Livekit__SignalResponse *ret)
{
    if (p->client.sdk == LIVEKIT__CLIENT_INFO__SDK__RUST && p->client.protocol < 10) {
        return false;
    }
    // OK is told to newer clients only (livekit-protocol 3.3).
    if (result == REQUEST_OK && p->client.protocol <= 14) {
        return false;
    }
    LK_SET(r, reason, (Livekit__RequestResponse__Reason)result);
    *ret = signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REQUEST_RESPONSE);
    ret->request_response = r;
    return true;
}

void signal_send_request_result(struct participant *p, Livekit__RequestResponse *r,
                                enum request_result result)
{
    Livekit__SignalResponse rsp;
    if (fill_result(p, r, result, &rsp)) {
        signal_post(p, &rsp);
    }
}

void signal_send_late_request_result(struct participant *p, Livekit__RequestResponse *r,
                                     enum request_result result)
{
    Livekit__SignalResponse rsp;
    if (fill_result(p, r, result, &rsp)) {
        late_response_post(p, &rsp);
    }
}

void signal_send_request_response(struct participant *p, uint32_t request_id,
                                  enum request_result result, const char *text)
{
    Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
    LK_SET(&r, request_id, request_id);
    LK_SET_STR(&r, message, text);
    signal_send_request_result(p, &r, result);
}

void signal_send_add_track_response(struct participant *p, Livekit__AddTrackRequest *echo,
                                    enum request_result result)
{
    Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
    r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_ADD_TRACK;
    r.add_track = echo;
    signal_send_request_result(p, &r, result);
}

void signal_send_mute_response(struct participant *p, Livekit__MuteTrackRequest *echo,
                               enum request_result result)
{
    Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
    r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_MUTE;
    r.mute = echo;
    signal_send_request_result(p, &r, result);
}

void signal_send_room_update(struct participant *p)
{
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__RoomUpdate u = LIVEKIT__ROOM_UPDATE__INIT;
    u.room = proto_map_room(p->room, &a);
    if (u.room != NULL) {
        Livekit__SignalResponse rsp =
            signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ROOM_UPDATE);
        rsp.room_update = &u;
        signal_post(p, &rsp);
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/join.h"

#include "common/lk/livekit.h"
#include "sfu/room/add_track.h"
#include "sfu/room/audience.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_info.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/resume.h"
#include "sfu/room/room.h"
#include "sfu/room/room_config.h"
#include "sfu/room/room_news.h"
#include "sfu/room/signal_dispatch.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// ---- who comes ------------------------------------------------------------------------------

static bool contains(const char *text, const char *word)
{
    return text != NULL && strcasestr(text, word) != NULL;
}

static bool is_text(const char *text, const char *word)
{
    return text != NULL && strcasecmp(text, word) == 0;
}

static struct client_traits traits_of(const Livekit__ClientInfo *info)
{
    struct client_traits c = {.tracks_by_rtp = true};
    if (info == NULL) {
        return c;
    }
    c.sdk = (uint8_t)info->sdk;
    c.protocol = info->protocol;
    c.client_protocol = info->client_protocol;
    for (size_t i = 0; i < info->n_capabilities; i++) {
        unsigned const cap = (unsigned)info->capabilities[i];
        c.capabilities |= cap < 32 ? 1u << cap : 0;
    }
    c.trailers =
        (c.capabilities & (1u << LIVEKIT__CLIENT_INFO__CAPABILITY__CAP_PACKET_TRAILER)) != 0;
    c.firefox = is_text(info->browser, "firefox") || is_text(info->browser, "firefox mobile");
    c.safari = contains(info->browser, "safari");
    // livekit pkg/clientconfiguration/conf.go and pkg/rtc/participant_sdp.go.
    c.only_preferred_video =
        c.firefox && (contains(info->os, "linux") || contains(info->os, "android"));
    // livekit pkg/rtc/clientinfo.go, FireTrackByRTPPacket: Go. Who says nothing may be built on Pion
    // as well, and a few packets harm nobody.
    c.tracks_by_rtp = info->sdk == LIVEKIT__CLIENT_INFO__SDK__GO ||
                      info->sdk == LIVEKIT__CLIENT_INFO__SDK__UNKNOWN;
    c.codecs = client_codecs_of(info);
    return c;
}

static struct participant_permission permission_of(const struct video_grant *g)
{
    return (struct participant_permission){
        .can_subscribe = video_grant_may_subscribe(g),
        .can_publish = video_grant_may_publish(g),
        .can_publish_data = video_grant_may_publish_data(g),
        .can_update_metadata = video_grant_may_update_own_metadata(g),
        .hidden = g->hidden,
        .recorder = g->recorder,
        .agent = g->agent,
        .can_subscribe_metrics = video_grant_may_subscribe_metrics(g),
        .can_manage_agent_session = tristate_or(g->can_manage_agent_session, false),
        .sources = g->can_publish_sources,
    };
}

static uint8_t kind_of(const char *kind)
{
    static const struct {
        const char *name;
        uint8_t kind;
    } kinds[] = {
        {"ingress", LIVEKIT__PARTICIPANT_INFO__KIND__INGRESS},
        {"egress", LIVEKIT__PARTICIPANT_INFO__KIND__EGRESS},
        {"sip", LIVEKIT__PARTICIPANT_INFO__KIND__SIP},
        {"agent", LIVEKIT__PARTICIPANT_INFO__KIND__AGENT},
        {"connector", LIVEKIT__PARTICIPANT_INFO__KIND__CONNECTOR},
        {"bridge", LIVEKIT__PARTICIPANT_INFO__KIND__BRIDGE},
    };
    for (size_t i = 0; kind != NULL && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kind, kinds[i].name) == 0) {
            return kinds[i].kind;
        }
    }
    return LIVEKIT__PARTICIPANT_INFO__KIND__STANDARD;
}

static uint32_t kind_details_of(const struct access_claims *claims)
{
    static const struct {
        const char *name;
        unsigned detail;
    } details[] = {
        {"cloud_agent", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__CLOUD_AGENT},
        {"forwarded", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__FORWARDED},
        {"connector_whatsapp", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__CONNECTOR_WHATSAPP},
        {"connector_twilio", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__CONNECTOR_TWILIO},
        {"bridge_rtsp", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__BRIDGE_RTSP},
        {"simulation", LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__SIMULATION},
    };
    uint32_t bits = 0;
    for (size_t i = 0; i < claims->kind_detail_count; i++) {
        for (size_t k = 0; k < ARRAY_LEN(details); k++) {
            bool const is = strcmp(claims->kind_details[i], details[k].name) == 0;
            bits |= is ? 1u << details[k].detail : 0;
        }
    }
    return bits;
}

// ---- join -----------------------------------------------------------------------------------

static const Livekit__JoinRequest *request_of(const struct channel_join *join)
{
    return join->request->msg;
}

// Agents and recorders take no seat (livekit-protocol 4.1).
static bool is_full(const struct room *room, const struct access_claims *claims)
{
    struct participant_permission const perm = permission_of(&claims->video);
    return room->max_participants != 0 && room->seat_count >= room->max_participants &&
           !participant_permission_is_dependent(&perm, kind_of(claims->kind));
}

static int create_participant(struct room *room, handle_t session, const struct channel_join *join,
                              struct participant **ret)
{
    const Livekit__JoinRequest *const req = request_of(join);
    const struct access_claims *const claims = &join->token->claims;
    const Livekit__ConnectionSettings *const settings = req->connection_settings;
    struct participant_new_args const args = {
        .identity = claims->identity,
        .name = claims->name,
        // A non-empty one replaces that of the token; the permission for it was checked with the
        // token.
        .metadata = *lk_str(req->metadata) != 0 ? req->metadata : claims->metadata,
        .attributes = claims->attributes,
        .attribute_count = claims->attribute_count,
        .kind = kind_of(claims->kind),
        .kind_details = kind_details_of(claims),
        .token = join->token,
        .credit = join->credit,
        .permission = permission_of(&claims->video),
        .client = traits_of(req->client_info),
        .session = session,
        .v1 = join->v1,
        .auto_subscribe = settings != NULL && settings->auto_subscribe,
        .auto_subscribe_data = settings != NULL && settings->auto_subscribe_data_track,
        .adaptive_stream = settings != NULL && settings->adaptive_stream,
    };
    return participant_new(room, &args, ret);
}

// Attributes of the join request are merged over those of the token, empty values skipped
// (livekit-protocol 1.6).
static int merge_attributes(struct participant *p, const Livekit__JoinRequest *req)
{
    struct access_attribute v[PARTICIPANT_ATTRIBUTES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < req->n_participant_attributes && n < ARRAY_LEN(v); i++) {
        const Livekit__JoinRequest__ParticipantAttributesEntry *const e =
            req->participant_attributes[i];
        if (*lk_str(e->value) != 0) {
            v[n++] = (struct access_attribute){lk_str(e->key), e->value};
        }
    }
    // Over the limits, those of the token stand alone.
    int const rc = n > 0 ? participant_update(p, NULL, NULL, v, n) : 0;
    return rc == -ENOMEM ? rc : 0;
}

static void start_transports(struct participant *p, const Livekit__JoinRequest *req)
{
    int rc = 0;
    if (p->v1) {
        rc = pc_transport_new(p, PC_PUBLISHER, &p->publisher);
    } else if (p->subscriber_primary) {
        rc = negotiation_start_subscriber(p);
    }
    if (rc < 0) {
        p->room->env->no_memory++;
        signal_send_leave(p, DISCONNECT_JOIN_FAILURE, LEAVE_DISCONNECT);
        participant_close(p, DISCONNECT_JOIN_FAILURE);
    }
    if (p->closing) {
        return;
    }
    for (size_t i = 0; i < req->n_add_track_requests; i++) {
        add_track(p, req->add_track_requests[i]);
    }
    if (req->publisher_offer != NULL) {
        negotiation_offer(p, lk_str(req->publisher_offer->sdp), req->publisher_offer->id);
    }
}

static void enter(struct room *room, handle_t session, const struct channel_join *join)
{
    struct room_env *const env = room->env;
    const Livekit__JoinRequest *const req = request_of(join);
    struct participant *const old = room_participant(room, join->token->claims.identity);
    if (old != NULL) {
        signal_send_leave(old, DISCONNECT_DUPLICATE_IDENTITY, LEAVE_DISCONNECT);
        participant_close(old, DISCONNECT_DUPLICATE_IDENTITY);
    }
    struct participant *p = NULL;
    if (is_full(room, &join->token->claims)) {
        // While validate says 200: that is how clients know a full room (livekit-protocol 1.4, 1.8).
        signal_send_refusal_http(env, session, 500, "connection closed by media");
        return;
    }
    if (create_participant(room, session, join, &p) < 0) {
        env->no_memory++;
        signal_send_refusal_http(env, session, 503, "node has exceeded its configured limit");
        return;
    }
    room_news_identity_comes(room, p->identity);
    if (merge_attributes(p, req) < 0) {
        signal_post_lost(p);
    }
    if (*lk_str(req->metadata) != 0 || req->n_participant_attributes > 0) {
        participant_post_claims(p); // the first token has them
    }
    signal_send_join(p);
    participant_set_state(p, PARTICIPANT_JOINED);
    room_population_changed(room);
    start_transports(p, req);
}

void join_session(struct room_env *env, handle_t session, const struct channel_join *join)
{
    const Livekit__JoinRequest *const req = request_of(join);
    struct room *room = room_find(env, join->room_name);
    if (req->reconnect) {
        struct participant *const p =
            room != NULL ? room_participant(room, join->token->claims.identity) : NULL;
        resume_session(env, p, session, join);
        return;
    }
    if (room == NULL &&
        room_config_new_room(env, join->room_name, &join->token->claims, &room) < 0) {
        env->no_memory++;
        signal_send_refusal_http(env, session, 503, "node has exceeded its configured limit");
        return;
    }
    enter(room, session, join);
}

void join_session_closed(struct room_env *env, handle_t session)
{
    struct participant *const p = participant_by_session(env, session);
    if (p == NULL) {
        return;
    }
    (void)participant_set_session(p, HANDLE_NONE);
    // Alive media is no reason to leave: the client comes back, or ICE notices its end
    // (livekit-protocol 4.13).
    if (p->state < PARTICIPANT_ACTIVE) {
        participant_close(p, DISCONNECT_SIGNAL_CLOSE);
    }
}

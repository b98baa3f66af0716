// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/signal_server.h"

#include <stdio.h>

#include "common/lk/livekit.h"
#include "common/svc/ws_handshake.h"
#include "common/sys/log.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/signal/auth.h"
#include "sfu/signal/connect_limit.h"
#include "sfu/signal/room_registry.h"
#include "sfu/signal/room_service.h"
#include "sfu/signal/rtc_session.h"
#include "sfu/signal/signal_codec.h"

#define TEXT_PLAIN "text/plain; charset=utf-8"

struct signal_server {
    struct signal_server_conf conf;
    struct httpd *httpd;
    struct room_registry registry;
    struct rtc_sessions sessions;
    struct connect_limit connects;
    struct room_service rooms;
};

// ---- CORS -----------------------------------------------------------------------------------

static bool is_validate(const struct httpd_req *r)
{
    const char *const path = httpd_path(r);
    size_t const n = strlen(path);
    static const char suffix[] = "/validate";
    return n >= sizeof(suffix) - 1 && strcmp(path + n - (sizeof(suffix) - 1), suffix) == 0;
}

static void decorate(void *user, struct httpd_req *r, unsigned status)
{
    (void)user;
    (void)status;
    const char *const origin = httpd_header(r, "Origin");
    httpd_add_header(r, "Vary", "Origin");
    if (is_validate(r)) {
        httpd_add_header(r, "Access-Control-Allow-Origin", "*");
        httpd_add_header(r, "Access-Control-Expose-Headers", "*");
    } else if (origin != NULL && status != 101) {
        httpd_add_header(r, "Access-Control-Allow-Origin", origin);
        httpd_add_header(r, "Access-Control-Expose-Headers", "*");
    }
}

// A preflight names only the method and headers it was asked for (livekit-protocol 1.2).
static void on_preflight(struct httpd_req *r)
{
    const char *const method = httpd_header(r, "Access-Control-Request-Method");
    const char *const headers = httpd_header(r, "Access-Control-Request-Headers");
    if (method != NULL) {
        httpd_add_header(r, "Access-Control-Allow-Methods", method);
    }
    if (headers != NULL) {
        httpd_add_header(r, "Access-Control-Allow-Headers", headers);
    }
    httpd_add_header(r, "Access-Control-Max-Age", "86400");
    httpd_respond(r, 204, NULL, (struct bytes){NULL, 0});
}

// ---- connect requests -----------------------------------------------------------------------

struct connect_request {
    bool v1;
    bool validate;
    struct access_token *token;
    struct pbuf *join;
    const char *publish; // v0: a second connection of its user, which only publishes; NULL: no
};

static void connect_done(struct connect_request *c)
{
    access_token_free(c->token);
    pbuf_free(c->join);
}

static int check_grants(const struct signal_server *s, const struct connect_request *c,
                        struct auth_refusal *refusal)
{
    const struct access_claims *const claims = &c->token->claims;
    const Livekit__JoinRequest *const j = c->join->msg;
    if (!claims->video.room_join) {
        return auth_refuse(refusal, 401, "permissions denied");
    }
    size_t const identity = strlen(lk_str(claims->identity));
    if (identity == 0) {
        return auth_refuse(refusal, 400, "identity cannot be empty");
    }
    if (identity > PARTICIPANT_IDENTITY_MAX) {
        return auth_refuse(refusal, 400,
                           "participant identity length exceeds limits: max length 256");
    }
    size_t const room = strlen(lk_str(claims->video.room));
    if (room == 0) {
        return auth_refuse(refusal, 400, "no room name");
    }
    if (room > ROOM_NAME_MAX) {
        return auth_refuse(refusal, 400, "room name length exceeds limits: max length 256");
    }
    if (c->publish != NULL && !video_grant_may_publish(&claims->video)) {
        return auth_refuse(refusal, 401, "no permissions to access the room");
    }
    struct room_registry *const registry = (struct room_registry *)lk_unconst(&s->registry);
    if (!s->conf.auto_create && !claims->video.room_create &&
        room_registry_find(registry, claims->video.room) == NULL) {
        return auth_refuse(refusal, 404, "requested room does not exist");
    }
    bool const own_data = *lk_str(j->metadata) != 0 || j->n_participant_attributes > 0;
    if (own_data && !video_grant_may_update_own_metadata(&claims->video)) {
        return auth_refuse(refusal, 401, "no permissions to access the room");
    }
    // As in update_metadata, which would not take it either.
    if (strlen(lk_str(j->metadata)) > PARTICIPANT_METADATA_MAX) {
        return auth_refuse(refusal, 400, "metadata size exceeds limits");
    }
    return 0;
}

// A second connection that only publishes is a participant of its own, "<identity>#<publish>", that may
// not subscribe (livekit-protocol 1.5).
static int make_publisher(struct connect_request *c, struct auth_refusal *refusal)
{
    struct access_claims claims = c->token->claims;
    char identity[PARTICIPANT_IDENTITY_MAX + 1];
    int const n = snprintf(identity, sizeof(identity), "%s#%s", claims.identity, c->publish);
    if (n < 0 || (size_t)n >= sizeof(identity)) {
        return auth_refuse(refusal, 400,
                           "participant identity length exceeds limits: max length 256");
    }
    struct access_token *t = NULL;
    claims.identity = identity;
    claims.video.can_subscribe = TRISTATE_FALSE;
    int const rc = access_token_new(&claims, c->token->api_key, &t);
    if (rc == 0) {
        access_token_free(c->token);
        c->token = t;
    }
    return rc;
}

// All checks of livekit-protocol 1.4, in its order.
static int check_connect(struct signal_server *s, const struct httpd_req *r,
                         struct connect_request *c, struct auth_refusal *refusal)
{
    int rc = auth_request(r, s->conf.keys, loop_wall(s->conf.loop), &c->token, refusal);
    if (rc < 0) {
        return rc;
    }
    if (c->token == NULL || !c->token->claims.has_video) {
        return auth_refuse(refusal, 401, "no permissions to access the room");
    }
    const char *const join_request = httpd_query(r, "join_request");
    bool const has_join = join_request != NULL && join_request[0] != 0;
    if (c->v1 && !has_join) {
        return auth_refuse(refusal, 400, "join_request is required");
    }
    // The Go SDK sends join_request on /rtc as well: that makes it v1 (livekit-protocol 1.5).
    c->v1 = c->v1 || has_join;
    const char *const publish = httpd_query(r, "publish");
    c->publish = !has_join && publish != NULL && publish[0] != 0 ? publish : NULL;
    rc = has_join ? signal_codec_v1(join_request, &c->join, refusal)
                  : signal_codec_v0(r, c->validate, &c->join, refusal);
    if (rc < 0) {
        return rc;
    }
    rc = signal_codec_complete(r, c->join);
    rc = rc < 0 ? rc : check_grants(s, c, refusal);
    return rc < 0 || c->publish == NULL ? rc : make_publisher(c, refusal);
}

static void start_session(struct signal_server *s, struct httpd_req *r, struct connect_request *c,
                          const char *accept_key)
{
    const char *const room = c->token->claims.video.room;
    struct room_entry *const e = room_registry_hold(&s->registry, room);
    const Livekit__JoinRequest *const j = c->join->msg;
    struct rtc_session_args args = {
        .worker = e != NULL ? e->worker : 0,
        .room_name = mem_strdup(room),
        .token = STEAL(c->token),
        .request = c->join,
        .v1 = c->v1,
        .deflate = ws_handshake_deflate(httpd_header_all(r, "Sec-WebSocket-Extensions")),
        .client_address = mem_strdup(lk_str(j->client_info->address)),
    };
    c->join = NULL;
    if (e == NULL || args.room_name == NULL || args.client_address == NULL) {
        if (e != NULL) {
            room_registry_release(&s->registry, room);
        }
        mem_free(args.room_name);
        mem_free(args.client_address);
        access_token_free(args.token);
        pbuf_free(args.request);
        httpd_respond(r, 503, TEXT_PLAIN, bytes_str("out of memory"));
        return;
    }
    log_info(NULL, "signal.connect", KV_STR("room", args.room_name),
             KV_ID("participant", args.token->claims.identity), KV_BOOL("v1", args.v1),
             KV_BOOL("reconnect", j->reconnect), KV_U64("worker", args.worker));
    rtc_session_start(&s->sessions, r, accept_key, &args);
}

static void refuse_too_many(struct httpd_req *r, int64_t retry_s)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)retry_s);
    httpd_add_header(r, "Retry-After", text);
    httpd_respond(r, 429, TEXT_PLAIN, bytes_str("too many connection requests"));
}

// False: the request was answered, as its address asks too often.
static bool pass_limit(struct signal_server *s, struct httpd_req *r, bool take)
{
    int64_t retry_s = 0;
    if (connect_limit_pass(&s->connects, loop_now(s->conf.loop), r, take, &retry_s)) {
        return true;
    }
    refuse_too_many(r, retry_s);
    return false;
}

// The same for whom its token names, second connections included.
static bool pass_identity_limit(struct signal_server *s, struct httpd_req *r,
                                const struct connect_request *c)
{
    const struct access_claims *const claims = &c->token->claims;
    struct bytes identity = bytes_str(claims->identity);
    if (c->publish != NULL) {
        identity.n -= strlen(c->publish) + 1; // make_publisher
    }
    int64_t retry_s = 0;
    if (connect_limit_pass_identity(&s->connects, loop_now(s->conf.loop), claims->video.room,
                                    identity, &retry_s)) {
        return true;
    }
    refuse_too_many(r, retry_s);
    return false;
}

static void on_connect(struct signal_server *s, struct httpd_req *r, bool v1)
{
    char accept_key[WS_ACCEPT_LEN];
    // Checked before anything else: a plain request is answered 404 with an empty body
    // (livekit-protocol 1.1).
    if (!ws_handshake_wanted(httpd_header(r, "Upgrade"), httpd_header(r, "Connection"))) {
        httpd_respond(r, 404, NULL, (struct bytes){NULL, 0});
        return;
    }
    if (!pass_limit(s, r, true)) {
        return;
    }
    struct connect_request c = {.v1 = v1};
    struct auth_refusal refusal = {.status = 500, .text = "out of memory"};
    if (check_connect(s, r, &c, &refusal) < 0) {
        log_info(NULL, "signal.refused", KV_U64("status", refusal.status),
                 KV_STR("why", refusal.text));
        httpd_respond(r, refusal.status, TEXT_PLAIN, bytes_str(refusal.text));
        connect_done(&c);
        return;
    }
    if (!pass_identity_limit(s, r, &c)) {
        connect_done(&c);
        return;
    }
    int const rc = ws_handshake_accept(httpd_header(r, "Sec-WebSocket-Version"),
                                       httpd_header(r, "Sec-WebSocket-Key"), accept_key);
    if (rc == -EPROTO) {
        httpd_add_header(r, "Sec-WebSocket-Version", "13");
        httpd_respond(r, 426, TEXT_PLAIN, bytes_str("only WebSocket version 13 is supported"));
    } else if (rc < 0) {
        httpd_respond(r, 400, TEXT_PLAIN, bytes_str("bad Sec-WebSocket-Key"));
    } else {
        start_session(s, r, &c, accept_key);
    }
    connect_done(&c);
}

static void on_validate(struct signal_server *s, struct httpd_req *r, bool v1)
{
    if (!pass_limit(s, r, false)) {
        return;
    }
    struct connect_request c = {.v1 = v1, .validate = true};
    struct auth_refusal refusal = {.status = 500, .text = "out of memory"};
    if (check_connect(s, r, &c, &refusal) < 0) {
        httpd_respond(r, refusal.status, TEXT_PLAIN, bytes_str(refusal.text));
    } else {
        httpd_respond(r, 200, TEXT_PLAIN, bytes_str("success"));
    }
    connect_done(&c);
}

// ---- routes ---------------------------------------------------------------------------------

static bool preflight(struct httpd_req *r)
{
    if (strcmp(httpd_method(r), "OPTIONS") != 0) {
        return false;
    }
    on_preflight(r);
    return true;
}

static void route_rtc(void *user, struct httpd_req *r)
{
    if (!preflight(r)) {
        on_connect(user, r, false);
    }
}

static void route_rtc_v1(void *user, struct httpd_req *r)
{
    if (!preflight(r)) {
        on_connect(user, r, true);
    }
}

static void route_validate(void *user, struct httpd_req *r)
{
    if (!preflight(r)) {
        on_validate(user, r, false);
    }
}

static void route_v1_validate(void *user, struct httpd_req *r)
{
    if (!preflight(r)) {
        on_validate(user, r, true);
    }
}

static void route_twirp(void *user, struct httpd_req *r)
{
    struct signal_server *const s = user;
    if (!preflight(r)) {
        room_service_request(&s->rooms, r);
    }
}

static void route_root(void *user, struct httpd_req *r)
{
    (void)user;
    if (!preflight(r)) {
        httpd_respond(r, 200, TEXT_PLAIN, bytes_str("OK"));
    }
}

static bool is_exempt(void *user, const struct addr *a)
{
    const struct signal_server *const s = user;
    struct addr const x = cidr_unmap(a);
    return addr_is_loopback(&x) || cidr_set_match(s->conf.proxies, &x);
}

// ---- life -----------------------------------------------------------------------------------

int signal_server_new(const struct signal_server_conf *conf, struct signal_server **ret,
                      size_t *ret_failed)
{
    struct signal_server *const s = NEW(struct signal_server);
    if (s == NULL) {
        return -ENOMEM;
    }
    s->conf = *conf;
    struct httpd_route const routes[] = {
        {"/rtc/v1/validate", "GET,OPTIONS", HTTPD_ANY_PREFIX, 0, route_v1_validate, s},
        {"/rtc/validate", "GET,OPTIONS", HTTPD_ANY_PREFIX, 0, route_validate, s},
        {"/rtc/v1", "GET,OPTIONS", HTTPD_ANY_PREFIX, 0, route_rtc_v1, s},
        {"/rtc", "GET,OPTIONS", HTTPD_ANY_PREFIX, 0, route_rtc, s},
        {"/twirp/", NULL, HTTPD_ANY_PREFIX | HTTPD_TAIL, API_BODY_MAX, route_twirp, s},
        {"/", NULL, HTTPD_EXACT, 0, route_root, s},
    };
    struct httpd_conf const hc = {
        .listen = conf->listen,
        .listen_count = conf->listen_count,
        .routes = routes,
        .route_count = ARRAY_LEN(routes),
        .max_connections = HTTP_CONNECTIONS_MAX,
        .max_per_ip = HTTP_CONNECTIONS_OF_ADDRESS_MAX,
        .exempt_address = is_exempt,
        .decorate = decorate,
        .user = s,
    };
    room_registry_init(&s->registry, conf->worker_count);
    struct rtc_sessions_conf const sc = {
        .loop = conf->loop,
        .registry = &s->registry,
        .keys = conf->keys,
        .first_response_ms = conf->first_response_ms,
        .post = conf->post,
        .user = conf->user,
    };
    rtc_sessions_init(&s->sessions, &sc);
    room_service_init(&s->rooms, conf->loop, &s->registry, conf->keys, conf->post, conf->user);
    s->rooms.auto_create = conf->auto_create;
    int rc = connect_limit_init(&s->connects, conf->connects, conf->proxies);
    rc = rc < 0 ? rc : httpd_new(conf->loop, &hc, &s->httpd, ret_failed);
    if (rc < 0) {
        signal_server_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void signal_server_free(struct signal_server *s)
{
    if (s == NULL) {
        return;
    }
    rtc_sessions_done(&s->sessions);
    room_service_done(&s->rooms);
    httpd_free(s->httpd);
    connect_limit_done(&s->connects);
    room_registry_done(&s->registry);
    mem_free(s);
}

void signal_server_renew_tokens(struct signal_server *s)
{
    rtc_sessions_renew_tokens(&s->sessions);
}

void signal_server_quiesce(struct signal_server *s)
{
    httpd_quiesce(s->httpd);
}

void signal_server_log_stats(const struct signal_server *s)
{
    const struct rtc_counts *const c = &s->sessions.counts;
    log_info(NULL, "signal.stats", KV_U64("sessions", rtc_sessions_count(&s->sessions)),
             KV_U64("opened", c->opened), KV_U64("refused", c->refused),
             KV_U64("limited", s->connects.refused),
             KV_U64("limited_identities", s->connects.refused_identities),
             KV_U64("unanswered", c->unanswered), KV_U64("undecodable", c->undecodable),
             KV_U64("slowed", c->slowed), KV_U64("cut_off", c->cut_off),
             KV_U64("not_text", s->sessions.forms.not_text));
}

struct addr signal_server_address(const struct signal_server *s, size_t i)
{
    return httpd_address(s->httpd, i);
}

size_t signal_server_sessions(const struct signal_server *s)
{
    return rtc_sessions_count(&s->sessions);
}

void signal_server_deliver(struct signal_server *s, struct channel_msg *m)
{
    switch (m->type) {
    case CHANNEL_SEND:
    case CHANNEL_CLOSE:
    case CHANNEL_CLAIMS:
        rtc_sessions_deliver(&s->sessions, m);
        break;
    case CHANNEL_API_REPLY:
        room_service_reply(&s->rooms, m);
        break;
    case CHANNEL_ROOM_INFO:
        room_registry_update(&s->registry, m->worker, &m->u.room_info);
        break;
    case CHANNEL_ROOM_ENDED:
        room_registry_ended(&s->registry, m->worker, m->u.room_info.name);
        break;
    default:
        break;
    }
    channel_msg_free(m);
}

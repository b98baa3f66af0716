// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/as_routes.h"

#include "common/base/mem.h"
#include "jwt-service/answer.h"

// Strings of one request: what the limits of as_requests.h allow, and room for alignment.
#define CALL_ARENA_FIRST 512
#define CALL_ARENA_MAX (16u << 10)
#define ANSWER_MAX ((size_t)192 << 10) // a token of ACCESS_TOKEN_MAX

// What a route's handler gets.
struct as_route {
    struct as_routes *routes;
    enum as_endpoint kind;
};

struct as_routes {
    struct as_routes_conf conf;
    struct as_route kinds[AS_FEDERATION_GET_TOKEN + 1];
    size_t in_flight;
};

// One request under way.
struct as_call {
    struct as_routes *routes;
    struct httpd_req *req;
    struct request_log log;
    bool local; // asked from this machine: wrong tokens are not limited
    struct arena arena;
    struct as_request in;
    const char *user_id;
    struct token_subject subject;
    // At most one of these is set.
    struct as_flow_call *flow;
    struct token_flow_call *tokens;
};

struct as_routes *as_routes_new(const struct as_routes_conf *conf)
{
    struct as_routes *const r = NEW(struct as_routes);
    if (r) {
        r->conf = *conf;
        for (size_t i = 0; i < ARRAY_LEN(r->kinds); i++) {
            r->kinds[i] = (struct as_route){r, (enum as_endpoint)i};
        }
    }
    return r;
}

void as_routes_free(struct as_routes *r)
{
    assert(!r || r->in_flight == 0);
    mem_free(r);
}

size_t as_routes_in_flight(const struct as_routes *r)
{
    return r->in_flight;
}

static mono_t now(const struct as_call *c)
{
    return loop_now(c->routes->conf.loop);
}

// ---- ends -----------------------------------------------------------------------------------

static void call_free(struct as_call *c)
{
    if (c->flow) {
        as_flow_cancel(c->flow);
    }
    if (c->tokens) {
        token_flow_cancel(c->tokens);
    }
    arena_done(&c->arena);
    c->routes->in_flight--;
    mem_free(c);
}

static void account(struct as_call *c, unsigned status, const char *errcode)
{
    answer_log_end(&c->log, c->routes->conf.metrics, now(c), status, errcode);
}

// The server stops while we work for this request: it was answered for us.
static void on_gone(void *user)
{
    struct as_call *const c = user;
    account(c, 0, NULL);
    call_free(c);
}

static void fail(struct as_call *c, enum matrix_error e, int64_t retry_after_ms)
{
    struct httpd_req *const req = c->req;
    account(c, matrix_error_status(e), matrix_error_code(e));
    call_free(c);
    answer_error(req, e, retry_after_ms);
}

static void fail_step(struct as_call *c, enum request_step step, const char *cause,
                      const char *text, enum matrix_error e, int64_t retry_after_ms)
{
    request_log_fail(&c->log, step, now(c), cause, text);
    fail(c, e, retry_after_ms);
}

static void succeed(struct as_call *c, const char *jwt)
{
    struct httpd_req *const req = c->req;
    struct dynbuf body;
    dynbuf_init(&body, ANSWER_MAX);
    // Without the URL: whoever asks here knows it already.
    if (answer_write_token(NULL, jwt, &body) < 0) {
        dynbuf_done(&body);
        fail(c, MATRIX_INTERNAL, 0);
        return;
    }
    account(c, 200, NULL);
    call_free(c); // jwt was its
    httpd_add_header(req, "Cache-Control", "no-store");
    httpd_respond(req, 200, ANSWER_JSON, dynbuf_view(&body));
    dynbuf_done(&body);
}

// ---- the token ------------------------------------------------------------------------------

// Whoever is on the SFU now or soon is looked after from here on.
static void watch(struct as_call *c, int64_t lifetime_s)
{
    struct membership_watch const w = {
        .room_id = c->in.room_id,
        .user_id = c->user_id,
        .room = c->subject.room,
        .identity = c->subject.identity,
        .lifetime_ms = lifetime_s * 1000,
    };
    if (!c->routes->conf.monitor) {
        return;
    }
    int const r = membership_monitor_watch(c->routes->conf.monitor, &w);
    if (r < 0) {
        log_warn(NULL, "membership.not_watched", KV_STR("room", c->subject.room),
                 KV_ERRNO("error", r),
                 KV_STR("text", "this participant will stay although the user leaves the room"));
    }
}

static void on_token(void *user, const struct token_outcome *o)
{
    struct as_call *const c = user;
    c->tokens = NULL;
    if (o->error != MATRIX_OK) {
        fail(c, o->error, o->retry_after_ms);
        return;
    }
    watch(c, o->lifetime_s);
    succeed(c, o->jwt);
}

static void grant(struct as_call *c, const struct as_outcome *o)
{
    bool const local = c->in.endpoint != AS_FEDERATION_GET_TOKEN;
    struct token_grant const g = {
        .user_id = c->user_id,
        .server_name = as_auth_server_of(c->user_id),
        .room_id = c->in.room_id,
        .subject = c->subject,
        .other_identity = "",
        // Our own homeserver is whom the SFU is for.
        .full_access = local,
        .only_delegate = c->in.endpoint == AS_CLIENT_DELEGATE,
        .always_create = true,
        .never_publish = !local,
        .delay_id = c->in.delay_id,
        .delay_timeout_ms = o->delay_ms,
        .as_user = true,
    };
    if (token_flow_start(c->routes->conf.tokens, &g, &c->log, on_token, c, &c->tokens) < 0) {
        fail(c, MATRIX_INTERNAL, 0);
    }
}

static void on_flow(void *user, const struct as_outcome *o)
{
    struct as_call *const c = user;
    c->flow = NULL;
    if (o->error != MATRIX_OK) {
        fail_step(c, o->failed, o->cause, o->text, o->error, 0);
    } else if (o->relayed_jwt) {
        succeed(c, o->relayed_jwt);
    } else {
        c->subject = o->subject;
        c->log.room = c->subject.room;
        c->log.identity = c->subject.identity;
        grant(c, o);
    }
}

// ---- who asks, and for what -----------------------------------------------------------------

static struct as_call *call_new(struct as_routes *r, enum request_endpoint name,
                                struct httpd_req *req)
{
    struct as_call *const c = r->in_flight < AS_CALLS_MAX ? NEW(struct as_call) : NULL;
    if (c) {
        struct addr client;
        c->routes = r;
        c->req = req;
        c->local = answer_client(r->conf.config, req, &client);
        arena_init(&c->arena, CALL_ARENA_FIRST, CALL_ARENA_MAX);
        r->in_flight++;
        answer_log_start(&c->log, loop_now(r->conf.loop), name, req, &client);
    }
    return c;
}

// True: our homeserver calls. False: it was answered. Only those who fail are limited by address:
// the homeserver is one address for everybody.
static bool from_homeserver(struct as_call *c)
{
    const struct as_routes_conf *const conf = &c->routes->conf;
    int64_t retry_ms = 0;
    enum matrix_error const e =
        as_auth_homeserver(conf->config->as->hs_token, httpd_header(c->req, "Authorization"));
    if (e == MATRIX_OK) {
        return true;
    }
    if (!c->local && !ingress_limits_address(conf->limits, now(c), &c->log.client, &retry_ms)) {
        fail_step(c, REQUEST_STEP_LIMITS, "address", NULL, MATRIX_LIMITED, retry_ms);
    } else {
        fail_step(c, REQUEST_STEP_OPENID, "hs_token",
                  e == MATRIX_MISSING_TOKEN
                      ? "no hs_token; does something other than the homeserver call?"
                      : "the hs_token is not ours; the registrations here and at the homeserver "
                        "differ",
                  e, 0);
    }
    return false;
}

// True: the request may go on. False: it was answered.
static bool admit(struct as_call *c, enum as_endpoint kind)
{
    const struct as_routes_conf *const conf = &c->routes->conf;
    const char *const caller =
        httpd_header(c->req, kind == AS_FEDERATION_GET_TOKEN ? AS_ORIGIN_HEADER : AS_USER_HEADER);
    int64_t retry_ms = 0;
    enum matrix_error e =
        as_request_parse(kind, httpd_body(c->req), conf->config->ignore_unknown, &c->arena, &c->in);
    if (e != MATRIX_OK) {
        fail_step(c, REQUEST_STEP_PARSE, "body", matrix_error_text(e), e, 0);
        return false;
    }
    c->log.room_id = c->in.room_id;
    e = as_flow_admit(conf->flow, &c->in, caller, &c->user_id);
    if (e != MATRIX_OK) {
        fail_step(c, REQUEST_STEP_PARSE, "refused", matrix_error_text(e), e, 0);
        return false;
    }
    // The header's text ends with the request.
    c->user_id = arena_strdup(&c->arena, bytes_str(c->user_id));
    if (!c->user_id) {
        fail(c, MATRIX_INTERNAL, 0);
        return false;
    }
    c->log.user = c->user_id;
    c->log.server_name = as_auth_server_of(c->user_id);
    // Also from this machine: it is the homeserver that calls, whoever the user is.
    if (!ingress_limits_user(conf->limits, now(c), c->user_id, &retry_ms)) {
        fail_step(c, REQUEST_STEP_LIMITS, "user", NULL, MATRIX_LIMITED, retry_ms);
        return false;
    }
    return true;
}

static void account_at_once(const struct as_routes *r, struct httpd_req *req,
                            enum request_endpoint endpoint, unsigned status)
{
    answer_account(r->conf.config, r->conf.metrics, loop_now(r->conf.loop), req, endpoint, status);
}

static void refuse(const struct as_routes *r, struct httpd_req *req, enum request_endpoint endpoint,
                   enum matrix_error e, int64_t retry_after_ms)
{
    account_at_once(r, req, endpoint, matrix_error_status(e));
    answer_error(req, e, retry_after_ms);
}

// True: not a POST, and answered. (A route for POST alone would leave the rest to the 404 below.)
static bool bad_method(const struct as_routes *r, struct httpd_req *req,
                       enum request_endpoint endpoint)
{
    if (strcmp(httpd_method(req), "POST") == 0) {
        return false;
    }
    httpd_add_header(req, "Allow", "POST");
    account_at_once(r, req, endpoint, 405);
    httpd_respond(req, 405, ANSWER_JSON, (struct bytes){0});
    return true;
}

static void on_endpoint(void *user, struct httpd_req *req)
{
    static const enum request_endpoint names[] = {
        [AS_CLIENT_GET_TOKEN] = REQUEST_AS_GET_TOKEN,
        [AS_CLIENT_DELEGATE] = REQUEST_AS_DELEGATE,
        [AS_FEDERATION_GET_TOKEN] = REQUEST_AS_FEDERATION,
    };
    const struct as_route *const route = user;
    if (bad_method(route->routes, req, names[route->kind])) {
        return;
    }
    struct as_call *const c = call_new(route->routes, names[route->kind], req);
    if (!c) {
        refuse(route->routes, req, names[route->kind], MATRIX_BUSY, 1000);
        return;
    }
    if (!from_homeserver(c) || !admit(c, route->kind)) {
        return;
    }
    httpd_on_gone(req, on_gone, c);
    if (as_flow_start(route->routes->conf.flow, &c->in, c->user_id, &c->log, on_flow, c, &c->flow) <
        0) {
        c->flow = NULL;
        fail(c, MATRIX_INTERNAL, 0);
    }
}

// The body is {"transaction_id":...}, which there is nothing to do with.
static void on_ping(void *user, struct httpd_req *req)
{
    if (bad_method(user, req, REQUEST_AS_PING)) {
        return;
    }
    struct as_call *const c = call_new(user, REQUEST_AS_PING, req);
    if (!c) {
        refuse(user, req, REQUEST_AS_PING, MATRIX_BUSY, 1000);
    } else if (from_homeserver(c)) {
        succeed(c, NULL);
    }
}

static void on_unknown(void *user, struct httpd_req *req)
{
    refuse(user, req, REQUEST_OTHER, MATRIX_UNRECOGNIZED, 0);
}

#define UNSTABLE "unstable/io.element.msc4195/"

size_t as_routes_table(struct as_routes *r, struct httpd_route ret[static AS_ROUTES_COUNT])
{
    static const struct {
        const char *path;
        enum as_endpoint kind;
    } endpoints[] = {
        {"/_matrix/client/" UNSTABLE AS_PROXY_PREFIX "/get_token", AS_CLIENT_GET_TOKEN},
        {"/_matrix/client/v1/" AS_PROXY_PREFIX "/get_token", AS_CLIENT_GET_TOKEN},
        {"/_matrix/client/" UNSTABLE AS_PROXY_PREFIX "/delegate_delayed_leave", AS_CLIENT_DELEGATE},
        {"/_matrix/client/v1/" AS_PROXY_PREFIX "/delegate_delayed_leave", AS_CLIENT_DELEGATE},
        {"/_matrix/federation/" UNSTABLE AS_PROXY_PREFIX "/get_token", AS_FEDERATION_GET_TOKEN},
        {"/_matrix/federation/v1/" AS_PROXY_PREFIX "/get_token", AS_FEDERATION_GET_TOKEN},
    };
    static_assert(ARRAY_LEN(endpoints) + 3 <= AS_ROUTES_COUNT, "ping and the rest");
    const struct as_config *const as = r->conf.config->as;
    // Without users in its namespace nothing can be done in their name.
    bool const delegate = r->conf.delegate && as && (!as->from_file || as->registration.has_users);
    size_t n = 0;
    for (size_t i = 0; as && i < ARRAY_LEN(endpoints); i++) {
        if (endpoints[i].kind != AS_CLIENT_DELEGATE || delegate) {
            ret[n++] = (struct httpd_route){.path = endpoints[i].path,
                                            .flags = HTTPD_ANY_PREFIX,
                                            .body_max = REQUEST_BODY_MAX,
                                            .handler = on_endpoint,
                                            .user = &r->kinds[endpoints[i].kind]};
        }
    }
    if (as) {
        ret[n++] = (struct httpd_route){.path = "/_matrix/app/v1/ping",
                                        .flags = HTTPD_ANY_PREFIX,
                                        .body_max = REQUEST_BODY_MAX,
                                        .handler = on_ping,
                                        .user = r};
    }
    // Else what ends in /get_token would be taken for the OpenID endpoint under a long prefix.
    static const char *const others[] = {"/_matrix/client/", "/_matrix/federation/"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ret[n++] = (struct httpd_route){.path = others[i],
                                        .flags = HTTPD_ANY_PREFIX | HTTPD_TAIL,
                                        .body_max = REQUEST_BODY_MAX,
                                        .handler = on_unknown,
                                        .user = r};
    }
    return n;
}

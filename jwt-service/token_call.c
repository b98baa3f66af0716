// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/token_call.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "jwt-service/answer.h"
#include "jwt-service/auth_config.h"

// Strings of one request: what the limits of requests.h allow, and room for alignment.
#define CALL_ARENA_FIRST 512
#define CALL_ARENA_MAX (16u << 10)
#define ANSWER_MAX ((size_t)192 << 10) // a token of ACCESS_TOKEN_MAX and the URL

// Kept connections and what else a crowd needed are closed by then (30 s in httpc and httpd).
#define REST_MS 35000

struct token_calls {
    struct token_calls_conf conf;
    struct loop_timer *rest; // once, after the last request of a crowd
    size_t in_flight;
};

// One request under way.
struct token_call {
    struct token_calls *calls;
    struct httpd_req *req;
    struct request_log log;
    bool local; // asked from this machine: not limited
    struct arena arena;
    struct token_request in;
    struct token_subject subject;
    const char *user_id;
    // At most one of these is set.
    struct openid_check *check;
    struct token_flow_call *flow;
};

static void on_rest(void *user)
{
    const struct token_calls *const t = user;
    if (t->in_flight == 0) {
        mem_give_back();
    }
}

struct token_calls *token_calls_new(const struct token_calls_conf *conf)
{
    struct token_calls *const t = NEW(struct token_calls);
    if (t) {
        t->conf = *conf;
        t->rest = loop_timer_new(conf->loop, on_rest, t);
        if (!t->rest) {
            token_calls_free(t);
            return NULL;
        }
    }
    return t;
}

void token_calls_free(struct token_calls *t)
{
    if (t) {
        assert(t->in_flight == 0);
        loop_timer_free(t->rest);
        mem_free(t);
    }
}

size_t token_calls_in_flight(const struct token_calls *t)
{
    return t->in_flight;
}

static mono_t now(const struct token_call *c)
{
    return loop_now(c->calls->conf.loop);
}

// ---- ends -----------------------------------------------------------------------------------

static void call_free(struct token_call *c)
{
    if (c->check) {
        openid_verifier_cancel(c->check);
    }
    if (c->flow) {
        token_flow_cancel(c->flow);
    }
    arena_done(&c->arena);
    if (--c->calls->in_flight == 0) {
        loop_timer_set_ms(c->calls->rest, REST_MS);
    }
    auth_metrics_in_flight(c->calls->conf.metrics, c->calls->in_flight);
    mem_free(c);
}

static void account(struct token_call *c, unsigned status, const char *errcode)
{
    answer_log_end(&c->log, c->calls->conf.metrics, now(c), status, errcode);
}

// The server stops while we work for this request: it was answered for us.
static void on_gone(void *user)
{
    struct token_call *const c = user;
    account(c, 0, NULL);
    call_free(c);
}

static void fail(struct token_call *c, enum matrix_error e, int64_t retry_after_ms)
{
    struct httpd_req *const req = c->req;
    account(c, matrix_error_status(e), matrix_error_code(e));
    call_free(c);
    answer_error(req, e, retry_after_ms);
}

static void fail_step(struct token_call *c, enum request_step step, const char *cause,
                      const char *text, enum matrix_error e, int64_t retry_after_ms)
{
    request_log_fail(&c->log, step, now(c), cause, text);
    fail(c, e, retry_after_ms);
}

static void succeed(struct token_call *c, const char *jwt)
{
    struct httpd_req *const req = c->req;
    struct dynbuf body;
    dynbuf_init(&body, ANSWER_MAX);
    const char *const url = jwt ? c->calls->conf.config->livekit_url : NULL; // {} for a delegation
    if (answer_write_token(url, jwt, &body) < 0) {
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

// ---- what is the same for all who come for a token ------------------------------------------

static void on_flow(void *user, const struct token_outcome *o)
{
    struct token_call *const c = user;
    c->flow = NULL;
    if (o->error == MATRIX_OK) {
        succeed(c, o->jwt);
    } else {
        fail(c, o->error, o->retry_after_ms);
    }
}

// The identity under which the same participant may join by the older endpoint: leaves that are
// handed over by the newer ones must notice that one too (authorization-service 7.1).
static const char *other_identity(struct token_call *c)
{
    if (c->in.endpoint == TOKEN_SFU_GET) {
        return ""; // the newer one needs a member id, which is not known here
    }
    struct token_request legacy = c->in;
    legacy.endpoint = TOKEN_SFU_GET;
    struct token_subject s;
    const char *text = NULL;
    if (token_subject_make(&legacy, c->user_id, &s) == 0) {
        text = arena_strdup(&c->arena, bytes_str(s.identity));
    }
    return text ? text : "";
}

static void grant(struct token_call *c)
{
    const struct token_calls_conf *const conf = &c->calls->conf;
    struct token_grant const g = {
        .user_id = c->user_id,
        .server_name = c->in.server_name,
        .room_id = c->in.room,
        .subject = c->subject,
        .other_identity = *c->in.delay_id ? other_identity(c) : "",
        .full_access = auth_config_full_access(conf->config, c->in.server_name),
        .only_delegate = c->in.endpoint == TOKEN_DELEGATE,
        .delay_id = c->in.delay_id,
        .delay_timeout_ms = c->in.delay_timeout_ms,
    };
    if (token_flow_start(conf->flow, &g, &c->log, on_flow, c, &c->flow) < 0) {
        fail(c, MATRIX_INTERNAL, 0);
    }
}

// ---- whose token it is ----------------------------------------------------------------------

static void on_openid(void *user, const struct openid_result *r)
{
    struct token_call *const c = user;
    const struct token_calls_conf *const conf = &c->calls->conf;
    int64_t retry_ms = 0;
    c->check = NULL;
    auth_metrics_openid(conf->metrics, auth_config_full_access(conf->config, c->in.server_name),
                        r->user_id ? "ok" : r->step, r->elapsed_ms * 1000);
    if (!r->user_id) {
        fail_step(c, REQUEST_STEP_OPENID, r->step, r->text,
                  r->busy ? MATRIX_BUSY : MATRIX_UNAUTHORIZED, r->busy ? 1000 : 0);
        return;
    }
    request_log_end(&c->log, REQUEST_STEP_OPENID, now(c));
    c->user_id = arena_strdup(&c->arena, bytes_str(r->user_id));
    if (!c->user_id || token_subject_make(&c->in, c->user_id, &c->subject) < 0) {
        fail(c, MATRIX_INTERNAL, 0);
        return;
    }
    c->log.user = c->user_id;
    c->log.room = c->subject.room;
    c->log.identity = c->subject.identity;
    if (c->in.endpoint != TOKEN_SFU_GET && strcmp(c->user_id, c->in.claimed_user_id) != 0) {
        fail_step(c, REQUEST_STEP_OPENID, "claimed_user",
                  "the token is of another user than the member claims", MATRIX_UNAUTHORIZED, 0);
    } else if (!c->local && !ingress_limits_user(conf->limits, now(c), c->user_id, &retry_ms)) {
        fail_step(c, REQUEST_STEP_LIMITS, "user", NULL, MATRIX_LIMITED, retry_ms);
    } else {
        grant(c);
    }
}

static void check_openid(struct token_call *c)
{
    const struct token_calls_conf *const conf = &c->calls->conf;
    bool const trusted =
        conf->config->insecure || auth_config_names_server(conf->config, c->in.server_name);
    request_log_begin(&c->log, REQUEST_STEP_OPENID, now(c));
    // A proxy that names no client stands for everybody behind it.
    bool const alone = !auth_config_exempt_address(conf->config, &c->log.client);
    struct openid_ask const ask = {.server_name = c->in.server_name,
                                   .token = c->in.access_token,
                                   .trusted = trusted,
                                   .client = alone ? &c->log.client : NULL};
    int const r = openid_verifier_ask(conf->openid, &ask, on_openid, c, &c->check);
    if (r < 0) {
        c->check = NULL;
        if (r == -EINVAL) {
            fail_step(c, REQUEST_STEP_OPENID, "server_name", "matrix_server_name is no server name",
                      MATRIX_UNAUTHORIZED, 0);
        } else {
            fail_step(c, REQUEST_STEP_OPENID, "no_memory", NULL, MATRIX_INTERNAL, 0);
        }
    }
}

// ---- the request ----------------------------------------------------------------------------

enum request_endpoint token_call_endpoint(enum token_endpoint endpoint)
{
    static const enum request_endpoint names[] = {[TOKEN_SFU_GET] = REQUEST_SFU_GET,
                                                  [TOKEN_GET_TOKEN] = REQUEST_GET_TOKEN,
                                                  [TOKEN_DELEGATE] = REQUEST_DELEGATE};
    return names[endpoint];
}

static struct token_call *call_new(struct token_calls *t, enum token_endpoint endpoint,
                                   struct httpd_req *req)
{
    struct token_call *const c = t->in_flight < TOKEN_CALLS_MAX ? NEW(struct token_call) : NULL;
    if (c) {
        struct addr client;
        c->calls = t;
        c->req = req;
        c->local = answer_client(t->conf.config, req, &client);
        arena_init(&c->arena, CALL_ARENA_FIRST, CALL_ARENA_MAX);
        t->in_flight++;
        auth_metrics_in_flight(t->conf.metrics, t->in_flight);
        answer_log_start(&c->log, loop_now(t->conf.loop), token_call_endpoint(endpoint), req,
                         &client);
    }
    return c;
}

// True: the request may go on. False: it was answered.
static bool admit(struct token_call *c, enum token_endpoint endpoint)
{
    const struct token_calls_conf *const conf = &c->calls->conf;
    int64_t retry_ms = 0;
    char rule[ACCESS_POLICY_NAME_MAX + 1];
    if (!c->local && !ingress_limits_address(conf->limits, now(c), &c->log.client, &retry_ms)) {
        fail_step(c, REQUEST_STEP_LIMITS, "address", NULL, MATRIX_LIMITED, retry_ms);
        return false;
    }
    request_log_begin(&c->log, REQUEST_STEP_PARSE, now(c));
    enum matrix_error const e = token_request_parse(
        endpoint, httpd_body(c->req), conf->config->ignore_unknown, &c->arena, &c->in);
    if (e != MATRIX_OK) {
        fail_step(c, REQUEST_STEP_PARSE, matrix_error_code(e), matrix_error_text(e), e, 0);
        return false;
    }
    request_log_end(&c->log, REQUEST_STEP_PARSE, now(c));
    c->log.server_name = c->in.server_name;
    c->log.room_id = c->in.room;
    bool const named =
        conf->config->insecure || auth_config_names_server(conf->config, c->in.server_name);
    if (!ingress_limits_server(conf->limits, now(c), c->in.server_name, named, &retry_ms)) {
        fail_step(c, REQUEST_STEP_LIMITS, "server", NULL, MATRIX_LIMITED, retry_ms);
        return false;
    }
    if (access_policy_denies_server(*conf->policy, conf->defaults, c->in.server_name, rule)) {
        fail_step(c, REQUEST_STEP_POLICY, "denied", rule, MATRIX_DENIED, 0);
        return false;
    }
    return true;
}

// More requests than we work on at once. It has its line and counts like the others.
static void refuse(struct token_calls *t, enum token_endpoint endpoint, struct httpd_req *req)
{
    mono_t const at = loop_now(t->conf.loop);
    unsigned const status = matrix_error_status(MATRIX_BUSY);
    struct request_log log;
    struct addr client;
    (void)answer_client(t->conf.config, req, &client);
    answer_log_start(&log, at, token_call_endpoint(endpoint), req, &client);
    request_log_fail(&log, REQUEST_STEP_LIMITS, at, "in_flight", NULL);
    auth_metrics_request(t->conf.metrics, &log, at, status);
    request_log_write(&log, at, status, matrix_error_code(MATRIX_BUSY));
    answer_error(req, MATRIX_BUSY, 1000);
}

void token_call_start(struct token_calls *t, enum token_endpoint endpoint, struct httpd_req *req)
{
    struct token_call *const c = call_new(t, endpoint, req);
    if (!c) {
        refuse(t, endpoint, req);
        return;
    }
    if (admit(c, endpoint)) {
        httpd_on_gone(req, on_gone, c);
        check_openid(c);
    }
}

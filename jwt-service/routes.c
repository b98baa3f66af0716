// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/routes.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/sys/random.h"
#include "jwt-service/requests.h"
#include "jwt-service/token_issuer.h"

// Strings of one request: what the limits of requests.h allow, and room for alignment.
#define CALL_ARENA_FIRST 1024
#define CALL_ARENA_MAX (16u << 10)
#define ANSWER_MAX ((size_t)192 << 10) // a token of ACCESS_TOKEN_MAX and the URL
#define REQUEST_ID_SIZE 17

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"

// What a route's handler gets.
struct endpoint {
    struct routes *routes;
    enum token_endpoint kind;
    const char *path;
};

struct routes {
    struct routes_conf conf;
    struct endpoint sfu_get;
    struct endpoint get_token;
    size_t in_flight;
};

// One token request under way.
struct token_call {
    const struct endpoint *endpoint;
    struct httpd_req *req;
    struct arena arena;
    struct token_request in;
    char request_id[REQUEST_ID_SIZE];
    mono_t started;
    struct openid_check *check;
    struct sfu_call *sfu;
    struct token_subject subject;
    char *jwt;
};

struct routes *routes_new(const struct routes_conf *conf)
{
    struct routes *const r = NEW(struct routes);
    if (r) {
        r->conf = *conf;
        r->sfu_get = (struct endpoint){r, TOKEN_SFU_GET, "/sfu/get"};
        r->get_token = (struct endpoint){r, TOKEN_GET_TOKEN, "/get_token"};
    }
    return r;
}

void routes_free(struct routes *r)
{
    assert(!r || r->in_flight == 0);
    mem_free(r);
}

size_t routes_in_flight(const struct routes *r)
{
    return r->in_flight;
}

// ---- answers --------------------------------------------------------------------------------

static void respond_error(struct httpd_req *req, enum matrix_error e)
{
    struct dynbuf body;
    dynbuf_init(&body, 1024);
    matrix_error_write(e, e == MATRIX_BUSY ? 1000 : 0, &body);
    if (e == MATRIX_BUSY) {
        httpd_add_header(req, "Retry-After", "1");
    }
    httpd_respond(req, matrix_error_status(e), JSON_TYPE, dynbuf_view(&body));
    dynbuf_done(&body);
}

// 16 hexadecimal digits that tie an answer to its log lines.
static void make_request_id(char ret[static REQUEST_ID_SIZE])
{
    (void)snprintf(ret, REQUEST_ID_SIZE, "%016llx", (unsigned long long)rand_u64());
}

// ---- life of a call -------------------------------------------------------------------------

static void call_free(struct token_call *c)
{
    if (c->check) {
        openid_verifier_cancel(c->check);
    }
    if (c->sfu) {
        sfu_client_cancel(c->sfu);
    }
    if (c->jwt) {
        explicit_bzero(c->jwt, strlen(c->jwt));
        mem_free(c->jwt);
    }
    arena_done(&c->arena);
    c->endpoint->routes->in_flight--;
    mem_free(c);
}

// The server stops while we work for this request: it was answered for us.
static void on_gone(void *user)
{
    call_free(user);
}

static struct token_call *call_new(const struct endpoint *e, struct httpd_req *req)
{
    struct token_call *const c = NEW(struct token_call);
    if (c) {
        c->endpoint = e;
        c->req = req;
        c->started = loop_now(e->routes->conf.loop);
        arena_init(&c->arena, CALL_ARENA_FIRST, CALL_ARENA_MAX);
        e->routes->in_flight++;
    }
    return c;
}

static void fail(struct token_call *c, enum matrix_error e)
{
    struct httpd_req *const req = c->req;
    call_free(c);
    respond_error(req, e);
}

static int64_t elapsed_ms(const struct token_call *c)
{
    return mono_diff_ms(loop_now(c->endpoint->routes->conf.loop), c->started);
}

// {"url":...,"jwt":...}; a dynbuf error shows in *out.
static int write_answer(const struct token_call *c, struct dynbuf *out)
{
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    const char *const url = c->endpoint->routes->conf.config->livekit_url;
    if (!j || jsonx_set_cstr(j, "url", url) < 0 || jsonx_set_cstr(j, "jwt", c->jwt) < 0) {
        return -ENOMEM;
    }
    size_t n = 0;
    char *const text = jsonx_dump(j, 0, &n);
    if (!text) {
        return -ENOMEM;
    }
    dynbuf_add(out, bytes_of(text, n));
    dynbuf_add_u8(out, '\n');
    mem_free(text);
    return dynbuf_ok(out) ? 0 : -ENOMEM;
}

static void succeed(struct token_call *c)
{
    struct dynbuf body;
    dynbuf_init(&body, ANSWER_MAX);
    if (write_answer(c, &body) < 0) {
        dynbuf_done(&body);
        fail(c, MATRIX_INTERNAL);
        return;
    }
    log_info(NULL, "token.issued", KV_STR("endpoint", c->endpoint->path),
             KV_STR("server", c->in.server_name), KV_STR("room", c->subject.room),
             KV_ID("identity", c->subject.identity), KV_I64("ms", elapsed_ms(c)),
             KV_STR("request_id", c->request_id));
    httpd_add_header(c->req, "Cache-Control", "no-store");
    httpd_respond(c->req, 200, JSON_TYPE, dynbuf_view(&body));
    dynbuf_done(&body);
    call_free(c);
}

// ---- steps ----------------------------------------------------------------------------------

static void on_room(void *user, const struct sfu_result *r)
{
    struct token_call *const c = user;
    c->sfu = NULL;
    if (!r->ok) {
        log_error(NULL, "sfu.create_room_failed", KV_STR("step", r->step), KV_STR("text", r->text),
                  KV_STR("room", c->subject.room), KV_I64("ms", r->elapsed_ms),
                  KV_STR("request_id", c->request_id));
        fail(c, MATRIX_NO_ROOM);
        return;
    }
    log_debug(NULL, "sfu.room", KV_STR("room", c->subject.room), KV_STR("sid", r->room_sid),
              KV_BOOL("created", r->created), KV_I64("ms", r->elapsed_ms));
    succeed(c);
}

static void issue(struct token_call *c, const char *user_id)
{
    const struct routes_conf *const conf = &c->endpoint->routes->conf;
    struct token_rights const rights = {.publish = true,
                                        .subscribe = true,
                                        .update_metadata = true,
                                        .lifetime_s = TOKEN_JOIN_LIFETIME_S};
    int r = token_subject_make(&c->in, user_id, &c->subject);
    r = r < 0 ? r
              : token_issue_join(api_keys_first(conf->config->keys), loop_wall(conf->loop),
                                 &c->subject, &rights, &c->jwt);
    if (r < 0) {
        log_error(NULL, "token.mint_failed", KV_ERRNO("error", r),
                  KV_STR("request_id", c->request_id));
        fail(c, MATRIX_INTERNAL);
        return;
    }
    if (!auth_config_full_access(conf->config, c->in.server_name)) {
        succeed(c);
        return;
    }
    if (sfu_client_create_room(conf->sfu, c->subject.room, 0, on_room, c, &c->sfu) < 0) {
        c->sfu = NULL;
        fail(c, MATRIX_NO_ROOM);
    }
}

static void refuse_openid(struct token_call *c, const char *step, const char *text, int64_t ms)
{
    log_warn(NULL, "openid.refused", KV_STR("step", step), KV_STR("server", c->in.server_name),
             KV_STR("text", text), KV_I64("ms", ms), KV_STR("request_id", c->request_id));
    fail(c, MATRIX_UNAUTHORIZED);
}

static void on_openid(void *user, const struct openid_result *r)
{
    struct token_call *const c = user;
    c->check = NULL;
    if (!r->user_id) {
        refuse_openid(c, r->step, r->text, r->elapsed_ms);
    } else if (c->in.endpoint == TOKEN_GET_TOKEN &&
               strcmp(r->user_id, c->in.claimed_user_id) != 0) {
        refuse_openid(c, "claimed_user", "the token is of another user than the member claims",
                      r->elapsed_ms);
    } else if (*c->in.delay_id) {
        // Not delegating is said in the words that make Element Call ask again without
        // (authorization-service 8.4).
        fail(c, MATRIX_NO_DELEGATION);
    } else {
        issue(c, r->user_id);
    }
}

static void check_openid(struct token_call *c)
{
    const struct routes_conf *const conf = &c->endpoint->routes->conf;
    bool const trusted =
        conf->config->insecure || auth_config_names_server(conf->config, c->in.server_name);
    int const r = openid_verifier_check(conf->openid, c->in.server_name, c->in.access_token,
                                        trusted, on_openid, c, &c->check);
    if (r < 0) {
        c->check = NULL;
        if (r == -EINVAL) {
            refuse_openid(c, "server_name", "matrix_server_name is no server name", 0);
        } else {
            fail(c, MATRIX_INTERNAL);
        }
    }
}

// ---- handlers -------------------------------------------------------------------------------

static void handle_post(const struct endpoint *e, struct httpd_req *req)
{
    struct routes *const r = e->routes;
    struct token_call *const c = r->in_flight < ROUTES_IN_FLIGHT_MAX ? call_new(e, req) : NULL;
    if (!c) {
        respond_error(req, MATRIX_BUSY);
        return;
    }
    make_request_id(c->request_id);
    httpd_add_header(req, "X-Request-Id", c->request_id);
    enum matrix_error const err = token_request_parse(
        e->kind, httpd_body(req), r->conf.config->ignore_unknown, &c->arena, &c->in);
    if (err != MATRIX_OK) {
        log_info(NULL, "request.refused", KV_STR("endpoint", e->path),
                 KV_STR("errcode", matrix_error_code(err)), KV_STR("text", matrix_error_text(err)),
                 KV_STR("request_id", c->request_id));
        fail(c, err);
        return;
    }
    httpd_on_gone(req, on_gone, c);
    check_openid(c);
}

static void on_client_endpoint(void *user, struct httpd_req *req)
{
    const struct endpoint *const e = user;
    const char *const method = httpd_method(req);
    struct bytes const nothing = {0};
    if (strcmp(method, "POST") == 0) {
        handle_post(e, req);
    } else if (strcmp(method, "OPTIONS") == 0) {
        // A day: one preflight less for every join (browsers cap it lower by themselves).
        httpd_add_header(req, "Access-Control-Max-Age", "86400");
        httpd_respond(req, 200, JSON_TYPE, nothing);
    } else {
        httpd_add_header(req, "Allow", "POST, OPTIONS");
        httpd_respond(req, 405, JSON_TYPE, nothing);
    }
}

static void on_healthz(void *user, struct httpd_req *req)
{
    (void)user;
    httpd_respond(req, 200, NULL, (struct bytes){0});
}

static bool ends_with(const char *s, const char *end)
{
    size_t const n = strlen(s);
    size_t const m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

// CORS stands on every answer but the health check's: without it a browser hides even the status.
static void decorate(void *user, struct httpd_req *req, unsigned status)
{
    (void)user;
    (void)status;
    const char *const path = httpd_path(req);
    if (path && ends_with(path, "/healthz")) {
        return;
    }
    httpd_add_header(req, "Access-Control-Allow-Origin", "*");
    httpd_add_header(req, "Access-Control-Allow-Methods", "POST");
    httpd_add_header(req, "Access-Control-Allow-Headers",
                     "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token");
}

static void on_too_large(void *user, struct httpd_req *req)
{
    (void)user;
    respond_error(req, MATRIX_TOO_LARGE);
}

static void on_not_found(void *user, struct httpd_req *req, unsigned status, const char *allow)
{
    (void)user;
    if (status == 405) {
        if (allow) {
            httpd_add_header(req, "Allow", allow);
        }
        httpd_respond(req, 405, NULL, (struct bytes){0});
    } else {
        httpd_add_header(req, "X-Content-Type-Options", "nosniff");
        httpd_respond(req, status, TEXT_TYPE, bytes_str("404 page not found\n"));
    }
}

int routes_listen(struct routes *r, struct httpd **ret, size_t *ret_failed)
{
    struct httpd_route const table[] = {
        {.path = "/sfu/get",
         .flags = HTTPD_ANY_PREFIX,
         .body_max = REQUEST_BODY_MAX,
         .handler = on_client_endpoint,
         .user = &r->sfu_get},
        {.path = "/get_token",
         .flags = HTTPD_ANY_PREFIX,
         .body_max = REQUEST_BODY_MAX,
         .handler = on_client_endpoint,
         .user = &r->get_token},
        {.path = "/healthz", .methods = "GET", .flags = HTTPD_ANY_PREFIX, .handler = on_healthz},
    };
    struct httpd_conf const conf = {
        .listen = r->conf.config->bind,
        .listen_count = r->conf.config->bind_count,
        .routes = table,
        .route_count = ARRAY_LEN(table),
        .max_connections = ROUTES_IN_FLIGHT_MAX * 2, // those that wait, and browsers' spare ones
        .header_max = 16u << 10,                     // nothing long stands in these requests
        .decorate = decorate,
        .not_found = on_not_found,
        .too_large = on_too_large,
        .user = r,
    };
    return httpd_new(r->conf.loop, &conf, ret, ret_failed);
}

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/routes.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "jwt-service/answer.h"
#include "jwt-service/auth_config.h"

// Connections: those that wait for homeservers, and browsers' spare ones.
#define CONNECTIONS_MAX (TOKEN_CALLS_MAX + 4096u)
#define HEADER_MAX (16u << 10) // nothing long stands in these requests
#define METRICS_MAX ((size_t)1 << 20)

// What a client endpoint's handler gets.
struct endpoint {
    struct routes *routes;
    enum token_endpoint kind;
};

struct routes {
    struct routes_conf conf;
    struct endpoint sfu_get;
    struct endpoint get_token;
    struct endpoint delegate;
    bool stopping;
};

struct routes *routes_new(const struct routes_conf *conf)
{
    struct routes *const r = NEW(struct routes);
    if (r) {
        r->conf = *conf;
        r->sfu_get = (struct endpoint){r, TOKEN_SFU_GET};
        r->get_token = (struct endpoint){r, TOKEN_GET_TOKEN};
        r->delegate = (struct endpoint){r, TOKEN_DELEGATE};
    }
    return r;
}

void routes_free(struct routes *r)
{
    mem_free(r);
}

void routes_stopping(struct routes *r)
{
    r->stopping = true;
}

// ---- what every request has --------------------------------------------------------------------

struct short_call {
    struct request_log log;
    struct addr client;
};

static void short_start(const struct routes *r, struct short_call *s, struct httpd_req *req,
                        enum request_endpoint endpoint)
{
    (void)answer_client(r->conf.config, req, &s->client);
    answer_log_start(&s->log, loop_now(r->conf.loop), endpoint, req, &s->client);
}

static void short_end(const struct routes *r, struct short_call *s, unsigned status)
{
    answer_log_end(&s->log, r->conf.metrics, loop_now(r->conf.loop), status, NULL);
}

static void log_only(const struct routes *r, struct httpd_req *req, enum request_endpoint endpoint,
                     unsigned status)
{
    answer_account(r->conf.config, r->conf.metrics, loop_now(r->conf.loop), req, endpoint, status);
}

static void not_found(struct routes *r, struct httpd_req *req)
{
    log_only(r, req, REQUEST_OTHER, 404);
    httpd_add_header(req, "X-Content-Type-Options", "nosniff");
    httpd_respond(req, 404, ANSWER_TEXT, bytes_str("404 page not found\n"));
}

// What a proxy left in front of the endpoint: anything, or what the operator listed.
static bool prefix_allowed(const struct routes *r, const struct httpd_req *req)
{
    const struct conf *const k = r->conf.config->conf;
    size_t const n = conf_list_len(k, AUTH_PATH_PREFIXES);
    size_t const whole = strlen(httpd_path(req));
    size_t const matched = strlen(httpd_matched(req));
    if (n == 0 || whole <= matched) {
        return true;
    }
    struct bytes const prefix = bytes_of(httpd_path(req), whole - matched);
    for (size_t i = 0; i < n; i++) {
        struct bytes allowed = bytes_str(conf_list_at(k, AUTH_PATH_PREFIXES, i));
        while (allowed.n > 0 && allowed.p[allowed.n - 1] == '/') {
            allowed.n--;
        }
        if (bytes_eq(prefix, allowed)) {
            return true;
        }
    }
    return false;
}

// ---- client endpoints --------------------------------------------------------------------------

static void on_client_endpoint(void *user, struct httpd_req *req)
{
    const struct endpoint *const e = user;
    struct routes *const r = e->routes;
    const char *const method = httpd_method(req);
    struct bytes const nothing = {0};
    bool const delegates = r->conf.leaves && leave_manager_supported(r->conf.leaves);
    if (!prefix_allowed(r, req) || (e->kind == TOKEN_DELEGATE && !delegates)) {
        not_found(r, req);
    } else if (strcmp(method, "POST") == 0) {
        token_call_start(r->conf.calls, e->kind, req);
    } else if (strcmp(method, "OPTIONS") == 0) {
        // A day: one preflight less for every join (browsers cap it lower by themselves).
        httpd_add_header(req, "Access-Control-Max-Age", "86400");
        log_only(r, req, token_call_endpoint(e->kind), 200);
        httpd_respond(req, 200, ANSWER_JSON, nothing);
    } else {
        httpd_add_header(req, "Allow", "POST, OPTIONS");
        log_only(r, req, token_call_endpoint(e->kind), 405);
        httpd_respond(req, 405, ANSWER_JSON, nothing);
    }
}

// ---- webhooks ----------------------------------------------------------------------------------

static void take_event(struct routes *r, const struct sfu_event *e)
{
    if (r->conf.leaves) {
        leave_manager_event(r->conf.leaves, e);
    }
    if (r->conf.monitor) {
        membership_monitor_event(r->conf.monitor, e);
    }
}

// Stable, as label of a counter.
static const char *verdict_name(const struct webhook_verdict *v)
{
    static const char *const why[WEBHOOK_CHECK_WHY_COUNT] = {
        [WEBHOOK_CHECK_NO_TOKEN] = "no_token",
        [WEBHOOK_CHECK_NO_DIGEST] = "no_digest",
        [WEBHOOK_CHECK_BAD_DIGEST] = "bad_digest",
    };
    if (v->status != 401) {
        return v->status == 400 ? "body" : "internal";
    }
    return v->refusal.why == WEBHOOK_CHECK_BAD_TOKEN ? access_token_why_name(v->refusal.token)
                                                     : why[v->refusal.why];
}

static void on_webhook(void *user, struct httpd_req *req)
{
    struct routes *const r = user;
    struct short_call s;
    struct sfu_event event;
    struct webhook_verdict verdict = {.status = 503};
    short_start(r, &s, req, REQUEST_WEBHOOK);
    const char *const authorization = httpd_header(req, "Authorization");
    const char *what = "stopping";
    if (!r->stopping) {
        bool const taken = webhook_verify(r->conf.config->keys, loop_wall(r->conf.loop),
                                          bytes_str(authorization ? authorization : ""),
                                          httpd_body(req), &event, &verdict);
        what = taken ? "accepted" : verdict_name(&verdict);
        if (taken) {
            take_event(r, &event);
            sfu_event_done(&event);
        }
    }
    if (verdict.status != 200) {
        request_log_fail(&s.log, REQUEST_STEP_PARSE, loop_now(r->conf.loop), what,
                         verdict.refusal.text);
    }
    auth_metrics_webhook(r->conf.metrics, what);
    short_end(r, &s, (unsigned)verdict.status);
    httpd_respond(req, (unsigned)verdict.status, NULL, (struct bytes){0});
}

// ---- for operators -----------------------------------------------------------------------------

static void on_healthz(void *user, struct httpd_req *req)
{
    log_only(user, req, REQUEST_HEALTHZ, 200);
    httpd_respond(req, 200, NULL, (struct bytes){0});
}

struct ready_call {
    struct routes *routes;
    struct httpd_req *req;
    struct readiness_wait *wait;
    struct short_call s;
};

static void on_ready(void *user, bool ready, struct bytes json)
{
    struct ready_call *const c = user;
    struct httpd_req *const req = c->req;
    unsigned const status = ready && !c->routes->stopping ? 200 : 503;
    short_end(c->routes, &c->s, status);
    mem_free(c);
    httpd_add_header(req, "Cache-Control", "no-store");
    httpd_respond(req, status, ANSWER_JSON, json);
}

static void on_ready_gone(void *user)
{
    struct ready_call *const c = user;
    if (c->wait) {
        readiness_cancel(c->wait);
    }
    short_end(c->routes, &c->s, 0);
    mem_free(c);
}

static void on_readyz(void *user, struct httpd_req *req)
{
    struct ready_call *const c = NEW(struct ready_call);
    if (!c) {
        answer_error(req, MATRIX_INTERNAL, 0);
        return;
    }
    c->routes = user;
    c->req = req;
    short_start(user, &c->s, req, REQUEST_READYZ);
    httpd_on_gone(req, on_ready_gone, c);
    struct readiness_wait *wait = NULL;
    int const r = readiness_ask(c->routes->conf.readiness, on_ready, c, &wait);
    if (r < 0) {
        on_ready(c, false, bytes_str("{}"));
    } else if (wait) { // else it is answered and gone
        c->wait = wait;
    }
}

static void send_metrics(struct routes *r, struct httpd_req *req)
{
    struct short_call s;
    struct dynbuf out;
    short_start(r, &s, req, REQUEST_METRICS);
    if (r->conf.refresh_metrics) {
        r->conf.refresh_metrics(r->conf.user);
    }
    dynbuf_init(&out, METRICS_MAX);
    metrics_write(r->conf.metrics, &out);
    short_end(r, &s, 200);
    httpd_respond(req, 200, METRICS_CONTENT_TYPE, dynbuf_view(&out));
    dynbuf_done(&out);
}

static void on_metrics(void *user, struct httpd_req *req)
{
    send_metrics(user, req);
}

// On the listener that faces clients: for this machine only, and not through a proxy on it.
static void on_local_metrics(void *user, struct httpd_req *req)
{
    struct routes *const r = user;
    struct addr const peer = httpd_peer(req);
    bool const proxied = httpd_header(req, "X-Forwarded-For") || httpd_header(req, "Forwarded") ||
                         httpd_header(req, "X-Real-IP");
    if (addr_is_loopback(&peer) && !proxied && strcmp(httpd_path(req), "/metrics") == 0) {
        send_metrics(r, req);
    } else {
        not_found(r, req);
    }
}

// ---- all paths ---------------------------------------------------------------------------------

static bool ends_with(const char *s, const char *end)
{
    size_t const n = strlen(s);
    size_t const m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

// CORS stands on every answer that a page may see, also on errors: without it a browser hides even
// the status.
static void decorate(void *user, struct httpd_req *req, unsigned status)
{
    (void)user;
    (void)status;
    static const char *const plain[] = {"/healthz", "/readyz", "/metrics", "/sfu_webhook"};
    const char *const path = httpd_path(req);
    for (size_t i = 0; path && i < ARRAY_LEN(plain); i++) {
        if (ends_with(path, plain[i])) {
            return;
        }
    }
    httpd_add_header(req, "Access-Control-Allow-Origin", "*");
    httpd_add_header(req, "Access-Control-Allow-Methods", "POST");
    httpd_add_header(req, "Access-Control-Allow-Headers",
                     "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token");
}

static void on_too_large(void *user, struct httpd_req *req)
{
    log_only(user, req, REQUEST_OTHER, matrix_error_status(MATRIX_TOO_LARGE));
    answer_error(req, MATRIX_TOO_LARGE, 0);
}

// Nothing was done about it: it may come again.
static void on_unavailable(void *user, struct httpd_req *req, bool crowded)
{
    enum matrix_error const e = crowded ? MATRIX_BUSY : MATRIX_SHUTTING_DOWN;
    if (ends_with(httpd_path(req), "/sfu_webhook")) {
        log_only(user, req, REQUEST_OTHER, 503); // an SFU takes 4xx as the last word
        httpd_respond(req, 503, NULL, (struct bytes){0});
        return;
    }
    log_only(user, req, REQUEST_OTHER, matrix_error_status(e));
    answer_error(req, e, crowded ? 1000 : 0);
}

static void on_not_found(void *user, struct httpd_req *req, unsigned status, const char *allow)
{
    if (status != 405) {
        not_found(user, req);
        return;
    }
    if (allow) {
        httpd_add_header(req, "Allow", allow);
    }
    log_only(user, req, REQUEST_OTHER, 405);
    httpd_respond(req, 405, NULL, (struct bytes){0});
}

static bool exempt_address(void *user, const struct addr *a)
{
    const struct routes *const r = user;
    return auth_config_exempt_address(r->conf.config, a);
}

static struct httpd_conf common_conf(struct routes *r)
{
    return (struct httpd_conf){
        .max_connections = CONNECTIONS_MAX,
        .max_per_ip = (unsigned)conf_int(r->conf.config->conf, AUTH_LIMIT_CONNECTIONS),
        .exempt_address = exempt_address,
        .header_max = HEADER_MAX,
        .decorate = decorate,
        .not_found = on_not_found,
        .too_large = on_too_large,
        .unavailable = on_unavailable,
        .user = r,
    };
}

static struct httpd_route client_route(const char *path, struct endpoint *e)
{
    return (struct httpd_route){.path = path,
                                .flags = HTTPD_ANY_PREFIX,
                                .body_max = REQUEST_BODY_MAX,
                                .handler = on_client_endpoint,
                                .user = e};
}

static struct httpd_route plain_route(const char *path, httpd_handler handler, struct routes *r)
{
    return (struct httpd_route){
        .path = path, .methods = "GET", .flags = HTTPD_ANY_PREFIX, .handler = handler, .user = r};
}

static int listen_clients(struct routes *r, struct httpd **ret, size_t *ret_failed)
{
    struct httpd_route const ours[] = {
        client_route("/sfu/get", &r->sfu_get),
        client_route("/get_token", &r->get_token),
        client_route("/delegate_delayed_leave", &r->delegate),
        {.path = "/sfu_webhook",
         .methods = "POST",
         .flags = HTTPD_ANY_PREFIX,
         .body_max = WEBHOOK_BODY_MAX,
         .handler = on_webhook,
         .user = r},
        plain_route("/healthz", on_healthz, r),
        plain_route("/readyz", on_readyz, r),
        plain_route("/metrics", on_local_metrics, r),
    };
    struct httpd_route table[AS_ROUTES_COUNT + ARRAY_LEN(ours)];
    size_t n = as_routes_table(r->conf.as, table);
    memcpy(table + n, ours, sizeof(ours));
    n += ARRAY_LEN(ours);
    struct httpd_conf conf = common_conf(r);
    conf.listen = r->conf.config->bind;
    conf.listen_count = r->conf.config->bind_count;
    conf.routes = table;
    conf.route_count = n;
    return httpd_new(r->conf.loop, &conf, ret, ret_failed);
}

static int listen_operators(struct routes *r, struct httpd **ret, size_t *ret_failed)
{
    struct addr at[CONF_BIND_MAX];
    struct httpd_route const table[] = {
        plain_route("/metrics", on_metrics, r),
        plain_route("/readyz", on_readyz, r),
        plain_route("/healthz", on_healthz, r),
    };
    struct httpd_conf conf = common_conf(r);
    conf.listen = at;
    conf.listen_count = conf_bind(r->conf.config->conf, AUTH_METRICS_BIND, at);
    conf.routes = table;
    conf.route_count = ARRAY_LEN(table);
    return httpd_new(r->conf.loop, &conf, ret, ret_failed);
}

int routes_listen(struct routes *r, struct httpd **ret, struct httpd **ret_metrics,
                  size_t *ret_failed, size_t *ret_item)
{
    *ret_metrics = NULL;
    *ret_item = r->conf.config->bind_item;
    int const rc = listen_clients(r, ret, ret_failed);
    if (rc < 0 || !conf_has(r->conf.config->conf, AUTH_METRICS_BIND)) {
        return rc;
    }
    *ret_item = AUTH_METRICS_BIND;
    return listen_operators(r, ret_metrics, ret_failed);
}

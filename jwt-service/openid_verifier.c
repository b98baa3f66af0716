// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid_verifier.h"

#include <stdio.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/jsonx.h"

#define USERINFO_PATH "/_matrix/federation/v1/openid/userinfo?access_token="
#define USERINFO_BODY_MAX (64u << 10)   // authorization-service 5.8 rule 7
#define USERINFO_HEADER_MAX (16u << 10) // same
#define USERINFO_CONNECT_MS 5000
#define USERINFO_CONNECT_NEXT_MS 3000 // when there is another target to try in the same time
#define URL_MAX ((size_t)16 << 10)    // a token of 4096 bytes, each escaped, and the rest

struct openid_verifier {
    struct openid_verifier_conf conf;
};

struct openid_check {
    struct openid_verifier *v;
    void (*fn)(void *user, const struct openid_result *result);
    void *user;
    char *token;
    char server_name[SERVER_NAME_MAX + 1];
    struct server_name name;
    const char *base_url; // of an override, else NULL
    bool trusted;
    bool from_cache; // the route may be out of date: worth one more look-up
    bool repeated;   // that look-up was made
    mono_t started;
    struct loop_timer *deadline;
    struct server_query *query;
    struct httpc_call *call;
    struct server_route route;
    size_t target;
};

struct openid_verifier *openid_verifier_new(const struct openid_verifier_conf *conf)
{
    struct openid_verifier *const v = NEW(struct openid_verifier);
    if (v) {
        v->conf = *conf;
    }
    return v;
}

void openid_verifier_free(struct openid_verifier *v)
{
    mem_free(v);
}

static void check_free(struct openid_check *c)
{
    if (!c) {
        return;
    }
    if (c->query) {
        server_discovery_cancel(c->query);
    }
    if (c->call) {
        httpc_cancel(c->call);
    }
    if (c->deadline) {
        loop_timer_free(c->deadline);
    }
    if (c->token) {
        explicit_bzero(c->token, strlen(c->token));
        mem_free(c->token);
    }
    mem_free(c);
}

void openid_verifier_cancel(struct openid_check *c)
{
    check_free(c);
}

static void finish(struct openid_check *c, const char *user_id, const char *step, const char *text)
{
    int64_t const ms = mono_diff_ms(loop_now(c->v->conf.loop), c->started);
    struct openid_result const r = {
        .user_id = user_id, .step = step, .text = text, .elapsed_ms = ms};
    void (*const fn)(void *, const struct openid_result *) = c->fn;
    void *const user = c->user;
    fn(user, &r);
    check_free(c);
}

static void on_deadline(void *user)
{
    struct openid_check *const c = user;
    if (c->query) {
        finish(c, NULL, "discovery", "the look-up of the server name took too long");
    } else {
        finish(c, NULL, "timeout", "the homeserver did not answer in time");
    }
}

int openid_subject(struct bytes body, const char *server_name, char ret[static OPENID_USER_MAX + 1])
{
    struct jsonx_limits const limits = {
        .max_bytes = USERINFO_BODY_MAX, .max_depth = 16, .flags = JSONX_ALLOW_TRAILING};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes sub = {0};
    if (body.n == 0 || jsonx_parse(body, &limits, &j) < 0 || jsonx_get_str(j, "sub", &sub) < 0) {
        return -EINVAL;
    }
    if (sub.n == 0 || sub.n > OPENID_USER_MAX || sub.p[0] != '@') {
        return -EACCES;
    }
    for (size_t i = 0; i < sub.n; i++) {
        if (sub.p[i] < 0x20 || sub.p[i] == 0x7f) {
            return -EACCES;
        }
    }
    // Without this comparison any server could vouch for the users of another.
    const uint8_t *const colon = memchr(sub.p, ':', sub.n);
    if (!colon || colon == sub.p + 1) {
        return -EACCES;
    }
    size_t const local = (size_t)(colon - sub.p) + 1;
    if (!bytes_eq_str(bytes_of(colon + 1, sub.n - local), server_name)) {
        return -EACCES;
    }
    memcpy(ret, sub.p, sub.n);
    ret[sub.n] = '\0';
    return 0;
}

static void finish_status(struct openid_check *c, unsigned status)
{
    char text[160];
    const char *const hint =
        status == 401 || status == 403 ? "the token is unknown there or has expired"
        : status == 404                ? "its listener lacks the resource openid (or federation)"
                                       : "see its log";
    (void)snprintf(text, sizeof(text), "the homeserver answered the userinfo request with %u: %s",
                   status, hint);
    finish(c, NULL, "status", text);
}

static void finish_answer(struct openid_check *c, const struct httpc_result *r)
{
    if (r->status < 200 || r->status > 299) {
        finish_status(c, r->status);
        return;
    }
    char user_id[OPENID_USER_MAX + 1];
    int const e = openid_subject(r->body, c->server_name, user_id);
    if (e == 0) {
        finish(c, user_id, NULL, NULL);
    } else if (e == -EACCES) {
        finish(c, NULL, "subject", "the homeserver vouched for a user of another server");
    } else {
        finish(c, NULL, "body", "the answer to the userinfo request is no JSON with a sub");
    }
}

static void begin(struct openid_check *c);
static void try_target(struct openid_check *c);

// True if no request can have reached the homeserver, so that another target may be asked.
static bool is_before_request(const struct httpc_result *r)
{
    return r->step == HTTPC_DNS || r->step == HTTPC_CONNECT || r->step == HTTPC_TLS ||
           r->step == HTTPC_DENIED ||
           (r->step == HTTPC_TIMEOUT && r->peer.family == ADDR_NONE); // no connection in time
}

static void on_userinfo(void *user, const struct httpc_result *r)
{
    struct openid_check *const c = user;
    c->call = NULL;
    if (r->step == HTTPC_OK) {
        finish_answer(c, r);
        return;
    }
    if (is_before_request(r) && !c->base_url) {
        if (++c->target < c->route.count) {
            try_target(c);
            return;
        }
        if (c->from_cache && !c->repeated) {
            c->repeated = true;
            server_discovery_forget(c->v->conf.discovery, &c->name);
            begin(c);
            return;
        }
    }
    finish(c, NULL, httpc_step_name(r->step), r->text ? r->text : "");
}

// Percent-encodes what is not unreserved (RFC 3986 section 2.3).
static void add_escaped(struct dynbuf *b, const char *s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";
    for (; *s; s++) {
        if (strchr(unreserved, *s)) {
            dynbuf_add_u8(b, (uint8_t)*s);
        } else {
            dynbuf_addf(b, "%%%02X", (unsigned)(uint8_t)*s);
        }
    }
}

static int send_userinfo(struct openid_check *c, const char *base, const char *connect_to,
                         const char *host_header)
{
    struct dynbuf url;
    dynbuf_init(&url, URL_MAX);
    dynbuf_add_str(&url, base);
    dynbuf_add_str(&url, USERINFO_PATH);
    add_escaped(&url, c->token);
    int64_t const left = OPENID_TOTAL_MS - mono_diff_ms(loop_now(c->v->conf.loop), c->started);
    struct httpc_request const req = {
        .url = dynbuf_cstr(&url),
        .connect_ms =
            c->target + 1 < c->route.count ? USERINFO_CONNECT_NEXT_MS : USERINFO_CONNECT_MS,
        .total_ms = MAX(left, 1),
        .max_body = USERINFO_BODY_MAX,
        .max_header = USERINFO_HEADER_MAX,
        .connect_to = connect_to,
        .host_header = host_header,
        .trusted = c->trusted,
        .on_done = on_userinfo,
        .user = c,
    };
    int const r = req.url ? httpc_start(c->v->conf.http, &req, &c->call) : -ENOMEM;
    if (url.p) {
        explicit_bzero(url.p, url.n);
    }
    dynbuf_done(&url);
    return r;
}

static int send_to_target(struct openid_check *c)
{
    const struct server_target *const t = &c->route.targets[c->target];
    bool const elsewhere = strcmp(t->host, c->route.tls_name) != 0;
    char authority[SERVER_NAME_TEXT];
    char base[SERVER_NAME_TEXT + 8];
    char connect_to[SERVER_NAME_TEXT];
    // The name in the URL is the one the certificate must have; a SRV target only says where it is.
    server_name_format(c->route.tls_name, c->route.tls_is_v6, t->port, authority);
    (void)snprintf(base, sizeof(base), "https://%s", authority);
    server_name_format(t->host, t->is_v6, t->port, connect_to);
    return send_userinfo(c, base, elsewhere ? connect_to : NULL, c->route.host_header);
}

// Only from callbacks, so that finish() may be called.
static void try_target(struct openid_check *c)
{
    if (send_to_target(c) < 0) {
        c->call = NULL;
        finish(c, NULL, "internal", "the request could not be made");
    }
}

static void on_route(void *user, const struct server_route *route)
{
    struct openid_check *const c = user;
    c->query = NULL;
    c->route = *route;
    c->target = 0;
    try_target(c);
}

// Starts with what is known, or with a look-up.
static int start(struct openid_check *c)
{
    struct server_discovery *const d = c->v->conf.discovery;
    c->target = 0;
    c->from_cache = false;
    if (c->base_url) {
        return send_userinfo(c, c->base_url, NULL, NULL);
    }
    if (server_discovery_known(d, &c->name, &c->route, &c->from_cache) == 0) {
        return send_to_target(c);
    }
    return server_discovery_start(d, &c->name, c->trusted, on_route, c, &c->query);
}

static void begin(struct openid_check *c)
{
    if (start(c) < 0) {
        finish(c, NULL, "internal", "the request could not be made");
    }
}

static const char *override_of(const struct openid_verifier *v, const char *server_name)
{
    for (size_t i = 0; i < v->conf.override_count; i++) {
        if (strcmp(v->conf.overrides[i].server_name, server_name) == 0) {
            return v->conf.overrides[i].base_url;
        }
    }
    return NULL;
}

int openid_verifier_check(struct openid_verifier *v, const char *server_name, const char *token,
                          bool trusted, void (*fn)(void *user, const struct openid_result *result),
                          void *user, struct openid_check **ret)
{
    struct server_name name;
    if (server_name_parse(bytes_str(server_name), &name) < 0) {
        return -EINVAL;
    }
    struct openid_check *const c = NEW(struct openid_check);
    if (!c) {
        return -ENOMEM;
    }
    c->v = v;
    c->fn = fn;
    c->user = user;
    c->name = name;
    c->base_url = override_of(v, server_name);
    c->trusted = trusted || c->base_url;
    c->started = loop_now(v->conf.loop);
    c->token = mem_strdup(token);
    c->deadline = loop_timer_new(v->conf.loop, on_deadline, c);
    memcpy(c->server_name, server_name, strlen(server_name)); // the grammar bounds it
    if (!c->token || !c->deadline || start(c) < 0) {
        check_free(c);
        return -ENOMEM;
    }
    loop_timer_set_ms(c->deadline, OPENID_TOTAL_MS);
    *ret = c;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// A homeserver for development: hands out OpenID tokens for made-up users, without passwords, and
// says whom they belong to. Loopback only, nothing is kept. No part of the services: it stands
// where a real homeserver would.
//
//   POST /_matrix/client/v3/user/{userId}/openid/request_token    any user of --server-name
//   GET  /_matrix/federation/v1/openid/userinfo?access_token=...
//   GET  /_matrix/client/versions                                 for "is it up?"

#include <signal.h>
#include <stdio.h>

#include "common/base/base64.h"
#include "common/base/hash.h"
#include "common/svc/conf.h"
#include "common/svc/httpd.h"
#include "common/svc/jsonx.h"
#include "common/sys/random.h"

#define TOKENS_MAX 10000 // oldest go first
#define TOKEN_LIFE_S 3600
#define TOKEN_RANDOM 18
#define USER_MAX 255

enum item { ITEM_PORT, ITEM_SERVER_NAME, ITEM_COUNT };

static const struct conf_item items[ITEM_COUNT] = {
    [ITEM_PORT] = {.name = "port",
                   .type = CONF_INT,
                   .flag = {"port"},
                   .def = "8008",
                   .min = 0,
                   .max = 65535,
                   .arg = "PORT",
                   .help = "Port on 127.0.0.1; 0 takes a free one, which is printed."},
    [ITEM_SERVER_NAME] = {.name = "server_name",
                          .flag = {"server-name"},
                          .def = "localhost",
                          .arg = "NAME",
                          .help = "Server part of the user ids."},
};

static const struct conf_spec spec = {
    .program = "dev_homeserver",
    .version = "1",
    .summary = "Development homeserver: OpenID tokens for made-up users, on loopback only.",
    .items = items,
    .count = ITEM_COUNT,
};

struct token {
    char text[32];
    char user[USER_MAX + 1];
    mono_t expires;
    UT_hash_handle hh;
};

struct server {
    struct conf *conf;
    struct loop *loop;
    struct httpd *httpd;
    struct loop_signal *signals[2];
    struct token *tokens; // in order of issue
};

static void respond_json(struct httpd_req *req, unsigned status, const struct jsonx *j)
{
    size_t n = 0;
    char *const text = j ? jsonx_dump(j, 0, &n) : NULL;
    if (text) {
        httpd_respond(req, status, "application/json", bytes_of(text, n));
    } else {
        httpd_respond(req, 500, NULL, (struct bytes){0});
    }
    mem_free(text);
}

static void respond_error(struct httpd_req *req, unsigned status, const char *code,
                          const char *text)
{
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    if (j && (jsonx_set_cstr(j, "errcode", code) < 0 || jsonx_set_cstr(j, "error", text) < 0)) {
        jsonx_free(STEAL(j));
    }
    respond_json(req, status, j);
}

static void drop_token(struct server *s, struct token *t)
{
    HASH_DEL(s->tokens, t);
    mem_free(t);
}

static const char *issue(struct server *s, const char *user)
{
    uint8_t raw[TOKEN_RANDOM];
    struct dynbuf text;
    struct token *t = NEW(struct token);
    if (!t) {
        return NULL;
    }
    if (HASH_COUNT(s->tokens) >= TOKENS_MAX) {
        drop_token(s, s->tokens);
    }
    rand_bytes(raw, sizeof(raw));
    dynbuf_init(&text, sizeof(t->text));
    base64_encode(BASE64_URL_NOPAD, bytes_of(raw, sizeof(raw)), &text);
    (void)snprintf(t->text, sizeof(t->text), "%.*s", (int)text.n, (const char *)text.p);
    dynbuf_done(&text);
    (void)snprintf(t->user, sizeof(t->user), "%s", user);
    t->expires = mono_add_ms(loop_now(s->loop), TOKEN_LIFE_S * INT64_C(1000));
    HASH_ADD_STR(s->tokens, text, t);
    return t->text;
}

// "@local:server" with our server name and a local part that is not empty.
static bool is_our_user(const struct server *s, const char *user)
{
    const char *const colon = strchr(user, ':');
    return user[0] == '@' && colon && colon > user + 1 && strlen(user) <= USER_MAX &&
           strcmp(colon + 1, conf_str(s->conf, ITEM_SERVER_NAME)) == 0;
}

static void request_token(struct server *s, struct httpd_req *req, const char *user)
{
    if (!is_our_user(s, user)) {
        respond_error(req, 403, "M_FORBIDDEN", "Users here are @name:<server name>");
        return;
    }
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    const char *const token = j ? issue(s, user) : NULL;
    if (!token || jsonx_set_cstr(j, "access_token", token) < 0 ||
        jsonx_set_cstr(j, "token_type", "Bearer") < 0 ||
        jsonx_set_cstr(j, "matrix_server_name", conf_str(s->conf, ITEM_SERVER_NAME)) < 0 ||
        jsonx_set_int(j, "expires_in", TOKEN_LIFE_S) < 0) {
        respond_error(req, 500, "M_UNKNOWN", "Internal server error");
        return;
    }
    respond_json(req, 200, j);
}

static bool answer_preflight(struct httpd_req *req)
{
    if (strcmp(httpd_method(req), "OPTIONS") != 0) {
        return false;
    }
    httpd_respond(req, 204, NULL, (struct bytes){0});
    return true;
}

// Everything under /_matrix/client/v3/user/.
static void on_user(void *user, struct httpd_req *req)
{
    static const char suffix[] = "/openid/request_token";
    struct server *const s = user;
    const char *const tail = httpd_tail(req); // percent-decoded; a user id holds no slash
    size_t const n = strlen(tail);
    size_t const m = sizeof(suffix) - 1;
    if (answer_preflight(req)) {
        return;
    }
    if (strcmp(httpd_method(req), "POST") != 0 || n <= m || n - m > USER_MAX ||
        strcmp(tail + n - m, suffix) != 0) {
        respond_error(req, 404, "M_UNRECOGNIZED", "Unrecognized request");
        return;
    }
    char id[USER_MAX + 1];
    memcpy(id, tail, n - m);
    id[n - m] = '\0';
    request_token(s, req, id);
}

static void on_userinfo(void *user, struct httpd_req *req)
{
    struct server *const s = user;
    if (answer_preflight(req)) {
        return;
    }
    const char *const text = httpd_query(req, "access_token");
    struct token *t = NULL;
    if (text) {
        HASH_FIND_STR(s->tokens, text, t);
    }
    if (!t || mono_reached(t->expires, loop_now(s->loop))) {
        respond_error(req, 401, "M_UNKNOWN_TOKEN", "Access Token unknown or expired");
        return;
    }
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    if (j && jsonx_set_cstr(j, "sub", t->user) < 0) {
        jsonx_free(STEAL(j));
    }
    respond_json(req, 200, j);
}

static void on_versions(void *user, struct httpd_req *req)
{
    (void)user;
    httpd_respond(req, 200, "application/json", bytes_str("{\"versions\":[\"v1.11\"]}"));
}

// matrix-spec client-server API, "Web browser clients".
static void decorate(void *user, struct httpd_req *req, unsigned status)
{
    (void)user;
    (void)status;
    httpd_add_header(req, "Access-Control-Allow-Origin", "*");
    httpd_add_header(req, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS");
    httpd_add_header(req, "Access-Control-Allow-Headers",
                     "X-Requested-With, Content-Type, Authorization");
}

static int listen_on(struct server *s)
{
    struct addr const at = addr_v4(127, 0, 0, 1, (uint16_t)conf_int(s->conf, ITEM_PORT));
    struct httpd_route const routes[] = {
        {.path = "/_matrix/client/v3/user/",
         .flags = HTTPD_TAIL,
         .body_max = 64u << 10,
         .handler = on_user,
         .user = s},
        {.path = "/_matrix/federation/v1/openid/userinfo", .handler = on_userinfo, .user = s},
        {.path = "/_matrix/client/versions", .handler = on_versions, .user = s},
    };
    struct httpd_conf const conf = {
        .listen = &at,
        .listen_count = 1,
        .routes = routes,
        .route_count = ARRAY_LEN(routes),
        .decorate = decorate,
    };
    return httpd_new(s->loop, &conf, &s->httpd, NULL);
}

static void on_signal(void *user, int signum)
{
    (void)signum;
    loop_stop(user);
}

static int serve(struct server *s)
{
    static const int signums[] = {SIGTERM, SIGINT};
    s->loop = loop_new();
    if (!s->loop) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_LEN(signums); i++) {
        s->signals[i] = loop_signal_new(s->loop, signums[i], on_signal, s->loop);
    }
    int const r = listen_on(s);
    if (r < 0) {
        return r;
    }
    struct addr const at = httpd_address(s->httpd, 0);
    char text[ADDR_STRLEN];
    // For scripts that wait for it.
    (void)printf("dev_homeserver: %s on http://%s\n", conf_str(s->conf, ITEM_SERVER_NAME),
                 addr_format(&at, text));
    (void)fflush(stdout);
    loop_run(s->loop);
    return 0;
}

static void done(struct server *s)
{
    httpd_free(s->httpd);
    while (s->tokens) {
        drop_token(s, s->tokens);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++) {
        if (s->signals[i]) {
            loop_signal_free(s->signals[i]);
        }
    }
    loop_free(s->loop);
    conf_free(s->conf);
}

int main(int argc, char **argv)
{
    struct server s = {0};
    char err[CONF_ERROR_MAX] = "out of memory";
    (void)signal(SIGPIPE, SIG_IGN);
    if (conf_load(&spec, argc, (const char *const *)argv, NULL, &s.conf, err) < 0) {
        (void)fprintf(stderr, "dev_homeserver: %s\n", err);
        return 1;
    }
    int r = 0;
    if (conf_action(s.conf) == CONF_SHOW_HELP) {
        struct dynbuf out;
        dynbuf_init(&out, 64u << 10);
        conf_help(&spec, &out);
        (void)fwrite(out.p, 1, out.n, stdout);
        dynbuf_done(&out);
    } else {
        r = serve(&s);
    }
    if (r < 0) {
        (void)fprintf(stderr, "dev_homeserver: cannot listen on 127.0.0.1:%d: %s; choose --port\n",
                      (int)conf_int(s.conf, ITEM_PORT), strerror(-r));
    }
    done(&s);
    return r < 0 ? 1 : 0;
}

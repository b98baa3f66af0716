// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: service service_parts token_call token_flow answer readiness as_service auth_config_edges
// The whole service on one loop with a homeserver and an SFU made of the same HTTP server, and the
// pure part of the OpenID check. TLS, discovery and load: tests/blackbox/test_jwt_openid.py.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/lk/access_token.h"
#include "common/lk/livekit.h"
#include "common/svc/httpc.h"
#include "common/svc/httpd.h"
#include "common/svc/jsonx.h"
#include "jwt-service/base/webhook_receiver.h"
#include "jwt-service/service.h"

static struct loop *loop; // the service's
static struct httpc *http;
static struct auth_config *config;
static struct httpd *stand_in;
static struct loop *stand_in_loop;
static struct service *service;
static char folder[32]; // of the journal

// What the stand-ins do and saw.
static const char *userinfo_body;
static unsigned userinfo_status;
static unsigned userinfo_calls;
static char userinfo_token[64];
static unsigned sfu_status;
static unsigned sfu_calls;
static char sfu_room[64];

// What came back.
static unsigned got_status;
static char got_body[1u << 16];
static char got_request_id[32];
static bool got;

static void on_userinfo(void *user, struct httpd_req *req)
{
    (void)user;
    const char *const token = httpd_query(req, "access_token");
    (void)snprintf(userinfo_token, sizeof(userinfo_token), "%s", token ? token : "");
    userinfo_calls++;
    httpd_respond(req, userinfo_status, "application/json", bytes_str(userinfo_body));
}

static void on_create_room(void *user, struct httpd_req *req)
{
    (void)user;
    struct pbuf *m = NULL;
    sfu_calls++;
    assert_int_equal(pbuf_unpack(&livekit__create_room_request__descriptor, httpd_body(req),
                                 PBUF_CAP_DEFAULT, &m),
                     0);
    const Livekit__CreateRoomRequest *const r = m->msg;
    assert_int_equal(r->empty_timeout, 300);
    assert_int_equal(r->departure_timeout, 20);
    assert_false(r->has_max_participants);
    (void)snprintf(sfu_room, sizeof(sfu_room), "%s", lk_str(r->name));
    pbuf_free(m);
    struct bytes const room = bytes_str("\x0a\x03RM_");
    httpd_respond(req, sfu_status, sfu_status == 200 ? "application/protobuf" : "application/json",
                  sfu_status == 200 ? room : bytes_str("{\"code\":\"unavailable\",\"msg\":\"x\"}"));
}

static void quiet(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    assert_null(memmem(line.p, line.n, "s3cr3t", 6)); // no token in any line
}

static int start_stand_in(uint16_t *ret_port)
{
    struct addr const at = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const table[] = {
        {.path = "/_matrix/federation/v1/openid/userinfo", .handler = on_userinfo},
        {.path = "/twirp/livekit.RoomService/CreateRoom",
         .methods = "POST",
         .body_max = 4096,
         .handler = on_create_room},
    };
    struct httpd_conf const conf = {
        .listen = &at, .listen_count = 1, .routes = table, .route_count = ARRAY_LEN(table)};
    int const r = httpd_new(stand_in_loop, &conf, &stand_in, NULL);
    *ret_port = r == 0 ? httpd_address(stand_in, 0).port : 0;
    return r;
}

static int load_config(uint16_t port)
{
    char url[64];
    char overrides[128];
    char state[64];
    assert_non_null(mkdtemp(strcpy(folder, "/tmp/test_routes_XXXXXX")));
    (void)snprintf(state, sizeof(state), "FOCI_JWT_STATE_DIR=%s", folder);
    (void)snprintf(url, sizeof(url), "LIVEKIT_URL=ws://127.0.0.1:%u", port);
    (void)snprintf(overrides, sizeof(overrides),
                   "LIVEKIT_OPENID_URL_OVERRIDES=full.example=http://127.0.0.1:%u,"
                   "restricted.example=http://127.0.0.1:%u",
                   port, port);
    const char *const argv[] = {"foci-jwt"};
    const char *const env[] = {url,
                               state,
                               overrides,
                               "LIVEKIT_KEY=devkey",
                               "LIVEKIT_SECRET=devsecret",
                               "LIVEKIT_FULL_ACCESS_HOMESERVERS=full.example",
                               "LIVEKIT_JWT_BIND=127.0.0.1:0",
                               "LIVEKIT_CS_API_URL_OVERRIDES=full.example=http://127.0.0.1:1",
                               NULL};
    char err[CONF_ERROR_MAX];
    return auth_config_load(1, argv, env, &config, err);
}

// Both sides a little further.
static void turn(void)
{
    loop_run_once(stand_in_loop, 0);
    loop_run_once(loop, 1);
}

static int setup(void **state)
{
    (void)state;
    uint16_t port = 0;
    log_set_sink(quiet, NULL);
    userinfo_status = 200;
    userinfo_body = "{\"sub\":\"@alice:full.example\"}";
    sfu_status = 200;
    userinfo_calls = sfu_calls = 0;
    stand_in_loop = loop_new();
    if (start_stand_in(&port) < 0 || load_config(port) < 0 || service_new(config, &service) != 0) {
        return -1;
    }
    loop = service_loop(service);
    http = httpc_new(stand_in_loop, &(struct httpc_conf){0});
    for (int i = 0; i < 2000 && !service_listener(service); i++) {
        turn();
    }
    return service_listener(service) ? 0 : -1;
}

static void remove_folder(void)
{
    DIR *const d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        if (e->d_name[0] != '.') {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d) {
        (void)closedir(d);
    }
    assert_int_equal(rmdir(folder), 0);
}

static int teardown(void **state)
{
    (void)state;
    service_free(service);
    httpc_free(http);
    httpd_free(stand_in);
    loop_free(stand_in_loop);
    auth_config_free(config);
    remove_folder();
    service = NULL;
    stand_in = NULL;
    log_set_sink(NULL, NULL);
    return 0;
}

static void on_answer(void *user, const struct httpc_result *r)
{
    (void)user;
    got = true;
    got_status = r->status;
    const char *const id = httpc_result_header(r, "X-Request-Id");
    (void)snprintf(got_request_id, sizeof(got_request_id), "%s", id ? id : "");
    (void)snprintf(got_body, sizeof(got_body), "%.*s", (int)r->body.n, (const char *)r->body.p);
}

static void begin(const char *method, const char *path, const char *body)
{
    char url[128];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s",
                   httpd_address(service_listener(service), 0).port, path);
    struct httpc_request const req = {.method = method,
                                      .url = url,
                                      .body = bytes_str(body),
                                      .trusted = true,
                                      .on_done = on_answer};
    got = false;
    assert_int_equal(httpc_start(http, &req, NULL), 0);
}

static void ask(const char *method, const char *path, const char *body)
{
    begin(method, path, body);
    for (int i = 0; i < 2000 && !got; i++) {
        turn();
    }
    assert_true(got);
    assert_int_equal(service_in_flight(service), 0);
}

static void post(const char *path, const char *body)
{
    ask("POST", path, body);
}

#define OPENID(server)                                                                             \
    "\"openid_token\":{\"access_token\":\"s3cr3t\",\"matrix_server_name\":\"" server "\"}"
#define LEGACY(server) "{\"room\":\"!room:example.com\",\"device_id\":\"DEV\"," OPENID(server) "}"

static struct access_token *answered_token(void)
{
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    const char *jwt = NULL;
    const char *url = NULL;
    assert_int_equal(jsonx_parse(bytes_str(got_body), &JSONX_LIMITS_DEFAULT, &j), 0);
    assert_int_equal(jsonx_get_cstr(j, "jwt", &jwt), 0);
    assert_int_equal(jsonx_get_cstr(j, "url", &url), 0);
    assert_string_equal(url, config->livekit_url);
    struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(
        access_token_verify(config->keys, loop_wall(loop), bytes_str(jwt), &t, &refusal), 0);
    return t;
}

static void a_full_access_user_gets_token_and_room(void **state)
{
    (void)state;
    post("/sfu/get", LEGACY("full.example"));
    assert_int_equal(got_status, 200);
    assert_string_equal(userinfo_token, "s3cr3t");
    assert_int_equal(strlen(got_request_id), 16);
    CLEANUP(access_token_free) struct access_token *t = answered_token();
    assert_string_equal(t->claims.identity, "@alice:full.example:DEV");
    assert_string_equal(t->claims.video.room, sfu_room);
    assert_int_equal(userinfo_calls, 1);
    assert_int_equal(sfu_calls, 1);
}

static void a_restricted_user_gets_only_the_token(void **state)
{
    (void)state;
    userinfo_body = "{\"sub\":\"@bob:restricted.example\"}";
    post("/get_token", "{\"room_id\":\"!r\",\"slot_id\":\"s\"," OPENID(
                           "restricted.example") ","
                                                 "\"member\":{\"id\":\"m\",\"claimed_user_id\":\"@"
                                                 "bob:restricted.example\","
                                                 "\"claimed_device_id\":\"D\"}}");
    assert_int_equal(got_status, 200);
    CLEANUP(access_token_free) struct access_token *t = answered_token();
    assert_int_equal(strlen(t->claims.identity), 43);
    assert_int_equal(sfu_calls, 0);
}

static void what_the_homeserver_does_not_confirm_is_401(void **state)
{
    (void)state;
    userinfo_body = "{\"sub\":\"@alice:restricted.example\"}"; // of another server
    post("/sfu/get", LEGACY("full.example"));
    assert_int_equal(got_status, 401);
    assert_non_null(strstr(got_body, "M_UNAUTHORIZED"));
    userinfo_status = 500;
    post("/sfu/get", LEGACY("full.example"));
    assert_int_equal(got_status, 401);
    post("/sfu/get", LEGACY("no such name"));
    assert_int_equal(got_status, 401);
    assert_int_equal(userinfo_calls, 2);
    assert_int_equal(sfu_calls, 0);
}

static void an_sfu_that_fails_is_500(void **state)
{
    (void)state;
    sfu_status = 503;
    post("/sfu/get", LEGACY("full.example"));
    assert_int_equal(got_status, 500);
    assert_string_equal(got_body, "{\"errcode\":\"M_UNKNOWN\",\"error\":\"Unable to create room on "
                                  "SFU\"}\n");
}

static void a_server_that_stops_answers_what_is_under_way(void **state)
{
    (void)state;
    char url[128];
    char const body[] = LEGACY("full.example");
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/sfu/get",
                   httpd_address(service_listener(service), 0).port);
    struct httpc_request const req = {
        .url = url, .body = bytes_str(body), .trusted = true, .on_done = on_answer};
    got = false;
    assert_int_equal(httpc_start(http, &req, NULL), 0);
    for (int i = 0; i < 2000 && service_in_flight(service) == 0; i++) {
        turn();
    }
    assert_int_equal(service_in_flight(service), 1);
    service_free(service);
    service = NULL;
    for (int i = 0; i < 2000 && !got; i++) {
        loop_run_once(stand_in_loop, 1);
    }
    assert_true(got);
    assert_int_equal(got_status, 503);
}

#define DELEGATING                                                                                 \
    "{\"room\":\"!room:example.com\",\"device_id\":\"DEV\",\"delay_id\":\"d\","                    \
    "\"delay_timeout\":10000," OPENID("full.example") "}"

static void what_delegated_leaves_count_is_in_the_metrics(void **state)
{
    (void)state;
    post("/sfu/get", DELEGATING);
    assert_int_equal(got_status, 200);
    ask("GET", "/metrics", "");
    assert_int_equal(got_status, 200);
    assert_non_null(strstr(got_body, "delegated_begun_total{how=\"new\"} 1\n"));
    assert_non_null(strstr(got_body, "delegated_jobs{state=\"waiting\"} 1\n"));
    assert_non_null(
        strstr(got_body, "auth_store_writes_total{backend=\"journal\",outcome=\"ok\"}"));
}

// Whatever a request waits for when the service ends: it is answered, and nothing is left behind or
// touched afterwards (which a sanitizer would see).
static void a_service_may_end_at_any_moment_of_a_request(void **state)
{
    for (int turns = 0; turns < 40; turns++) {
        begin("POST", "/sfu/get", DELEGATING);
        for (int i = 0; i < turns && !got; i++) {
            turn();
        }
        service_free(service);
        service = NULL;
        for (int i = 0; i < 2000 && !got; i++) {
            loop_run_once(stand_in_loop, 1);
        }
        assert_true(got);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
}

static void subjects_must_be_of_the_asked_server(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int r;
    } cases[] = {
        {"{\"sub\":\"@a:hs.example\"}", 0},
        {"{\"sub\":\"@a:hs.example\",\"x\":1} trailing", 0},
        {"{\"sub\":\"@a:b:hs.example\"}", -EACCES}, // the first colon counts
        {"{\"sub\":\"@a:HS.example\"}", -EACCES},
        {"{\"sub\":\"@a:hs.example:8448\"}", -EACCES},
        {"{\"sub\":\"@:hs.example\"}", -EACCES},
        {"{\"sub\":\"a:hs.example\"}", -EACCES},
        {"{\"sub\":\"@a\"}", -EACCES},
        {"{\"sub\":\"\"}", -EACCES},
        {"{\"sub\":\"@a\\u0001:hs.example\"}", -EACCES},
        {"{\"sub\":7}", -EINVAL},
        {"{}", -EINVAL},
        {"[]", -EINVAL},
        {"", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char user[OPENID_USER_MAX + 1];
        assert_int_equal(openid_subject(bytes_str(cases[i].body), "hs.example", user), cases[i].r);
        if (cases[i].r == 0) {
            assert_string_equal(user, "@a:hs.example");
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_full_access_user_gets_token_and_room),
        TEST(a_restricted_user_gets_only_the_token),
        TEST(what_the_homeserver_does_not_confirm_is_401),
        TEST(an_sfu_that_fails_is_500),
        TEST(a_server_that_stops_answers_what_is_under_way),
        TEST(what_delegated_leaves_count_is_in_the_metrics),
        TEST(a_service_may_end_at_any_moment_of_a_request),
        cmocka_unit_test(subjects_must_be_of_the_asked_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

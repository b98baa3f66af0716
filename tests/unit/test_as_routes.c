// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// SUPPORT: http_ask
// COVERS: as_flow as_client membership federation_relay
// The endpoints of application-service mode (authorization-service 11.3) over HTTP, against a
// homeserver made of the same HTTP server. What comes after the grant is a stand-in here: it notes
// the grant.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "jwt-service/as_routes.h"
#include "tests/support/http_ask.h"

#define OWN "own.example"
#define HS_TOKEN "hs-token-0123456789"
#define AS_TOKEN "as-token-0123456789"
#define SFU_URL "wss://sfu.example/livekit"
#define CLIENT "/_matrix/client/unstable/io.element.msc4195/rtc/livekit"
#define FEDERATION "/_matrix/federation/unstable/io.element.msc4195/rtc/livekit"
#define FIELDS "\"room_id\":\"!r:x\",\"slot_id\":\"m.call#ROOM\",\"member_id\":\"memberABC\""
#define BODY "{\"url\":\"" SFU_URL "\"," FIELDS "}"
#define DELEGATE_BODY "{\"url\":\"" SFU_URL "\"," FIELDS ",\"delay_id\":\"syd_x\"}"
#define FEDERATION_BODY "{\"url\":\"" SFU_URL "\"," FIELDS ",\"user_id\":\"@bob:other.example\"}"

// ---- the flow that comes after the grant ----------------------------------------------------

static struct token_grant granted;
static char granted_user[64];
static unsigned grants;
static enum matrix_error flow_error;

int token_flow_start(struct token_flow *f, const struct token_grant *grant, struct request_log *log,
                     void (*fn)(void *user, const struct token_outcome *outcome), void *user,
                     struct token_flow_call **ret)
{
    (void)f;
    (void)log;
    grants++;
    granted = *grant;
    (void)snprintf(granted_user, sizeof(granted_user), "%s", grant->user_id);
    *ret = NULL;
    fn(user, &(struct token_outcome){.error = flow_error,
                                     .retry_after_ms = flow_error == MATRIX_LIMITED ? 1500 : 0,
                                     .jwt = grant->only_delegate ? NULL : "our.own.jwt",
                                     .lifetime_s = 3600});
    return 0;
}

void token_flow_cancel(struct token_flow_call *c)
{
    (void)c;
}

// ---- the homeserver -------------------------------------------------------------------------

struct answer {
    unsigned status;
    const char *body;
};

static struct answer joined;        // is_joined, unstable
static struct answer joined_stable; // is_joined, v3
static struct answer fed_proxy[3];  // one after the other
static struct answer delayed;
static struct httpd_req *held; // an is_joined that is not answered
static bool hold;
static unsigned asked;      // is_joined
static unsigned fed_asked;  // fed_proxy
static char seen_path[256]; // of the last question
static char seen_user[128]; // mxid or user_id in it
static char seen_body[1024];

static void note(struct httpd_req *req, const char *user)
{
    (void)snprintf(seen_path, sizeof(seen_path), "%s %s", httpd_method(req), httpd_path(req));
    (void)snprintf(seen_user, sizeof(seen_user), "%s", user ? user : "-");
    (void)snprintf(seen_body, sizeof(seen_body), "%.*s", (int)httpd_body(req).n,
                   (const char *)httpd_body(req).p);
    assert_string_equal(httpd_header(req, "Authorization"), "Bearer " AS_TOKEN);
}

static void respond(struct httpd_req *req, struct answer a)
{
    httpd_respond(req, a.status, "application/json", bytes_str(a.body));
}

static void on_joined(void *user, struct httpd_req *req)
{
    asked++;
    note(req, httpd_query(req, "mxid"));
    if (hold) {
        held = req;
    } else {
        respond(req, *(struct answer *)user);
    }
}

static void on_fed_proxy(void *user, struct httpd_req *req)
{
    (void)user;
    note(req, NULL);
    respond(req, fed_proxy[MIN(fed_asked, (unsigned)ARRAY_LEN(fed_proxy) - 1)]);
    fed_asked++;
}

static void on_delayed(void *user, struct httpd_req *req)
{
    (void)user;
    note(req, httpd_query(req, "user_id"));
    respond(req, delayed);
}

// ---- the world ------------------------------------------------------------------------------

static struct loop *loop;
static struct httpc *http;
static struct cs_discovery *cs;
static struct delayed_event_client *events;
static struct as_client *client;
static struct membership *member;
static struct federation_relay *relay;
static struct as_flow *flow;
static struct ingress_limits *limits;
static struct as_routes *routes;
static struct httpd *homeserver;
static struct httpd *service;
static struct as_config as;
static struct auth_config config;
static char base_url[64];
static struct cs_override overrides[1];
static char told[8192];

static void on_line(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    size_t const n = strlen(told);
    (void)snprintf(told + n, sizeof(told) - n, "%.*s\n", (int)line.n, (const char *)line.p);
}

static int open_homeserver(void)
{
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const table[] = {
        {.path = "/_matrix/client/unstable/io.element.msc4502/rooms/",
         .flags = HTTPD_TAIL,
         .handler = on_joined,
         .user = &joined},
        {.path = "/_matrix/client/v3/rooms/",
         .flags = HTTPD_TAIL,
         .handler = on_joined,
         .user = &joined_stable},
        {.path = "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy",
         .body_max = 65536,
         .handler = on_fed_proxy},
        {.path = "/_matrix/client/v1/appservice/fed_proxy",
         .body_max = 65536,
         .handler = on_fed_proxy},
        {.path = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/",
         .flags = HTTPD_TAIL,
         .handler = on_delayed},
    };
    struct httpd_conf const conf = {
        .listen = &lo, .listen_count = 1, .routes = table, .route_count = ARRAY_LEN(table)};
    int const r = httpd_new(loop, &conf, &homeserver, NULL);
    if (r == 0) {
        (void)snprintf(base_url, sizeof(base_url), "http://127.0.0.1:%u",
                       httpd_address(homeserver, 0).port);
    }
    return r;
}

static int open_service(void)
{
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route table[AS_ROUTES_COUNT];
    routes = as_routes_new(&(struct as_routes_conf){
        .loop = loop, .config = &config, .flow = flow, .limits = limits, .delegate = true});
    size_t const n = as_routes_table(routes, table);
    struct httpd_conf const conf = {
        .listen = &lo, .listen_count = 1, .routes = table, .route_count = n};
    return httpd_new(loop, &conf, &service, NULL);
}

static int setup(void **state)
{
    (void)state;
    told[0] = '\0';
    log_set_sink(on_line, NULL);
    loop = loop_new();
    http = httpc_new(loop, &(struct httpc_conf){0});
    if (open_homeserver() < 0) {
        return -1;
    }
    as = (struct as_config){.as_token = mem_strdup(AS_TOKEN),
                            .hs_token = mem_strdup(HS_TOKEN),
                            .server_name = mem_strdup(OWN)};
    config = (struct auth_config){.livekit_url = SFU_URL, .as = &as};
    overrides[0] = (struct cs_override){OWN, base_url};
    cs = cs_discovery_new(&(struct cs_discovery_conf){
        .loop = loop, .http = http, .overrides = overrides, .override_count = 1});
    events = delayed_event_client_new(&(struct delayed_event_conf){
        .loop = loop, .http = http, .discovery = cs, .as_token = AS_TOKEN});
    client = as_client_new(&(struct as_client_conf){
        .loop = loop, .http = http, .discovery = cs, .server_name = OWN, .as_token = AS_TOKEN});
    member = membership_new(client);
    relay = federation_relay_new(client);
    flow = as_flow_new(&(struct as_flow_conf){.loop = loop,
                                              .membership = member,
                                              .relay = relay,
                                              .delayed = events,
                                              .server_name = OWN,
                                              .livekit_url = SFU_URL});
    limits = ingress_limits_new(&(struct ingress_limits_conf){
        .user = {.burst = 1000, .per_1000s = 1000000},
    });
    joined = (struct answer){200, "{\"joined\":true}"};
    joined_stable = (struct answer){404, "{\"errcode\":\"M_UNRECOGNIZED\"}"};
    delayed = (struct answer){200, "{\"room_id\":\"!r:x\",\"delay_ms\":18000}"};
    for (size_t i = 0; i < ARRAY_LEN(fed_proxy); i++) {
        fed_proxy[i] = (struct answer){200, "{\"status\":200,\"content\":{\"jwt\":\"aa.bb.cc\"}}"};
    }
    asked = 0;
    fed_asked = 0;
    grants = 0;
    hold = false;
    held = NULL;
    flow_error = MATRIX_OK;
    return flow && limits ? open_service() : -1;
}

static int teardown(void **state)
{
    (void)state;
    httpd_free(service);
    service = NULL;
    as_routes_free(routes);
    httpd_free(homeserver);
    as_flow_free(flow);
    federation_relay_free(relay);
    membership_free(member);
    as_client_free(client);
    delayed_event_client_free(events);
    cs_discovery_free(cs);
    ingress_limits_free(limits);
    httpc_free(http);
    loop_free(loop);
    mem_free(as.as_token);
    mem_free(as.hs_token);
    mem_free(as.server_name);
    log_set_sink(NULL, NULL);
    // Never, whatever happened.
    assert_null(strstr(told, HS_TOKEN));
    assert_null(strstr(told, AS_TOKEN));
    assert_null(strstr(told, "our.own.jwt"));
    assert_null(strstr(told, "aa.bb.cc"));
    return 0;
}

// ---- asking ---------------------------------------------------------------------------------

static unsigned got_status;
static char got_body[2048];
static char got[8192];

static void ask(const char *method, const char *path, const char *headers, const char *body)
{
    char request[4096];
    struct dynbuf out;
    struct addr const to = httpd_address(service, 0);
    (void)snprintf(request, sizeof(request),
                   "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s", method, path,
                   headers, strlen(body), body);
    dynbuf_init(&out, 65536);
    http_ask(loop, &to, bytes_str(request), &out);
    got_status = http_ask_status(dynbuf_view(&out));
    (void)snprintf(got_body, sizeof(got_body), "%s", http_ask_body(&out));
    (void)snprintf(got, sizeof(got), "%s", dynbuf_cstr(&out));
    dynbuf_done(&out);
}

#define BEARER "Authorization: Bearer " HS_TOKEN "\r\n"
#define ALICE BEARER "X-Matrix-User-Identifier: @alice:" OWN "\r\n"
#define OTHER BEARER "X-Matrix-Origin: other.example\r\n"

static void expect(unsigned status, const char *errcode)
{
    char part[64];
    (void)snprintf(part, sizeof(part), "\"errcode\":\"%s\"", errcode);
    if (got_status != status || !strstr(got_body, part)) {
        fail_msg("%u %s instead of %u %s", got_status, got_body, status, errcode);
    }
}

static void get_token(const char *body)
{
    ask("POST", CLIENT "/get_token", ALICE, body);
}

// ---- rows of 11.3 ---------------------------------------------------------------------------

static void a_local_user_gets_a_token_without_a_url(void **state)
{
    (void)state;
    get_token(BODY);
    assert_int_equal(got_status, 200);
    assert_string_equal(got_body, "{\"jwt\":\"our.own.jwt\"}\n");
    assert_non_null(strstr(got, "Cache-Control: no-store"));
    assert_string_equal(seen_path,
                        "GET /_matrix/client/unstable/io.element.msc4502/rooms/!r:x/is_joined");
    assert_string_equal(seen_user, "@alice:" OWN);
    assert_int_equal(grants, 1);
    assert_string_equal(granted_user, "@alice:" OWN);
    assert_true(granted.full_access);
    assert_true(granted.always_create);
    assert_false(granted.never_publish);
    assert_false(granted.only_delegate);
    assert_true(granted.as_user);
    // H of ["!r:x","m.call#ROOM"] and of ["@alice:own.example","memberABC"], by Python's hashlib.
    assert_string_equal(granted.subject.room, "pRFzEPtSfqdKIzEf0NCR8PiABfxPTGTxjJq8B7Y6NS4");
    assert_string_equal(granted.subject.identity, "mTVeqQg2qELiEsAEJB5Dv2tH38P9zG1HVvJtPTDzoK4");
}

static void stable_paths_are_the_same(void **state)
{
    (void)state;
    ask("POST", "/_matrix/client/v1/rtc/livekit/get_token", ALICE, BODY);
    assert_int_equal(got_status, 200);
    ask("POST", "/_matrix/client/v1/rtc/livekit/delegate_delayed_leave", ALICE, DELEGATE_BODY);
    assert_int_equal(got_status, 200);
    ask("POST", "/_matrix/federation/v1/rtc/livekit/get_token", OTHER, FEDERATION_BODY);
    assert_int_equal(got_status, 200);
    ask("POST", "/behind/a/prefix" CLIENT "/get_token", ALICE, BODY);
    assert_int_equal(got_status, 200);
}

static void only_the_homeserver_may_call(void **state)
{
    (void)state;
    static const char *const paths[] = {CLIENT "/get_token", CLIENT "/delegate_delayed_leave",
                                        FEDERATION "/get_token", "/_matrix/app/v1/ping"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        ask("POST", paths[i], "", BODY);
        expect(401, "M_MISSING_TOKEN");
        ask("POST", paths[i], "Authorization: Bearer wrong\r\n", "{not json");
        expect(401, "M_UNKNOWN_TOKEN");
        ask("POST", paths[i], "Authorization: Basic " HS_TOKEN "\r\n", BODY);
        expect(401, "M_MISSING_TOKEN");
    }
    assert_int_equal(asked, 0);
    assert_int_equal(grants, 0);
}

static void callers_must_be_named_and_of_the_right_server(void **state)
{
    (void)state;
    ask("POST", CLIENT "/get_token", BEARER, BODY);
    expect(401, "M_UNAUTHORIZED");
    ask("POST", CLIENT "/get_token", BEARER "X-Matrix-User-Identifier: alice\r\n", BODY);
    expect(400, "M_INVALID_PARAM");
    ask("POST", CLIENT "/get_token", BEARER "X-Matrix-User-Identifier: @a:other.example\r\n", BODY);
    expect(403, "M_FORBIDDEN");
    ask("POST", FEDERATION "/get_token", BEARER, FEDERATION_BODY);
    expect(401, "M_UNAUTHORIZED");
    ask("POST", FEDERATION "/get_token", BEARER "X-Matrix-Origin: a b\r\n", FEDERATION_BODY);
    expect(400, "M_INVALID_PARAM");
    ask("POST", FEDERATION "/get_token", BEARER "X-Matrix-Origin: evil.example\r\n",
        FEDERATION_BODY);
    expect(403, "M_FORBIDDEN");
    assert_int_equal(asked, 0);
}

static void bodies_are_checked_before_anybody_is_asked(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *body;
        unsigned status;
        const char *errcode;
    } rows[] = {
        {CLIENT "/get_token", "{not json", 400, "M_NOT_JSON"},
        {CLIENT "/get_token", "{}", 400, "M_BAD_JSON"},
        {CLIENT "/get_token", "{\"url\":\"\"," FIELDS "}", 400, "M_BAD_JSON"},
        {CLIENT "/get_token", "{\"url\":\"wss://evil\"," FIELDS "}", 400, "M_INVALID_PARAM"},
        {CLIENT "/get_token", "{\"url\":\"" SFU_URL "\"," FIELDS ",\"server_name\":\"a b\"}", 400,
         "M_INVALID_PARAM"},
        {CLIENT "/get_token",
         "{\"url\":\"" SFU_URL "\",\"room_id\":\"..\",\"slot_id\":\"s\",\"member_id\":\"m\"}", 403,
         "M_FORBIDDEN"},
        {CLIENT "/delegate_delayed_leave", BODY, 400, "M_BAD_JSON"},
        {CLIENT "/delegate_delayed_leave",
         "{\"url\":\"wss://evil\"," FIELDS ",\"delay_id\":\"syd_x\"}", 400, "M_INVALID_PARAM"},
        {CLIENT "/delegate_delayed_leave",
         "{\"url\":\"" SFU_URL "\"," FIELDS ",\"delay_id\":\"..\"}", 400, "M_INVALID_PARAM"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask("POST", rows[i].path, ALICE, rows[i].body);
        expect(rows[i].status, rows[i].errcode);
    }
    ask("POST", FEDERATION "/get_token", OTHER, BODY);
    expect(400, "M_BAD_JSON");
    ask("POST", FEDERATION "/get_token", OTHER,
        "{\"url\":\"" SFU_URL "\"," FIELDS
        ",\"user_id\":\"@bob:other.example\",\"server_name\":\"third.example\"}");
    expect(400, "M_INVALID_PARAM");
    assert_int_equal(asked, 0);
    // A slash at the end makes no other SFU, and the own name no other site.
    get_token("{\"url\":\"" SFU_URL "/\"," FIELDS ",\"server_name\":\"" OWN "\"}");
    assert_int_equal(got_status, 200);
}

static void who_is_not_in_the_room_gets_nothing(void **state)
{
    (void)state;
    joined = (struct answer){200, "{\"joined\":false}"};
    get_token(BODY);
    expect(403, "M_FORBIDDEN");
    joined = (struct answer){404, "{\"errcode\":\"M_NOT_FOUND\"}"};
    get_token(BODY);
    expect(403, "M_FORBIDDEN");
    ask("POST", CLIENT "/delegate_delayed_leave", ALICE, DELEGATE_BODY);
    expect(403, "M_FORBIDDEN");
    ask("POST", FEDERATION "/get_token", OTHER, FEDERATION_BODY);
    expect(403, "M_FORBIDDEN");
    assert_int_equal(grants, 0);
}

static void doubts_about_membership_are_502_and_explained(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        const char *says;
    } rows[] = {
        {401, "{\"errcode\":\"M_UNKNOWN_TOKEN\"}", "app_service_config_files"},
        {403, "{\"errcode\":\"M_FORBIDDEN\"}", "scope"},
        {404, "{\"errcode\":\"M_UNRECOGNIZED\"}", "msc4502_enabled"},
        {404, "not found", "msc4502_enabled"},
        {200, "{\"joined\":\"yes\"}", "joined"},
        {200, "<html>", "joined"},
        {500, "{}", "see its log"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        joined = (struct answer){rows[i].status, rows[i].body};
        joined_stable = joined;
        told[0] = '\0';
        get_token(BODY);
        expect(502, "M_UNKNOWN");
        if (!strstr(told, rows[i].says)) {
            fail_msg("%s is not in %s", rows[i].says, told);
        }
    }
    assert_int_equal(grants, 0);
}

static void a_homeserver_that_is_gone_is_502(void **state)
{
    (void)state;
    httpd_free(homeserver);
    homeserver = NULL;
    get_token(BODY);
    expect(502, "M_UNKNOWN");
    assert_non_null(strstr(told, "\"cause\":\"connect\""));
}

static void the_stable_name_of_is_joined_is_tried_and_remembered(void **state)
{
    (void)state;
    joined_stable = joined;
    joined = (struct answer){404, "{\"errcode\":\"M_UNRECOGNIZED\"}"};
    get_token(BODY);
    assert_int_equal(got_status, 200);
    assert_int_equal(asked, 2);
    assert_string_equal(seen_path, "GET /_matrix/client/v3/rooms/!r:x/is_joined");
    get_token(BODY);
    assert_int_equal(asked, 3);
}

static void callers_of_other_sites_cannot_publish(void **state)
{
    (void)state;
    ask("POST", FEDERATION "/get_token", OTHER, FEDERATION_BODY);
    assert_int_equal(got_status, 200);
    assert_string_equal(got_body, "{\"jwt\":\"our.own.jwt\"}\n");
    assert_string_equal(seen_user, "@bob:other.example");
    assert_string_equal(granted_user, "@bob:other.example");
    assert_false(granted.full_access);
    assert_true(granted.always_create);
    assert_true(granted.never_publish);
}

static void another_sites_sfu_is_asked_through_the_homeserver(void **state)
{
    (void)state;
    get_token("{\"url\":\"wss://sfu.other\"," FIELDS ",\"server_name\":\"other.example:8448\"}");
    assert_int_equal(got_status, 200);
    assert_string_equal(got_body, "{\"jwt\":\"aa.bb.cc\"}\n");
    assert_string_equal(seen_path,
                        "POST /_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy");
    assert_string_equal(seen_body,
                        "{\"destination\":\"other.example:8448\",\"method\":\"POST\",\"body\":{"
                        "\"user_id\":\"@alice:" OWN "\",\"url\":\"wss://sfu.other\"," FIELDS
                        "},\"path\":\"" FEDERATION "/get_token\"}");
    assert_int_equal(grants, 0);
    // Only members are relayed for.
    joined = (struct answer){200, "{\"joined\":false}"};
    get_token("{\"url\":\"wss://sfu.other\"," FIELDS ",\"server_name\":\"other.example\"}");
    expect(403, "M_FORBIDDEN");
    assert_int_equal(fed_asked, 1);
}

static void what_another_site_answers_is_passed_on_or_502(void **state)
{
    (void)state;
    static const struct {
        struct answer a;
        unsigned status;
        const char *errcode;
        const char *says;
    } rows[] = {
        {{200, "{\"status\":403,\"content\":{\"errcode\":\"M_FORBIDDEN\"}}"},
         403,
         "M_FORBIDDEN",
         "other site refused"},
        {{200, "{\"status\":400,\"content\":{\"errcode\":\"M_INVALID_PARAM\"}}"},
         400,
         "M_INVALID_PARAM",
         "other site refused"},
        {{200, "{\"status\":400,\"content\":{\"errcode\":\"M_BAD_JSON\"}}"}, 502, "M_UNKNOWN", ""},
        {{200, "{\"status\":403,\"content\":null}"}, 502, "M_UNKNOWN", ""},
        {{200, "{\"status\":401,\"content\":{\"errcode\":\"M_UNAUTHORIZED\"}}"},
         502,
         "M_UNKNOWN",
         ""},
        {{200, "{\"status\":429}"}, 502, "M_UNKNOWN", "too often"},
        {{200, "{\"status\":500}"}, 502, "M_UNKNOWN", "failed"},
        {{200, "{\"status\":404,\"content\":{\"errcode\":\"M_UNRECOGNIZED\"}}"},
         502,
         "M_UNKNOWN",
         "MSC4195"},
        {{200, "{\"status\":200,\"content\":{}}"}, 502, "M_UNKNOWN", "jwt"},
        {{200, "{\"status\":200,\"content\":{\"jwt\":\"<b>.x.y\"}}"}, 502, "M_UNKNOWN", "jwt"},
        {{200, "{\"status\":200,\"content\":{\"jwt\":\"a.b\"}}"}, 502, "M_UNKNOWN", "jwt"},
        {{200, "{}"}, 502, "M_UNKNOWN", "status"},
        {{200, "[]"}, 502, "M_UNKNOWN", "status"},
        {{403, "{\"errcode\":\"IO.ELEMENT.MSC4512.M_FEDPROXY_DESTINATION_DENIED\"}"},
         502,
         "M_UNKNOWN",
         "does not federate"},
        {{502, "{\"errcode\":\"IO.ELEMENT.MSC4512.M_FEDPROXY_CONNECTION_FAILED\"}"},
         502,
         "M_UNKNOWN",
         "cannot reach"},
        {{403, "{\"errcode\":\"M_FEDPROXY_PATH_NOT_ALLOWED\"}"}, 502, "M_UNKNOWN", "proxy_prefix"},
        {{404, "{\"errcode\":\"M_UNRECOGNIZED\"}"}, 502, "M_UNKNOWN", "msc4512_enabled"},
        {{401, "{\"errcode\":\"M_UNKNOWN_TOKEN\"}"}, 502, "M_UNKNOWN", "as_token"},
        {{500, ""}, 502, "M_UNKNOWN", "see its log"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fed_proxy[0] = fed_proxy[1] = fed_proxy[2] = rows[i].a;
        fed_asked = 0;
        told[0] = '\0';
        get_token("{\"url\":\"wss://sfu.other\"," FIELDS ",\"server_name\":\"other.example\"}");
        expect(rows[i].status, rows[i].errcode);
        if (!strstr(told, rows[i].says)) {
            fail_msg("%s: %s is not in %s", rows[i].a.body, rows[i].says, told);
        }
    }
}

static void stable_names_are_tried_on_both_sides(void **state)
{
    (void)state;
    fed_proxy[0] = (struct answer){404, "{\"errcode\":\"M_UNRECOGNIZED\"}"};
    fed_proxy[1] = (struct answer){200, "{\"status\":404,\"content\":{}}"};
    get_token("{\"url\":\"wss://sfu.other\"," FIELDS ",\"server_name\":\"other.example\"}");
    assert_int_equal(got_status, 200);
    assert_int_equal(fed_asked, 3);
    assert_string_equal(seen_path, "POST /_matrix/client/v1/appservice/fed_proxy");
    assert_non_null(strstr(seen_body, "\"/_matrix/federation/v1/rtc/livekit/get_token\""));
    get_token("{\"url\":\"wss://sfu.other\"," FIELDS ",\"server_name\":\"other.example\"}");
    assert_int_equal(fed_asked, 4); // remembered for ours
}

static void a_leave_is_taken_over_after_a_look_at_the_event(void **state)
{
    (void)state;
    ask("POST", CLIENT "/delegate_delayed_leave", ALICE, DELEGATE_BODY);
    assert_int_equal(got_status, 200);
    assert_string_equal(got_body, "{}\n");
    assert_string_equal(seen_path,
                        "GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/syd_x");
    assert_string_equal(seen_user, "@alice:" OWN);
    assert_true(granted.only_delegate);
    assert_true(granted.as_user);
    assert_int_equal(granted.delay_timeout_ms, 18000);
}

static void events_that_are_not_hers_are_400_and_doubts_503(void **state)
{
    (void)state;
    static const struct {
        struct answer a;
        unsigned status;
        const char *errcode;
    } rows[] = {
        {{404, "{\"errcode\":\"M_NOT_FOUND\"}"}, 400, "M_INVALID_PARAM"},
        {{200, "{\"room_id\":\"!other:x\",\"delay_ms\":18000}"}, 400, "M_INVALID_PARAM"},
        {{200, "{\"room_id\":\"!r:x\"}"}, 503, "M_UNKNOWN"},
        {{200, "{\"room_id\":\"!r:x\",\"delay_ms\":0}"}, 503, "M_UNKNOWN"},
        {{403, "{\"errcode\":\"M_FORBIDDEN\"}"}, 503, "M_UNKNOWN"},
        {{500, "{}"}, 503, "M_UNKNOWN"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        delayed = rows[i].a;
        ask("POST", CLIENT "/delegate_delayed_leave", ALICE, DELEGATE_BODY);
        expect(rows[i].status, rows[i].errcode);
    }
    assert_int_equal(grants, 0);
}

static void what_the_flow_says_is_answered(void **state)
{
    (void)state;
    flow_error = MATRIX_NO_ROOM;
    get_token(BODY);
    expect(500, "M_UNKNOWN");
    flow_error = MATRIX_LIMITED;
    get_token(BODY);
    expect(429, "M_LIMIT_EXCEEDED");
    assert_non_null(strstr(got, "Retry-After: 2"));
}

static void the_ping_is_answered(void **state)
{
    (void)state;
    ask("POST", "/_matrix/app/v1/ping", BEARER, "{\"transaction_id\":\"x\"}");
    assert_int_equal(got_status, 200);
    assert_string_equal(got_body, "{}\n");
    ask("POST", "/_matrix/app/v1/ping", BEARER, "");
    assert_int_equal(got_status, 200);
}

static void other_methods_are_405_and_other_paths_404(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        ask(methods[i], CLIENT "/get_token", ALICE, "");
        assert_int_equal(got_status, 405);
        assert_non_null(strstr(got, "Allow: POST"));
        ask(methods[i], "/_matrix/app/v1/ping", BEARER, "");
        assert_int_equal(got_status, 405);
    }
    ask("POST", FEDERATION "/delegate_delayed_leave", OTHER, DELEGATE_BODY);
    expect(404, "M_UNRECOGNIZED");
    ask("POST", "/_matrix/client/unstable/other/rtc/livekit/get_token", ALICE, BODY);
    expect(404, "M_UNRECOGNIZED");
}

static void a_user_is_limited_and_not_the_homeserver(void **state)
{
    (void)state;
    ingress_limits_set(limits, &(struct ingress_limits_conf){
                                   .address = {.burst = 1, .per_1000s = 1000},
                                   .user = {.burst = 2, .per_1000s = 1000},
                               });
    get_token(BODY);
    get_token(BODY);
    assert_int_equal(got_status, 200);
    get_token(BODY);
    expect(429, "M_LIMIT_EXCEEDED");
    ask("POST", FEDERATION "/get_token", OTHER, FEDERATION_BODY);
    assert_int_equal(got_status, 200);
}

static void on_answer(void *user, const struct httpc_result *r)
{
    (void)r;
    *(bool *)user = true;
}

// A request that waits for the homeserver when the service ends: answered 503, its calls dropped.
static void nothing_is_left_when_the_server_stops(void **state)
{
    (void)state;
    char url[128];
    struct httpc_call *call = NULL;
    bool answered = false;
    struct httpc_header const headers[] = {{"Authorization", "Bearer " HS_TOKEN},
                                           {"X-Matrix-User-Identifier", "@alice:" OWN}};
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u" CLIENT "/get_token",
                   httpd_address(service, 0).port);
    struct httpc_request const req = {.url = url,
                                      .headers = headers,
                                      .header_count = 2,
                                      .body = bytes_str(BODY),
                                      .on_done = on_answer,
                                      .user = &answered};
    hold = true;
    assert_int_equal(httpc_start(http, &req, &call), 0);
    for (int i = 0; i < 2000 && !held; i++) {
        loop_run_once(loop, 10);
    }
    assert_non_null(held);
    assert_int_equal(as_routes_in_flight(routes), 1);
    httpd_free(service);
    service = NULL;
    assert_int_equal(as_routes_in_flight(routes), 0);
    for (int i = 0; i < 2000 && !answered; i++) {
        loop_run_once(loop, 10);
    }
    assert_true(answered);
    respond(held, joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_local_user_gets_a_token_without_a_url, setup, teardown),
        cmocka_unit_test_setup_teardown(stable_paths_are_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_homeserver_may_call, setup, teardown),
        cmocka_unit_test_setup_teardown(callers_must_be_named_and_of_the_right_server, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(bodies_are_checked_before_anybody_is_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_is_not_in_the_room_gets_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(doubts_about_membership_are_502_and_explained, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_homeserver_that_is_gone_is_502, setup, teardown),
        cmocka_unit_test_setup_teardown(the_stable_name_of_is_joined_is_tried_and_remembered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(callers_of_other_sites_cannot_publish, setup, teardown),
        cmocka_unit_test_setup_teardown(another_sites_sfu_is_asked_through_the_homeserver, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_another_site_answers_is_passed_on_or_502, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(stable_names_are_tried_on_both_sides, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leave_is_taken_over_after_a_look_at_the_event, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(events_that_are_not_hers_are_400_and_doubts_503, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_flow_says_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(the_ping_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(other_methods_are_405_and_other_paths_404, setup, teardown),
        cmocka_unit_test_setup_teardown(a_user_is_limited_and_not_the_homeserver, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_when_the_server_stops, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

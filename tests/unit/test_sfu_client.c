// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: sfu_cause
// Calls of the SFU's API against a stand-in on loopback: what is on the wire, and what each answer
// is taken for (authorization-service 6.2, 6.3; operators P5).
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/lk/access_token.h"
#include "common/lk/livekit.h"
#include "common/svc/httpd.h"
#include "jwt-service/base/sfu_client.h"

#define ROOM "krj2dwx2K6EOm9sDVFQJ6JsSVfWJ8a7BkyjzZcSmxs1" // as long as a real one
#define IDENTITY "vYVtiEvHMLNd1bOGhBUvvhHZtELkUDdaGZ6nJ1nJ0lg"

static struct loop *loop;
static struct httpc *http;
static struct api_keys *keys;
static struct sfu_client *sfu;
static struct httpd *stand_in;

// What the stand-in answers and saw.
static unsigned answer_status;
static const char *answer_type;
static struct bytes answer_body;
static unsigned asked;
static char path[96];
static uint8_t body[512];
static size_t body_n;
static struct video_grant grant;
static char grant_room[64];

// What came back.
static bool done;
static bool ok;
static bool not_found;
static bool created;
static enum sfu_cause cause;
static char sid[32];
static char step[32];
static char text[640];
static size_t count;
static char people[128];

static void keep(char *to, size_t n, const char *from)
{
    (void)snprintf(to, n, "%s", from ? from : "");
}

static void on_api(void *user, struct httpd_req *req)
{
    (void)user;
    struct bytes const b = httpd_body(req);
    const char *const auth = httpd_header(req, "Authorization");
    struct access_token *t = NULL;
    struct access_token_refusal refusal;
    asked++;
    keep(path, sizeof(path), httpd_path(req));
    assert_string_equal(httpd_method(req), "POST");
    assert_string_equal(httpd_header(req, "Content-Type"), "application/protobuf");
    assert_string_equal(httpd_header(req, "Accept"), "application/protobuf");
    assert_string_equal(httpd_header(req, "Twirp-Version"), "v8.1.3");
    assert_int_equal(strncmp(auth, "Bearer ", 7), 0);
    assert_int_equal(access_token_verify(keys, loop_wall(loop), bytes_str(auth + 7), &t, &refusal),
                     0);
    assert_null(t->claims.identity);
    grant = t->claims.video;
    keep(grant_room, sizeof(grant_room), grant.room);
    access_token_free(t);
    assert_in_range(b.n, 1, sizeof(body));
    memcpy(body, b.p, b.n);
    body_n = b.n;
    httpd_respond(req, answer_status, answer_type, answer_body);
}

static int setup(void **state)
{
    (void)state;
    struct addr const at = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const table[] = {
        {.path = "/sfu/twirp/", .flags = HTTPD_TAIL, .body_max = 4096, .handler = on_api}};
    struct httpd_conf const conf = {
        .listen = &at, .listen_count = 1, .routes = table, .route_count = 1};
    char url[64];
    loop = loop_new();
    http = httpc_new(loop, &(struct httpc_conf){0});
    keys = api_keys_new();
    if (!http || api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")) < 0 ||
        httpd_new(loop, &conf, &stand_in, NULL) < 0) {
        return -1;
    }
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/sfu/", httpd_address(stand_in, 0).port);
    answer_status = 200;
    answer_type = "application/protobuf";
    answer_body = (struct bytes){0};
    asked = 0;
    return sfu_client_new(loop, http, keys, url, &sfu);
}

static int teardown(void **state)
{
    (void)state;
    sfu_client_free(sfu);
    httpc_free(http);
    httpd_free(stand_in);
    api_keys_free(keys);
    loop_free(loop);
    return 0;
}

static void on_result(void *user, const struct sfu_result *r)
{
    (void)user;
    assert_false(done);
    done = true;
    ok = r->ok;
    not_found = r->not_found;
    created = r->created;
    cause = r->cause;
    keep(sid, sizeof(sid), r->room_sid ? r->room_sid : r->participant_sid);
    keep(step, sizeof(step), r->step);
    keep(text, sizeof(text), r->text);
    count = r->participant_count;
    people[0] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t const n = strlen(people);
        (void)snprintf(people + n, sizeof(people) - n, "%s=%s ", r->participants[i].identity,
                       r->participants[i].sid);
    }
}

static void wait_for_result(int started)
{
    assert_int_equal(started, 0);
    for (int i = 0; i < 2000 && !done; i++) {
        loop_run_once(loop, 10);
    }
    assert_true(done);
}

static void create_room(uint32_t max_participants)
{
    struct sfu_call *call = NULL;
    done = false;
    wait_for_result(sfu_client_create_room(sfu, ROOM, max_participants, on_result, NULL, &call));
}

static void get_participant(void)
{
    struct sfu_call *call = NULL;
    done = false;
    wait_for_result(sfu_client_get_participant(sfu, ROOM, IDENTITY, on_result, NULL, &call));
}

static void answer(unsigned status, const char *type, const char *b)
{
    answer_status = status;
    answer_type = type;
    answer_body = bytes_str(b);
}

static void create_room_is_as_the_original_sends_it(void **state)
{
    (void)state;
    answer_body = bytes_str("\x0a\x06RM_abc\x28\x01"); // made in 1970
    create_room(0);
    assert_true(ok);
    assert_false(created);
    assert_string_equal(sid, "RM_abc");
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/CreateRoom");
    assert_true(grant.room_create);
    assert_false(grant.room_admin);
    // name, empty_timeout 300, departure_timeout 20, and nothing else
    assert_int_equal(body_n, 2 + 43 + 5);
    assert_memory_equal(body, "\x0a\x2b" ROOM "\x10\xac\x02\x50\x14", body_n);
    create_room(12);
    assert_true(ok);
    assert_memory_equal(body, "\x0a\x2b" ROOM "\x10\xac\x02\x18\x0c\x50\x14", body_n);
}

static void a_participant_is_there_absent_or_nobody_knows(void **state)
{
    (void)state;
    answer_body = bytes_str("\x0a\x05PA_ab\x12\x01x");
    get_participant();
    assert_true(ok);
    assert_string_equal(sid, "PA_ab");
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/GetParticipant");
    assert_true(grant.room_admin);
    assert_string_equal(grant_room, ROOM);
    assert_memory_equal(body, "\x0a\x2b" ROOM "\x12\x2b" IDENTITY, body_n);
    answer(404, "application/json",
           "{\"code\":\"not_found\",\"msg\":\"twirp error unknown: participant does not exist\"}");
    get_participant();
    assert_false(ok);
    assert_true(not_found);
    // What else may say 404 is no absence.
    answer(404, "text/plain", "404 page not found\n");
    get_participant();
    assert_false(not_found);
    assert_int_equal(cause, SFU_CAUSE_URL);
    answer(404, "application/json", "{\"code\":\"bad_route\",\"msg\":\"x\"}");
    get_participant();
    assert_false(not_found);
    answer(404, "application/json", "{\"errcode\":\"M_UNRECOGNIZED\"}");
    get_participant();
    assert_false(not_found);
    answer(500, "application/json", "{\"code\":\"internal\",\"msg\":\"not_found\"}");
    get_participant();
    assert_false(not_found);
}

static void a_list_names_everybody_and_may_be_empty(void **state)
{
    (void)state;
    struct sfu_call *call = NULL;
    done = false;
    wait_for_result(sfu_client_list_participants(sfu, ROOM, on_result, NULL, &call));
    assert_true(ok);
    assert_int_equal(count, 0);
    answer_body = bytes_of("\x0a\x0b\x0a\x04PA_1\x12\x03@a:\x0a\x07\x0a\x00\x12\x03@b:", 22);
    done = false;
    wait_for_result(sfu_client_list_participants(sfu, ROOM, on_result, NULL, &call));
    assert_true(ok);
    assert_string_equal(people, "@a:=PA_1 @b:= ");
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/ListParticipants");
    assert_true(grant.room_admin);
    assert_string_equal(grant_room, ROOM);
}

static void people_are_put_out_and_rooms_ended(void **state)
{
    (void)state;
    struct sfu_call *call = NULL;
    done = false;
    wait_for_result(sfu_client_remove_participant(sfu, ROOM, IDENTITY, on_result, NULL, &call));
    assert_true(ok);
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/RemoveParticipant");
    assert_true(grant.room_admin);
    assert_memory_equal(body, "\x0a\x2b" ROOM "\x12\x2b" IDENTITY, body_n);
    done = false;
    wait_for_result(sfu_client_delete_room(sfu, ROOM, on_result, NULL, &call));
    assert_true(ok);
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/DeleteRoom");
    assert_true(grant.room_create);
    assert_memory_equal(body, "\x0a\x2b" ROOM, body_n);
}

static void the_probe_tells_who_has_to_repair_what(void **state)
{
    (void)state;
    struct sfu_call *call = NULL;
    done = false;
    wait_for_result(sfu_client_probe(sfu, on_result, NULL, &call));
    assert_true(ok);
    assert_string_equal(path, "/sfu/twirp/livekit.RoomService/ListRooms");
    assert_true(grant.room_list);
    answer(401, "text/plain", "invalid API key: devkey");
    done = false;
    wait_for_result(sfu_client_probe(sfu, on_result, NULL, &call));
    assert_int_equal(cause, SFU_CAUSE_KEY_UNKNOWN);
    assert_string_equal(text, "ListRooms: HTTP 401, unauthenticated: HTTP status 401 without a "
                              "Twirp error; LIVEKIT_KEY is not among the SFU's keys");
    // A web page that says 200, as catch-all proxies do.
    answer(200, "text/html; charset=utf-8", "");
    done = false;
    wait_for_result(sfu_client_probe(sfu, on_result, NULL, &call));
    assert_false(ok);
    assert_int_equal(cause, SFU_CAUSE_URL);
    assert_string_equal(step, "body");
}

static void every_answer_has_its_cause(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        enum sfu_cause cause;
    } cases[] = {
        {401, "invalid API key: k", SFU_CAUSE_KEY_UNKNOWN},
        {401, "invalid token: eyJ.., error: token signature is invalid: signature is invalid",
         SFU_CAUSE_SECRET},
        {401, "invalid token: eyJ.., error: go-jose/go-jose: error in cryptographic primitive",
         SFU_CAUSE_SECRET},
        {401, "invalid token: eyJ.., error: token has invalid claims: token is expired",
         SFU_CAUSE_CLOCK},
        {401, "invalid token: eyJ.., error: token has invalid claims: token is not valid yet",
         SFU_CAUSE_CLOCK},
        {401, "", SFU_CAUSE_PERMISSION},
        {403, "<html>forbidden</html>", SFU_CAUSE_PERMISSION},
        {401, "{\"code\":\"unauthenticated\",\"msg\":\"permissions denied\"}",
         SFU_CAUSE_PERMISSION},
        {403, "{\"code\":\"permission_denied\",\"msg\":\"x\"}", SFU_CAUSE_PERMISSION},
        {404, "{\"code\":\"not_found\",\"msg\":\"x\"}", SFU_CAUSE_NOT_FOUND},
        {200, "{\"code\":\"not_found\",\"msg\":\"x\"}", SFU_CAUSE_NOT_FOUND},
        {404, "{\"code\":\"bad_route\",\"msg\":\"x\"}", SFU_CAUSE_URL},
        {404, "404 page not found\n", SFU_CAUSE_URL},
        {404, "{\"code\":404,\"msg\":\"x\"}", SFU_CAUSE_URL},
        {405, "", SFU_CAUSE_URL},
        {301, "", SFU_CAUSE_URL},
        {400, "The plain HTTP request was sent to HTTPS port", SFU_CAUSE_URL},
        {502, "<html>Bad Gateway</html>", SFU_CAUSE_PROXY},
        {503, "", SFU_CAUSE_PROXY},
        {504, "", SFU_CAUSE_PROXY},
        {521, "", SFU_CAUSE_PROXY},
        {503, "{\"code\":\"unavailable\",\"msg\":\"draining\"}", SFU_CAUSE_SFU},
        {500, "{\"code\":\"internal\",\"msg\":\"x\"}", SFU_CAUSE_SFU},
        {500, "", SFU_CAUSE_SFU},
        {429, "", SFU_CAUSE_SFU},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes const b = bytes_str(cases[i].body);
        struct twirp_error const e = twirp_error_parse((int)cases[i].status, b);
        assert_int_equal(sfu_cause_of_answer(cases[i].status, b, &e), cases[i].cause);
    }
    for (unsigned i = 0; i < HTTPC_STEP_COUNT; i++) {
        assert_int_equal(sfu_cause_of_step((enum httpc_step)i) == SFU_CAUSE_NONE, i == HTTPC_OK);
    }
    for (unsigned i = 0; i < SFU_CAUSE_COUNT; i++) {
        assert_non_null(sfu_cause_hint((enum sfu_cause)i));
    }
}

// ---- connections that break -----------------------------------------------------------------

static int raw = -1;
static int peer = -1;
static struct loop_poll *peer_poll;
static unsigned cuts; // connections to be cut before one is served

// A request has come: cut the connection or answer it.
static void on_peer(void *user, unsigned events)
{
    (void)user;
    (void)events;
    static const char ok_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char request[2048];
    assert_true(recv(peer, request, sizeof(request), 0) > 0);
    if (cuts > 0) {
        cuts--;
    } else {
        assert_true(send(peer, ok_answer, sizeof(ok_answer) - 1, MSG_NOSIGNAL) > 0);
    }
    loop_poll_free(peer_poll);
    close(peer);
}

static void on_raw(void *user, unsigned events)
{
    (void)user;
    (void)events;
    peer = accept(raw, NULL, NULL);
    assert_true(peer >= 0);
    asked++;
    peer_poll = loop_poll_new(loop, peer, on_peer, NULL);
    loop_poll_set(peer_poll, LOOP_READ);
}

static struct sfu_client *client_at(uint16_t port)
{
    char url[64];
    struct sfu_client *c = NULL;
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
    assert_int_equal(sfu_client_new(loop, http, keys, url, &c), 0);
    return c;
}

static void a_broken_connection_is_tried_once_more(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    raw = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(raw, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(raw, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(listen(raw, 8), 0);
    struct loop_poll *const p = loop_poll_new(loop, raw, on_raw, NULL);
    loop_poll_set(p, LOOP_READ);
    struct sfu_client *const c = client_at(ntohs(at.sin_port));
    struct sfu_call *call = NULL;
    for (unsigned i = 0; i < 3; i++) {
        cuts = i;
        asked = 0;
        done = false;
        wait_for_result(sfu_client_create_room(c, ROOM, 0, on_result, NULL, &call));
        assert_int_equal(ok, i < 2);
        assert_int_equal(asked, i == 0 ? 1 : 2);
    }
    assert_int_equal(cause, SFU_CAUSE_BROKEN);
    loop_poll_free(p);
    close(raw);
    done = false; // nobody listens any more
    wait_for_result(sfu_client_create_room(c, ROOM, 0, on_result, NULL, &call));
    assert_false(ok);
    assert_int_equal(cause, SFU_CAUSE_CONNECT);
    assert_string_equal(step, "connect");
    sfu_client_free(c);
}

static void a_cancelled_call_is_silent(void **state)
{
    (void)state;
    struct sfu_call *call = NULL;
    done = false;
    assert_int_equal(sfu_client_create_room(sfu, ROOM, 0, on_result, NULL, &call), 0);
    loop_run_once(loop, 0);
    sfu_client_cancel(call);
    for (int i = 0; i < 5; i++) {
        loop_run_once(loop, 1);
    }
    assert_false(done);
}

static void a_wrong_url_is_refused(void **state)
{
    (void)state;
    struct sfu_client *c = NULL;
    assert_int_equal(sfu_client_new(loop, http, keys, "ftp://sfu", &c), -EINVAL);
    assert_null(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_room_is_as_the_original_sends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_participant_is_there_absent_or_nobody_knows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_list_names_everybody_and_may_be_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(people_are_put_out_and_rooms_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(the_probe_tells_who_has_to_repair_what, setup, teardown),
        cmocka_unit_test(every_answer_has_its_cause),
        cmocka_unit_test_setup_teardown(a_broken_connection_is_tried_once_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_call_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_url_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

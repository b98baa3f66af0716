// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// SUPPORT: http_ask signal_world
// Calls of the server API: statuses and texts of livekit-protocol section 6.1, and which worker
// answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/sys/log.h"
#include "tests/support/http_ask.h"
#include "tests/support/signal_world.h"

static unsigned twirp(struct world *w, const char *method, const char *headers,
                      const struct access_claims *c, struct bytes body)
{
    struct dynbuf req;
    dynbuf_init(&req, 1u << 20);
    dynbuf_addf(&req, "POST /twirp/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n%s", method,
                body.n, headers);
    if (c != NULL) {
        char *const token = mint(*c, KEY, SECRET);
        dynbuf_addf(&req, "Authorization: Bearer %s\r\n", token);
        mem_free(token);
    }
    dynbuf_add_str(&req, "\r\n");
    dynbuf_add(&req, body);
    unsigned const status = ask_raw(w, dynbuf_view(&req));
    dynbuf_done(&req);
    return status;
}

#define PROTOBUF "Content-Type: application/protobuf\r\n"
#define CREATE "livekit.RoomService/CreateRoom"
#define NO_BODY bytes_of(NULL, 0)

static const struct access_claims admin = {
    .identity = "admin",
    .has_video = true,
    .video = {.room = "lobby", .room_create = true, .room_list = true, .room_admin = true},
};

static void twirp_errors_have_code_and_status(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    assert_int_equal(twirp(&w, CREATE, PROTOBUF, NULL, NO_BODY), 401);
    assert_true(has(&w, "\"code\":\"unauthenticated\""));
    assert_true(has(&w, "permissions denied"));
    assert_true(has(&w, "Content-Type: application/json\r\n"));
    assert_int_equal(twirp(&w, CREATE, PROTOBUF, &alice, NO_BODY), 401);
    assert_int_equal(twirp(&w, CREATE, "Authorization: Basic x\r\n" PROTOBUF, NULL, NO_BODY), 401);
    assert_true(has(&w, "Content-Type: text/plain; charset=utf-8\r\n"));
    assert_int_equal(twirp(&w, CREATE, PROTOBUF, &admin, NO_BODY), 400); // no name
    assert_true(has(&w, "\"code\":\"invalid_argument\""));
    assert_int_equal(twirp(&w, CREATE, PROTOBUF, &admin, bytes_str("\x0f")), 400);
    assert_true(has(&w, "\"code\":\"malformed\""));
    assert_true(has(&w, "the protobuf request could not be decoded"));
    assert_int_equal(twirp(&w, CREATE, "", &admin, NO_BODY), 404);
    assert_true(has(&w, "\"code\":\"bad_route\""));
    assert_true(has(&w, "unexpected Content-Type: \\\"\\\""));
    assert_int_equal(twirp(&w, "livekit.RoomService/Nothing", PROTOBUF, &admin, NO_BODY), 404);
    assert_true(has(&w, "no handler for path"));
    assert_int_equal(twirp(&w, "livekit.Nothing/X", PROTOBUF, &admin, NO_BODY), 404);
    assert_string_equal(http_ask_body(&w.out), "404 page not found\n");
    assert_int_equal(ask(&w, "GET /twirp/" CREATE, ""), 404);
    assert_true(has(&w, "only POST is allowed"));
    assert_null(w.mail);
    close_world(&w);
}

static struct bytes pack(struct dynbuf *b, const ProtobufCMessage *m)
{
    dynbuf_init(b, 1u << 20);
    assert_int_equal(pbuf_pack(m, b), 0);
    return dynbuf_view(b);
}

static struct bytes create_body(struct dynbuf *b, const char *name)
{
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, name, name);
    return pack(b, &m.base);
}

// Answers each API call as it comes, inside the loop that http_ask runs.
struct responder {
    struct world *w;
    struct loop_timer *timer;
    enum room_api_method method; // of the last call
    uint32_t worker;
    const char *error;
    struct bytes body;
    unsigned calls;
};

static void respond(void *user)
{
    struct responder *const r = user;
    while (r->w->mail != NULL) {
        struct channel_msg *const m = r->w->mail;
        LL_DELETE(r->w->mail, m);
        assert_int_equal(m->type, CHANNEL_API);
        r->method = m->u.api.method;
        r->worker = m->worker;
        r->calls++;
        struct channel_msg *const a = channel_msg_new(CHANNEL_API_REPLY, m->handle);
        a->u.api_reply.error = r->error;
        a->u.api_reply.error_msg = mem_strdup("requested room does not exist");
        a->u.api_reply.body = shared_buf_copy(r->body);
        if (m->u.api.method == ROOM_API_CREATE_ROOM) {
            tell_room(r->w, m->worker, m->u.api.room_name, 0);
        }
        channel_msg_free(m);
        signal_server_deliver(r->w->server, a);
    }
    loop_timer_set_ms(r->timer, 1);
}

static void start_responder(struct responder *r, struct world *w)
{
    *r = (struct responder){.w = w, .timer = loop_timer_new(w->loop, respond, r)};
    loop_timer_set_ms(r->timer, 1);
}

static void calls_go_to_the_rooms_worker_and_back(void **state)
{
    (void)state;
    struct world w;
    struct responder r;
    struct dynbuf b;
    open_world(&w, true);
    start_responder(&r, &w);
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "lobby");
    LK_SET_STR(&room, sid, "RM_x");
    struct dynbuf packed;
    r.body = pack(&packed, &room.base);
    assert_int_equal(twirp(&w, CREATE, PROTOBUF, &admin, create_body(&b, "lobby")), 200);
    assert_true(has(&w, "Content-Type: application/protobuf\r\n"));
    assert_true(has(&w, "RM_x"));
    assert_int_equal(r.method, ROOM_API_CREATE_ROOM);
    uint32_t const worker = r.worker;
    dynbuf_done(&b);
    // The second room goes elsewhere; the first stays.
    (void)twirp(&w, CREATE, PROTOBUF, &admin, create_body(&b, "other"));
    assert_int_not_equal(r.worker, worker);
    dynbuf_done(&b);
    (void)twirp(&w, CREATE, PROTOBUF, &admin, create_body(&b, "lobby"));
    assert_int_equal(r.worker, worker);
    dynbuf_done(&b);

    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, room, "lobby");
    LK_SET_STR(&who, identity, "nobody");
    r.error = "not_found";
    assert_int_equal(
        twirp(&w, "livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)),
        404);
    assert_true(has(&w, "\"code\":\"not_found\""));
    dynbuf_done(&b);
    // roomAdmin counts for the token's room only.
    LK_SET_STR(&who, room, "other");
    assert_int_equal(
        twirp(&w, "livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)),
        401);
    dynbuf_done(&b);
    dynbuf_done(&packed);

    Livekit__ListRoomsRequest list = LIVEKIT__LIST_ROOMS_REQUEST__INIT;
    unsigned const calls = r.calls;
    assert_int_equal(
        twirp(&w, "livekit.RoomService/ListRooms", PROTOBUF, &admin, pack(&b, &list.base)), 200);
    assert_true(has(&w, "lobby"));
    assert_true(has(&w, "other"));
    assert_int_equal(r.calls, calls); // answered here
    dynbuf_done(&b);
    loop_timer_free(r.timer);
    close_world(&w);
}

#define JSON "Content-Type: application/json;charset=UTF-8\r\n"

static void json_is_read_and_answered(void **state)
{
    (void)state;
    struct world w;
    struct responder r;
    open_world(&w, true);
    start_responder(&r, &w);
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "lobby");
    LK_SET(&room, creation_time, 1795251378);
    struct dynbuf packed;
    r.body = pack(&packed, &room.base);
    assert_int_equal(twirp(&w, CREATE, JSON, &admin,
                           bytes_str("{\"name\":\"lobby\",\"emptyTimeout\":9,\"new\":{}}")),
                     200);
    assert_true(has(&w, "Content-Type: application/json\r\n"));
    assert_string_equal(
        http_ask_body(&w.out),
        "{\"sid\":\"\",\"name\":\"lobby\",\"empty_timeout\":0,\"max_participants\":0,"
        "\"creation_time\":\"1795251378\",\"turn_password\":\"\",\"enabled_codecs\":[],"
        "\"metadata\":\"\",\"num_participants\":0,\"active_recording\":false,"
        "\"num_publishers\":0,\"version\":null,\"departure_timeout\":0,"
        "\"creation_time_ms\":\"0\"}");
    assert_int_equal(r.method, ROOM_API_CREATE_ROOM);
    assert_int_equal(
        twirp(&w, "livekit.RoomService/ListRooms", JSON, &admin, bytes_str("{\"names\":[\"x\"]}")),
        200);
    assert_string_equal(http_ask_body(&w.out), "{\"rooms\":[]}");
    assert_int_equal(twirp(&w, "livekit.RoomService/ListRooms", JSON, &admin, bytes_str("{}")),
                     200);
    assert_true(has(&w, "{\"rooms\":[{\"sid\":"));
    r.body = bytes_of(NULL, 0);
    assert_int_equal(twirp(&w, "livekit.RoomService/RemoveParticipant", JSON, &admin,
                           bytes_str("{\"room\":\"lobby\",\"identity\":\"i\"}")),
                     200);
    assert_string_equal(http_ask_body(&w.out), "{}");
    loop_timer_free(r.timer);
    dynbuf_done(&packed);
    close_world(&w);
}

static void json_errors_are_those_of_protobuf(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    const char *const bad[] = {"", "{", "[]", "{\"name\":5}", "null"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(twirp(&w, CREATE, JSON, &admin, bytes_str(bad[i])), 400);
        assert_true(has(&w, "\"code\":\"malformed\""));
        assert_true(has(&w, "the json request could not be decoded"));
    }
    assert_int_equal(twirp(&w, CREATE, JSON, NULL, bytes_str("{\"name\":\"x\"}")), 401);
    assert_int_equal(twirp(&w, CREATE, JSON, &admin, bytes_str("{}")), 400);
    assert_true(has(&w, "\"code\":\"invalid_argument\""));
    assert_int_equal(twirp(&w, "livekit.RoomService/ListParticipants", JSON, &admin,
                           bytes_str("{\"room\":\"lobby\"}")),
                     200);
    assert_string_equal(http_ask_body(&w.out), "{\"participants\":[]}");
    assert_int_equal(twirp(&w, "livekit.RoomService/DeleteRoom", JSON, &admin,
                           bytes_str("{\"room\":\"lobby\"}")),
                     404);
    assert_true(has(&w, "\"code\":\"not_found\""));
    assert_null(w.mail);
    close_world(&w);
}

static void absent_rooms_are_answered_at_once(void **state)
{
    (void)state;
    struct world w;
    struct dynbuf b;
    open_world(&w, true);
    Livekit__DeleteRoomRequest del = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    LK_SET_STR(&del, room, "lobby");
    assert_int_equal(
        twirp(&w, "livekit.RoomService/DeleteRoom", PROTOBUF, &admin, pack(&b, &del.base)), 404);
    assert_true(has(&w, "requested room does not exist"));
    dynbuf_done(&b);
    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, room, "lobby");
    assert_int_equal(
        twirp(&w, "livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)),
        404);
    assert_true(has(&w, "participant does not exist"));
    dynbuf_done(&b);
    Livekit__ListParticipantsRequest list = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    LK_SET_STR(&list, room, "lobby");
    assert_int_equal(
        twirp(&w, "livekit.RoomService/ListParticipants", PROTOBUF, &admin, pack(&b, &list.base)),
        200);
    assert_string_equal(http_ask_body(&w.out), "");
    dynbuf_done(&b);
    close_world(&w);
}

int main(void)
{
    log_setup(&(struct log_settings){.level = LOG_LEVEL_ERROR});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twirp_errors_have_code_and_status),
        cmocka_unit_test(calls_go_to_the_rooms_worker_and_back),
        cmocka_unit_test(json_is_read_and_answered),
        cmocka_unit_test(json_errors_are_those_of_protobuf),
        cmocka_unit_test(absent_rooms_are_answered_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

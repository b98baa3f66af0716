// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// SUPPORT: signal_bed
// COVERS: agent_dispatch absent_services
// Calls of the server API: statuses and texts of livekit-protocol section 6.1, and which worker
// answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/sys/log.h"
#include "sfu/signal/agent_dispatch.h"
#include "tests/support/signal_bed.h"

static struct signal_bed bed;
static struct signal_bed_answer ans;

static int setup(void **state)
{
    (void)state;
    signal_bed_init(&bed, true);
    bed.tells_rooms = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signal_bed_done(&bed);
    return 0;
}

static unsigned twirp(const char *method, const char *headers, const struct access_claims *c,
                      struct bytes body)
{
    struct dynbuf lines;
    char path[128];
    dynbuf_init(&lines, 1u << 16);
    dynbuf_add_str(&lines, headers);
    if (c != NULL) {
        char *const token = signal_bed_token(&bed, c);
        dynbuf_addf(&lines, "Authorization: Bearer %s\r\n", token);
        mem_free(token);
    }
    (void)snprintf(path, sizeof(path), "/twirp/%s", method);
    signal_bed_http(&bed, "POST", path, dynbuf_cstr(&lines), body, &ans);
    dynbuf_done(&lines);
    return (unsigned)ans.status;
}

static bool has(const char *text)
{
    return strstr(ans.head, text) != NULL || strstr(ans.body, text) != NULL;
}

#define PROTOBUF "Content-Type: application/protobuf\r\n"
#define CREATE "livekit.RoomService/CreateRoom"
#define NO_BODY bytes_of(NULL, 0)

static const struct access_claims alice = {
    .identity = "alice",
    .has_video = true,
    .video = {.room = "lobby", .room_join = true},
};

static const struct access_claims admin = {
    .identity = "admin",
    .has_video = true,
    .video = {.room = "lobby", .room_create = true, .room_list = true, .room_admin = true},
};

static void twirp_errors_have_code_and_status(void **state)
{
    (void)state;
    assert_int_equal(twirp(CREATE, PROTOBUF, NULL, NO_BODY), 401);
    assert_true(has("\"code\":\"unauthenticated\""));
    assert_true(has("permissions denied"));
    assert_true(has("Content-Type: application/json\r\n"));
    assert_int_equal(twirp(CREATE, PROTOBUF, &alice, NO_BODY), 401);
    assert_int_equal(twirp(CREATE, "Authorization: Basic x\r\n" PROTOBUF, NULL, NO_BODY), 401);
    assert_true(has("Content-Type: text/plain; charset=utf-8\r\n"));
    assert_int_equal(twirp(CREATE, PROTOBUF, &admin, NO_BODY), 400); // no name
    assert_true(has("\"code\":\"invalid_argument\""));
    assert_int_equal(twirp(CREATE, PROTOBUF, &admin, bytes_str("\x0f")), 400);
    assert_true(has("\"code\":\"malformed\""));
    assert_true(has("the protobuf request could not be decoded"));
    assert_int_equal(twirp(CREATE, "", &admin, NO_BODY), 404);
    assert_true(has("\"code\":\"bad_route\""));
    assert_true(has("unexpected Content-Type: \\\"\\\""));
    assert_int_equal(twirp("livekit.RoomService/Nothing", PROTOBUF, &admin, NO_BODY), 404);
    assert_true(has("no handler for path"));
    assert_int_equal(twirp("livekit.Nothing/X", PROTOBUF, &admin, NO_BODY), 404);
    assert_string_equal(ans.body, "404 page not found\n");
    signal_bed_http(&bed, "GET", "/twirp/" CREATE, NULL, NO_BODY, &ans);
    assert_int_equal(ans.status, 404);
    assert_true(has("only POST is allowed"));
    assert_int_equal(bed.seen.api, 0);
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

static void calls_go_to_the_rooms_worker_and_back(void **state)
{
    (void)state;
    struct dynbuf b;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "lobby");
    LK_SET_STR(&room, sid, "RM_x");
    struct dynbuf packed;
    bed.api_body = pack(&packed, &room.base);
    assert_int_equal(twirp(CREATE, PROTOBUF, &admin, create_body(&b, "lobby")), 200);
    assert_true(has("Content-Type: application/protobuf\r\n"));
    assert_true(has("RM_x"));
    assert_int_equal(bed.seen.method, ROOM_API_CREATE_ROOM);
    uint32_t const worker = bed.seen.worker;
    dynbuf_done(&b);
    // The second room goes elsewhere; the first stays.
    (void)twirp(CREATE, PROTOBUF, &admin, create_body(&b, "other"));
    assert_int_not_equal(bed.seen.worker, worker);
    dynbuf_done(&b);
    (void)twirp(CREATE, PROTOBUF, &admin, create_body(&b, "lobby"));
    assert_int_equal(bed.seen.worker, worker);
    dynbuf_done(&b);

    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, room, "lobby");
    LK_SET_STR(&who, identity, "nobody");
    bed.api_error = "not_found";
    assert_int_equal(
        twirp("livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)), 404);
    assert_true(has("\"code\":\"not_found\""));
    dynbuf_done(&b);
    // roomAdmin counts for the token's room only.
    LK_SET_STR(&who, room, "other");
    assert_int_equal(
        twirp("livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)), 401);
    dynbuf_done(&b);
    dynbuf_done(&packed);

    Livekit__ListRoomsRequest list = LIVEKIT__LIST_ROOMS_REQUEST__INIT;
    unsigned const calls = bed.seen.api;
    assert_int_equal(twirp("livekit.RoomService/ListRooms", PROTOBUF, &admin, pack(&b, &list.base)),
                     200);
    assert_true(has("lobby"));
    assert_true(has("other"));
    assert_int_equal(bed.seen.api, calls); // answered here
    dynbuf_done(&b);
}

#define JSON "Content-Type: application/json;charset=UTF-8\r\n"

static void json_is_read_and_answered(void **state)
{
    (void)state;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "lobby");
    LK_SET(&room, creation_time, 1795251378);
    struct dynbuf packed;
    bed.api_body = pack(&packed, &room.base);
    assert_int_equal(twirp(CREATE, JSON, &admin,
                           bytes_str("{\"name\":\"lobby\",\"emptyTimeout\":9,\"new\":{}}")),
                     200);
    assert_true(has("Content-Type: application/json\r\n"));
    assert_string_equal(
        ans.body, "{\"sid\":\"\",\"name\":\"lobby\",\"empty_timeout\":0,\"max_participants\":0,"
                  "\"creation_time\":\"1795251378\",\"turn_password\":\"\",\"enabled_codecs\":[],"
                  "\"metadata\":\"\",\"num_participants\":0,\"active_recording\":false,"
                  "\"num_publishers\":0,\"version\":null,\"departure_timeout\":0,"
                  "\"creation_time_ms\":\"0\"}");
    assert_int_equal(bed.seen.method, ROOM_API_CREATE_ROOM);
    assert_int_equal(
        twirp("livekit.RoomService/ListRooms", JSON, &admin, bytes_str("{\"names\":[\"x\"]}")),
        200);
    assert_string_equal(ans.body, "{\"rooms\":[]}");
    assert_int_equal(twirp("livekit.RoomService/ListRooms", JSON, &admin, bytes_str("{}")), 200);
    assert_true(has("{\"rooms\":[{\"sid\":"));
    bed.api_body = bytes_of(NULL, 0);
    assert_int_equal(twirp("livekit.RoomService/RemoveParticipant", JSON, &admin,
                           bytes_str("{\"room\":\"lobby\",\"identity\":\"i\"}")),
                     200);
    assert_string_equal(ans.body, "{}");
    dynbuf_done(&packed);
}

static void json_errors_are_those_of_protobuf(void **state)
{
    (void)state;
    const char *const bad[] = {"", "{", "[]", "{\"name\":5}", "null"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(twirp(CREATE, JSON, &admin, bytes_str(bad[i])), 400);
        assert_true(has("\"code\":\"malformed\""));
        assert_true(has("the json request could not be decoded"));
    }
    assert_int_equal(twirp(CREATE, JSON, NULL, bytes_str("{\"name\":\"x\"}")), 401);
    assert_int_equal(twirp(CREATE, JSON, &admin, bytes_str("{}")), 400);
    assert_true(has("\"code\":\"invalid_argument\""));
    assert_int_equal(twirp("livekit.RoomService/ListParticipants", JSON, &admin,
                           bytes_str("{\"room\":\"lobby\"}")),
                     200);
    assert_string_equal(ans.body, "{\"participants\":[]}");
    assert_int_equal(
        twirp("livekit.RoomService/DeleteRoom", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
        404);
    assert_true(has("\"code\":\"not_found\""));
    assert_int_equal(bed.seen.api, 0);
}

// ---- 6.3 other services ---------------------------------------------------------------------

static void services_we_do_not_have_are_answered_as_without_redis(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        struct access_claims who;
        const char *text;
    } cases[] = {
        {"livekit.Egress/ListEgress",
         {.has_video = true, .video = {.room_record = true}},
         "egress not connected (redis required)"},
        {"livekit.Ingress/ListIngress",
         {.has_video = true, .video = {.ingress_admin = true}},
         "ingress not connected (redis required)"},
        {"livekit.SIP/ListSIPTrunk", {.sip_admin = true}, "sip not connected (redis required)"},
        {"livekit.SIP/CreateSIPParticipant",
         {.sip_call = true},
         "sip not connected (redis required)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(twirp(cases[i].method, JSON, &cases[i].who, bytes_str("{}")), 500);
        assert_true(has("\"code\":\"internal\""));
        assert_true(has(cases[i].text));
        assert_int_equal(twirp(cases[i].method, PROTOBUF, &cases[i].who, NO_BODY), 500);
        assert_int_equal(twirp(cases[i].method, JSON, &admin, bytes_str("{}")), 401);
        assert_true(has("\"code\":\"unauthenticated\",\"msg\":\"permissions denied\""));
        assert_int_equal(twirp(cases[i].method, JSON, NULL, bytes_str("{}")), 401);
        assert_int_equal(twirp(cases[i].method, "", &cases[i].who, NO_BODY), 404);
        assert_true(has("unexpected Content-Type"));
    }
    struct access_claims const caller = {.sip_call = true};
    assert_int_equal(twirp("livekit.SIP/ListSIPTrunk", JSON, &caller, bytes_str("{}")), 401);
    assert_int_equal(twirp("livekit.Egress/Nothing", JSON, &admin, bytes_str("{}")), 404);
    assert_true(has("\"code\":\"bad_route\""));
    static const char *const unknown[] = {"livekit.PhoneNumberService/X", "livekit.Connector/X",
                                          "livekit.NoService/ListRooms"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_int_equal(twirp(unknown[i], JSON, &admin, bytes_str("{}")), 404);
        assert_string_equal(ans.body, "404 page not found\n");
        assert_true(has("Content-Type: text/plain"));
    }
}

#define AGENTS "livekit.AgentDispatchService/"

static void dispatches_are_kept_with_their_room(void **state)
{
    (void)state;
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &alice, bytes_str("{\"room\":\"lobby\"}")),
                     401);
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"hall\"}")),
                     401);
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
                     404);
    assert_true(has("requested room does not exist"));
    signal_bed_room(&bed, 1, "lobby", 1);
    // As recorded in 05-twirp: one for any agent, as old as the room.
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
                     200);
    assert_true(has("{\"agent_dispatches\":[{\"id\":\"AD_"));
    assert_true(
        has("\"agent_name\":\"\",\"room\":\"lobby\",\"metadata\":\"\",\"state\":{\"jobs\":[],"
            "\"created_at\":\"1790000000000000000\",\"deleted_at\":\"0\"},"
            "\"restart_policy\":\"JRP_ON_FAILURE\",\"deployment\":\"\",\"attributes\":{}}]}"));
    assert_int_equal(
        twirp(AGENTS "CreateDispatch", JSON, &admin,
              bytes_str("{\"room\":\"lobby\",\"agentName\":\"bot\",\"metadata\":\"m\","
                        "\"restart_policy\":\"JRP_NEVER\",\"attributes\":{\"a\":\"b\"}}")),
        200);
    assert_true(has("\"agent_name\":\"bot\",\"room\":\"lobby\",\"metadata\":\"m\""));
    assert_true(has("\"attributes\":{\"a\":\"b\"}"));
    char id[16];
    (void)snprintf(id, sizeof(id), "%.15s", strstr(ans.body, "AD_"));
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"room\":\"lobby\",\"dispatch_id\":\"%s\"}", id);
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str(body)), 200);
    assert_true(has(id));
    assert_null(strstr(strstr(ans.body, "AD_") + 1, "AD_")); // this one only
    assert_int_equal(twirp(AGENTS "DeleteDispatch", JSON, &admin, bytes_str(body)), 200);
    assert_true(has(id));
    assert_false(has("\"deleted_at\":\"0\""));
    assert_int_equal(twirp(AGENTS "DeleteDispatch", JSON, &admin, bytes_str(body)), 404);
    assert_int_equal(bed.seen.api, 0);
    // They end with the room.
    signal_bed_room_ended(&bed, 1, "lobby");
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
                     404);
}

static void a_dispatch_makes_its_room(void **state)
{
    (void)state;
    static const char create[] = "{\"room\":\"lobby\",\"agent_name\":\"bot\"}";
    assert_int_equal(twirp(AGENTS "CreateDispatch", JSON, &admin, bytes_str(create)), 200);
    assert_true(has("\"agent_name\":\"bot\",\"room\":\"lobby\""));
    assert_int_equal(bed.seen.api, 1);
    assert_int_equal(bed.seen.method, ROOM_API_CREATE_ROOM);
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
                     200);
    assert_true(has("\"agent_name\":\"bot\""));
    for (unsigned i = 2; i < AGENT_DISPATCHES_MAX; i++) {
        assert_int_equal(twirp(AGENTS "CreateDispatch", JSON, &admin, bytes_str(create)), 200);
    }
    assert_int_equal(twirp(AGENTS "CreateDispatch", JSON, &admin, bytes_str(create)), 429);
    assert_true(has("\"code\":\"resource_exhausted\""));
    assert_int_equal(bed.seen.api, 1);
    // Where joining makes no rooms, neither does this.
    signal_bed_done(&bed);
    signal_bed_init(&bed, false);
    assert_int_equal(twirp(AGENTS "CreateDispatch", JSON, &admin, bytes_str(create)), 404);
    // What a worker refuses is told, and nothing is kept.
    signal_bed_done(&bed);
    signal_bed_init(&bed, true);
    bed.api_error = "internal";
    assert_int_equal(twirp(AGENTS "CreateDispatch", JSON, &admin, bytes_str(create)), 500);
    assert_int_equal(twirp(AGENTS "ListDispatch", JSON, &admin, bytes_str("{\"room\":\"lobby\"}")),
                     404);
}

static void absent_rooms_are_answered_at_once(void **state)
{
    (void)state;
    struct dynbuf b;
    Livekit__DeleteRoomRequest del = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    LK_SET_STR(&del, room, "lobby");
    assert_int_equal(twirp("livekit.RoomService/DeleteRoom", PROTOBUF, &admin, pack(&b, &del.base)),
                     404);
    assert_true(has("requested room does not exist"));
    dynbuf_done(&b);
    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, room, "lobby");
    assert_int_equal(
        twirp("livekit.RoomService/GetParticipant", PROTOBUF, &admin, pack(&b, &who.base)), 404);
    assert_true(has("participant does not exist"));
    dynbuf_done(&b);
    Livekit__ListParticipantsRequest list = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    LK_SET_STR(&list, room, "lobby");
    assert_int_equal(
        twirp("livekit.RoomService/ListParticipants", PROTOBUF, &admin, pack(&b, &list.base)), 200);
    assert_string_equal(ans.body, "");
    dynbuf_done(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_setup(&(struct log_settings){.level = LOG_LEVEL_ERROR});
    const struct CMUnitTest tests[] = {
        TEST(twirp_errors_have_code_and_status),
        TEST(calls_go_to_the_rooms_worker_and_back),
        TEST(json_is_read_and_answered),
        TEST(json_errors_are_those_of_protobuf),
        TEST(services_we_do_not_have_are_answered_as_without_redis),
        TEST(dispatches_are_kept_with_their_room),
        TEST(a_dispatch_makes_its_room),
        TEST(absent_rooms_are_answered_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

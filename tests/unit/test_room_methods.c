// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// Which grant each method of the server API needs, and what is refused before anybody is asked
// (livekit-protocol 6.2).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "sfu/signal/room_methods.h"

static const char *const all[] = {"CreateRoom",         "DeleteRoom",         "ListRooms",
                                  "ListParticipants",   "GetParticipant",     "RemoveParticipant",
                                  "MutePublishedTrack", "UpdateParticipant",  "UpdateSubscriptions",
                                  "SendData",           "UpdateRoomMetadata", "PerformRpc",
                                  "ForwardParticipant", "MoveParticipant"};

static const struct room_method *method(const char *name)
{
    const struct room_method *const m = room_method_find(bytes_str(name));
    assert_non_null(m);
    assert_string_equal(m->name, name);
    return m;
}

static void set(ProtobufCMessage *m, const char *field, const char *text)
{
    const ProtobufCFieldDescriptor *const f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);
    assert_non_null(f);
    char *const value = lk_unconst_str(text);
    memcpy((uint8_t *)m + f->offset, &value, sizeof(value));
}

// The names of the methods that a grant allows for a request about "room".
static void assert_allowed(struct video_grant grant, const char *destination, const char *want)
{
    struct access_token const token = {.claims = {.has_video = true, .video = grant}};
    char got[512] = "";
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const struct room_method *const m = method(all[i]);
        ProtobufCMessage *const req = mem_alloc(m->request->sizeof_message);
        protobuf_c_message_init(m->request, req);
        if (m->api == ROOM_API_CREATE_ROOM) {
            set(req, "name", "room");
        } else if (m->grant != ROOM_GRANT_LIST) {
            set(req, "room", "room");
        }
        if (m->grant == ROOM_GRANT_MOVE) {
            set(req, "destination_room", destination);
        }
        assert_false(room_method_granted(m, NULL, req));
        if (room_method_granted(m, &token, req)) {
            strcat(got, got[0] != 0 ? " " : "");
            strcat(got, all[i]);
        }
        mem_free(req);
    }
    assert_string_equal(got, want);
}

static void each_method_needs_its_grant(void **state)
{
    (void)state;
#define OF_A_ROOM                                                                                  \
    "ListParticipants GetParticipant RemoveParticipant MutePublishedTrack UpdateParticipant "      \
    "UpdateSubscriptions SendData UpdateRoomMetadata PerformRpc"
    assert_allowed((struct video_grant){0}, "other", "");
    assert_allowed((struct video_grant){.room = "room", .room_join = true}, "other", "");
    assert_allowed((struct video_grant){.room_create = true}, "other", "CreateRoom DeleteRoom");
    assert_allowed((struct video_grant){.room_list = true}, "other", "ListRooms");
    assert_allowed((struct video_grant){.room_admin = true}, "other", "");
    assert_allowed((struct video_grant){.room = "other", .room_admin = true}, "other", "");
    assert_allowed((struct video_grant){.room = "room", .room_admin = true}, "other", OF_A_ROOM);
    struct video_grant const move = {
        .room = "room", .room_admin = true, .destination_room = "other"};
    assert_allowed(move, "other", OF_A_ROOM " ForwardParticipant MoveParticipant");
    assert_allowed(move, "third", OF_A_ROOM);
    assert_allowed(move, "", OF_A_ROOM);
    assert_null(room_method_find(bytes_str("Nothing")));
    assert_null(room_method_find(bytes_str("")));
}

static void assert_wrong(const char *name, const ProtobufCMessage *req, enum twirp_code code,
                         const char *text, const char *argument)
{
    struct twirp_error e = {0};
    assert_int_equal(room_method_check(method(name), req, &e), -EINVAL);
    assert_int_equal(e.code, code);
    assert_string_equal(e.msg, text);
    assert_string_equal(e.meta_key, argument != NULL ? "argument" : "");
    assert_string_equal(e.meta_value, argument != NULL ? argument : "");
}

static void assert_right(const char *name, const ProtobufCMessage *req)
{
    struct twirp_error e = {0};
    assert_int_equal(room_method_check(method(name), req, &e), 0);
}

static char *letters(size_t n)
{
    char *const s = mem_alloc(n + 1);
    memset(s, 'x', n);
    return s;
}

static void rooms_are_checked(void **state)
{
    (void)state;
    char *const name = letters(257);
    char *const metadata = letters((512u << 10) + 1);
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    assert_wrong("CreateRoom", &m.base, TWIRP_INVALID_ARGUMENT, "room name is required", NULL);
    m.name = name;
    assert_wrong("CreateRoom", &m.base, TWIRP_INVALID_ARGUMENT,
                 "room name length exceeds limits: max length 256", NULL);
    name[256] = 0;
    assert_right("CreateRoom", &m.base);
    m.metadata = metadata;
    assert_wrong("CreateRoom", &m.base, TWIRP_INVALID_ARGUMENT,
                 "metadata size exceeds limits: max size 524288", NULL);
    Livekit__UpdateRoomMetadataRequest u = LIVEKIT__UPDATE_ROOM_METADATA_REQUEST__INIT;
    u.metadata = metadata;
    assert_wrong("UpdateRoomMetadata", &u.base, TWIRP_INVALID_ARGUMENT,
                 "metadata size exceeds limits 524288", "metadata size exceeds limits");
    metadata[512u << 10] = 0;
    assert_right("CreateRoom", &m.base);
    assert_right("UpdateRoomMetadata", &u.base);
    Livekit__RoomEgress egress = LIVEKIT__ROOM_EGRESS__INIT;
    m.egress = &egress;
    assert_wrong("CreateRoom", &m.base, TWIRP_INTERNAL, "egress not connected (redis required)",
                 NULL);
    m.egress = NULL;
    LK_SET_STR(&m, room_preset, "large");
    assert_wrong("CreateRoom", &m.base, TWIRP_INVALID_ARGUMENT,
                 "unknown room configuration in create room request", NULL);
    mem_free(name);
    mem_free(metadata);
}

static void participants_are_checked(void **state)
{
    (void)state;
    char *const name = letters(257);
    char *const metadata = letters((512u << 10) + 1);
    char *const value = letters(64u << 10);
    Livekit__UpdateParticipantRequest m = LIVEKIT__UPDATE_PARTICIPANT_REQUEST__INIT;
    assert_right("UpdateParticipant", &m.base);
    m.name = name;
    assert_wrong("UpdateParticipant", &m.base, TWIRP_INVALID_ARGUMENT,
                 "name length exceeds limits 256", "name length exceeds limits");
    name[256] = 0;
    m.metadata = metadata;
    assert_wrong("UpdateParticipant", &m.base, TWIRP_INVALID_ARGUMENT,
                 "metadata size exceeds limits 524288", "metadata size exceeds limits");
    metadata[512u << 10] = 0;
    Livekit__UpdateParticipantRequest__AttributesEntry e =
        LIVEKIT__UPDATE_PARTICIPANT_REQUEST__ATTRIBUTES_ENTRY__INIT;
    Livekit__UpdateParticipantRequest__AttributesEntry *list[] = {&e};
    LK_SET_STR(&e, key, "k");
    e.value = value;
    m.attributes = list;
    m.n_attributes = 1;
    assert_wrong("UpdateParticipant", &m.base, TWIRP_INVALID_ARGUMENT,
                 "attribute size exceeds limits 65536", "attribute size exceeds limits");
    value[(64u << 10) - 1] = 0;
    assert_right("UpdateParticipant", &m.base);
    mem_free(name);
    mem_free(metadata);
    mem_free(value);
}

static void data_calls_and_moves_are_checked(void **state)
{
    (void)state;
    uint8_t nonce[17] = {0};
    Livekit__SendDataRequest d = LIVEKIT__SEND_DATA_REQUEST__INIT;
    assert_right("SendData", &d.base);
    d.nonce = (ProtobufCBinaryData){16, nonce};
    assert_right("SendData", &d.base);
    d.nonce.len = 17;
    assert_wrong("SendData", &d.base, TWIRP_INVALID_ARGUMENT,
                 "nonce should be 16-bytes or empty, not: 17 bytes", NULL);
    Livekit__PerformRpcRequest r = LIVEKIT__PERFORM_RPC_REQUEST__INIT;
    assert_wrong("PerformRpc", &r.base, TWIRP_INVALID_ARGUMENT, "destination identity is required",
                 NULL);
    LK_SET_STR(&r, destination_identity, "bob");
    assert_right("PerformRpc", &r.base);
    Livekit__MoveParticipantRequest m = LIVEKIT__MOVE_PARTICIPANT_REQUEST__INIT;
    LK_SET_STR(&m, room, "a");
    LK_SET_STR(&m, destination_room, "a");
    assert_wrong("MoveParticipant", &m.base, TWIRP_INVALID_ARGUMENT,
                 "destination room cannot be the same as source room", NULL);
    LK_SET_STR(&m, destination_room, "b");
    assert_right("MoveParticipant", &m.base);
    assert_string_equal(room_method_destination(&m.base), "b");
    char *const long_name = letters(257);
    m.destination_room = long_name;
    assert_wrong("MoveParticipant", &m.base, TWIRP_INVALID_ARGUMENT,
                 "room name length exceeds limits: max length 256", NULL);
    mem_free(long_name);
    Livekit__ForwardParticipantRequest f = LIVEKIT__FORWARD_PARTICIPANT_REQUEST__INIT;
    LK_SET_STR(&f, room, "a");
    LK_SET_STR(&f, destination_room, "a");
    assert_wrong("ForwardParticipant", &f.base, TWIRP_INVALID_ARGUMENT,
                 "destination room cannot be the same as source room", NULL);
    LK_SET_STR(&f, destination_room, "b");
    assert_wrong("ForwardParticipant", &f.base, TWIRP_UNKNOWN, "not implemented", NULL);
}

static void an_absent_room_is_answered_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct twirp_error e = {0};
        const struct room_method *const m = method(all[i]);
        if (m->api == ROOM_API_LIST_PARTICIPANTS) {
            assert_int_equal(room_method_absent(m, &e), 0);
            continue;
        }
        assert_int_equal(room_method_absent(m, &e), -ENOENT);
        assert_int_equal(e.code, TWIRP_NOT_FOUND);
        bool const room = m->api == ROOM_API_DELETE_ROOM || m->api == ROOM_API_SEND_DATA ||
                          m->api == ROOM_API_UPDATE_ROOM_METADATA;
        assert_string_equal(e.msg,
                            room ? "requested room does not exist" : "participant does not exist");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_method_needs_its_grant),
        cmocka_unit_test(rooms_are_checked),
        cmocka_unit_test(participants_are_checked),
        cmocka_unit_test(data_calls_and_moves_are_checked),
        cmocka_unit_test(an_absent_room_is_answered_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

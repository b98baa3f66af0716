// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// COVERS: pbjson_read pbjson_write
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/svc/jsonx.h"
#include "common/svc/pbjson.h"

static char line[256u << 10];

static int read_as(const ProtobufCMessageDescriptor *type, const char *text, struct pbuf **ret)
{
    return pbjson_read(type, bytes_str(text), &PBJSON_LIMITS_DEFAULT, ret);
}

// The JSON of m; freed by the next call.
static const char *json_of(const ProtobufCMessage *m, unsigned flags)
{
    static char text[4096];
    struct dynbuf b;
    dynbuf_init(&b, 1u << 20);
    assert_int_equal(pbjson_write(m, flags, &b), 0);
    (void)snprintf(text, sizeof(text), "%s", dynbuf_cstr(&b));
    dynbuf_done(&b);
    return text;
}

// Reads text and writes it again.
static void assert_becomes(const ProtobufCMessageDescriptor *type, const char *in, const char *out)
{
    struct pbuf *p = NULL;
    int const r = read_as(type, in, &p);
    if (r != 0) {
        fail_msg("%s: %d", in, r);
    }
    assert_string_equal(json_of(p->msg, 0), out);
    pbuf_free(p);
}

static void assert_refused(const ProtobufCMessageDescriptor *type, const char *in, int want)
{
    struct pbuf *p = NULL;
    int const r = read_as(type, in, &p);
    if (r != want) {
        fail_msg("%s: %d", in, r);
    }
    assert_null(p);
}

// The same JSON whatever the order of its members.
static char *sorted(struct bytes text)
{
    struct jsonx *j = NULL;
    assert_int_equal(jsonx_parse(text, &JSONX_LIMITS_DEFAULT, &j), 0);
    char *const out = jsonx_dump(j, JSONX_SORT_KEYS, NULL);
    jsonx_free(j);
    return out;
}

static void a_servers_webhooks_survive_both_ways(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/signalling/webhooks.jsonl", "r");
    assert_non_null(f);
    unsigned n = 0;
    while (fgets(line, sizeof(line), f)) {
        CLEANUP(jsonx_free) struct jsonx *row = NULL;
        struct bytes body;
        struct pbuf *p = NULL;
        struct dynbuf again;
        assert_int_equal(jsonx_parse(bytes_str(line), &JSONX_LIMITS_DEFAULT, &row), 0);
        assert_int_equal(jsonx_get_str(row, "body", &body), 0);
        assert_int_equal(
            pbjson_read(&livekit__webhook_event__descriptor, body, &PBJSON_LIMITS_DEFAULT, &p), 0);
        dynbuf_init(&again, 1u << 20);
        assert_int_equal(pbjson_write(p->msg, 0, &again), 0);
        char *const want = sorted(body);
        char *const got = sorted(dynbuf_view(&again));
        assert_string_equal(got, want);
        mem_free(want);
        mem_free(got);
        dynbuf_done(&again);
        pbuf_free(p);
        n++;
    }
    (void)fclose(f);
    assert_int_equal(n, 22);
}

static void names_are_camel_case_or_those_of_the_schema(void **state)
{
    (void)state;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "r");
    LK_SET(&room, num_participants, 2);
    LK_SET(&room, creation_time_ms, INT64_C(1795251378218));
    assert_string_equal(
        json_of(&room.base, 0),
        "{\"name\":\"r\",\"numParticipants\":2,\"creationTimeMs\":\"1795251378218\"}");
    assert_string_equal(
        json_of(&room.base, PBJSON_PROTO_NAMES),
        "{\"name\":\"r\",\"num_participants\":2,\"creation_time_ms\":\"1795251378218\"}");
    assert_becomes(&livekit__room__descriptor,
                   "{\"num_participants\":1,\"creationTime\":5,\"creation_time_ms\":\"6\"}",
                   "{\"creationTime\":\"5\",\"numParticipants\":1,\"creationTimeMs\":\"6\"}");
    assert_becomes(&livekit__trickle_request__descriptor, "{\"candidateInit\":\"{}\"}",
                   "{\"candidateInit\":\"{}\"}");
    // Neither is the other half of a name, nor a name in other letters.
    assert_becomes(&livekit__room__descriptor,
                   "{\"num\":1,\"numParticipantsX\":1,\"NumParticipants\":1,\"numparticipants\":1,"
                   "\"num_Participants\":1,\"_\":1,\"\":1}",
                   "{}");
}

static void twirp_answers_name_everything(void **state)
{
    (void)state;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, sid, "RM_x");
    assert_string_equal(
        json_of(&room.base, PBJSON_PROTO_NAMES | PBJSON_DEFAULTS),
        "{\"sid\":\"RM_x\",\"name\":\"\",\"empty_timeout\":0,\"max_participants\":0,"
        "\"creation_time\":\"0\",\"turn_password\":\"\",\"enabled_codecs\":[],\"metadata\":\"\","
        "\"num_participants\":0,\"active_recording\":false,\"num_publishers\":0,\"version\":null,"
        "\"departure_timeout\":0,\"creation_time_ms\":\"0\"}");
    Livekit__ParticipantInfo who = LIVEKIT__PARTICIPANT_INFO__INIT;
    const char *const text = json_of(&who.base, PBJSON_PROTO_NAMES | PBJSON_DEFAULTS);
    assert_non_null(strstr(text, "\"state\":\"JOINING\""));
    assert_non_null(strstr(text, "\"attributes\":{}"));
    assert_non_null(strstr(text, "\"tracks\":[]"));
    assert_non_null(strstr(text, "\"permission\":null"));
    // A member of a oneof is there or it is not.
    Livekit__SignalResponse sr = LIVEKIT__SIGNAL_RESPONSE__INIT;
    assert_string_equal(json_of(&sr.base, PBJSON_DEFAULTS), "{}");
}

static void enums_are_names_or_numbers(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__participant_info__descriptor;
    assert_becomes(type, "{\"state\":\"ACTIVE\",\"disconnectReason\":14}",
                   "{\"state\":\"ACTIVE\",\"disconnectReason\":\"CONNECTION_TIMEOUT\"}");
    assert_becomes(type, "{\"state\":77}", "{\"state\":77}");
    assert_becomes(type, "{\"state\":2.0,\"kind\":\"WHO_KNOWS\"}", "{\"state\":\"ACTIVE\"}");
    assert_becomes(type, "{\"kindDetails\":[\"FORWARDED\",\"NEW\",0,9]}",
                   "{\"kindDetails\":[\"FORWARDED\",\"CLOUD_AGENT\",9]}");
    assert_refused(type, "{\"state\":true}", -EBADMSG);
    assert_refused(type, "{\"state\":4294967296}", -EBADMSG);
}

static void integers_are_numbers_or_text_within_their_range(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const ping = &livekit__ping__descriptor;
    assert_becomes(ping, "{\"timestamp\":-9223372036854775808,\"rtt\":9223372036854775807}",
                   "{\"timestamp\":\"-9223372036854775808\",\"rtt\":\"9223372036854775807\"}");
    assert_becomes(ping, "{\"timestamp\":\"-9223372036854775808\",\"rtt\":1.5e3}",
                   "{\"timestamp\":\"-9223372036854775808\",\"rtt\":\"1500\"}");
    assert_becomes(ping, "{\"rtt\":0}", "{\"rtt\":\"0\"}"); // given is present
    const char *const wrong[] = {
        "{\"rtt\":\"9223372036854775808\"}",
        "{\"rtt\":9223372036854775808}",
        "{\"rtt\":\"\"}",
        "{\"rtt\":\"-\"}",
        "{\"rtt\":\"1 \"}",
        "{\"rtt\":\"0x1\"}",
        "{\"rtt\":1.5}",
        "{\"rtt\":1e30}",
        "{\"rtt\":true}",
        "{\"rtt\":{}}",
        "{\"rtt\":[1]}",
        "{\"rtt\":\"99999999999999999999999\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_refused(ping, wrong[i], -EBADMSG);
    }
    const ProtobufCMessageDescriptor *const room = &livekit__room__descriptor;
    assert_becomes(room, "{\"emptyTimeout\":4294967295}", "{\"emptyTimeout\":4294967295}");
    assert_becomes(room, "{\"emptyTimeout\":\"7\"}", "{\"emptyTimeout\":7}");
    assert_refused(room, "{\"emptyTimeout\":4294967296}", -EBADMSG);
    assert_refused(room, "{\"emptyTimeout\":-1}", -EBADMSG);
    const ProtobufCMessageDescriptor *const layer = &livekit__video_layer__descriptor;
    assert_becomes(layer, "{\"spatialLayer\":-2147483648}", "{\"spatialLayer\":-2147483648}");
    assert_refused(layer, "{\"spatialLayer\":2147483648}", -EBADMSG);
}

static void reals_may_be_what_json_has_no_number_for(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__speaker_info__descriptor;
    assert_becomes(type, "{\"level\":0.5}", "{\"level\":0.5}");
    assert_becomes(type, "{\"level\":\"0.25\"}", "{\"level\":0.25}");
    assert_becomes(type, "{\"level\":2}", "{\"level\":2.0}");
    assert_becomes(type, "{\"level\":\"NaN\"}", "{\"level\":\"NaN\"}");
    assert_becomes(type, "{\"level\":\"-Infinity\"}", "{\"level\":\"-Infinity\"}");
    assert_refused(type, "{\"level\":1e39}", -EBADMSG);
    assert_refused(type, "{\"level\":\" 1\"}", -EBADMSG);
    assert_refused(type, "{\"level\":\"\"}", -EBADMSG);
    assert_refused(type, "{\"level\":\"nan\"}", -EBADMSG);
    assert_refused(type, "{\"level\":false}", -EBADMSG);
}

static void bytes_are_base64_of_either_alphabet(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__send_data_request__descriptor;
    assert_becomes(type, "{\"data\":\"+/8=\"}", "{\"data\":\"+/8=\"}");
    assert_becomes(type, "{\"data\":\"+/8\"}", "{\"data\":\"+/8=\"}");
    assert_becomes(type, "{\"data\":\"-_8=\"}", "{\"data\":\"+/8=\"}");
    assert_becomes(type, "{\"data\":\"-_8\"}", "{\"data\":\"+/8=\"}");
    assert_becomes(type, "{\"data\":\"\"}", "{}");
    assert_refused(type, "{\"data\":\"a b=\"}", -EBADMSG);
    assert_refused(type, "{\"data\":\"=\"}", -EBADMSG);
    assert_refused(type, "{\"data\":5}", -EBADMSG);
}

static void text_is_utf_8_without_zero_bytes(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__room__descriptor;
    assert_becomes(type, "{\"name\":\"\\u00e9\\ud83d\\ude00\\n\\\"\"}",
                   "{\"name\":\"\xc3\xa9\xf0\x9f\x98\x80\\n\\\"\"}");
    assert_refused(type, "{\"name\":\"a\\u0000\"}", -EBADMSG);
    assert_refused(type, "{\"name\":\"\xff\"}", -EBADMSG);
    assert_refused(type, "{\"name\":\"\\ud800\"}", -EBADMSG);
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    char bad[] = "\xff";
    room.name = bad;
    struct dynbuf b;
    dynbuf_init(&b, 100);
    assert_int_equal(pbjson_write(&room.base, 0, &b), -EBADMSG);
    dynbuf_done(&b);
}

static void maps_are_objects(void **state)
{
    (void)state;
    assert_becomes(&livekit__participant_info__descriptor,
                   "{\"attributes\":{\"b\":\"1\",\"a\":\"\",\"\":\"x\"}}",
                   "{\"attributes\":{\"b\":\"1\",\"a\":\"\",\"\":\"x\"}}");
    assert_becomes(&livekit__participant_info__descriptor, "{\"attributes\":{}}", "{}");
    assert_becomes(&livekit__data_track_subscriber_handles__descriptor,
                   "{\"subHandles\":{\"7\":{\"trackSid\":\"DTR_x\"},\"4294967295\":{}}}",
                   "{\"subHandles\":{\"7\":{\"trackSid\":\"DTR_x\"},\"4294967295\":{}}}");
    assert_refused(&livekit__data_track_subscriber_handles__descriptor,
                   "{\"subHandles\":{\"x\":{}}}", -EBADMSG);
    assert_refused(&livekit__participant_info__descriptor, "{\"attributes\":{\"a\":null}}",
                   -EBADMSG);
    assert_refused(&livekit__participant_info__descriptor, "{\"attributes\":{\"a\":1}}", -EBADMSG);
    assert_refused(&livekit__participant_info__descriptor, "{\"attributes\":[]}", -EBADMSG);
}

static void one_member_of_a_oneof(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__signal_request__descriptor;
    assert_becomes(type, "{\"ping\":\"0\"}", "{\"ping\":\"0\"}");
    assert_becomes(type, "{\"offer\":null,\"leave\":{}}", "{\"leave\":{}}");
    assert_becomes(type, "{\"addTrack\":{\"cid\":\"c\",\"layers\":[{\"rid\":\"q\"},{}]}}",
                   "{\"addTrack\":{\"cid\":\"c\",\"layers\":[{\"rid\":\"q\"},{}]}}");
    assert_refused(type, "{\"ping\":1,\"leave\":{}}", -EBADMSG);
    assert_becomes(&livekit__simulate_scenario__descriptor, "{\"nodeFailure\":false}",
                   "{\"nodeFailure\":false}");
}

static void what_is_read_can_be_sent_on_the_wire(void **state)
{
    (void)state;
    struct pbuf *p = NULL;
    assert_int_equal(read_as(&livekit__signal_response__descriptor,
                             "{\"update\":{\"participants\":[{\"sid\":\"PA_1\",\"attributes\":{"
                             "\"k\":\"v\"},\"joinedAt\":\"3\",\"isPublisher\":true}]}}",
                             &p),
                     0);
    struct dynbuf wire;
    dynbuf_init(&wire, 1000);
    assert_int_equal(pbuf_pack(p->msg, &wire), 0);
    pbuf_free(p);
    assert_int_equal(lk_unpack_signal_response(dynbuf_view(&wire), &p), 0);
    const Livekit__SignalResponse *const m = p->msg;
    assert_int_equal(m->message_case, LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE);
    const Livekit__ParticipantInfo *const who = m->update->participants[0];
    assert_string_equal(who->attributes[0]->value, "v");
    assert_int_equal(who->joined_at, 3);
    assert_true(who->is_publisher);
    pbuf_free(p);
    dynbuf_done(&wire);
}

static void unknown_fields_are_skipped_and_null_is_absent(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *const type = &livekit__webhook_event__descriptor;
    assert_becomes(type, "{\"room\":null,\"participant\":{\"x\":[{}]},\"new\":{\"a\":[[1]]}}",
                   "{\"participant\":{}}");
    assert_becomes(type, "{\"egressInfo\":{\"egressId\":\"EG_x\"}}", "{\"egressInfo\":{}}");
    assert_refused(type, "", -EBADMSG);
    assert_refused(type, "[]", -EBADMSG);
    assert_refused(type, "null", -EBADMSG);
    assert_refused(type, "{\"room\":7}", -EBADMSG);
    assert_refused(type, "{\"id\":\"a\",\"id\":\"a\"}", -EBADMSG);
    assert_refused(type, "{\"createdAt\":1,\"created_at\":1}", -EBADMSG);
    assert_refused(&livekit__participant_update__descriptor, "{\"participants\":[null]}", -EBADMSG);
    assert_refused(&livekit__participant_update__descriptor, "{\"participants\":{}}", -EBADMSG);
}

static void limits_hold(void **state)
{
    (void)state;
    struct pbuf *p = NULL;
    struct dynbuf text;
    dynbuf_init(&text, 1u << 20);
    dynbuf_add_str(&text, "{\"participants\":[{}");
    for (unsigned i = 0; i < 10000; i++) {
        dynbuf_add_str(&text, ",{}");
    }
    dynbuf_add_str(&text, "]}");
    struct pbjson_limits const little_text = {.max_bytes = 1000, .max_memory = 1u << 20};
    struct pbjson_limits const little_memory = {.max_bytes = 1u << 20, .max_memory = 1u << 20};
    const ProtobufCMessageDescriptor *const type = &livekit__participant_update__descriptor;
    assert_int_equal(pbjson_read(type, dynbuf_view(&text), &little_text, &p), -E2BIG);
    assert_int_equal(pbjson_read(type, dynbuf_view(&text), &little_memory, &p), -E2BIG);
    assert_null(p);
    dynbuf_reset(&text);
    dynbuf_add_str(&text, "{\"x\":");
    for (unsigned i = 0; i < 200; i++) {
        dynbuf_add_u8(&text, '[');
    }
    assert_int_equal(pbjson_read(type, dynbuf_view(&text), &little_memory, &p), -E2BIG);
    dynbuf_done(&text);

    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, "more than there is room for");
    dynbuf_init(&text, 10);
    assert_int_equal(pbjson_write(&room.base, 0, &text), -ENOBUFS);
    dynbuf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_servers_webhooks_survive_both_ways),
        cmocka_unit_test(names_are_camel_case_or_those_of_the_schema),
        cmocka_unit_test(twirp_answers_name_everything),
        cmocka_unit_test(enums_are_names_or_numbers),
        cmocka_unit_test(integers_are_numbers_or_text_within_their_range),
        cmocka_unit_test(reals_may_be_what_json_has_no_number_for),
        cmocka_unit_test(bytes_are_base64_of_either_alphabet),
        cmocka_unit_test(text_is_utf_8_without_zero_bytes),
        cmocka_unit_test(maps_are_objects),
        cmocka_unit_test(one_member_of_a_oneof),
        cmocka_unit_test(what_is_read_can_be_sent_on_the_wire),
        cmocka_unit_test(unknown_fields_are_skipped_and_null_is_absent),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// Webhooks that were sent to the original service (tests/data/authorization/webhooks.jsonl, with
// what it did and what we answer) and those that a LiveKit server sent during a call
// (tests/data/signalling/webhooks.jsonl).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "jwt-service/base/webhook_receiver.h"

static char line[256u << 10];

static struct api_keys *keys_of(const char *secret)
{
    struct api_keys *const k = api_keys_new();
    assert_int_equal(api_keys_add(k, bytes_str("devkey"), bytes_str(secret)), 0);
    return k;
}

static const char *text_of(const struct jsonx *obj, const char *key)
{
    const char *s = "";
    (void)!jsonx_get_cstr(obj, key, &s);
    return s;
}

static int64_t number_of(const struct jsonx *obj, const char *key)
{
    int64_t v = 0;
    (void)!jsonx_get_int(obj, key, &v);
    return v;
}

// The body; a row with repeat_x has one '@' that stands for so many x.
static struct dynbuf body_of(const struct jsonx *row)
{
    struct dynbuf b;
    dynbuf_init(&b, (size_t)16 << 20);
    for (const char *s = text_of(row, "body"); *s; s++) {
        int64_t const n = *s == '@' ? number_of(row, "repeat_x") : 0;
        for (int64_t i = 0; i < n; i++) {
            dynbuf_add_u8(&b, 'x');
        }
        if (n == 0) {
            dynbuf_add_u8(&b, (uint8_t)*s);
        }
    }
    assert_true(dynbuf_ok(&b));
    return b;
}

static void check_row(const struct api_keys *keys, const struct jsonx *row)
{
    const char *const name = text_of(row, "name");
    struct dynbuf body = body_of(row);
    wall_t const now = {number_of(row, "now") * US_PER_S};
    struct sfu_event e = {.reason = -1};
    struct webhook_verdict v = {0};
    bool const ok = webhook_verify(keys, now, bytes_str(text_of(row, "authorization")),
                                   dynbuf_view(&body), &e, &v);
    dynbuf_done(&body);
    if (v.status != number_of(row, "status") || ok != (v.status == 200)) {
        fail_msg("%s: %d %s", name, v.status, v.refusal.text);
    }
    if (!ok) {
        assert_int_equal(e.reason, -1); // untouched
        assert_string_not_equal(v.refusal.text, "");
        return;
    }
    if (strcmp(sfu_event_type_name(e.type), text_of(row, "event")) != 0 ||
        e.reason != number_of(row, "reason")) {
        fail_msg("%s: %s, reason %d", name, sfu_event_type_name(e.type), e.reason);
    }
    sfu_event_done(&e);
}

static void each_recorded_request_gets_our_answer(void **state)
{
    (void)state;
    struct api_keys *const keys = keys_of("devsecretdevsecretdevsecretdevsecret");
    FILE *const f = fopen("tests/data/authorization/webhooks.jsonl", "r");
    assert_non_null(f);
    unsigned n = 0;
    while (fgets(line, sizeof(line), f)) {
        CLEANUP(jsonx_free) struct jsonx *row = NULL;
        assert_int_equal(jsonx_parse(bytes_str(line), &JSONX_LIMITS_DEFAULT, &row), 0);
        check_row(keys, row);
        n++;
    }
    (void)fclose(f);
    assert_int_equal(n, 57);
    api_keys_free(keys);
}

static void a_servers_events_are_read_in_full(void **state)
{
    (void)state;
    struct api_keys *const keys = keys_of("devsecret-0123456789abcdef0123456789abcdef");
    FILE *const f = fopen("tests/data/signalling/webhooks.jsonl", "r");
    assert_non_null(f);
    unsigned count[SFU_EVENT_TYPE_COUNT] = {0};
    unsigned by_client = 0;
    while (fgets(line, sizeof(line), f)) {
        CLEANUP(jsonx_free) struct jsonx *row = NULL;
        assert_int_equal(jsonx_parse(bytes_str(line), &JSONX_LIMITS_DEFAULT, &row), 0);
        wall_t const now = {number_of(row, "now") * US_PER_S};
        struct sfu_event e;
        struct webhook_verdict v;
        assert_true(webhook_verify(keys, now, bytes_str(text_of(row, "authorization")),
                                   bytes_str(text_of(row, "body")), &e, &v));
        assert_int_equal(strncmp(e.room, "room-", 5), 0);
        assert_int_equal(strncmp(e.id, "EV_", 3), 0);
        assert_true(e.created_at_s >= 1795251378 && e.created_at_s <= 1795251500);
        if (e.type <= SFU_EVENT_ABORTED) {
            assert_int_equal(strncmp(e.sid, "PA_", 3), 0);
            assert_string_not_equal(e.identity, "");
        }
        count[e.type]++;
        by_client += e.reason == SFU_REASON_CLIENT_INITIATED ? 1 : 0;
        sfu_event_done(&e);
    }
    (void)fclose(f);
    assert_int_equal(count[SFU_EVENT_JOINED], 4);
    assert_int_equal(count[SFU_EVENT_LEFT], 4);
    assert_int_equal(count[SFU_EVENT_ABORTED], 2);
    assert_int_equal(count[SFU_EVENT_ROOM_FINISHED], 3);
    assert_int_equal(count[SFU_EVENT_OTHER], 9);
    assert_int_equal(by_client, 2);
    api_keys_free(keys);
}

static int status_of(const struct api_keys *keys, const char *body, enum sfu_event_type *ret_type)
{
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    char *token = NULL;
    assert_int_equal(webhook_sign(api_keys_first(keys), now, bytes_str(body), &token), 0);
    struct sfu_event e = {0};
    struct webhook_verdict v;
    if (webhook_verify(keys, now, bytes_str(token), bytes_str(body), &e, &v)) {
        *ret_type = e.type;
    }
    sfu_event_done(&e);
    mem_free(token);
    return v.status;
}

static void what_a_body_may_be(void **state)
{
    (void)state;
    struct api_keys *const keys = keys_of("devsecret");
    const struct {
        const char *body;
        int status;
        enum sfu_event_type type;
    } rows[] = {
        // The body that tests of the original send: createdAt is a number, the id is always the same.
        {"{\"event\":\"participant_left\",\"room\":{\"name\":\"R\"},\"participant\":{\"identity\":"
         "\"I\",\"disconnectReason\":\"CLIENT_INITIATED\"},\"id\":\"evt_integration_test\","
         "\"createdAt\":0}",
         200, SFU_EVENT_LEFT},
        {"{\"event\":\"participant_left\",\"room\":null,\"participant\":null}", 200,
         SFU_EVENT_OTHER},
        {"{\"event\":\"room_finished\"}", 200, SFU_EVENT_OTHER},
        {"{\"event\":\"room_finished\",\"room\":{\"name\":\"R\",\"numParticipants\":\"3\"}}", 200,
         SFU_EVENT_ROOM_FINISHED},
        {"{\"event\":7}", 400, SFU_EVENT_OTHER},
        {"{\"room\":[]}", 400, SFU_EVENT_OTHER},
        {"{\"room\":{\"name\":\"a\\u0000b\"}}", 400, SFU_EVENT_OTHER},
        {"{\"createdAt\":\"soon\"}", 400, SFU_EVENT_OTHER},
        {"{\"event\":\"a\",\"event\":\"b\"}", 400, SFU_EVENT_OTHER},
        {"null", 400, SFU_EVENT_OTHER},
        {"{} {}", 400, SFU_EVENT_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum sfu_event_type type = SFU_EVENT_OTHER;
        int const status = status_of(keys, rows[i].body, &type);
        if (status != rows[i].status || type != rows[i].type) {
            fail_msg("%s: %d %s", rows[i].body, status, sfu_event_type_name(type));
        }
    }
    api_keys_free(keys);
}

static void a_literal_event_can_be_done_with(void **state)
{
    (void)state;
    struct sfu_event e = {.type = SFU_EVENT_JOINED, .room = "r", .identity = "i", .sid = "PA_1"};
    sfu_event_done(&e);
    sfu_event_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recorded_request_gets_our_answer),
        cmocka_unit_test(a_servers_events_are_read_in_full),
        cmocka_unit_test(what_a_body_may_be),
        cmocka_unit_test(a_literal_event_can_be_done_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: matrix_error
// Requests that a real lk-jwt-service answered, read by ours, and what we add.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/svc/jsonx.h"
#include "jwt-service/base/requests.h"

static char line_buf[64u << 10];
static struct token_request req;
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 4096, 4u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static enum matrix_error parse(enum token_endpoint e, const char *body)
{
    return token_request_parse(e, bytes_str(body), false, &arena, &req);
}

// What we decide otherwise than the original, each allowed by authorization-service 1.4 and 1.5.
static const struct {
    const char *name; // end of the recording's name
    enum matrix_error ours;
} deviations[] = {
    {"room name with odd signs", MATRIX_FIELD_NUL}, // one of them is NUL
    {"delay_timeout \"1000\"", MATRIX_OK},
    {"delay_timeout 9223372036855 (ms to ns overflow)", MATRIX_OK}, // the caller clamps
};

static bool ends_with(const char *s, const char *end)
{
    size_t const n = strlen(s);
    size_t const m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static void check_recorded(const struct jsonx *c)
{
    const char *name = NULL;
    const char *path = NULL;
    const char *text = NULL;
    const char *error = NULL;
    int64_t status = 0;
    assert_int_equal(jsonx_get_cstr(c, "name", &name), 0);
    assert_int_equal(jsonx_get_cstr(c, "path", &path), 0);
    assert_int_equal(jsonx_get_cstr(c, "body", &text), 0);
    assert_int_equal(jsonx_get_cstr(c, "error", &error), 0);
    assert_int_equal(jsonx_get_int(c, "status", &status), 0);
    struct dynbuf body;
    dynbuf_init(&body, sizeof(line_buf));
    if (strncmp(text, "base64:", 7) == 0) {
        assert_int_equal(base64_decode(BASE64_STD, bytes_str(text + 7), &body), 0);
    } else {
        dynbuf_add_str(&body, text);
    }
    enum token_endpoint const endpoint = strcmp(path, "/sfu/get") == 0     ? TOKEN_SFU_GET
                                         : strcmp(path, "/get_token") == 0 ? TOKEN_GET_TOKEN
                                                                           : TOKEN_DELEGATE;
    enum matrix_error const got =
        token_request_parse(endpoint, dynbuf_view(&body), false, &arena, &req);
    dynbuf_done(&body);
    for (size_t i = 0; i < ARRAY_LEN(deviations); i++) {
        if (ends_with(name, deviations[i].name)) {
            assert_int_equal(got, deviations[i].ours);
            return;
        }
    }
    bool const passed = status == 200 || status == 401;
    if (passed ? got != MATRIX_OK
               : matrix_error_status(got) != status || strcmp(matrix_error_text(got), error) != 0) {
        fail_msg("%s: recorded %d %s, ours %s", name, (int)status, error, matrix_error_text(got));
    }
}

static void recorded_requests_get_the_recorded_verdict(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/authorization/odd_requests.jsonl", "r");
    assert_non_null(f);
    size_t n = 0;
    while (fgets(line_buf, sizeof(line_buf), f)) {
        struct jsonx *c = NULL;
        assert_int_equal(jsonx_parse(bytes_str(line_buf), &JSONX_LIMITS_DEFAULT, &c), 0);
        check_recorded(c);
        jsonx_free(c);
        n++;
    }
    (void)fclose(f);
    assert_int_equal(n, 314);
}

#define OPENID "\"openid_token\":{\"access_token\":\"t\",\"matrix_server_name\":\"example.com\"}"

static void a_legacy_request_is_read(void **state)
{
    (void)state;
    assert_int_equal(parse(TOKEN_SFU_GET, "{\"room\":\"!r:example.com\"," OPENID
                                          ",\"device_id\":\"DEV\",\"delay_id\":null}"),
                     MATRIX_OK);
    assert_string_equal(req.room, "!r:example.com");
    assert_string_equal(req.slot, "m.call#ROOM");
    assert_string_equal(req.device_id, "DEV");
    assert_string_equal(req.access_token, "t");
    assert_string_equal(req.server_name, "example.com");
    assert_string_equal(req.delay_id, "");
}

static void a_matrix2_request_is_read(void **state)
{
    (void)state;
    assert_int_equal(
        parse(TOKEN_GET_TOKEN,
              "{\"room_id\":\"!r:e\",\"slot_id\":\"m.call#ROOM\"," OPENID
              ",\"member\":{\"id\":\"m\",\"claimed_user_id\":\"@a:e\",\"claimed_device_id\":\"D\"},"
              "\"delay_id\":\"syd\",\"delay_timeout\":8000}"),
        MATRIX_OK);
    assert_string_equal(req.member_id, "m");
    assert_string_equal(req.claimed_user_id, "@a:e");
    assert_string_equal(req.device_id, "D");
    assert_string_equal(req.delay_id, "syd");
    assert_int_equal(req.delay_timeout_ms, 8000);
}

static void keys_are_compared_as_go_does(void **state)
{
    (void)state;
    // KELVIN SIGN and LONG S fold to ASCII; the last of a key wins; objects add up; null is nothing.
    assert_int_equal(parse(TOKEN_SFU_GET,
                           "{\"ROOM\":\"!a\",\"openid_to\xe2\x84\xaa"
                           "en\":{\"acce\xc5\xbfs_token\":\"t\"},"
                           "\"Openid_Token\":{\"matrix_server_name\":\"example.com\"},"
                           "\"room\":\"!b\",\"RooM\":null,\"\xe2\x84\":1}"),
                     MATRIX_NOT_JSON); // the last key is no key
    assert_int_equal(parse(TOKEN_SFU_GET,
                           "{\"ROOM\":\"!a\",\"openid_to\xe2\x84\xaa"
                           "en\":{\"acce\xc5\xbfs_token\":\"t\"},"
                           "\"Openid_Token\":{\"matrix_server_name\":\"example.com\"},"
                           "\"room\":\"!b\",\"RooM\":null}"),
                     MATRIX_OK);
    assert_string_equal(req.room, "!b");
    assert_string_equal(req.access_token, "t");
    assert_string_equal(req.server_name, "example.com");
    assert_int_equal(parse(TOKEN_SFU_GET, "{\"roo\":\"!a\"," OPENID "}"), MATRIX_NOT_JSON);
    assert_int_equal(parse(TOKEN_SFU_GET, "{\"rooms\":\"!a\"," OPENID "}"), MATRIX_NOT_JSON);
}

#define MEMBER "\"member\":{\"id\":\"m\",\"claimed_user_id\":\"@a:e\",\"claimed_device_id\":\"D\"}"
#define DELEGATE(delay)                                                                            \
    "{\"room_id\":\"!r:e\",\"slot_id\":\"m.call#ROOM\"," OPENID "," MEMBER delay "}"

static void delegation_needs_a_delay(void **state)
{
    (void)state;
    assert_int_equal(parse(TOKEN_DELEGATE, DELEGATE("")), MATRIX_MISSING_DELAY);
    assert_int_equal(parse(TOKEN_DELEGATE, DELEGATE(",\"delay_id\":\"a\",\"delay_timeout\":0")),
                     MATRIX_MISSING_DELAY);
    assert_int_equal(parse(TOKEN_DELEGATE, DELEGATE(",\"delay_id\":\"a\",\"delay_timeout\":1")),
                     MATRIX_OK);
    assert_int_equal(req.delay_timeout_ms, 1);
    assert_int_equal(
        parse(TOKEN_DELEGATE, DELEGATE(",\"delay_id\":\"a\",\"delay_timeout\":9223372036855")),
        MATRIX_OK);
    assert_int_equal(req.delay_timeout_ms, REQUEST_DELAY_MAX_MS);
}

static void a_delay_id_that_is_no_segment_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        DELEGATE(",\"delay_timeout\":1,\"delay_id\":\".\""),
        DELEGATE(",\"delay_timeout\":1,\"delay_id\":\"..\""),
        DELEGATE(",\"delay_timeout\":1,\"delay_id\":\"a\\nb\""),
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_int_equal(parse(TOKEN_DELEGATE, bodies[i]), MATRIX_BAD_DELAY_ID);
    }
    // What else is odd is escaped where it is used.
    assert_int_equal(parse(TOKEN_DELEGATE, DELEGATE(",\"delay_timeout\":1,\"delay_id\":\"../x\"")),
                     MATRIX_OK);
}

static void unknown_keys_pass_only_when_asked_for(void **state)
{
    (void)state;
    static const char body[] = "{\"room\":\"!r\"," OPENID ",\"new\":1}";
    assert_int_equal(parse(TOKEN_SFU_GET, body), MATRIX_NOT_JSON);
    assert_int_equal(token_request_parse(TOKEN_SFU_GET, bytes_str(body), true, &arena, &req),
                     MATRIX_OK);
}

static void nul_and_overlong_identifiers_are_bad_json(void **state)
{
    (void)state;
    assert_int_equal(parse(TOKEN_SFU_GET, "{\"room\":\"!r\\u0000x\"," OPENID "}"),
                     MATRIX_FIELD_NUL);
    struct dynbuf b;
    dynbuf_init(&b, 1u << 16);
    dynbuf_add_str(&b, "{\"room\":\"!r\"," OPENID ",\"device_id\":\"");
    for (int i = 0; i < 256; i++) {
        dynbuf_add_u8(&b, 'd');
    }
    dynbuf_add_str(&b, "\"}");
    assert_int_equal(parse(TOKEN_SFU_GET, dynbuf_cstr(&b)), MATRIX_FIELD_TOO_LONG);
    dynbuf_done(&b);
    // What is missing is told first.
    assert_int_equal(parse(TOKEN_SFU_GET, "{\"room\":\"\",\"device_id\":\"\\u0000\"}"),
                     MATRIX_MISSING_ROOM);
}

static void nesting_and_size_are_bounded(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, 4u << 20);
    for (int i = 0; i < 20000; i++) {
        dynbuf_add_u8(&b, '[');
    }
    assert_int_equal(parse(TOKEN_SFU_GET, dynbuf_cstr(&b)), MATRIX_NOT_JSON);
    dynbuf_reset(&b);
    dynbuf_add_u8(&b, '"');
    for (size_t i = 0; i < REQUEST_BODY_MAX; i++) {
        dynbuf_add_u8(&b, 'a');
    }
    dynbuf_add_u8(&b, '"');
    assert_int_equal(parse(TOKEN_SFU_GET, dynbuf_cstr(&b)), MATRIX_NOT_JSON);
    dynbuf_done(&b);
}

static void error_bodies_have_the_matrix_form(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, 1024);
    matrix_error_write(MATRIX_UNAUTHORIZED, 0, &b);
    assert_string_equal(dynbuf_cstr(&b), "{\"errcode\":\"M_UNAUTHORIZED\",\"error\":\"The request "
                                         "could not be authorised.\"}\n");
    for (int e = MATRIX_NOT_JSON; e < MATRIX_ERROR_COUNT; e++) {
        dynbuf_reset(&b);
        matrix_error_write((enum matrix_error)e, e % 2, &b);
        struct jsonx *j = NULL;
        assert_int_equal(jsonx_parse(dynbuf_view(&b), &JSONX_LIMITS_DEFAULT, &j), 0);
        jsonx_free(j);
        assert_true(matrix_error_status((enum matrix_error)e) >= 400);
    }
    dynbuf_done(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recorded_requests_get_the_recorded_verdict, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_legacy_request_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_matrix2_request_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_compared_as_go_does, setup, teardown),
        cmocka_unit_test_setup_teardown(delegation_needs_a_delay, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delay_id_that_is_no_segment_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_keys_pass_only_when_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_and_overlong_identifiers_are_bad_json, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting_and_size_are_bounded, setup, teardown),
        cmocka_unit_test(error_bodies_have_the_matrix_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

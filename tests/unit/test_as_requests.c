// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: as_auth
// Who may call and what bodies mean: the rows of authorization-service 11.3 that need no network.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "jwt-service/appservice/as_auth.h"
#include "jwt-service/appservice/as_requests.h"

#define BODY "\"url\":\"wss://s\",\"room_id\":\"!r:x\",\"slot_id\":\"s\",\"member_id\":\"m\""

static enum matrix_error parse(enum as_endpoint endpoint, const char *body, bool ignore_unknown,
                               struct as_request *ret)
{
    static struct arena arena;
    arena_done(&arena);
    arena_init(&arena, 512, 16384);
    enum matrix_error const e =
        as_request_parse(endpoint, bytes_str(body), ignore_unknown, &arena, ret);
    if (e != MATRIX_OK) {
        arena_done(&arena);
    }
    return e;
}

static void bodies_are_read(void **state)
{
    (void)state;
    struct as_request r;
    assert_int_equal(
        parse(AS_CLIENT_GET_TOKEN, "{" BODY ",\"server_name\":\"other.org\"}", false, &r),
        MATRIX_OK);
    assert_string_equal(r.url, "wss://s");
    assert_string_equal(r.room_id, "!r:x");
    assert_string_equal(r.slot_id, "s");
    assert_string_equal(r.member_id, "m");
    assert_string_equal(r.server_name, "other.org");
    assert_string_equal(r.user_id, "");
    assert_int_equal(parse(AS_CLIENT_DELEGATE, "{" BODY ",\"delay_id\":\"d\"}", false, &r),
                     MATRIX_OK);
    assert_string_equal(r.delay_id, "d");
    assert_int_equal(parse(AS_FEDERATION_GET_TOKEN, "{" BODY ",\"user_id\":\"@a:o\"}", false, &r),
                     MATRIX_OK);
    assert_string_equal(r.user_id, "@a:o");
    assert_int_equal(parse(AS_CLIENT_GET_TOKEN, "{" BODY ",\"server_name\":null}x", false, &r),
                     MATRIX_OK);
    assert_string_equal(r.server_name, "");
    parse(AS_CLIENT_GET_TOKEN, "", false, &r); // frees the strings
}

static void bad_bodies_are_told_apart(void **state)
{
    (void)state;
    static char long_id[400];
    static char long_body[600];
    memset(long_id, 'x', 300);
    (void)snprintf(long_body, sizeof(long_body),
                   "{\"url\":\"u\",\"room_id\":\"!r\",\"slot_id\":\"s\",\"member_id\":\"%s\"}",
                   long_id);
    const struct {
        enum as_endpoint endpoint;
        const char *body;
        enum matrix_error want;
    } rows[] = {
        {AS_CLIENT_GET_TOKEN, "", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "{not json", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "[]", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "\"x\"", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "null", MATRIX_AS_MISSING_FIELDS},
        {AS_CLIENT_GET_TOKEN, "{}", MATRIX_AS_MISSING_FIELDS},
        {AS_CLIENT_GET_TOKEN, "{" BODY ",\"extra\":1}", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "{" BODY ",\"delay_id\":\"d\"}", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN, "{" BODY ",\"server_name\":7}", MATRIX_NOT_JSON},
        {AS_CLIENT_GET_TOKEN,
         "{\"url\":\"\",\"room_id\":\"!r\",\"slot_id\":\"s\",\"member_id\":\"m\"}",
         MATRIX_AS_MISSING_FIELDS},
        {AS_CLIENT_GET_TOKEN, "{\"url\":\"u\",\"room_id\":\"!r\",\"slot_id\":\"s\"}",
         MATRIX_AS_MISSING_FIELDS},
        {AS_CLIENT_GET_TOKEN,
         "{\"url\":\"u\",\"room_id\":\"!r\\u0000\",\"slot_id\":\"s\",\"member_id\":\"m\"}",
         MATRIX_FIELD_NUL},
        {AS_CLIENT_GET_TOKEN, long_body, MATRIX_FIELD_TOO_LONG},
        {AS_CLIENT_DELEGATE, "{" BODY "}", MATRIX_AS_MISSING_DELAY},
        {AS_CLIENT_DELEGATE, "{" BODY ",\"delay_id\":\"\"}", MATRIX_AS_MISSING_DELAY},
        {AS_CLIENT_DELEGATE, "{" BODY ",\"delay_id\":\"d\",\"delay_timeout\":1}", MATRIX_NOT_JSON},
        {AS_FEDERATION_GET_TOKEN, "{" BODY "}", MATRIX_AS_MISSING_USER},
        {AS_FEDERATION_GET_TOKEN, "{\"user_id\":\"@a:o\"}", MATRIX_AS_MISSING_FIELDS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct as_request r = {.url = "untouched"};
        enum matrix_error const e = parse(rows[i].endpoint, rows[i].body, false, &r);
        if (e != rows[i].want) {
            fail_msg("%s: %s", rows[i].body, matrix_error_text(e));
        }
        assert_string_equal(r.url, "untouched");
    }
}

static void unknown_fields_pass_when_they_may(void **state)
{
    (void)state;
    struct as_request r;
    assert_int_equal(parse(AS_CLIENT_GET_TOKEN, "{" BODY ",\"extra\":{\"a\":1}}", true, &r),
                     MATRIX_OK);
    parse(AS_CLIENT_GET_TOKEN, "", false, &r);
}

static void the_homeserver_is_known_by_its_token(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum matrix_error want;
    } rows[] = {
        {"Bearer sesame", MATRIX_OK},
        {"bearer  sesame", MATRIX_OK},
        {NULL, MATRIX_MISSING_TOKEN},
        {"", MATRIX_MISSING_TOKEN},
        {"Bearer", MATRIX_MISSING_TOKEN},
        {"Bearer ", MATRIX_MISSING_TOKEN},
        {"Basic sesame", MATRIX_MISSING_TOKEN},
        {"sesame", MATRIX_MISSING_TOKEN},
        {"Bearer sesam", MATRIX_UNKNOWN_TOKEN},
        {"Bearer sesame ", MATRIX_UNKNOWN_TOKEN},
        {"Bearer sesamesesame", MATRIX_UNKNOWN_TOKEN},
        {"Bearer Sesame", MATRIX_UNKNOWN_TOKEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(as_auth_homeserver("sesame", rows[i].header), rows[i].want);
    }
    assert_int_equal(as_auth_homeserver("", "Bearer x"), MATRIX_UNKNOWN_TOKEN);
    assert_int_equal(matrix_error_status(MATRIX_MISSING_TOKEN), 401);
    assert_string_equal(matrix_error_code(MATRIX_MISSING_TOKEN), "M_MISSING_TOKEN");
    assert_string_equal(matrix_error_code(MATRIX_UNKNOWN_TOKEN), "M_UNKNOWN_TOKEN");
}

static void users_have_the_form_of_users(void **state)
{
    (void)state;
    static const char *const good[] = {"@a:example.org", "@a b/=+:example.org:8448", "@a:[::1]:1",
                                       "@\xc3\xa4:example.org", "@a:b:1"};
    static const char *const bad[] = {"",
                                      "@",
                                      "@a",
                                      "a:example.org",
                                      "@:example.org",
                                      "@a:",
                                      "@a:b c",
                                      "@a\n:example.org",
                                      "@a:example.org:0",
                                      "@a:b:c",
                                      "@a:exa_mple.org"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(as_auth_user_id_valid(good[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(as_auth_user_id_valid(bad[i]));
    }
    char longest[OPENID_USER_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "@a:", 3);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(as_auth_user_id_valid(longest));
    assert_string_equal(as_auth_server_of("@a:b:1"), "b:1");
    assert_string_equal(as_auth_server_of("a"), "");
}

static void callers_are_who_they_may_be(void **state)
{
    (void)state;
    assert_int_equal(as_auth_user("@a:example.org", "example.org"), MATRIX_OK);
    assert_int_equal(as_auth_user(NULL, "example.org"), MATRIX_MISSING_CALLER);
    assert_int_equal(as_auth_user("", "example.org"), MATRIX_MISSING_CALLER);
    assert_int_equal(as_auth_user("a", "example.org"), MATRIX_INVALID_USER);
    assert_int_equal(as_auth_user("@a:other.org", "example.org"), MATRIX_FOREIGN_USER);
    assert_int_equal(as_auth_user("@a:Example.org", "example.org"), MATRIX_FOREIGN_USER);

    assert_int_equal(as_auth_origin("other.org", "@a:other.org"), MATRIX_OK);
    assert_int_equal(as_auth_origin(NULL, "@a:other.org"), MATRIX_MISSING_CALLER);
    assert_int_equal(as_auth_origin("o r", "@a:other.org"), MATRIX_INVALID_ORIGIN);
    assert_int_equal(as_auth_origin("other.org", "a"), MATRIX_INVALID_USER);
    assert_int_equal(as_auth_origin("other.org", "@a:evil.org"), MATRIX_FOREIGN_USER);
    assert_int_equal(matrix_error_status(MATRIX_FOREIGN_USER), 403);
    assert_int_equal(matrix_error_status(MATRIX_MISSING_CALLER), 401);
    assert_string_equal(matrix_error_code(MATRIX_MISSING_CALLER), "M_UNAUTHORIZED");
    assert_string_equal(matrix_error_code(MATRIX_INVALID_USER), "M_INVALID_PARAM");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_read),
        cmocka_unit_test(bad_bodies_are_told_apart),
        cmocka_unit_test(unknown_fields_pass_when_they_may),
        cmocka_unit_test(the_homeserver_is_known_by_its_token),
        cmocka_unit_test(users_have_the_form_of_users),
        cmocka_unit_test(callers_are_who_they_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: lk
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lk/twirp.h"

static void codes_have_their_http_status_and_come_back_by_name(void **state)
{
    (void)state;
    assert_int_equal(twirp_code_http(TWIRP_NOT_FOUND), 404);
    assert_int_equal(twirp_code_http(TWIRP_UNAUTHENTICATED), 401);
    assert_int_equal(twirp_code_http(TWIRP_FAILED_PRECONDITION), 412);
    assert_int_equal(twirp_code_http(TWIRP_UNAVAILABLE), 503);
    for (int c = TWIRP_CANCELED; c < TWIRP_CODE_COUNT; c++) {
        assert_int_equal(twirp_code_of_name(bytes_str(twirp_code_name((enum twirp_code)c))), c);
    }
    assert_int_equal(twirp_code_of_name(bytes_str("tea_time")), TWIRP_UNKNOWN);
}

static struct twirp_call call;
static struct twirp_error error;

static int parse(const char *verb, const char *path, const char *type)
{
    return twirp_parse_request(verb, bytes_str(path), bytes_str(type), &call, &error);
}

static void requests_are_taken_apart(void **state)
{
    (void)state;
    assert_int_equal(parse("POST", "/twirp/livekit.RoomService/CreateRoom", "application/protobuf"),
                     0);
    assert_true(bytes_eq_str(call.service, "livekit.RoomService"));
    assert_true(bytes_eq_str(call.method, "CreateRoom"));
    assert_int_equal(call.format, TWIRP_PROTOBUF);
    assert_int_equal(
        parse("POST", "/sfu/twirp/livekit.RoomService/ListRooms", "Application/JSON;charset=UTF-8"),
        0);
    assert_int_equal(call.format, TWIRP_JSON);
    assert_int_equal(parse("POST", "/twirp/livekit.RoomService", "application/json"), -ENOENT);
    assert_int_equal(parse("POST", "/twirp/a/b/c", "application/json"), -ENOENT);
    assert_int_equal(parse("POST", "/twirp//b", "application/json"), -ENOENT);
    assert_int_equal(parse("POST", "/rtc", "application/json"), -ENOENT);
}

static void bad_routes_say_why(void **state)
{
    (void)state;
    assert_int_equal(parse("GET", "/twirp/s/M", "application/json"), -EINVAL);
    assert_string_equal(error.msg, "unsupported method \"GET\" (only POST is allowed)");
    assert_string_equal(error.meta_key, "twirp_invalid_route");
    assert_string_equal(error.meta_value, "GET /twirp/s/M");
    assert_int_equal(parse("POST", "/twirp/s/M", ""), -EINVAL);
    assert_string_equal(error.msg, "unexpected Content-Type: \"\"");
    assert_int_equal(parse("POST", "/twirp/s/M", "text/plain"), -EINVAL);
    assert_string_equal(error.msg, "unexpected Content-Type: \"text/plain\"");
    assert_int_equal(error.code, TWIRP_BAD_ROUTE);

    struct twirp_error const e = twirp_no_handler(bytes_str("/twirp/livekit.RoomService/Nope"));
    struct dynbuf out;
    dynbuf_init(&out, 4096);
    twirp_error_write(&e, &out);
    assert_string_equal(
        dynbuf_cstr(&out),
        "{\"code\":\"bad_route\",\"msg\":\"no handler for path "
        "\\\"/twirp/livekit.RoomService/Nope\\\"\",\"meta\":{\"twirp_invalid_route\":"
        "\"POST /twirp/livekit.RoomService/Nope\"}}");
    dynbuf_done(&out);
}

static void a_long_or_broken_message_is_still_an_error_body(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    struct twirp_error e = twirp_error_of(TWIRP_INTERNAL, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    e = twirp_error_of(TWIRP_INTERNAL, "line\r\nbreak");
    assert_string_equal(e.msg, "line  break");
    (void)strcpy(e.msg, "\xff");
    struct dynbuf out;
    dynbuf_init(&out, 4096);
    twirp_error_write(&e, &out);
    assert_string_equal(dynbuf_cstr(&out), "{\"code\":\"internal\",\"msg\":\"\"}");
    dynbuf_done(&out);
}

static void assert_url(const char *base, const char *want)
{
    struct dynbuf out;
    dynbuf_init(&out, 256);
    int const r = twirp_url(base, "livekit.RoomService", "CreateRoom", &out);
    if (want) {
        assert_int_equal(r, 0);
        assert_string_equal(dynbuf_cstr(&out), want);
    } else {
        assert_int_equal(r, -EINVAL);
    }
    dynbuf_done(&out);
}

static void client_urls_follow_the_configured_one(void **state)
{
    (void)state;
    assert_url("ws://h:7880", "http://h:7880/twirp/livekit.RoomService/CreateRoom");
    assert_url("wss://h/livekit/sfu/",
               "https://h/livekit/sfu/twirp/livekit.RoomService/CreateRoom");
    assert_url("http://[::1]:7880//", "http://[::1]:7880/twirp/livekit.RoomService/CreateRoom");
    assert_url("WSS://h", "https://h/twirp/livekit.RoomService/CreateRoom");
    assert_url("h:7880", NULL);
    assert_url("ftp://h", NULL);
    assert_url("wss://", NULL);
    assert_url("wss://h/?x", NULL);
}

static void only_a_twirp_body_says_not_found(void **state)
{
    (void)state;
    struct twirp_error e = twirp_error_parse(
        404, bytes_str("{\"code\":\"not_found\",\"msg\":\"participant does not exist\"}"));
    assert_int_equal(e.code, TWIRP_NOT_FOUND);
    assert_string_equal(e.msg, "participant does not exist");
    assert_int_equal(twirp_error_parse(404, bytes_str("404 page not found\n")).code,
                     TWIRP_BAD_ROUTE);
    assert_int_equal(twirp_error_parse(404, bytes_str("{\"msg\":\"x\"}")).code, TWIRP_BAD_ROUTE);
    assert_int_equal(twirp_error_parse(401, bytes_str("invalid API key: x")).code,
                     TWIRP_UNAUTHENTICATED);
    assert_int_equal(twirp_error_parse(302, bytes_str("")).code, TWIRP_INTERNAL);
    assert_int_equal(twirp_error_parse(502, bytes_of(NULL, 0)).code, TWIRP_UNAVAILABLE);
    assert_int_equal(twirp_error_parse(418, bytes_str("[]")).code, TWIRP_UNKNOWN);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_their_http_status_and_come_back_by_name),
        cmocka_unit_test(requests_are_taken_apart),
        cmocka_unit_test(bad_routes_say_why),
        cmocka_unit_test(a_long_or_broken_message_is_still_an_error_body),
        cmocka_unit_test(client_urls_follow_the_configured_one),
        cmocka_unit_test(only_a_twirp_body_says_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

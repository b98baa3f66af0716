// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// What answers to delayed event calls mean: each row of authorization-service 7.5, and how the
// calls are written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jwt-service/leave/delayed_event_answer.h"

#define NOW_S INT64_C(1784802645) // 2026-07-23 10:30:45 UTC, a Thursday

struct row {
    unsigned status;
    const char *body;
    const char *retry_after;
    enum delayed_event_verdict restart;
    enum delayed_event_verdict send;
    int64_t wait_ms;
};

#define BOTH(v) DELAYED_EVENT_##v, DELAYED_EVENT_##v
#define GONE_OR_SENT DELAYED_EVENT_GONE, DELAYED_EVENT_OK
#define UNRECOGNIZED "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"x\"}"

static const struct row rows[] = {
    {200, "{}", NULL, BOTH(OK), 0},
    {200, "no JSON", NULL, BOTH(OK), 0},
    {204, "", NULL, BOTH(OK), 0},
    {404, "{}", NULL, GONE_OR_SENT, 0},
    {404, "", NULL, GONE_OR_SENT, 0},
    {404, "<html>", NULL, GONE_OR_SENT, 0},
    {404, "{\"errcode\":\"M_NOT_FOUND\"}", NULL, GONE_OR_SENT, 0},
    {404, UNRECOGNIZED, NULL, BOTH(NO_ENDPOINT), 0},
    {404, "{\"errcode\":7}", NULL, GONE_OR_SENT, 0},
    {405, UNRECOGNIZED, NULL, BOTH(NO_ENDPOINT), 0},
    {405, "", NULL, BOTH(RETRY), 0},
    {409, "{}", NULL, GONE_OR_SENT, 0},
    {401, "{\"errcode\":\"M_MISSING_TOKEN\"}", NULL, BOTH(UNAUTHENTICATED), 5000},
    {401, "{\"errcode\":\"M_UNKNOWN_TOKEN\"}", NULL, BOTH(UNAUTHENTICATED), 5000},
    {403, "{\"errcode\":\"M_MISSING_TOKEN\"}", NULL, BOTH(UNAUTHENTICATED), 5000},
    {401, "{}", NULL, BOTH(REFUSED), 5000},
    {403, "{\"errcode\":\"M_FORBIDDEN\"}", NULL, BOTH(REFUSED), 5000},
    {400, "{\"errcode\":\"M_MISSING_TOKEN\"}", NULL, BOTH(RETRY), 0},
    {408, "", NULL, BOTH(RETRY), 0},
    {418, "", NULL, BOTH(RETRY), 0},
    {421, "", NULL, BOTH(RETRY), 0},
    {423, "", NULL, BOTH(RETRY), 0},
    {425, "", NULL, BOTH(RETRY), 0},
    {500, "", NULL, BOTH(RETRY), 0},
    {502, "", "7", BOTH(RETRY), 0}, // the hint is of 429 only
    {503, "{\"retry_after_ms\":500}", NULL, BOTH(RETRY), 0},
    {504, "", NULL, BOTH(RETRY), 0},
    {201, "{}", NULL, BOTH(RETRY), 0},
    {206, "{}", NULL, BOTH(RETRY), 0},
    {301, "", NULL, BOTH(RETRY), 0},
    {307, "", NULL, BOTH(RETRY), 0},
    // 429: the header, a number of seconds
    {429, "", "2", BOTH(RETRY_AFTER), 2000},
    {429, "", "+2", BOTH(RETRY_AFTER), 2000},
    {429, "", "0", BOTH(RETRY_AFTER), 250},
    {429, "", "-3", BOTH(RETRY_AFTER), 250},
    {429, "", "100000", BOTH(RETRY_AFTER), DELAYED_EVENT_WAIT_MAX_MS},
    {429, "{\"retry_after_ms\":9000}", "1", BOTH(RETRY_AFTER), 1000},
    // the header, a date, in its three forms
    {429, "", "Thu, 23 Jul 2026 10:30:55 GMT", BOTH(RETRY_AFTER), 10000},
    {429, "", "Thursday, 23-Jul-26 10:30:55 GMT", BOTH(RETRY_AFTER), 10000},
    {429, "", "Thu Jul 23 10:30:55 2026", BOTH(RETRY_AFTER), 10000},
    {429, "", "Thu, 23 Jul 2026 10:30:00 GMT", BOTH(RETRY_AFTER), 250},
    // the body
    {429, "{\"retry_after_ms\":500}", NULL, BOTH(RETRY_AFTER), 1000},
    {429, "{\"retry_after_ms\":1500}", NULL, BOTH(RETRY_AFTER), 2000},
    {429, "{\"retry_after_ms\":2000}", NULL, BOTH(RETRY_AFTER), 2000},
    {429, "{\"retry_after_ms\":1500}", "soon", BOTH(RETRY_AFTER), 2000},
    {429, "{\"retry_after_ms\":1500}", "99999999999999999999", BOTH(RETRY_AFTER), 2000},
    {429, "{\"retry_after_ms\":1e300}", NULL, BOTH(RETRY_AFTER), DELAYED_EVENT_WAIT_MAX_MS},
    // nothing usable
    {429, "{\"retry_after_ms\":0}", NULL, BOTH(RETRY), 0},
    {429, "{\"retry_after_ms\":-5}", NULL, BOTH(RETRY), 0},
    {429, "{\"retry_after_ms\":\"500\"}", NULL, BOTH(RETRY), 0},
    {429, "{\"retry_after_ms\":true}", NULL, BOTH(RETRY), 0},
    {429, "{}", NULL, BOTH(RETRY), 0},
    {429, "[500]", NULL, BOTH(RETRY), 0},
    {429, "", "", BOTH(RETRY), 0},
    {429, "", "2.5", BOTH(RETRY), 0},
    {429, "", "-", BOTH(RETRY), 0},
};

static void each_row_of_the_table_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *const r = &rows[i];
        struct delayed_event_http const a = {
            .status = r->status, .body = bytes_str(r->body), .retry_after = r->retry_after};
        enum delayed_event_verdict const want[] = {r->restart, r->send};
        for (unsigned action = 0; action < 2; action++) {
            struct delayed_event_class const c = delayed_event_classify(
                (enum delayed_event_action)action, (wall_t){NOW_S * US_PER_S}, &a);
            if (c.verdict != want[action] || c.wait_ms != r->wait_ms ||
                c.limited != (r->status == 429)) {
                fail_msg("row %zu (%u %s): %s %d", i, r->status, r->body,
                         delayed_event_verdict_name(c.verdict), (int)c.wait_ms);
            }
        }
    }
}

static void a_look_up_is_found_or_gone(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        enum delayed_event_verdict verdict;
    } cases[] = {{200, DELAYED_EVENT_OK},
                 {204, DELAYED_EVENT_RETRY},
                 {404, DELAYED_EVENT_GONE},
                 {409, DELAYED_EVENT_GONE},
                 {500, DELAYED_EVENT_RETRY}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct delayed_event_http const a = {.status = cases[i].status};
        assert_int_equal(delayed_event_classify(DELAYED_EVENT_LOOKUP, (wall_t){0}, &a).verdict,
                         cases[i].verdict);
    }
}

static void its_room_and_delay_are_read(void **state)
{
    (void)state;
    char room[DELAYED_EVENT_ROOM_MAX + 1];
    struct bytes const b = bytes_str("{\"delay_id\":\"d\",\"room_id\":\"!r:x\",\"delay_ms\":8000}");
    assert_int_equal(delayed_event_room(b, room), 0);
    assert_string_equal(room, "!r:x");
    assert_int_equal(delayed_event_delay_ms(b), 8000);
    assert_int_equal(delayed_event_delay_ms(bytes_str("{\"delay\":9000}")), 9000);
    assert_int_equal(delayed_event_delay_ms(bytes_str("{\"delay\":-9000}")), 0);
    assert_int_equal(delayed_event_delay_ms(bytes_str("{\"delay\":\"9\"}")), 0);
    assert_int_equal(delayed_event_delay_ms(bytes_str("")), 0);
    static const char *const none[] = {
        "", "{}", "{\"room_id\":\"\"}", "{\"room_id\":7}", "{\"room_id\":\"a\\u0000b\"}", "[]"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_int_equal(delayed_event_room(bytes_str(none[i]), room), -EINVAL);
    }
    char long_one[400] = "{\"room_id\":\"";
    memset(long_one + 12, 'a', 256);
    memcpy(long_one + 268, "\"}", 3);
    assert_int_equal(delayed_event_room(bytes_str(long_one), room), -EINVAL);
    assert_true(delayed_event_says_not_found(bytes_str("{\"errcode\":\"M_NOT_FOUND\"}")));
    assert_false(delayed_event_says_not_found(bytes_str("404 page not found")));
}

static void check_url(const char *base, const char *id, enum delayed_event_action action,
                      bool stable, const char *as_user, const char *want)
{
    struct dynbuf b;
    dynbuf_init(&b, 4096);
    assert_int_equal(delayed_event_url(base, id, action, stable, as_user, &b), 0);
    assert_string_equal(dynbuf_cstr(&b), want);
    dynbuf_done(&b);
}

static void urls_keep_the_id_in_its_segment(void **state)
{
    (void)state;
#define UNSTABLE "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/"
    check_url("https://hs.example/base", "syd_aB-_.~9", DELAYED_EVENT_RESTART, false, NULL,
              "https://hs.example/base" UNSTABLE "syd_aB-_.~9/restart");
    check_url("http://hs", "../../x/%2e%2e?y#z", DELAYED_EVENT_SEND, false, NULL,
              "http://hs" UNSTABLE "..%2F..%2Fx%2F%252e%252e%3Fy%23z/send");
    check_url("http://hs", "a b\\\xc3\xa4", DELAYED_EVENT_SEND, true, NULL,
              "http://hs/_matrix/client/v1/delayed_events/a%20b%5C%C3%A4/send");
    check_url("http://hs", "d", DELAYED_EVENT_RESTART, false, "@a+b&c:x.org",
              "http://hs" UNSTABLE "d/restart?user_id=%40a%2Bb%26c%3Ax.org");
    check_url("http://hs", "d", DELAYED_EVENT_LOOKUP, false, "@a:x",
              "http://hs" UNSTABLE "d?user_id=%40a%3Ax");
}

static void ids_that_are_none_are_refused(void **state)
{
    (void)state;
    char long_one[DELAYED_EVENT_ID_MAX + 2];
    memset(long_one, 'a', sizeof(long_one));
    long_one[DELAYED_EVENT_ID_MAX + 1] = 0;
    assert_false(delayed_event_id_ok(long_one));
    assert_true(delayed_event_id_ok(long_one + 1));
    assert_false(delayed_event_id_ok(""));
    assert_false(delayed_event_id_ok("."));
    assert_false(delayed_event_id_ok(".."));
    assert_true(delayed_event_id_ok("..."));
    assert_false(delayed_event_id_ok("a\nb"));
    assert_false(delayed_event_id_ok("a\x7f"));
    struct dynbuf b;
    dynbuf_init(&b, 4096);
    assert_int_equal(delayed_event_url("http://h", "..", DELAYED_EVENT_SEND, false, NULL, &b),
                     -EINVAL);
    dynbuf_done(&b);
}

static void everything_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DELAYED_EVENT_VERDICT_COUNT; i++) {
        assert_string_not_equal(delayed_event_verdict_name((enum delayed_event_verdict)i),
                                "unknown");
    }
    assert_string_equal(delayed_event_action_name(DELAYED_EVENT_LOOKUP), "lookup");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_of_the_table_holds),
        cmocka_unit_test(a_look_up_is_found_or_gone),
        cmocka_unit_test(its_room_and_delay_are_read),
        cmocka_unit_test(urls_keep_the_id_in_its_segment),
        cmocka_unit_test(ids_that_are_none_are_refused),
        cmocka_unit_test(everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

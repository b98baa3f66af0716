// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// One attempt to restart or send a delayed event: what is asked, when, and what is learned from the
// answers (authorization-service 7.5, 7.12, 11.3), on a virtual clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/sys/log.h"
#include "jwt-service/leave/delayed_event_client.h"
#include "tests/unit/virtual_http.h"

#define UNSTABLE "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/"
#define STABLE "/_matrix/client/v1/delayed_events/"
#define UNRECOGNIZED "{\"errcode\":\"M_UNRECOGNIZED\"}"
#define NEEDS_TOKEN "{\"errcode\":\"M_MISSING_TOKEN\"}"

static struct cs_discovery *discovery;
static struct delayed_event_client *client;
static char logged[4096];

static void on_line(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    assert_null(memmem(line.p, line.n, "s3cr3t", 6));
    size_t const n = strlen(logged);
    (void)snprintf(logged + n, sizeof(logged) - n, "%.*s\n", (int)line.n, (const char *)line.p);
}

static int setup(void **state)
{
    (void)state;
    static const struct cs_override overrides[] = {{"a.example", "http://a/base/"},
                                                   {"b.example", "https://b"}};
    log_set_sink(on_line, NULL);
    logged[0] = 0;
    virtual_reset();
    discovery = cs_discovery_new(&(struct cs_discovery_conf){.loop = virtual_loop(),
                                                             .http = virtual_http(),
                                                             .overrides = overrides,
                                                             .override_count = 2});
    client = delayed_event_client_new(&(struct delayed_event_conf){.loop = virtual_loop(),
                                                                   .http = virtual_http(),
                                                                   .discovery = discovery,
                                                                   .as_token = "s3cr3t"});
    return client ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    struct delayed_event_counts c;
    delayed_event_counts(client, &c);
    assert_int_equal(c.in_flight, 0);
    assert_int_equal(c.waiting, 0);
    delayed_event_client_free(client);
    cs_discovery_free(discovery);
    assert_null(virtual_calls);
    assert_null(virtual_timers);
    log_set_sink(NULL, NULL);
    return 0;
}

struct waiter {
    struct delayed_event_call *call;
    unsigned told;
    enum delayed_event_verdict verdict;
    int64_t wait_ms;
    unsigned status;
    char step[16];
    char text[512];
    char room[64];
    int64_t delay_ms;
    int64_t elapsed_ms;
};

static void on_result(void *user, const struct delayed_event_result *r)
{
    struct waiter *const w = user;
    assert_int_equal(w->told, 0);
    w->told++;
    w->call = NULL;
    w->verdict = r->verdict;
    w->wait_ms = r->wait_ms;
    w->status = r->status;
    w->delay_ms = r->delay_ms;
    w->elapsed_ms = r->elapsed_ms;
    (void)snprintf(w->step, sizeof(w->step), "%s", r->step ? r->step : "");
    (void)snprintf(w->text, sizeof(w->text), "%s", r->text ? r->text : "");
    (void)snprintf(w->room, sizeof(w->room), "%s", r->room ? r->room : "");
    assert_true((r->verdict == DELAYED_EVENT_OK) == (r->step == NULL));
}

static struct delayed_event_ask of(const char *server, enum delayed_event_action action)
{
    return (struct delayed_event_ask){
        .server_name = server, .delay_id = "syd_x", .action = action, .deadline = MONO_NEVER};
}

static void start(struct waiter *w, const struct delayed_event_ask *ask)
{
    *w = (struct waiter){0};
    assert_int_equal(delayed_event_call(client, ask, on_result, w, &w->call), 0);
    assert_int_equal(w->told, 0);
}

// A whole attempt with this answer.
static struct waiter attempt(const struct delayed_event_ask *ask, unsigned status, const char *body)
{
    static struct waiter w;
    start(&w, ask);
    run_ms(0);
    assert_int_equal(virtual_open(), 1);
    answer_call(virtual_calls, status, body);
    return w;
}

static void a_restart_is_a_post_without_authentication(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    struct waiter w;
    start(&w, &ask);
    run_ms(0);
    const struct httpc_call *const c = virtual_calls;
    assert_string_equal(c->method, "POST");
    assert_string_equal(c->url, "http://a/base" UNSTABLE "syd_x/restart");
    assert_string_equal(c->body, "{}");
    assert_string_equal(c->content_type, "application/json");
    assert_string_equal(c->authorization, "");
    assert_true(c->trusted);
    assert_int_equal(c->max_redirects, 0);
    run_ms(30);
    answer_call(virtual_calls, 200, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
    assert_int_equal(w.status, 200);
    assert_int_equal(w.elapsed_ms, 30);
    w = attempt(&(struct delayed_event_ask){.server_name = "a.example",
                                            .delay_id = "../x",
                                            .action = DELAYED_EVENT_SEND},
                404, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
    struct delayed_event_counts n;
    delayed_event_counts(client, &n);
    assert_int_equal(n.restarts_ok, 1);
    assert_int_equal(n.sends_ok, 1);
    run_ms(10);
    assert_true(virtual_idle());
}

static void failures_say_what_failed(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    struct waiter w = attempt(&ask, 404, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_GONE);
    assert_string_equal(w.text, "restart at a.example: HTTP status 404 (gone)");
    w = attempt(&ask, 500, "");
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY);
    assert_string_equal(w.step, "status");
    start(&w, &ask);
    run_ms(0);
    break_call(virtual_calls, HTTPC_TIMEOUT);
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY);
    assert_string_equal(w.step, "timeout");
    virtual_refuse = 1;
    start(&w, &ask);
    run_ms(0);
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY);
    assert_string_equal(w.step, "internal");
    struct delayed_event_counts n;
    delayed_event_counts(client, &n);
    assert_int_equal(n.restarts_gone, 1);
    assert_int_equal(n.restarts_failed, 3);
}

static void the_api_is_found_first(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("x.example", DELAYED_EVENT_SEND);
    struct waiter w;
    start(&w, &ask);
    run_ms(0);
    assert_string_equal(virtual_calls->url, "https://x.example/.well-known/matrix/client");
    answer_call(virtual_calls, 200, "{\"m.homeserver\":{\"base_url\":\"https://m.x.example/\"}}");
    run_ms(0);
    assert_string_equal(virtual_calls->url, "https://m.x.example" UNSTABLE "syd_x/send");
    assert_false(virtual_calls->trusted);
    break_call(virtual_calls, HTTPC_CONNECT);
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY);
    // It led nowhere: after a minute it is looked up again, behind the next call.
    run_ms(60000);
    start(&w, &ask);
    run_ms(0);
    break_call(virtual_calls, HTTPC_CONNECT);
    start(&w, &ask);
    run_ms(0);
    assert_int_equal(virtual_open(), 2);
    answer_call(virtual_calls, 500, "");
    answer_call(virtual_calls, 200, "{}");
}

static void no_api_is_told(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("x.example", DELAYED_EVENT_RESTART);
    struct waiter w;
    start(&w, &ask);
    run_ms(0);
    answer_call(virtual_calls, 404, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_NO_URL);
    assert_string_equal(w.text, "no client-server API: .well-known/matrix/client of x.example: "
                                "HTTP status 404");
}

static void calls_as_a_user_carry_the_token(void **state)
{
    (void)state;
    struct delayed_event_ask ask = of("b.example", DELAYED_EVENT_LOOKUP);
    ask.as_user = "@al+ice:b.example";
    struct waiter w;
    start(&w, &ask);
    run_ms(0);
    assert_string_equal(virtual_calls->method, "GET");
    assert_string_equal(virtual_calls->url,
                        "https://b" UNSTABLE "syd_x?user_id=%40al%2Bice%3Ab.example");
    assert_string_equal(virtual_calls->authorization, "Bearer s3cr3t");
    assert_string_equal(virtual_calls->body, "");
    answer_call(virtual_calls, 200, "{\"room_id\":\"!r:b\",\"delay\":8000}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
    assert_string_equal(w.room, "!r:b");
    assert_int_equal(w.delay_ms, 8000);
    w = attempt(&ask, 200, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY);
    assert_string_equal(w.step, "body");
    w = attempt(&ask, 404, "{\"errcode\":\"M_NOT_FOUND\"}");
    assert_int_equal(w.verdict, DELAYED_EVENT_GONE);
    // That our token is refused says nothing about calls without.
    for (int i = 0; i < 5; i++) {
        w = attempt(&ask, 401, "{\"errcode\":\"M_UNKNOWN_TOKEN\"}");
        assert_int_equal(w.verdict, DELAYED_EVENT_UNAUTHENTICATED);
    }
    assert_true(delayed_event_allowed(client, "b.example"));
    assert_non_null(strstr(logged, "as_token_refused"));
    ask.action = DELAYED_EVENT_RESTART;
    w = attempt(&ask, 200, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
}

static void the_token_goes_nowhere_in_the_clear(void **state)
{
    (void)state;
    struct delayed_event_ask ask = of("x.example", DELAYED_EVENT_RESTART);
    ask.as_user = "@a:x.example";
    struct waiter w;
    for (int i = 0; i < 2; i++) { // found now, and known
        start(&w, &ask);
        run_ms(0);
        if (i == 0) {
            answer_call(virtual_calls, 200, "{\"m.homeserver\":{\"base_url\":\"http://m\"}}");
        }
        run_ms(0);
        assert_int_equal(w.verdict, DELAYED_EVENT_NO_URL);
        assert_string_equal(w.step, "url");
    }
    assert_int_equal(virtual_started, 1);
}

static void what_cannot_be_asked_is_refused(void **state)
{
    (void)state;
    struct delayed_event_call *call = NULL;
    struct delayed_event_ask ask = of("a.example", DELAYED_EVENT_RESTART);
    ask.delay_id = "..";
    assert_int_equal(delayed_event_call(client, &ask, on_result, NULL, &call), -EINVAL);
    ask = of("a/b", DELAYED_EVENT_RESTART);
    assert_int_equal(delayed_event_call(client, &ask, on_result, NULL, &call), -EINVAL);
    ask = of("", DELAYED_EVENT_RESTART);
    assert_int_equal(delayed_event_call(client, &ask, on_result, NULL, &call), -EINVAL);
    struct delayed_event_client *const other =
        delayed_event_client_new(&(struct delayed_event_conf){
            .loop = virtual_loop(), .http = virtual_http(), .discovery = discovery});
    ask = of("a.example", DELAYED_EVENT_RESTART);
    ask.as_user = "@a:a.example";
    assert_int_equal(delayed_event_call(other, &ask, on_result, NULL, &call), -EINVAL);
    delayed_event_client_free(other);
}

static void a_homeserver_that_wants_a_token_is_believed_the_third_time(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    struct waiter w;
    for (int i = 0; i < 3; i++) {
        assert_true(delayed_event_allowed(client, "a.example"));
        w = attempt(&ask, 401, NEEDS_TOKEN);
        assert_int_equal(w.verdict, DELAYED_EVENT_UNAUTHENTICATED);
        assert_int_equal(w.wait_ms, 5000);
    }
    assert_false(delayed_event_allowed(client, "a.example"));
    assert_true(delayed_event_allowed(client, "b.example"));
    char *const line = strstr(logged, "delayed_event.needs_authentication");
    assert_non_null(line);
    assert_null(strstr(line + 1, "delayed_event.needs_authentication")); // once
    (void)attempt(&ask, 200, "{}");
    assert_true(delayed_event_allowed(client, "a.example"));
    for (int i = 0; i < 3; i++) {
        (void)attempt(&ask, 403, NEEDS_TOKEN);
    }
    assert_false(delayed_event_allowed(client, "a.example"));
    run_ms(INT64_C(3600000));
    assert_true(delayed_event_allowed(client, "a.example"));
    struct delayed_event_counts n;
    delayed_event_counts(client, &n);
    assert_int_equal(n.unauthenticated, 6);
}

static void a_missing_endpoint_is_tried_at_the_other_path(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("b.example", DELAYED_EVENT_RESTART);
    struct waiter w;
    start(&w, &ask);
    run_ms(0);
    answer_call(virtual_calls, 404, UNRECOGNIZED);
    assert_int_equal(w.told, 0);
    assert_string_equal(virtual_calls->url, "https://b" STABLE "syd_x/restart");
    answer_call(virtual_calls, 200, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
    // It is remembered, and unlearned in the same way.
    start(&w, &ask);
    run_ms(0);
    assert_string_equal(virtual_calls->url, "https://b" STABLE "syd_x/restart");
    answer_call(virtual_calls, 405, UNRECOGNIZED);
    assert_string_equal(virtual_calls->url, "https://b" UNSTABLE "syd_x/restart");
    answer_call(virtual_calls, 404, "{\"errcode\":\"M_NOT_FOUND\"}");
    assert_int_equal(w.verdict, DELAYED_EVENT_GONE);
    assert_string_equal(logged, "");
    // Neither: temporary. A page of a proxy at a path that is only tried is no answer either.
    static const char *const second[] = {UNRECOGNIZED, "404 page not found", ""};
    for (size_t i = 0; i < ARRAY_LEN(second); i++) {
        start(&w, &ask);
        run_ms(0);
        assert_string_equal(virtual_calls->url, "https://b" UNSTABLE "syd_x/restart");
        answer_call(virtual_calls, 404, UNRECOGNIZED);
        answer_call(virtual_calls, 404, second[i]);
        assert_int_equal(w.verdict, DELAYED_EVENT_NO_ENDPOINT);
    }
    assert_non_null(strstr(logged, "delayed_event.no_endpoint"));
}

static void so_many_at_once_and_sends_first(void **state)
{
    (void)state;
    struct waiter w[12];
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct delayed_event_ask ask =
            of("a.example", i == 11 ? DELAYED_EVENT_SEND : DELAYED_EVENT_RESTART);
        ask.deadline = mono_add_ms(virtual_now, 9000 - (int64_t)i * 100);
        start(&w[i], &ask);
        run_ms(0);
    }
    struct delayed_event_counts n;
    delayed_event_counts(client, &n);
    assert_int_equal(n.in_flight, 8);
    assert_int_equal(n.waiting, 4);
    answer_call(virtual_calls, 200, "{}");
    run_ms(0);
    assert_non_null(strstr(virtual_calls->prev->url, "/send")); // the last one asked for
    delayed_event_cancel(w[8].call);                            // waits
    delayed_event_cancel(w[7].call);                            // is under way
    run_ms(0);
    answer_call(virtual_calls, 200, "{}");
    run_ms(0);
    delayed_event_counts(client, &n);
    assert_int_equal(n.in_flight, 8);
    assert_int_equal(n.waiting, 0);
    while (virtual_calls) {
        answer_call(virtual_calls, 200, "{}");
    }
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        assert_int_equal(w[i].told, i == 7 || i == 8 ? 0 : 1);
    }
}

static void who_waits_too_long_is_told(void **state)
{
    (void)state;
    struct waiter w[9];
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct delayed_event_ask ask = of("a.example", DELAYED_EVENT_RESTART);
        ask.deadline = mono_add_ms(virtual_now, 1000 + (int64_t)i);
        start(&w[i], &ask);
    }
    run_ms(1007);
    assert_int_equal(w[8].told, 0);
    run_ms(1);
    assert_int_equal(w[8].verdict, DELAYED_EVENT_RETRY);
    assert_string_equal(w[8].step, "turn");
    while (virtual_calls) {
        answer_call(virtual_calls, 200, "{}");
    }
}

static void a_429_is_for_all_calls_to_that_homeserver(void **state)
{
    (void)state;
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    struct delayed_event_ask const send = of("a.example", DELAYED_EVENT_SEND);
    assert_false(delayed_event_limited(client, "a.example"));
    struct waiter w;
    struct waiter w2;
    start(&w, &ask);
    run_ms(0);
    virtual_calls->header_name = "Retry-After";
    virtual_calls->header_value = "3";
    answer_call(virtual_calls, 429, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_RETRY_AFTER);
    assert_int_equal(w.wait_ms, 3000);
    assert_true(delayed_event_limited(client, "a.example"));
    assert_false(delayed_event_limited(client, "b.example"));
    start(&w, &ask);
    start(&w2, &send);
    run_ms(999);
    assert_int_equal(virtual_open(), 0);
    run_ms(1);
    assert_int_equal(virtual_open(), 1);
    assert_non_null(strstr(virtual_calls->url, "/send"));
    answer_call(virtual_calls, 200, "{}");
    run_ms(1999);
    assert_int_equal(virtual_open(), 0);
    run_ms(1);
    answer_call(virtual_calls, 200, "{}");
    assert_int_equal(w.verdict, DELAYED_EVENT_OK);
    struct delayed_event_counts n;
    delayed_event_counts(client, &n);
    assert_int_equal(n.limited, 1);
}

static void call_again(void *user, const struct delayed_event_result *r)
{
    struct waiter *const w = user;
    w->told = 0;
    on_result(w, r);
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    assert_int_equal(delayed_event_call(client, &ask, on_result, w, &w->call), 0);
    w->told = 0;
}

static void the_callback_may_call_again(void **state)
{
    (void)state;
    struct waiter w = {0};
    struct delayed_event_ask const ask = of("a.example", DELAYED_EVENT_RESTART);
    virtual_refuse = 1; // so that it is told from inside the queue
    assert_int_equal(delayed_event_call(client, &ask, call_again, &w, &w.call), 0);
    run_ms(0);
    assert_int_equal(virtual_open(), 1);
    answer_call(virtual_calls, 200, "{}");
    assert_int_equal(w.told, 1);
}

static void cancelling_is_silent_at_any_time(void **state)
{
    (void)state;
    struct waiter w;
    struct delayed_event_ask const known = of("a.example", DELAYED_EVENT_RESTART);
    struct delayed_event_ask const unknown = of("x.example", DELAYED_EVENT_RESTART);
    start(&w, &known);
    delayed_event_cancel(w.call);
    run_ms(1);
    start(&w, &known);
    run_ms(0);
    delayed_event_cancel(w.call);
    start(&w, &unknown);
    run_ms(0);
    delayed_event_cancel(w.call);
    break_call(virtual_calls, HTTPC_DNS); // the look-up goes on
    run_ms(1);
    assert_int_equal(w.told, 0);
}

// More homeservers than are remembered: those in use stay.
static void idle_homeservers_are_forgotten(void **state)
{
    (void)state;
    struct waiter w;
    struct waiter one;
    char name[32];
    struct delayed_event_ask ask = of("a.example", DELAYED_EVENT_RESTART);
    start(&one, &ask);
    run_ms(0);
    struct httpc_call *const kept = virtual_calls;
    for (unsigned i = 0; i < 4200; i++) {
        (void)snprintf(name, sizeof(name), "s%u.example", i);
        ask = of(name, DELAYED_EVENT_RESTART);
        start(&w, &ask);
        run_ms(0);
        break_call(kept->next, HTTPC_DNS);
    }
    answer_call(kept, 200, "{}");
    assert_int_equal(one.verdict, DELAYED_EVENT_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(a_restart_is_a_post_without_authentication),
        TEST(failures_say_what_failed),
        TEST(the_api_is_found_first),
        TEST(no_api_is_told),
        TEST(calls_as_a_user_carry_the_token),
        TEST(the_token_goes_nowhere_in_the_clear),
        TEST(what_cannot_be_asked_is_refused),
        TEST(a_homeserver_that_wants_a_token_is_believed_the_third_time),
        TEST(a_missing_endpoint_is_tried_at_the_other_path),
        TEST(so_many_at_once_and_sends_first),
        TEST(who_waits_too_long_is_told),
        TEST(a_429_is_for_all_calls_to_that_homeserver),
        TEST(the_callback_may_call_again),
        TEST(cancelling_is_silent_at_any_time),
        TEST(idle_homeservers_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

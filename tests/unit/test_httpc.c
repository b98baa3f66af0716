// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: httpc_call httpc_queue httpc_watch
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/httpc.h"
#include "common/svc/httpd.h"
#include "common/sys/clock.h"

// A client and a server on one loop.

#define DEADLINE_MS 20000

struct world {
    struct loop *loop;
    struct httpd *h;
    struct httpc *c;
    struct httpd_req *parked[8];
    size_t parked_count;
    unsigned requests;
    char seen[512];      // what the last request looked like
    unsigned allow_asks; // address policy
    bool allow;
    // Result of the last call.
    unsigned done;
    enum httpc_step step;
    unsigned status;
    char body[4096];
    char text[700];
    char header[64];
    struct addr peer;
};

static void answer_seen(void *user, struct httpd_req *r)
{
    struct world *const w = user;
    w->requests++;
    const char *const h = httpd_header(r, "X-One");
    const char *const host = httpd_header(r, "Host");
    const char *const type = httpd_header(r, "Content-Type");
    const char *const ua = httpd_header(r, "User-Agent");
    (void)snprintf(w->seen, sizeof(w->seen), "%s %s one=%s host=%s type=%s ua=%s body=%.*s",
                   httpd_method(r), httpd_path(r), h ? h : "-", host ? host : "-",
                   type ? type : "-", ua ? ua : "-", (int)httpd_body(r).n,
                   (const char *)httpd_body(r).p);
    httpd_add_header(r, "X-Answer", "yes");
    httpd_respond(r, 202, "text/plain", bytes_str("fine"));
}

static void answer_big(void *user, struct httpd_req *r)
{
    (void)user;
    static uint8_t big[20000];
    httpd_respond(r, 200, NULL, bytes_of(big, sizeof(big)));
}

static void answer_redirect(void *user, struct httpd_req *r)
{
    (void)user;
    const char *const to = httpd_query(r, "to");
    httpd_add_header(r, "Location", to != NULL ? to : "/seen");
    httpd_respond(r, 302, NULL, bytes_str("moved"));
}

static void park(void *user, struct httpd_req *r)
{
    struct world *const w = user;
    w->parked[w->parked_count++] = r;
}

static void open_world(struct world *w, const struct httpc_conf *conf)
{
    *w = (struct world){.loop = loop_new(), .allow = true};
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const routes[] = {
        {.path = "/seen", .body_max = 100000, .handler = answer_seen, .user = w},
        {.path = "/big", .handler = answer_big, .user = w},
        {.path = "/redirect", .handler = answer_redirect, .user = w},
        {.path = "/park", .handler = park, .user = w},
    };
    struct httpd_conf const hc = {
        .listen = &lo, .listen_count = 1, .routes = routes, .route_count = ARRAY_LEN(routes)};
    assert_int_equal(httpd_new(w->loop, &hc, &w->h, NULL), 0);
    w->c = httpc_new(w->loop, conf);
    assert_non_null(w->c);
}

static void close_world(struct world *w)
{
    httpc_free(w->c);
    httpd_free(w->h);
    loop_free(w->loop);
}

static void on_done(void *user, const struct httpc_result *r)
{
    struct world *const w = user;
    w->done++;
    w->step = r->step;
    w->status = r->status;
    w->peer = r->peer;
    (void)snprintf(w->body, sizeof(w->body), "%.*s", (int)MIN(r->body.n, sizeof(w->body) - 1),
                   (const char *)r->body.p);
    (void)snprintf(w->text, sizeof(w->text), "%s", r->text != NULL ? r->text : "");
    const char *const h = httpc_result_header(r, "x-answer");
    (void)snprintf(w->header, sizeof(w->header), "%s", h != NULL ? h : "-");
    assert_true(r->elapsed_ms >= 0);
}

static const char *url(const struct world *w, const char *path)
{
    static char text[512];
    (void)snprintf(text, sizeof(text), "http://127.0.0.1:%u%s", httpd_address(w->h, 0).port, path);
    return text;
}

static void wait_done(struct world *w, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (w->done < want && mono_before(clock_mono(), end)) {
        loop_run_once(w->loop, 50);
    }
    assert_int_equal(w->done, want);
}

// Runs one call to its end.
static void run(struct world *w, struct httpc_request req)
{
    req.on_done = on_done;
    req.user = w;
    unsigned const before = w->done;
    assert_int_equal(httpc_start(w->c, &req, NULL), 0);
    assert_int_equal(w->done, before); // never from inside
    wait_done(w, before + 1);
}

static void requests_carry_what_was_asked_for(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.user_agent = "foci-test"});
    struct httpc_header const headers[] = {{"X-One", "1"}, {"Content-Type", "application/json"}};
    run(&w, (struct httpc_request){.url = url(&w, "/seen?secret=1"),
                                   .headers = headers,
                                   .header_count = 2,
                                   .body = bytes_str("{}"),
                                   .host_header = "example.org"});
    assert_int_equal(w.step, HTTPC_OK);
    assert_int_equal(w.status, 202);
    assert_string_equal(w.body, "fine");
    assert_string_equal(w.header, "yes");
    assert_true(addr_eq(&w.peer, &(struct addr){.family = ADDR_V4,
                                                .port = httpd_address(w.h, 0).port,
                                                .ip = {127, 0, 0, 1}}));
    assert_string_equal(
        w.seen, "POST /seen one=1 host=example.org type=application/json ua=foci-test body={}");
    run(&w, (struct httpc_request){.url = url(&w, "/seen")});
    assert_non_null(strstr(w.seen, "GET /seen one=- "));
    assert_non_null(strstr(w.seen, "type=- "));
    run(&w, (struct httpc_request){.url = url(&w, "/seen"), .method = "POST"});
    assert_non_null(strstr(w.seen, "POST /seen one=- "));
    assert_non_null(strstr(w.seen, "body="));
    run(&w, (struct httpc_request){
                .url = url(&w, "/seen"), .method = "PUT", .body = bytes_of("a\0b", 3)});
    assert_non_null(strstr(w.seen, "PUT /seen"));
    run(&w, (struct httpc_request){.url = url(&w, "/seen"), .method = "HEAD"});
    assert_int_equal(w.status, 202);
    assert_string_equal(w.body, "");
    run(&w, (struct httpc_request){.url = url(&w, "/nothing")});
    assert_int_equal(w.step, HTTPC_OK); // an answer, of whatever status
    assert_int_equal(w.status, 404);
    close_world(&w);
}

static void header_with_a_line_break_is_refused(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){0});
    struct httpc_header const bad[] = {{"X-One", "1\r\nX-Two: 2"}};
    struct httpc_request const req = {
        .url = url(&w, "/seen"), .headers = bad, .header_count = 1, .on_done = on_done, .user = &w};
    assert_int_equal(httpc_start(w.c, &req, NULL), -EINVAL);
    assert_int_equal(w.done, 0);
    close_world(&w);
}

static void sizes_are_capped(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){0});
    run(&w, (struct httpc_request){.url = url(&w, "/big"), .max_body = 19999});
    assert_int_equal(w.step, HTTPC_TOO_LARGE);
    assert_non_null(strstr(w.text, "too large"));
    run(&w, (struct httpc_request){.url = url(&w, "/big"), .max_body = 20000});
    assert_int_equal(w.step, HTTPC_OK);
    run(&w, (struct httpc_request){.url = url(&w, "/seen"), .max_header = 20});
    assert_int_equal(w.step, HTTPC_TOO_LARGE);
    close_world(&w);
}

static int babbler = -1;

static void on_caller(void *user, unsigned events)
{
    static const char text[] = "220 mail.example.org ESMTP\r\n";
    (void)user;
    (void)events;
    int const fd = accept4(babbler, NULL, NULL, SOCK_CLOEXEC);
    (void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    (void)close(fd);
}

static void another_protocol_is_the_fault_of_the_answer_not_of_the_url(void **state)
{
    (void)state;
    struct world w;
    char at[64];
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    open_world(&w, &(struct httpc_conf){0});
    babbler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(babbler, (struct sockaddr *)&sin, len), 0);
    assert_int_equal(listen(babbler, 4), 0);
    assert_int_equal(getsockname(babbler, (struct sockaddr *)&sin, &len), 0);
    struct loop_poll *const poll = loop_poll_new(w.loop, babbler, on_caller, NULL);
    loop_poll_set(poll, LOOP_READ);
    (void)snprintf(at, sizeof(at), "http://127.0.0.1:%u/", ntohs(sin.sin_port));
    run(&w, (struct httpc_request){.url = at});
    assert_int_equal(w.step, HTTPC_RECEIVE);
    loop_poll_free(poll);
    (void)close(babbler);
    close_world(&w);
}

static void failures_name_their_step_and_not_the_query(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){0});
    run(&w, (struct httpc_request){.url = url(&w, "/park?access_token=topsecret"), .total_ms = 60});
    assert_int_equal(w.step, HTTPC_TIMEOUT);
    assert_non_null(strstr(w.text, "request to 127.0.0.1:"));
    assert_null(strstr(w.text, "topsecret"));
    for (size_t i = 0; i < w.parked_count; i++) {
        httpd_respond(w.parked[i], 200, NULL, bytes_str(""));
    }
    run(&w, (struct httpc_request){.url = "gopher://127.0.0.1/"});
    assert_int_equal(w.step, HTTPC_BAD_URL);
    run(&w, (struct httpc_request){.url = "http://a b/"});
    assert_int_equal(w.step, HTTPC_BAD_URL);
    run(&w, (struct httpc_request){.url = "http://a..b/", .connect_ms = 5000});
    assert_int_equal(w.step, HTTPC_DNS);
    char https[64];
    (void)snprintf(https, sizeof(https), "https://127.0.0.1:%u/seen", httpd_address(w.h, 0).port);
    run(&w, (struct httpc_request){.url = https, .connect_ms = 2000});
    assert_int_equal(w.step, HTTPC_TLS);
    assert_non_null(strstr(w.text, "TLS with 127.0.0.1:"));
    struct addr const was = httpd_address(w.h, 0);
    httpd_quiesce(w.h); // nobody listens there any more
    char gone[64];
    (void)snprintf(gone, sizeof(gone), "http://127.0.0.1:%u/", was.port);
    httpc_free(w.c); // with its kept connections
    w.c = httpc_new(w.loop, &(struct httpc_conf){0});
    run(&w, (struct httpc_request){.url = gone});
    assert_int_equal(w.step, HTTPC_CONNECT);
    assert_non_null(strstr(w.text, "connection to 127.0.0.1:"));
    close_world(&w);
}

static void redirects_are_followed_only_if_wanted(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){0});
    run(&w, (struct httpc_request){.url = url(&w, "/redirect")});
    assert_int_equal(w.step, HTTPC_OK);
    assert_int_equal(w.status, 302);
    run(&w, (struct httpc_request){.url = url(&w, "/redirect"), .max_redirects = 1});
    assert_int_equal(w.status, 202);
    assert_string_equal(w.body, "fine"); // not the redirect's body before it
    run(&w, (struct httpc_request){.url = url(&w, "/redirect?to=/redirect"), .max_redirects = 3});
    assert_int_equal(w.status, 202);
    run(&w, (struct httpc_request){.url = url(&w, "/redirect?to=/redirect%3fto=/redirect"),
                                   .max_redirects = 2});
    assert_int_equal(w.step, HTTPC_REDIRECT);
    run(&w, (struct httpc_request){
                .url = url(&w, "/redirect"), .max_redirects = 3, .redirect_https_only = true});
    assert_int_equal(w.step, HTTPC_REDIRECT);
    close_world(&w);
}

static bool policy(void *user, const struct addr *a)
{
    struct world *const w = user;
    assert_true(addr_is_loopback(a));
    w->allow_asks++;
    return w->allow;
}

static void address_policy_is_asked_also_for_kept_connections(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.allow_address = policy, .user = &w});
    run(&w, (struct httpc_request){.url = url(&w, "/seen"), .trusted = true});
    assert_int_equal(w.step, HTTPC_OK);
    assert_int_equal(w.allow_asks, 0);
    // The trusted call's connection is still open, and must not be used.
    w.allow = false;
    unsigned const before = w.requests;
    run(&w, (struct httpc_request){.url = url(&w, "/seen")});
    assert_int_equal(w.step, HTTPC_DENIED);
    assert_int_equal(w.requests, before);
    assert_true(w.allow_asks > 0);
    w.allow = true;
    run(&w, (struct httpc_request){.url = url(&w, "/seen")});
    assert_int_equal(w.step, HTTPC_OK);
    close_world(&w);
}

static void pinned_addresses_are_tried_in_order(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){0});
    uint16_t const port = httpd_address(w.h, 0).port;
    char text[100];
    (void)snprintf(text, sizeof(text), "http://matrix.example.org:%u/seen", port);
    // Nobody listens on 127.0.0.2 at this port.
    struct addr const addrs[] = {addr_v4(127, 0, 0, 2, 0), addr_v4(127, 0, 0, 1, 0)};
    struct httpc_pin pin = {.host = "matrix.example.org", .port = port, .addrs = addrs, .count = 2};
    run(&w, (struct httpc_request){.url = text, .pin = &pin});
    assert_int_equal(w.step, HTTPC_OK);
    char want[64];
    (void)snprintf(want, sizeof(want), "host=matrix.example.org:%u", port);
    assert_non_null(strstr(w.seen, want));
    pin.count = 1;
    run(&w, (struct httpc_request){.url = text, .pin = &pin});
    assert_int_equal(w.step, HTTPC_CONNECT);
    char to[32];
    (void)snprintf(to, sizeof(to), "127.0.0.1:%u", port);
    run(&w, (struct httpc_request){.url = "http://example.org/seen", .connect_to = to});
    assert_int_equal(w.step, HTTPC_OK);
    assert_non_null(strstr(w.seen, "host=example.org "));
    close_world(&w);
}

static void calls_may_be_cancelled_and_end_with_the_client(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.max_per_host = 2});
    struct httpc_call *call[6] = {0};
    struct httpc_request const req = {.url = url(&w, "/park"), .on_done = on_done, .user = &w};
    for (size_t i = 0; i < ARRAY_LEN(call); i++) {
        assert_int_equal(httpc_start(w.c, &req, &call[i]), 0);
    }
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (w.parked_count < 2 && mono_before(clock_mono(), end)) {
        loop_run_once(w.loop, 20);
    }
    loop_run_once(w.loop, 20);
    assert_int_equal(w.parked_count, 2); // the others wait for a connection
    httpc_cancel(call[5]);
    httpc_cancel(call[0]); // under way
    while (w.parked_count < 3 && mono_before(clock_mono(), end)) {
        loop_run_once(w.loop, 20);
    }
    assert_int_equal(w.parked_count, 3);
    assert_int_equal(w.done, 0);
    httpc_free(w.c);
    w.c = NULL;
    assert_int_equal(w.done, 4);
    assert_int_equal(w.step, HTTPC_CANCELLED);
    close_world(&w);
}

static void calls_in_line_go_out_as_they_were_asked_for(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.max_total = 1, .user_agent = "foci-test"});
    uint16_t const port = httpd_address(w.h, 0).port;
    struct httpc_request const first = {
        .url = url(&w, "/park"), .on_done = on_done, .user = &w, .total_ms = 300};
    assert_int_equal(httpc_start(w.c, &first, NULL), 0);
    char texts[6][200]; // gone when the call leaves the line
    struct addr at = addr_v4(127, 0, 0, 1, 0);
    (void)snprintf(texts[0], sizeof(texts[0]), "http://pinned.example.org:%u/seen", port);
    (void)snprintf(texts[1], sizeof(texts[1]), "X-One");
    (void)snprintf(texts[2], sizeof(texts[2]), "first");
    (void)snprintf(texts[3], sizeof(texts[3]), "[body]");
    (void)snprintf(texts[4], sizeof(texts[4]), "pinned.example.org");
    (void)snprintf(texts[5], sizeof(texts[5]), "PUT");
    struct httpc_header const headers[] = {{texts[1], texts[2]}};
    struct httpc_pin const pin = {.host = texts[4], .port = port, .addrs = &at, .count = 1};
    struct httpc_request const second = {.method = texts[5],
                                         .url = texts[0],
                                         .headers = headers,
                                         .header_count = 1,
                                         .body = bytes_str(texts[3]),
                                         .pin = &pin,
                                         .on_done = on_done,
                                         .user = &w};
    struct httpc_call *dropped = NULL;
    assert_int_equal(httpc_start(w.c, &first, &dropped), 0);
    assert_int_equal(httpc_start(w.c, &second, NULL), 0);
    memset(texts, 'x', sizeof(texts));
    at = (struct addr){0};
    httpc_cancel(dropped);
    wait_done(&w, 2); // the first one's time is over
    assert_int_equal(w.requests, 1);
    assert_int_equal(w.parked_count, 1);
    assert_int_equal(w.step, HTTPC_OK);
    char want[300];
    (void)snprintf(want, sizeof(want),
                   "PUT /seen one=first host=pinned.example.org:%u type=- ua=foci-test body=[body]",
                   port);
    assert_string_equal(w.seen, want);
    close_world(&w);
}

static void calls_in_line_end_in_time_and_with_the_client(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.max_total = 1});
    struct httpc_request req = {
        .url = url(&w, "/park?token=1"), .on_done = on_done, .user = &w, .total_ms = 5000};
    assert_int_equal(httpc_start(w.c, &req, NULL), 0);
    req.total_ms = 100;
    assert_int_equal(httpc_start(w.c, &req, NULL), 0);
    wait_done(&w, 1);
    assert_int_equal(w.step, HTTPC_TIMEOUT);
    char want[200];
    (void)snprintf(want, sizeof(want),
                   "request to 127.0.0.1:%u failed: no connection to it became free in time",
                   httpd_address(w.h, 0).port);
    assert_string_equal(w.text, want);
    req.total_ms = 5000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(httpc_start(w.c, &req, NULL), 0);
    }
    httpc_free(w.c);
    w.c = NULL;
    assert_int_equal(w.done, 5);
    assert_int_equal(w.step, HTTPC_CANCELLED);
    close_world(&w);
}

static void kept_connections_are_used_again(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, &(struct httpc_conf){.max_total = 4, .max_per_host = 4});
    struct httpc_request const req = {.url = url(&w, "/seen"), .on_done = on_done, .user = &w};
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(httpc_start(w.c, &req, NULL), 0);
    }
    wait_done(&w, 40);
    assert_int_equal(w.requests, 40);
    run(&w, (struct httpc_request){.url = url(&w, "/seen")});
    assert_int_equal(w.step, HTTPC_OK);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_carry_what_was_asked_for),
        cmocka_unit_test(header_with_a_line_break_is_refused),
        cmocka_unit_test(sizes_are_capped),
        cmocka_unit_test(another_protocol_is_the_fault_of_the_answer_not_of_the_url),
        cmocka_unit_test(failures_name_their_step_and_not_the_query),
        cmocka_unit_test(redirects_are_followed_only_if_wanted),
        cmocka_unit_test(address_policy_is_asked_also_for_kept_connections),
        cmocka_unit_test(pinned_addresses_are_tried_in_order),
        cmocka_unit_test(calls_may_be_cancelled_and_end_with_the_client),
        cmocka_unit_test(calls_in_line_go_out_as_they_were_asked_for),
        cmocka_unit_test(calls_in_line_end_in_time_and_with_the_client),
        cmocka_unit_test(kept_connections_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

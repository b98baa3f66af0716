// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// What a check does with homeservers that misbehave, and how many go on at once. Trusted ones are
// asked over plain HTTP by an override; of others a listener that never says anything is enough
// here. (TLS and discovery belong to the black-box tests.)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/dns.h"
#include "common/svc/httpd.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"
#include "jwt-service/openid/openid_verifier.h"

#define DEADLINE_MS 20000
#define CHECKS 16

static struct loop *loop;
static struct dns *dns;
static struct httpc *http;
static struct server_discovery *discovery;
static struct openid_verifier *verifier;
static struct httpd *server;
static struct openid_override override;
static char base_url[64];
static unsigned requests;
static unsigned elsewhere; // requests to where a redirect points
static const char *mode;
static struct httpd_req *parked[CHECKS];
static size_t parked_count;
static uint8_t *megabytes;

#define MEGABYTES ((size_t)4 << 20)

static struct outcome {
    struct openid_check *check;
    bool done;
    bool busy;
    char user[64];
    char step[32];
    char text[300];
    int64_t after_ms;
    mono_t started;
} out[CHECKS];

static void userinfo(void *user, struct httpd_req *r)
{
    (void)user;
    requests++;
    assert_string_equal(httpd_query(r, "access_token"), "to ken+/&=");
    if (strcmp(mode, "good") == 0) {
        httpd_respond(r, 200, NULL, bytes_str("{\"sub\":\"@alice:hs.example\"}"));
    } else if (strcmp(mode, "foreign") == 0) {
        httpd_respond(r, 200, NULL, bytes_str("{\"sub\":\"@alice:matrix.org\"}"));
    } else if (strcmp(mode, "megabytes") == 0) {
        httpd_respond(r, 200, NULL, bytes_of(megabytes, MEGABYTES));
    } else if (strcmp(mode, "header") == 0) {
        char long_value[20000];
        memset(long_value, 'x', sizeof(long_value));
        long_value[sizeof(long_value) - 1] = '\0';
        httpd_add_header(r, "X-Long", long_value);
        httpd_respond(r, 200, NULL, bytes_str("{\"sub\":\"@alice:hs.example\"}"));
    } else if (strcmp(mode, "redirect") == 0) {
        httpd_add_header(r, "Location", "/elsewhere");
        httpd_respond(r, 302, NULL, bytes_str(""));
    } else if (strcmp(mode, "html") == 0) {
        httpd_respond(r, 200, "text/html", bytes_str("<html>"));
    } else if (strcmp(mode, "401") == 0) {
        httpd_respond(r, 401, NULL, bytes_str("{}"));
    } else {
        parked[parked_count++] = r;
    }
}

static void count_elsewhere(void *user, struct httpd_req *r)
{
    (void)user;
    elsewhere++;
    httpd_respond(r, 200, NULL, bytes_str("{\"sub\":\"@alice:hs.example\"}"));
}

static bool nothing_but_127_0_0_2(void *user, const struct addr *a)
{
    (void)user;
    return a->family == ADDR_V4 && a->ip[0] == 127 && a->ip[3] == 2;
}

static void make_verifier(struct openid_limits limits)
{
    openid_verifier_free(verifier);
    verifier = openid_verifier_new(&(struct openid_verifier_conf){.loop = loop,
                                                                  .http = http,
                                                                  .discovery = discovery,
                                                                  .overrides = &override,
                                                                  .override_count = 1,
                                                                  .limits = limits});
    assert_non_null(verifier);
}

static int set_up(void **state)
{
    (void)state;
    struct httpd_route const routes[] = {
        {.path = "/_matrix/federation/v1/openid/userinfo", .handler = userinfo},
        {.path = "/elsewhere", .handler = count_elsewhere},
    };
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_conf const conf = {
        .listen = &lo, .listen_count = 1, .routes = routes, .route_count = ARRAY_LEN(routes)};
    loop = loop_new();
    megabytes = mem_alloc(MEGABYTES);
    assert_int_equal(httpd_new(loop, &conf, &server, NULL), 0);
    (void)snprintf(base_url, sizeof(base_url), "http://127.0.0.1:%u",
                   httpd_address(server, 0).port);
    override = (struct openid_override){.server_name = "hs.example", .base_url = base_url};
    dns = dns_new(loop, &(struct dns_conf){.servers = "127.0.0.1:1", .timeout_ms = 500});
    http = httpc_new(
        loop, &(struct httpc_conf){.max_per_host = 100, .allow_address = nothing_but_127_0_0_2});
    discovery = server_discovery_new(
        &(struct server_discovery_conf){.loop = loop, .http = http, .dns = dns});
    verifier = NULL;
    make_verifier((struct openid_limits){0});
    mode = "good";
    requests = elsewhere = 0;
    parked_count = 0;
    memset(out, 0, sizeof(out));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    openid_verifier_free(verifier);
    server_discovery_free(discovery);
    httpc_free(http);
    dns_free(dns);
    httpd_free(server);
    loop_free(loop);
    mem_free(megabytes);
    return 0;
}

static void on_result(void *user, const struct openid_result *r)
{
    struct outcome *const o = user;
    assert_false(o->done);
    o->done = true;
    o->busy = r->busy;
    o->after_ms = mono_diff_ms(clock_mono(), o->started);
    (void)snprintf(o->user, sizeof(o->user), "%s", r->user_id ? r->user_id : "-");
    (void)snprintf(o->step, sizeof(o->step), "%s", r->step ? r->step : "-");
    (void)snprintf(o->text, sizeof(o->text), "%s", r->text ? r->text : "-");
}

static void ask_from(size_t i, const char *server_name, const struct addr *client)
{
    loop_refresh(loop);
    out[i] = (struct outcome){.started = clock_mono()};
    struct openid_ask const ask = {
        .server_name = server_name, .token = "to ken+/&=", .client = client};
    assert_int_equal(openid_verifier_ask(verifier, &ask, on_result, &out[i], &out[i].check), 0);
    assert_false(out[i].done); // never from inside
}

static void ask(size_t i, const char *server_name)
{
    ask_from(i, server_name, NULL);
}

static void wait_for(const bool *flag)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (!*flag && mono_before(clock_mono(), end)) {
        loop_run_once(loop, 20);
    }
    assert_true(*flag);
}

static void turn(int64_t ms)
{
    mono_t const end = mono_add_ms(clock_mono(), ms);
    do {
        loop_run_once(loop, 5);
    } while (mono_before(clock_mono(), end));
}

static void wait_parked(size_t want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (parked_count < want && mono_before(clock_mono(), end)) {
        loop_run_once(loop, 20);
    }
    turn(20);
    assert_int_equal(parked_count, want);
}

static void one_request_whatever_the_answer(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *user, *step;
    } cases[] = {
        {"good", "@alice:hs.example", "-"},
        {"foreign", "-", "subject"},
        {"html", "-", "body"},
        {"401", "-", "status"},
        {"redirect", "-", "status"},
        {"header", "-", "too_large"},
        {"megabytes", "-", "too_large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        mode = cases[i].mode;
        requests = 0;
        ask(0, "hs.example");
        wait_for(&out[0].done);
        assert_string_equal(out[0].user, cases[i].user);
        assert_string_equal(out[0].step, cases[i].step);
        assert_null(strstr(out[0].text, "ken%2B"));
        assert_null(strstr(out[0].text, "ken+"));
        assert_int_equal(requests, 1);
        assert_in_range(out[0].after_ms, i == 0 ? 0 : OPENID_REFUSED_MS - 2, 5000);
    }
    assert_int_equal(elsewhere, 0);
    struct openid_check *none = NULL;
    struct openid_ask const ask = {.server_name = "a b", .token = "t"};
    assert_int_equal(openid_verifier_ask(verifier, &ask, on_result, NULL, &none), -EINVAL);
}

// Accepts and keeps quiet, or nobody: on 127.0.0.2, the only address that may be connected to.
static int listen_quietly(struct addr *ret)
{
    struct sockaddr_storage ss = {0};
    struct addr const a = addr_v4(127, 0, 0, 2, 0);
    socklen_t len = addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss));
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    len = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, ret), 0);
    return fd;
}

static void refusals_look_alike(void **state)
{
    (void)state;
    struct addr at;
    char denied[40];
    char closed[40];
    int const fd = listen_quietly(&at);
    (void)close(fd); // nobody is there any more
    (void)snprintf(denied, sizeof(denied), "127.0.0.1:%u", httpd_address(server, 0).port);
    (void)snprintf(closed, sizeof(closed), "127.0.0.2:%u", at.port);
    ask(0, denied);
    ask(1, closed);
    ask(2, "169.254.169.254");
    ask(3, "[::ffff:127.0.0.1]:8448");
    for (size_t i = 0; i < 4; i++) {
        wait_for(&out[i].done);
        assert_string_equal(out[i].user, "-");
        assert_in_range(out[i].after_ms, OPENID_REFUSED_MS - 2, 2000);
        assert_false(out[i].busy);
    }
    assert_string_equal(out[0].step, "denied");
    assert_string_equal(out[1].step, "connect");
    assert_string_equal(out[2].step, "denied");
    assert_string_equal(out[3].step, "denied");
    assert_int_equal(requests, 0);
    // For a minute nobody is sent there.
    ask(0, closed);
    wait_for(&out[0].done);
    assert_string_equal(out[0].step, "unreachable");
    assert_in_range(out[0].after_ms, OPENID_REFUSED_MS - 2, 2000);
}

static size_t accept_all(int fd, int *ret, size_t have)
{
    for (;;) {
        int const c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
        if (c < 0) {
            return have;
        }
        assert_true(have < CHECKS);
        ret[have++] = c;
    }
}

static void unknown_servers_have_few_places(void **state)
{
    (void)state;
    struct addr at;
    char name[40];
    char other[40];
    int conns[CHECKS];
    size_t n = 0;
    int const fd = listen_quietly(&at);
    make_verifier((struct openid_limits){.per_server = 2, .queue_per_server = 3});
    (void)snprintf(name, sizeof(name), "127.0.0.2:%u", at.port);
    for (size_t i = 0; i < 6; i++) {
        ask(i, name);
    }
    wait_for(&out[5].done); // the line is full
    assert_true(out[5].busy);
    assert_string_equal(out[5].step, "busy");
    n = accept_all(fd, conns, n);
    assert_int_equal(n, 2);
    // Other ports of that host are the same server; the operator's own is not held up.
    (void)snprintf(other, sizeof(other), "127.0.0.2:%u", at.port == 9999 ? 9998 : 9999);
    ask(6, other);
    wait_for(&out[6].done);
    assert_true(out[6].busy);
    ask(7, "hs.example");
    wait_for(&out[7].done);
    assert_string_equal(out[7].user, "@alice:hs.example");
    // One place becomes free: the next one in line goes.
    openid_verifier_cancel(out[0].check);
    openid_verifier_cancel(out[3].check); // this one waited
    for (int k = 0; k < 100 && n < 3; k++) {
        turn(10);
        n = accept_all(fd, conns, n);
    }
    assert_int_equal(n, 3);
    assert_false(out[4].done);
    // The server closes early, without a word of TLS: all of the rest is refused, the last one
    // without another attempt.
    (void)close(conns[1]);
    (void)close(conns[2]);
    wait_for(&out[1].done);
    wait_for(&out[2].done);
    wait_for(&out[4].done);
    assert_string_equal(out[1].step, "tls");
    assert_string_equal(out[2].step, "tls");
    assert_string_equal(out[4].step, "unreachable");
    assert_int_equal(accept_all(fd, conns, 0), 0);
    (void)close(conns[0]);
    (void)close(fd);
}

static void one_client_has_few_places(void **state)
{
    (void)state;
    struct addr at;
    int conns[CHECKS];
    char name[40];
    struct addr const me = addr_v4(203, 0, 113, 1, 1);
    struct addr const you = addr_v4(203, 0, 113, 2, 1);
    make_verifier((struct openid_limits){.per_client = 1, .per_server = 3});
    int const fd = listen_quietly(&at);
    (void)snprintf(name, sizeof(name), "127.0.0.2:%u", at.port);
    ask_from(0, name, &me);
    ask_from(1, name, &me);
    ask_from(2, name, &you);
    turn(50);
    assert_int_equal(accept_all(fd, conns, 0), 2);
    openid_verifier_cancel(out[0].check);
    turn(50);
    assert_int_equal(accept_all(fd, conns, 2), 3);
    openid_verifier_cancel(out[1].check);
    openid_verifier_cancel(out[2].check);
    for (size_t i = 0; i < 3; i++) {
        (void)close(conns[i]);
    }
    (void)close(fd);
}

static void trusted_servers_have_many_places_and_a_long_line(void **state)
{
    (void)state;
    mode = "park";
    make_verifier(
        (struct openid_limits){.total = 1, .per_server = 1, .trusted = 3, .trusted_queue = 10});
    for (size_t i = 0; i < 8; i++) {
        ask(i, "hs.example");
    }
    wait_parked(3);
    openid_verifier_cancel(out[6].check); // waits
    httpd_respond(parked[0], 200, NULL, bytes_str("{\"sub\":\"@alice:hs.example\"}"));
    wait_parked(4);
    for (size_t i = 1; i < 7; i++) {
        wait_parked(MIN(i + 3, (size_t)7));
        httpd_respond(parked[i], 200, NULL, bytes_str("{\"sub\":\"@alice:hs.example\"}"));
    }
    for (size_t i = 0; i < 8; i++) {
        if (i != 6) {
            wait_for(&out[i].done);
            assert_string_equal(out[i].user, "@alice:hs.example");
        }
    }
    assert_int_equal(requests, 7);
}

static void checks_may_be_cancelled_at_any_time(void **state)
{
    (void)state;
    mode = "park";
    make_verifier((struct openid_limits){.trusted = 1});
    ask(0, "hs.example");
    wait_parked(1);
    ask(1, "hs.example");
    ask(2, "hs.example");
    ask(3, "name.invalid"); // looks its name up
    ask(4, "169.254.169.254");
    turn(20); // the last one is refused, and waits for its time
    assert_false(out[4].done);
    openid_verifier_cancel(out[4].check);
    openid_verifier_cancel(out[3].check);
    openid_verifier_cancel(out[0].check); // running: the next one is admitted
    openid_verifier_cancel(out[1].check); // before it began
    wait_parked(2);
    openid_verifier_cancel(out[2].check);
    turn(100);
    for (size_t i = 0; i < 5; i++) {
        assert_false(out[i].done);
    }
    for (size_t i = 0; i < parked_count; i++) {
        httpd_respond(parked[i], 200, NULL, bytes_str("{}"));
    }
    turn(20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_request_whatever_the_answer),
        TEST(refusals_look_alike),
        TEST(unknown_servers_have_few_places),
        TEST(one_client_has_few_places),
        TEST(trusted_servers_have_many_places_and_a_long_line),
        TEST(checks_may_be_cancelled_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

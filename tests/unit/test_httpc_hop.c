// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// SUPPORT: name_server
// Where calls go: names that change their addresses, redirects, addresses that the policy refuses.
// Two servers on one port: 127.0.0.1 plays the Internet, 127.0.0.2 what is inside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/svc/dns_cache.h"
#include "common/svc/httpc.h"
#include "common/svc/httpd_conn.h"
#include "common/sys/clock.h"
#include "tests/support/name_server.h"

#define DEADLINE_MS 20000

static struct loop *loop;
static struct name_server names;
static struct dns *dns;
static struct dns_cache *cache;
static struct httpc *client;
static struct httpd *server;
static uint16_t port;
static unsigned requests;
static unsigned refused; // by the policy
static char seen[256];
static struct httpd_req *parked;
// The last result.
static unsigned done;
static enum httpc_step step;
static unsigned status;
static char text[700];
static struct addr peer;
static int64_t elapsed_ms;

static void answer(void *user, struct httpd_req *r)
{
    (void)user;
    const char *const one = httpd_header(r, "X-One");
    const char *const host = httpd_header(r, "Host");
    requests++;
    (void)snprintf(seen, sizeof(seen), "%s host=%s one=%s", httpd_path(r), host ? host : "-",
                   one ? one : "-");
    httpd_respond(r, 200, NULL, bytes_str("fine"));
}

static void redirect(void *user, struct httpd_req *r)
{
    (void)user;
    requests++;
    httpd_add_header(r, "Location", httpd_query(r, "to"));
    httpd_respond(r, 302, NULL, bytes_str("moved"));
}

static void park(void *user, struct httpd_req *r)
{
    (void)user;
    parked = r;
}

// Only 127.0.0.1 and addresses where nobody is are out on the Internet here.
static bool policy(void *user, const struct addr *a)
{
    (void)user;
    static const uint8_t outside[4] = {127, 0, 0, 1};
    static const uint8_t nobody[4] = {127, 0, 0, 9};
    assert_true(a->port == port || a->port == 1);
    bool const ok =
        a->family == ADDR_V4 && (memcmp(a->ip, outside, 4) == 0 || memcmp(a->ip, nobody, 4) == 0);
    refused += !ok;
    return ok;
}

static int set_up(void **state)
{
    (void)state;
    struct httpd_route const routes[] = {
        {.path = "/", .handler = answer},
        {.path = "/redirect", .handler = redirect},
        {.path = "/park", .handler = park},
    };
    struct addr const listen[] = {addr_v4(127, 0, 0, 1, 0), addr_v4(127, 0, 0, 2, 0)};
    struct httpd_conf const conf = {
        .listen = listen, .listen_count = 2, .routes = routes, .route_count = ARRAY_LEN(routes)};
    loop = loop_new();
    name_server_open(&names, loop);
    dns = dns_new(loop, &(struct dns_conf){.servers = names.where, .timeout_ms = 10000});
    cache = dns_cache_new(loop, dns);
    client =
        httpc_new(loop, &(struct httpc_conf){
                            .dns = cache, .allow_address = policy, .max_per_host = 1, .idle_s = 1});
    requests = refused = done = 0;
    parked = NULL;
    assert_int_equal(httpd_new(loop, &conf, &server, NULL), 0);
    port = httpd_address(server, 0).port;
    assert_int_equal(httpd_address(server, 1).port, port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    httpc_free(client);
    httpd_free(server);
    dns_cache_free(cache);
    dns_free(dns);
    name_server_close(&names);
    loop_free(loop);
    return 0;
}

static void on_done(void *user, const struct httpc_result *r)
{
    (void)user;
    done++;
    step = r->step;
    status = r->status;
    peer = r->peer;
    elapsed_ms = r->elapsed_ms;
    (void)snprintf(text, sizeof(text), "%s", r->text);
}

static void wait_done(unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (done < want && mono_before(clock_mono(), end)) {
        loop_run_once(loop, 20);
    }
    assert_int_equal(done, want);
}

static void run(struct httpc_request req)
{
    unsigned const before = done;
    req.on_done = on_done;
    assert_int_equal(httpc_start(client, &req, NULL), 0);
    assert_int_equal(done, before); // never from inside
    wait_done(before + 1);
}

// A URL with %u for the port, one at a time.
static const char *url(const char *form)
{
    static char out[300];
    size_t n = 0;
    for (; *form; form++) {
        n += *form == '#' ? (size_t)snprintf(out + n, sizeof(out) - n, "%u", port) : 1;
        if (*form != '#') {
            out[n - 1] = *form;
        }
    }
    out[n] = '\0';
    return out;
}

static void get(const char *form)
{
    run((struct httpc_request){.url = url(form)});
}

static void names_are_resolved_and_kept(void **state)
{
    (void)state;
    name_server_set(&names, "hs.test", "127.0.0.1");
    get("http://hs.test:#/");
    assert_int_equal(step, HTTPC_OK);
    char want[64];
    (void)snprintf(want, sizeof(want), "/ host=hs.test:%u one=-", port);
    assert_string_equal(seen, want);
    unsigned const asked = names.asked;
    get("http://HS.test:#/");
    assert_int_equal(step, HTTPC_OK);
    assert_int_equal(names.asked, asked);
    // Behind another name that says where it is.
    name_server_set(&names, "node.test", "127.0.0.1");
    char to[32];
    (void)snprintf(to, sizeof(to), "node.test:%u", port);
    run((struct httpc_request){.url = "http://example.test/", .connect_to = to});
    assert_int_equal(step, HTTPC_OK);
    assert_string_equal(seen, "/ host=example.test one=-");
    assert_int_equal(name_server_asked(&names, "example.test"), 0);
}

static void what_the_policy_refuses_is_not_connected_to(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "127.0.0.2", "169.254.169.254",  "127.0.0.2,169.254.169.254,10.0.0.1",
        "::1",       "::ffff:127.0.0.2", "fe80::1"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        name_server_set(&names, "in.test", cases[i]);
        dns_cache_forget(cache, "in.test");
        get("http://in.test:#/?access_token=secret");
        assert_int_equal(step, HTTPC_DENIED);
        assert_non_null(strstr(text, "connection to in.test:"));
        assert_null(strstr(text, "secret"));
        assert_int_equal(peer.family, ADDR_NONE);
    }
    get("http://127.0.0.2:#/");
    assert_int_equal(step, HTTPC_DENIED);
    get("http://[::1]:#/");
    assert_int_equal(step, HTTPC_DENIED);
    get("http://[::ffff:7f00:2]:#/");
    assert_int_equal(step, HTTPC_DENIED);
    char to[32];
    (void)snprintf(to, sizeof(to), "127.0.0.2:%u", port);
    run((struct httpc_request){.url = "http://example.test/", .connect_to = to});
    assert_int_equal(step, HTTPC_DENIED);
    assert_int_equal(requests, 0);
    // Those that it does not refuse are left.
    name_server_set(&names, "in.test", "127.0.0.2,127.0.0.1,10.0.0.1");
    dns_cache_forget(cache, "in.test");
    get("http://in.test:#/");
    assert_int_equal(step, HTTPC_OK);
    assert_int_equal(peer.ip[3], 1);
    // The operator's own names are not asked about.
    run((struct httpc_request){.url = url("http://127.0.0.2:#/"), .trusted = true});
    assert_int_equal(step, HTTPC_OK);
}

static void a_name_that_moves_inside_is_refused(void **state)
{
    (void)state;
    name_server_set(&names, "rebind.test", "127.0.0.1");
    get("http://rebind.test:#/");
    assert_int_equal(step, HTTPC_OK);
    name_server_set(&names, "rebind.test", "127.0.0.2");
    dns_cache_forget(cache, "rebind.test"); // its TTL is over
    unsigned const before = requests;
    // The connection to where it was is still open; it is not used either.
    get("http://rebind.test:#/");
    assert_int_equal(step, HTTPC_DENIED);
    assert_int_equal(requests, before);
    // A trusted call has opened a connection inside by the same name: nobody else may use it.
    char to[32];
    (void)snprintf(to, sizeof(to), "127.0.0.2:%u", port);
    run((struct httpc_request){
        .url = url("http://other.test:#/"), .connect_to = to, .trusted = true});
    assert_int_equal(step, HTTPC_OK);
    run((struct httpc_request){.url = url("http://other.test:#/"), .connect_to = to});
    assert_int_equal(step, HTTPC_DENIED);
    assert_int_equal(requests, before + 1);
}

static void redirects_do_not_lead_inside(void **state)
{
    (void)state;
    static const char *const targets[] = {"http://in.test:#/", "http://127.0.0.2:#/",
                                          "http://[::ffff:127.0.0.2]:#/", "//in.test:#/"};
    struct httpc_header const headers[] = {{"X-One", "1"}};
    name_server_set(&names, "out.test", "127.0.0.1");
    name_server_set(&names, "in.test", "127.0.0.2");
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char form[200];
        (void)snprintf(form, sizeof(form), "http://out.test:#/redirect?to=%s", targets[i]);
        requests = 0;
        run((struct httpc_request){.url = url(form), .max_redirects = 5});
        assert_int_equal(step, HTTPC_DENIED);
        assert_int_equal(requests, 1);
    }
    // What was said to the first host is not said to the next.
    name_server_set(&names, "next.test", "127.0.0.1");
    run((struct httpc_request){.url = url("http://out.test:#/redirect?to=http://next.test:#/"),
                               .headers = headers,
                               .header_count = 1,
                               .max_redirects = 1});
    assert_int_equal(step, HTTPC_OK);
    assert_int_equal(status, 200);
    assert_non_null(strstr(seen, "host=next.test:"));
    assert_non_null(strstr(seen, "one=-"));
    // Nor is a body sent on.
    run((struct httpc_request){.url = url("http://out.test:#/redirect?to=http://next.test:#/"),
                               .method = "POST",
                               .max_redirects = 1});
    assert_int_equal(status, 302);
    // Round and round, and to what is no HTTP.
    requests = 0;
    name_server_set(&names, "loop.test", "127.0.0.1");
    run((struct httpc_request){
        .url =
            url("http://loop.test:#/redirect?to=/redirect%3fto%3d/redirect%253fto%253d/redirect"),
        .max_redirects = 2});
    assert_int_equal(step, HTTPC_REDIRECT);
    assert_int_equal(requests, 3);
    run((struct httpc_request){.url = url("http://out.test:#/redirect?to=file:///etc/passwd"),
                               .max_redirects = 2});
    assert_int_equal(step, HTTPC_REDIRECT);
    run((struct httpc_request){.url = url("http://out.test:#/redirect?to=http://next.test:#/"),
                               .max_redirects = 2,
                               .redirect_https_only = true});
    assert_int_equal(step, HTTPC_REDIRECT);
}

static void a_server_that_moved_is_found_again(void **state)
{
    (void)state;
    name_server_set(&names, "moved.test", "127.0.0.9"); // nobody is there
    get("http://moved.test:#/");
    assert_int_equal(step, HTTPC_CONNECT);
    assert_int_equal(name_server_asked(&names, "moved.test"), 2);
    // Known, and still so: asked once more, no second attempt.
    get("http://moved.test:#/");
    assert_int_equal(step, HTTPC_CONNECT);
    assert_non_null(strstr(text, "connection to moved.test:"));
    assert_int_equal(name_server_asked(&names, "moved.test"), 4);
    name_server_set(&names, "moved.test", "127.0.0.1");
    get("http://moved.test:#/");
    assert_int_equal(step, HTTPC_OK);
    name_server_set(&names, "moved.test", "127.0.0.2");
    // Known to be outside; where it went is refused as any other.
    httpc_free(client);
    client = httpc_new(loop, &(struct httpc_conf){.dns = cache, .allow_address = policy});
    httpd_quiesce(server);
    get("http://moved.test:#/");
    assert_int_equal(step, HTTPC_DENIED);
}

static void addresses_are_raced(void **state)
{
    (void)state;
    // Nobody is at the first ones. (Of IPv6 the policy here lets none pass.)
    name_server_set(&names, "many.test", "127.0.0.9,127.0.0.9,127.0.0.1");
    get("http://many.test:#/");
    assert_int_equal(step, HTTPC_OK);
    assert_int_equal(peer.ip[3], 1);
    struct httpc *const open = httpc_new(loop, &(struct httpc_conf){.dns = cache});
    // 100::/64 leads nowhere (RFC 6666), or there is no IPv6 at all: IPv4 follows 250 ms later.
    name_server_set(&names, "dual.test", "100::1,127.0.0.1");
    struct httpc_request const req = {
        .url = url("http://dual.test:#/"), .on_done = on_done, .connect_ms = 5000};
    unsigned const before = done;
    assert_int_equal(httpc_start(open, &req, NULL), 0);
    wait_done(before + 1);
    assert_int_equal(step, HTTPC_OK);
    assert_in_range(elapsed_ms, 0, 2000);
    httpc_free(open);
}

static void names_that_are_not_there(void **state)
{
    (void)state;
    get("http://missing.test:#/");
    assert_int_equal(step, HTTPC_DNS);
    assert_non_null(strstr(text, "name look-up for missing.test:"));
    unsigned const asked = names.asked;
    get("http://missing.test:#/");
    assert_int_equal(step, HTTPC_DNS);
    assert_int_equal(names.asked, asked);
    name_server_set(&names, "empty.test", "");
    get("http://empty.test:#/");
    assert_int_equal(step, HTTPC_DNS);
    names.silent = true;
    run((struct httpc_request){.url = url("http://slow.test:#/"), .connect_ms = 150});
    assert_int_equal(step, HTTPC_DNS);
    assert_non_null(strstr(text, "in time"));
    assert_in_range(elapsed_ms, 149, 5000);
    // Whoever gives up leaves nothing behind.
    struct httpc_call *call = NULL;
    struct httpc_request const req = {.url = url("http://slow2.test:#/"), .on_done = on_done};
    assert_int_equal(httpc_start(client, &req, &call), 0);
    loop_run_once(loop, 20);
    httpc_cancel(call);
    get("gopher://127.0.0.1:#/");
    assert_int_equal(step, HTTPC_BAD_URL);
    get("http://a b/");
    assert_int_equal(step, HTTPC_BAD_URL);
}

static void waiting_for_a_connection_ends_in_time(void **state)
{
    (void)state;
    struct httpc_request req = {.url = url("http://127.0.0.1:#/park"), .on_done = on_done};
    assert_int_equal(httpc_start(client, &req, NULL), 0);
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (!parked && mono_before(clock_mono(), end)) {
        loop_run_once(loop, 20);
    }
    // One connection a host is allowed here.
    req.total_ms = 150;
    assert_int_equal(httpc_start(client, &req, NULL), 0);
    wait_done(1);
    assert_int_equal(step, HTTPC_TIMEOUT);
    assert_in_range(elapsed_ms, 149, 5000);
    httpd_respond(parked, 200, NULL, bytes_str("at last"));
    wait_done(2);
    assert_int_equal(step, HTTPC_OK);
}

static void kept_connections_are_closed_when_nobody_asks(void **state)
{
    (void)state;
    get("http://127.0.0.1:#/");
    assert_int_equal(step, HTTPC_OK);
    assert_int_equal(server->conn_count, 1);
    mono_t const from = clock_mono();
    while (server->conn_count > 0 && mono_diff_ms(clock_mono(), from) < DEADLINE_MS) {
        loop_run_once(loop, 50);
    }
    assert_int_equal(server->conn_count, 0);
    assert_in_range(mono_diff_ms(clock_mono(), from), 900, 5000);
    get("http://127.0.0.1:#/"); // and it goes on
    assert_int_equal(step, HTTPC_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_resolved_and_kept),
        TEST(what_the_policy_refuses_is_not_connected_to),
        TEST(a_name_that_moves_inside_is_refused),
        TEST(redirects_do_not_lead_inside),
        TEST(a_server_that_moved_is_found_again),
        TEST(addresses_are_raced),
        TEST(names_that_are_not_there),
        TEST(waiting_for_a_connection_ends_in_time),
        TEST(kept_connections_are_closed_when_nobody_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// The look-ups themselves, against a name server of our own that knows one SRV record. (Ports 443
// and 8448 are for the black-box test, which has a network of its own.)
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "jwt-service/openid/server_discovery.h"

static struct loop *loop;
static struct httpc *http;
static struct dns *dns;
static struct server_discovery *discovery;
static struct loop_poll *poll_;
static int name_server = -1;
static unsigned asked;

// Answers _matrix-fed._tcp.srv.invalid with 10 5 8450 node.invalid, everything else with NXDOMAIN.
static void on_query(void *user, unsigned events)
{
    (void)user;
    (void)events;
    static const uint8_t srv_name[] = "\x0b_matrix-fed\x04_tcp\x03srv\x07invalid";
    static const uint8_t record[] =
        "\xc0\x0c\x00\x21\x00\x01\x00\x00\x01\x2c\x00\x14\x00\x0a\x00\x05"
        "\x21\x02\x04node\x07invalid";
    uint8_t buf[600];
    struct sockaddr_storage from;
    socklen_t n = sizeof(from);
    ssize_t len = recvfrom(name_server, buf, 512, 0, (struct sockaddr *)&from, &n);
    if (len < 12) {
        return;
    }
    asked++;
    bool const known = (size_t)len >= 12 + sizeof(srv_name) &&
                       memcmp(buf + 12, srv_name, sizeof(srv_name)) == 0 &&
                       buf[12 + sizeof(srv_name) + 1] == 33;
    size_t const question = 12 + (size_t)(strlen((char *)buf + 12) + 1) + 4;
    buf[2] = 0x85;
    buf[3] = known ? 0x80 : 0x83;
    buf[7] = known ? 1 : 0;
    buf[9] = 0;
    buf[11] = 0; // no EDNS in the answer
    if (known) {
        memcpy(buf + question, record, sizeof(record));
    }
    (void)sendto(name_server, buf, question + (known ? sizeof(record) : 0), 0,
                 (struct sockaddr *)&from, n);
}

static int setup(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    char servers[32];
    name_server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(name_server, (struct sockaddr *)&at, n) != 0 ||
        getsockname(name_server, (struct sockaddr *)&at, &n) != 0) {
        return -1;
    }
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(at.sin_port));
    loop = loop_new();
    poll_ = loop_poll_new(loop, name_server, on_query, NULL);
    loop_poll_set(poll_, LOOP_READ);
    http = httpc_new(loop, &(struct httpc_conf){0});
    dns = dns_new(loop, &(struct dns_conf){.servers = servers, .timeout_ms = 2000});
    discovery = server_discovery_new(
        &(struct server_discovery_conf){.loop = loop, .http = http, .dns = dns});
    asked = 0;
    return discovery ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    server_discovery_free(discovery);
    dns_free(dns);
    httpc_free(http);
    loop_poll_free(poll_);
    loop_free(loop);
    close(name_server);
    return 0;
}

struct waiter {
    struct server_route route;
    unsigned calls;
    struct server_query *query;
};

static void on_route(void *user, const struct server_route *route)
{
    struct waiter *const w = user;
    w->route = *route;
    w->calls++;
    w->query = NULL;
}

static struct server_name name_of(const char *text)
{
    struct server_name n;
    assert_int_equal(server_name_parse(bytes_str(text), &n), 0);
    return n;
}

static void wait_for(const struct waiter *w)
{
    for (int i = 0; i < 2000 && w->calls == 0; i++) {
        loop_run_once(loop, 10);
    }
    assert_int_equal(w->calls, 1);
}

static void srv_records_lead_to_their_target(void **state)
{
    (void)state;
    struct server_name const n = name_of("srv.invalid"); // RFC 2606: no well-known there
    struct waiter w = {0};
    struct server_route known;
    assert_int_equal(server_discovery_known(discovery, &n, &known, NULL), -ENOENT);
    assert_int_equal(server_discovery_start(discovery, &n, true, on_route, &w, &w.query), 0);
    assert_int_equal(w.calls, 0);
    wait_for(&w);
    assert_string_equal(w.route.targets[0].host, "node.invalid");
    assert_int_equal(w.route.targets[0].port, 8450);
    assert_string_equal(w.route.tls_name, "srv.invalid");
    assert_string_equal(w.route.host_header, "srv.invalid");
    bool from_cache = false;
    assert_int_equal(server_discovery_known(discovery, &n, &known, &from_cache), 0);
    assert_true(from_cache);
    assert_int_equal(known.targets[0].port, 8450);
    server_discovery_forget(discovery, &n);
    assert_int_equal(server_discovery_known(discovery, &n, &known, NULL), -ENOENT);
}

static void many_queries_share_one_look_up(void **state)
{
    (void)state;
    struct server_name const n = name_of("nothing.invalid");
    struct waiter w[50] = {0};
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        assert_int_equal(server_discovery_start(discovery, &n, true, on_route, &w[i], &w[i].query),
                         0);
    }
    server_discovery_cancel(w[7].query);
    wait_for(&w[49]);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        assert_int_equal(w[i].calls, i == 7 ? 0 : 1);
    }
    // Nothing was found, so it is the name itself.
    assert_string_equal(w[0].route.targets[0].host, "nothing.invalid");
    assert_int_equal(w[0].route.targets[0].port, SERVER_DEFAULT_PORT);
    assert_int_equal(asked, 2); // _matrix-fed and _matrix, once each
}

static void freeing_drops_what_is_under_way(void **state)
{
    (void)state;
    struct server_name const n = name_of("srv.invalid");
    struct waiter w = {0};
    assert_int_equal(server_discovery_start(discovery, &n, true, on_route, &w, &w.query), 0);
    loop_run_once(loop, 0);
    assert_int_equal(w.calls, 0);
}

static void literals_need_nothing(void **state)
{
    (void)state;
    struct server_name const n = name_of("127.0.0.1:8449");
    struct server_route r;
    bool from_cache = true;
    assert_int_equal(server_discovery_known(discovery, &n, &r, &from_cache), 0);
    assert_false(from_cache);
    assert_int_equal(r.targets[0].port, 8449);
    assert_int_equal(asked, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(srv_records_lead_to_their_target, setup, teardown),
        cmocka_unit_test_setup_teardown(many_queries_share_one_look_up, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_drops_what_is_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(literals_need_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

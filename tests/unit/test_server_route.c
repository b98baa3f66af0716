// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: server_name
// The resolution table of authorization-service 5.3, with made-up answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jwt-service/openid/server_route.h"

static struct server_lookup l;

static void begin(const char *text)
{
    struct server_name n;
    assert_int_equal(server_name_parse(bytes_str(text), &n), 0);
    server_lookup_begin(&l, &n);
}

static void srv(enum dns_status status, size_t n, const char *target, uint16_t port)
{
    struct dns_srvs *const s = test_calloc(1, sizeof(*s));
    s->status = status;
    s->count = n;
    s->ttl_s = 600;
    for (size_t i = 0; i < n; i++) {
        s->srv[i].port = (uint16_t)(port + i);
        strcpy(s->srv[i].target, target);
    }
    server_lookup_srv(&l, s);
    test_free(s);
}

static void assert_route(const char *host, uint16_t port, const char *host_header, const char *tls)
{
    assert_int_equal(l.step, SERVER_ROUTE_DONE);
    assert_true(l.route.count >= 1);
    assert_string_equal(l.route.targets[0].host, host);
    assert_int_equal(l.route.targets[0].port, port);
    assert_string_equal(l.route.host_header, host_header);
    assert_string_equal(l.route.tls_name, tls);
}

static void literals_and_ports_need_no_look_up(void **state)
{
    (void)state;
    begin("127.0.0.1");
    assert_route("127.0.0.1", 8448, "127.0.0.1", "127.0.0.1");
    begin("127.0.0.1:9000");
    assert_route("127.0.0.1", 9000, "127.0.0.1:9000", "127.0.0.1");
    begin("[::1]");
    assert_route("::1", 8448, "[::1]", "::1");
    begin("[2001:db8::1]:443");
    assert_route("2001:db8::1", 443, "[2001:db8::1]:443", "2001:db8::1");
    assert_true(l.route.targets[0].is_v6);
    begin("example.org:8008");
    assert_route("example.org", 8008, "example.org:8008", "example.org");
}

static void well_known_with_port_or_literal_ends_the_search(void **state)
{
    (void)state;
    begin("example.org");
    assert_int_equal(l.step, SERVER_ROUTE_WELL_KNOWN);
    assert_true(server_lookup_well_known(&l, bytes_str("{\"m.server\":\"hs.example.org:443\"}")));
    assert_route("hs.example.org", 443, "hs.example.org:443", "hs.example.org");
    begin("example.org");
    assert_true(server_lookup_well_known(&l, bytes_str("{\"m.server\":\"192.0.2.1\",\"x\":[]}")));
    assert_route("192.0.2.1", 8448, "192.0.2.1", "192.0.2.1");
}

static void a_plain_delegated_name_goes_through_srv(void **state)
{
    (void)state;
    begin("example.org");
    assert_true(server_lookup_well_known(&l, bytes_str("{\"m.server\":\"hs.example.org\"}")));
    assert_int_equal(l.step, SERVER_ROUTE_SRV_FED);
    char name[SERVER_SRV_NAME];
    server_lookup_srv_name(&l, name);
    assert_string_equal(name, "_matrix-fed._tcp.hs.example.org");
    srv(DNS_OK, 2, "node.example.net", 7000);
    assert_route("node.example.net", 7000, "hs.example.org", "hs.example.org");
    assert_int_equal(l.route.count, 2);
    assert_int_equal(l.route.targets[1].port, 7001);
    assert_int_equal(l.ttl_s, 600);
}

static void without_well_known_the_name_itself_is_looked_up(void **state)
{
    (void)state;
    begin("example.org");
    assert_false(server_lookup_well_known(&l, bytes_of(NULL, 0)));
    srv(DNS_NOT_FOUND, 0, "", 0);
    assert_int_equal(l.step, SERVER_ROUTE_SRV_OLD);
    char name[SERVER_SRV_NAME];
    server_lookup_srv_name(&l, name);
    assert_string_equal(name, "_matrix._tcp.example.org");
    srv(DNS_OK, 1, "old.example.org", 8449);
    assert_route("old.example.org", 8449, "example.org", "example.org");
    assert_false(l.temporary);
}

static void without_anything_it_is_port_8448(void **state)
{
    (void)state;
    begin("example.org");
    (void)server_lookup_well_known(&l, bytes_of(NULL, 0));
    srv(DNS_TIMEOUT, 0, "", 0);
    assert_int_equal(l.step, SERVER_ROUTE_SRV_OLD);
    srv(DNS_TEMPORARY, 0, "", 0);
    assert_route("example.org", 8448, "example.org", "example.org");
    assert_true(l.temporary);
    assert_int_equal(l.ttl_s, 30);
}

static void srv_targets_that_are_none_are_skipped(void **state)
{
    (void)state;
    begin("example.org");
    (void)server_lookup_well_known(&l, bytes_of(NULL, 0));
    srv(DNS_OK, 1, "", 8448); // "." means: not offered
    assert_int_equal(l.step, SERVER_ROUTE_SRV_OLD);
    srv(DNS_OK, 1, "bad_name.example.org", 8448);
    assert_route("example.org", 8448, "example.org", "example.org");
    begin("example.org");
    (void)server_lookup_well_known(&l, bytes_of(NULL, 0));
    srv(DNS_OK, DNS_SRV_MAX, "node.example.org", 1000);
    assert_int_equal(l.route.count, SERVER_ROUTE_TARGETS);
}

static void unusable_documents_count_as_none(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "nonsense",
        "{\"m.server\":7}",
        "{\"m.server\":\"\"}",
        "{\"m.server\":\"https://hs.example.org\"}",
        "{\"m.server\":\"a b\"}",
        "{\"m.server\":\"hs.example.org:99999\"}",
        "{\"m.server\":null}",
        "{\"m.server\":\"hs.exa",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        begin("example.org");
        assert_false(server_lookup_well_known(&l, bytes_str(bodies[i])));
        assert_int_equal(l.step, SERVER_ROUTE_SRV_FED);
        assert_string_equal(l.name.host, "example.org");
    }
}

static void names_outside_the_grammar_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".",
        "a..b",
        "a.",
        ".a",
        ":8448",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "u@h",
        "a\\b",
        "a_b.c",
        "h\xc3\xa4.c",
        "a:",
        "a:0",
        "a:99999",
        "a:123456",
        "a:8x",
        "a:1:2",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[127.0.0.1]",
        "[fe80::1%eth0]",
        "127.1",
        "0x7f000001",
        "2130706433",
        "1.2.3.4.5",
        "256.1.1.1",
        "https://a.b",
        "localhost:8448/x",
        "[a.b]",
    };
    struct server_name n;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (server_name_parse(bytes_str(bad[i]), &n) == 0) {
            fail_msg("\"%s\" was accepted", bad[i]);
        }
    }
    assert_int_equal(server_name_parse(bytes_of("a\0b", 3), &n), -EINVAL);
    static const char *const good[] = {"localhost",          "a",          "A-1.b2.Example.ORG",
                                       "xn--hs-fka.example", "1.2.3.4:80", "3com.example"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(server_name_parse(bytes_str(good[i]), &n), 0);
    }
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    longest[256] = '\0';
    assert_int_equal(server_name_parse(bytes_str(longest), &n), -EINVAL);
    longest[64] = '\0'; // one label
    assert_int_equal(server_name_parse(bytes_str(longest), &n), -EINVAL);
    longest[63] = '\0';
    assert_int_equal(server_name_parse(bytes_str(longest), &n), 0);
}

static void documents_are_kept_between_five_minutes_and_two_days(void **state)
{
    (void)state;
    static const struct {
        const char *cache_control, *expires, *date;
        int64_t want;
    } cases[] = {
        {NULL, NULL, NULL, 86400},
        {"public", NULL, NULL, 86400},
        {"no-cache", NULL, NULL, 300},
        {"public, max-age=3600", NULL, NULL, 3600},
        {"Max-Age=0", NULL, NULL, 300},
        {"max-age=99999999999999999999", NULL, NULL, 172800},
        {"max-age=x", NULL, NULL, 300},
        {NULL, "Sun, 06 Nov 1994 09:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 3600},
        {NULL, "Sun, 06 Nov 1994 09:49:37 GMT", NULL, 3600},
        {NULL, "Sun, 06 Nov 2044 09:49:37 GMT", NULL, 172800},
        {NULL, "0", NULL, 300},
        {"max-age=600", "0", NULL, 600},
    };
    wall_t const now = {INT64_C(784111777) * US_PER_S};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            server_well_known_ttl_s(cases[i].cache_control, cases[i].expires, cases[i].date, now),
            cases[i].want);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_and_ports_need_no_look_up),
        cmocka_unit_test(well_known_with_port_or_literal_ends_the_search),
        cmocka_unit_test(a_plain_delegated_name_goes_through_srv),
        cmocka_unit_test(without_well_known_the_name_itself_is_looked_up),
        cmocka_unit_test(without_anything_it_is_port_8448),
        cmocka_unit_test(srv_targets_that_are_none_are_skipped),
        cmocka_unit_test(unusable_documents_count_as_none),
        cmocka_unit_test(names_outside_the_grammar_are_refused),
        cmocka_unit_test(documents_are_kept_between_five_minutes_and_two_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

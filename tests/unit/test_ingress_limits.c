// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jwt-service/ingress_limits.h"

static struct addr ip(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(bytes_str(text), &a), 0);
    return a;
}

static struct rate_limit limit(const char *text)
{
    struct rate_limit l;
    assert_int_equal(rate_limit_parse(bytes_str(text), &l), 0);
    return l;
}

static const mono_t now = {1000000000};

static bool from(struct ingress_limits *l, const char *client)
{
    struct addr const a = ip(client);
    int64_t retry = 0;
    bool const ok = ingress_limits_address(l, now, &a, &retry);
    assert_true(ok || retry >= 1);
    return ok;
}

static struct ingress_limits *make(const struct cidr_set *exempt)
{
    struct ingress_limits *const l =
        ingress_limits_new(&(struct ingress_limits_conf){.address = limit(INGRESS_ADDRESS_DEFAULT),
                                                         .server = limit(INGRESS_SERVER_DEFAULT),
                                                         .user = limit(INGRESS_USER_DEFAULT),
                                                         .exempt = exempt});
    assert_non_null(l);
    return l;
}

static void addresses_have_a_burst_of_30(void **state)
{
    (void)state;
    CLEANUP(ingress_limits_free) struct ingress_limits *l = make(NULL);
    for (int i = 0; i < 30; i++) {
        assert_true(from(l, "203.0.113.1"));
    }
    assert_false(from(l, "203.0.113.1"));
    assert_false(from(l, "::ffff:203.0.113.1")); // the same one
    assert_true(from(l, "203.0.113.2"));
}

static void a_64_of_ipv6_is_one_client(void **state)
{
    (void)state;
    CLEANUP(ingress_limits_free) struct ingress_limits *l = make(NULL);
    for (int i = 0; i < 30; i++) {
        assert_true(from(l, i % 2 ? "2001:db8:0:1::1" : "2001:db8:0:1:ffff::1"));
    }
    assert_false(from(l, "2001:db8:0:1:1234::9"));
    assert_true(from(l, "2001:db8:0:2::1"));
}

static void loopback_and_proxies_are_exempt(void **state)
{
    (void)state;
    struct cidr_set proxies = {0};
    assert_int_equal(cidr_set_add(&proxies, bytes_str("172.16.0.0/12")), 0);
    CLEANUP(ingress_limits_free) struct ingress_limits *l = make(&proxies);
    for (int i = 0; i < 1000; i++) {
        assert_true(from(l, "127.0.0.1") && from(l, "::1") && from(l, "172.18.0.1") &&
                    from(l, "::ffff:127.0.0.1"));
    }
    cidr_set_done(&proxies);
}

static void servers_and_users_have_their_own(void **state)
{
    (void)state;
    CLEANUP(ingress_limits_free) struct ingress_limits *l = make(NULL);
    int64_t retry = 0;
    for (int i = 0; i < 60; i++) {
        assert_true(ingress_limits_server(l, now, "a.example", false, &retry));
    }
    assert_false(ingress_limits_server(l, now, "a.example", false, &retry));
    assert_int_equal(retry, 50);
    assert_true(ingress_limits_server(l, now, "a.example", true, &retry)); // the operator's own
    assert_true(ingress_limits_server(l, now, "b.example", false, &retry));
    for (int i = 0; i < 10; i++) {
        assert_true(ingress_limits_user(l, now, "@u:a.example", &retry));
    }
    assert_false(ingress_limits_user(l, now, "@u:a.example", &retry));
    assert_int_equal(retry, 500);
    ingress_limits_set(l, &(struct ingress_limits_conf){0}); // no limits any more
    for (int i = 0; i < 100; i++) {
        assert_true(ingress_limits_user(l, now, "@u:a.example", &retry));
        assert_true(from(l, "203.0.113.1"));
    }
}

static void retry_after_is_in_whole_seconds(void **state)
{
    (void)state;
    assert_int_equal(ingress_retry_after_s(1), 1);
    assert_int_equal(ingress_retry_after_s(1000), 1);
    assert_int_equal(ingress_retry_after_s(1001), 2);
    assert_int_equal(ingress_retry_after_s(0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_have_a_burst_of_30),
        cmocka_unit_test(a_64_of_ipv6_is_one_client),
        cmocka_unit_test(loopback_and_proxies_are_exempt),
        cmocka_unit_test(servers_and_users_have_their_own),
        cmocka_unit_test(retry_after_is_in_whole_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

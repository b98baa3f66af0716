// SPDX-License-Identifier: Apache-2.0
// LINK: worker
// Which addresses are advertised. The host's own are whatever this host has: loopback is the only
// one that every host can be relied on to have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/worker/candidates.h"

static const struct addr any4 = {.family = ADDR_V4};
static const struct addr any6 = {.family = ADDR_V6};
static const struct addr loop4 = {.family = ADDR_V4, .ip = {127, 0, 0, 1}};

static struct addr parsed(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(bytes_str(text), &a), 0);
    return a;
}

static bool holds(const struct candidates *c, const struct addr *ip)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->addrs[i].family == ip->family &&
            memcmp(c->addrs[i].ip, ip->ip, sizeof(ip->ip)) == 0) {
            return true;
        }
    }
    return false;
}

static void what_the_operator_names_is_all(void **state)
{
    (void)state;
    struct addr const named[] = {parsed("192.0.2.1"), parsed("2001:db8::1")};
    struct addr const binds[] = {any4, any6};
    struct candidates_conf const conf = {.node_ips = named,
                                         .node_ip_count = 2,
                                         .binds = binds,
                                         .bind_count = 2,
                                         .loopback = true,
                                         .port = 7882};
    struct candidates c;
    assert_int_equal(candidates_make(&conf, &c), 0);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.one_count, 2);
    assert_true(holds(&c, &named[0]) && holds(&c, &named[1]));
    for (size_t i = 0; i < c.count; i++) {
        assert_int_equal(c.addrs[i].port, 7882);
        assert_non_null(strstr(c.lines[i], " 7882 typ host"));
    }
    assert_string_not_equal(c.lines[0], c.lines[1]);
    candidates_done(&c);
    assert_int_equal(c.count, 0);
}

static void only_what_sockets_are_bound_to_is_offered(void **state)
{
    (void)state;
    struct candidates_conf const conf = {.binds = &loop4, .bind_count = 1, .port = 1};
    struct candidates c;
    assert_int_equal(candidates_make(&conf, &c), 0);
    assert_int_equal(c.count, 1);
    assert_true(holds(&c, &loop4));
    candidates_done(&c);
}

static void without_an_ipv6_socket_no_ipv6_is_offered(void **state)
{
    (void)state;
    struct candidates_conf const conf = {
        .binds = &any4, .bind_count = 1, .loopback = true, .port = 1};
    struct candidates c;
    assert_int_equal(candidates_make(&conf, &c), 0);
    assert_true(holds(&c, &loop4));
    for (size_t i = 0; i < c.count; i++) {
        assert_int_equal(c.addrs[i].family, ADDR_V4);
    }
    assert_int_equal(c.one_count, 1);
    candidates_done(&c);
}

static void an_address_of_another_host_leaves_nothing(void **state)
{
    (void)state;
    struct addr const elsewhere = parsed("203.0.113.77");
    struct candidates_conf const conf = {
        .binds = &elsewhere, .bind_count = 1, .loopback = true, .port = 1};
    struct candidates c = {0};
    assert_int_equal(candidates_make(&conf, &c), -EADDRNOTAVAIL);
    assert_int_equal(c.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_operator_names_is_all),
        cmocka_unit_test(only_what_sockets_are_bound_to_is_offered),
        cmocka_unit_test(without_an_ipv6_socket_no_ipv6_is_offered),
        cmocka_unit_test(an_address_of_another_host_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

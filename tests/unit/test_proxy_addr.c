// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cidr.h"
#include "common/svc/proxy_addr.h"

static struct cidr_set trusted;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(cidr_set_add(&trusted, bytes_str("loopback")), 0);
    assert_int_equal(cidr_set_add(&trusted, bytes_str("10.0.0.0/8")), 0);
    assert_int_equal(cidr_set_add(&trusted, bytes_str("2001:db8:1::/48")), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cidr_set_done(&trusted);
    return 0;
}

static void check(const char *peer, struct proxy_headers h, enum proxy_source source,
                  const char *want)
{
    struct addr a;
    struct addr got = {0};
    char text[ADDR_STRLEN];
    assert_int_equal(addr_parse_ip(bytes_str(peer), &a), 0);
    assert_int_equal(proxy_addr_pick(&trusted, &a, &h, &got), source);
    assert_string_equal(addr_format_ip(&got, text), want);
    // Nobody is trusted without a list.
    assert_int_equal(proxy_addr_pick(NULL, &a, &h, &got), PROXY_PEER);
}

#define XFF(text) ((struct proxy_headers){.forwarded_for = (text)})
#define FWD(text) ((struct proxy_headers){.forwarded = (text)})
#define REAL(text) ((struct proxy_headers){.real_ip = (text)})

static void strangers_cannot_name_anybody(void **state)
{
    (void)state;
    check("203.0.113.1", XFF("1.2.3.4"), PROXY_PEER, "203.0.113.1");
    check("203.0.113.1", FWD("for=1.2.3.4"), PROXY_PEER, "203.0.113.1");
    check("::ffff:203.0.113.1", REAL("1.2.3.4"), PROXY_PEER, "203.0.113.1");
    check("2001:db8:2::1", XFF("127.0.0.1"), PROXY_PEER, "2001:db8:2::1");
}

static void list_is_read_from_the_right(void **state)
{
    (void)state;
    check("127.0.0.1", XFF("203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    check("::1", XFF("203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    check("::ffff:127.0.0.1", XFF("203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    // What the client said himself stands further left.
    check("127.0.0.1", XFF("1.1.1.1, 127.0.0.1, 203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", XFF("1.1.1.1, 203.0.113.7, 10.0.0.9, 10.0.0.8"), PROXY_HEADER,
          "203.0.113.7");
    check("127.0.0.1", XFF("203.0.113.7,10.0.0.9"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", XFF(" \t203.0.113.7\t ,\t10.0.0.9 "), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", XFF("2001:db8:9::1, 2001:db8:1::7"), PROXY_HEADER, "2001:db8:9::1");
}

static void forms_of_addresses(void **state)
{
    (void)state;
    check("127.0.0.1", XFF("203.0.113.7:4711"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", XFF("[2001:db8:9::1]:4711"), PROXY_HEADER, "2001:db8:9::1");
    check("127.0.0.1", XFF("[2001:db8:9::1]"), PROXY_HEADER, "2001:db8:9::1");
    check("127.0.0.1", XFF("2001:db8:9::1"), PROXY_HEADER, "2001:db8:9::1");
    check("127.0.0.1", XFF("::ffff:203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", REAL(" 203.0.113.7 "), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", XFF("203.0.113.7, ,10.0.0.9 ,,"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", FWD("for=203.0.113.7, ,for=10.0.0.9,"), PROXY_HEADER, "203.0.113.7");
}

static void garbage_ends_the_walk_at_who_wrote_it(void **state)
{
    (void)state;
    static const char *const garbage[] = {"",
                                          ",",
                                          ",,,",
                                          "unknown",
                                          "_hidden",
                                          "203.0.113.7:",
                                          "1.2.3",
                                          "1.2.3.4:65536",
                                          "1.2.3.4:x",
                                          "[2001:db8::1",
                                          "[]",
                                          "[::1]x",
                                          "fe80::1%1",
                                          "[:",
                                          "[",
                                          "]",
                                          ":",
                                          "::1::",
                                          "\"1.2.3.4\"",
                                          "1.2.3.4 5.6.7.8",
                                          "203.0.113.7, unknown"};
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        check("10.0.0.5", XFF(garbage[i]), PROXY_UNKNOWN, "10.0.0.5");
        check("10.0.0.5", REAL(garbage[i]), PROXY_UNKNOWN, "10.0.0.5");
    }
    check("127.0.0.1", XFF("203.0.113.7, x, 10.0.0.9"), PROXY_UNKNOWN, "10.0.0.9");
    check("127.0.0.1", XFF("10.0.0.8, 10.0.0.9"), PROXY_UNKNOWN, "10.0.0.8");
    check("10.0.0.5", (struct proxy_headers){0}, PROXY_UNKNOWN, "10.0.0.5");
}

static void forwarded_is_understood(void **state)
{
    (void)state;
    check("127.0.0.1", FWD("for=203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", FWD("For=\"[2001:db8:9::1]:4711\";proto=https;by=10.0.0.1"), PROXY_HEADER,
          "2001:db8:9::1");
    check("127.0.0.1", FWD("proto=https;FOR=203.0.113.7 ; host=x , by=q;for=\"10.0.0.9:80\""),
          PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", FWD("for=1.1.1.1, for=203.0.113.7"), PROXY_HEADER, "203.0.113.7");
    // A comma or semicolon inside quotes separates nothing.
    check("127.0.0.1", FWD("for=1.1.1.1;host=\"a,for=2.2.2.2;\\\",b\", for=203.0.113.7"),
          PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", FWD("for=203.0.113.7;x=\"a,for=10.0.0.1"), PROXY_HEADER, "203.0.113.7");
    static const char *const garbage[] = {"",
                                          "for",
                                          "for=",
                                          "for=\"",
                                          "for=_gate",
                                          "for=unknown",
                                          "proto=https",
                                          "for =1.2.3.4",
                                          "for=\"1.2.3.4",
                                          "for=\"1.2.\\3.4\"",
                                          "for=1.2.3.4, by=x"};
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        check("10.0.0.5", FWD(garbage[i]), PROXY_UNKNOWN, "10.0.0.5");
    }
}

static void one_header_is_read(void **state)
{
    (void)state;
    check("127.0.0.1",
          (struct proxy_headers){
              .forwarded_for = "203.0.113.7", .forwarded = "for=1.1.1.1", .real_ip = "2.2.2.2"},
          PROXY_HEADER, "203.0.113.7");
    check("127.0.0.1", (struct proxy_headers){.forwarded = "for=1.1.1.1", .real_ip = "2.2.2.2"},
          PROXY_HEADER, "1.1.1.1");
    check("10.0.0.5", (struct proxy_headers){.forwarded_for = "x", .real_ip = "2.2.2.2"},
          PROXY_UNKNOWN, "10.0.0.5");
}

static void long_chains_are_cut_on_the_left(void **state)
{
    (void)state;
    char text[4000] = "203.0.113.7";
    for (int i = 0; i < PROXY_HOPS_MAX - 1; i++) {
        strcat(text, ", 10.0.0.1");
    }
    check("127.0.0.1", XFF(text), PROXY_HEADER, "203.0.113.7");
    strcat(text, ", 10.0.0.2");
    check("127.0.0.1", XFF(text), PROXY_UNKNOWN, "10.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_cannot_name_anybody),
        cmocka_unit_test(list_is_read_from_the_right),
        cmocka_unit_test(forms_of_addresses),
        cmocka_unit_test(garbage_ends_the_walk_at_who_wrote_it),
        cmocka_unit_test(forwarded_is_understood),
        cmocka_unit_test(one_header_is_read),
        cmocka_unit_test(long_chains_are_cut_on_the_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

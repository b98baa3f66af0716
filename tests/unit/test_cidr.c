// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cidr.h"

static struct addr ip(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(bytes_str(text), &a), 0);
    return a;
}

static void ranges_are_read(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"10.1.2.3/8", "10.0.0.0/8"},
        {"192.0.2.129/25", "192.0.2.128/25"},
        {"192.0.2.1", "192.0.2.1/32"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"::/0", "::/0"},
        {"2001:db8:ffff::1/33", "2001:db8:8000::/33"},
        {"::1", "::1/128"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
        {"::ffff:192.0.2.1", "192.0.2.1/32"},
        {"::ffff:0:0/96", "0.0.0.0/0"},
        {"::ffff:0:0/95", "::fffe:0:0/95"},
    };
    static const char *const bad[] = {"",
                                      "/",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0/8",
                                      "10.0.0.0/08",
                                      "::/129",
                                      "::1/-1",
                                      "::1/ 8",
                                      " ::1",
                                      "::1 ",
                                      "example.org",
                                      "10.0.0.0/8/8",
                                      "01.0.0.0/8",
                                      "fe80::1%1/64",
                                      "[::1]/128",
                                      "10.0.0.0-10.0.0.9",
                                      "10.0.0.0/8x",
                                      "private"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct cidr c;
        char text[CIDR_STRLEN];
        assert_int_equal(cidr_parse(bytes_str(good[i][0]), &c), 0);
        assert_string_equal(cidr_format(&c, text), good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cidr c = {.bits = 77};
        assert_int_equal(cidr_parse(bytes_str(bad[i]), &c), -EINVAL);
        assert_int_equal(c.bits, 77);
    }
    struct cidr c;
    assert_int_equal(cidr_parse(bytes_of(NULL, 0), &c), -EINVAL);
}

static void ranges_match_what_is_in_them(void **state)
{
    (void)state;
    static const struct {
        const char *range, *in, *out;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"},
        {"192.0.2.128/25", "192.0.2.255", "192.0.2.127"},
        {"192.0.2.1/32", "192.0.2.1", "192.0.2.0"},
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"::/0", "2001:db8::1", "203.0.113.9"},
        {"fe80::/10", "febf::1", "fec0::1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::1/128", "::1", "::2"},
        {"0.0.0.0/1", "127.255.255.255", "128.0.0.0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cidr c;
        struct addr const in = ip(cases[i].in);
        struct addr const out = ip(cases[i].out);
        assert_int_equal(cidr_parse(bytes_str(cases[i].range), &c), 0);
        assert_true(cidr_match(&c, &in));
        assert_false(cidr_match(&c, &out));
        assert_false(cidr_match(&c, &(struct addr){0}));
    }
}

static void sets_know_the_longest_prefix(void **state)
{
    (void)state;
    struct cidr_set s = {0};
    struct addr const a = ip("10.1.2.3");
    assert_int_equal(cidr_set_longest(&s, &a), -1);
    assert_int_equal(cidr_set_longest(NULL, &a), -1);
    assert_false(cidr_set_match(NULL, &a));
    assert_int_equal(cidr_set_add(&s, bytes_str("all")), 0);
    assert_int_equal(cidr_set_longest(&s, &a), 0);
    assert_int_equal(cidr_set_add(&s, bytes_str("10.1.0.0/16")), 0);
    assert_int_equal(cidr_set_add(&s, bytes_str("10.0.0.0/8")), 0);
    assert_int_equal(cidr_set_longest(&s, &a), 16);
    assert_int_equal(cidr_set_add(&s, bytes_str("everything")), -EINVAL);
    assert_int_equal(s.count, 4);
    cidr_set_done(&s);
    assert_int_equal(s.count, 0);
}

static void words_stand_for_ranges(void **state)
{
    (void)state;
    static const char *const inside[] = {
        "127.0.0.1",  "::1",     "10.9.8.7", "172.31.0.1",  "192.168.1.1",
        "100.64.0.1", "fd00::1", "fe80::1",  "169.254.1.1", "::ffff:10.0.0.1"};
    static const char *const outside[] = {"203.0.113.1", "172.32.0.1", "100.128.0.1",
                                          "2001:db8::1", "fec0::1",    "::2"};
    struct cidr_set s = {0};
    assert_int_equal(cidr_set_add(&s, bytes_str("private_ranges")), 0);
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        struct addr const a = ip(inside[i]);
        assert_true(cidr_set_match(&s, &a));
    }
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        struct addr const a = ip(outside[i]);
        assert_false(cidr_set_match(&s, &a));
    }
    cidr_set_done(&s);
    assert_int_equal(cidr_set_add(&s, bytes_str("loopback")), 0);
    struct addr const lo = ip("127.3.2.1");
    struct addr const lan = ip("10.0.0.1");
    assert_true(cidr_set_match(&s, &lo));
    assert_false(cidr_set_match(&s, &lan));
    cidr_set_done(&s);
}

static void sets_have_an_end(void **state)
{
    (void)state;
    struct cidr_set s = {0};
    for (size_t i = 0; i < CIDR_SET_MAX; i++) {
        assert_int_equal(cidr_set_add(&s, bytes_str("10.0.0.1")), 0);
    }
    assert_int_equal(cidr_set_add(&s, bytes_str("10.0.0.1")), -E2BIG);
    cidr_set_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(ranges_match_what_is_in_them),
        cmocka_unit_test(sets_know_the_longest_prefix),
        cmocka_unit_test(words_stand_for_ranges),
        cmocka_unit_test(sets_have_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "jwt-service/openid/address_policy.h"

static struct addr ip(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(bytes_str(text), &a), 0);
    return a;
}

static const char *const inside[] = {
    // The first and the last of each range of 5.8 rule 2.
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.0.0.0",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    // IPv6.
    "::",
    "::1",
    "::2",
    "fe80::",
    "febf:ffff::1",
    "fec0::1",
    "feff::1",
    "fc00::",
    "fdff:ffff::1",
    "ff00::",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "100::1",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "3fff::1",
    "3fff:fff::1",
    "3ffe::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff::1",
    "5f00::1",
    "64:ff9b:1::1",
    "4000::1",
    "1fff::1",
    "fd00:ec2::254",
    // With an IPv4 address inside.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::1",
    "2001:0:a00:1:0:0:f7f7:f7f7",
    "2001:0:808:808:0:0:80ff:fffe",
    "2001:0:808:808::f5ff:fffe",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "fe80::5efe:8.8.8.8",
};

static const char *const outside[] = {
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7::1",
    "2001:db9::1",
    "2a00::1",
    "3ffd::1",
    "3fff:1000::1",
    "3fff:ffff::1",
    "2003::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
    "2606:4700::5efe:8.8.8.8",
};

static void tables_of_the_policy(void **state)
{
    (void)state;
    struct address_policy p = {0};
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        struct addr const a = ip(inside[i]);
        if (address_policy_check(&p, &a) != ADDRESS_INSIDE || address_is_public(&a)) {
            fail_msg("%s is let through", inside[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        struct addr const a = ip(outside[i]);
        if (!address_policy_allows(&p, &a) || !address_is_public(&a)) {
            fail_msg("%s is refused", outside[i]);
        }
    }
    assert_false(address_policy_allows(&p, &(struct addr){0}));
}

// ---- every encoding of an inside address ----------------------------------------------------

#define FORMS 8

// v4 in form number `form`, with `noise` in the bits that the form leaves free.
static struct addr encode(unsigned form, const uint8_t v4[4], struct rng *rng)
{
    static const uint8_t public_v4[4] = {8, 8, 4, 4};
    struct addr a = {.family = ADDR_V6};
    size_t at = 12;
    switch (form) {
    case 0:
        return addr_v4(v4[0], v4[1], v4[2], v4[3], 0);
    case 1: // mapped
        a.ip[10] = a.ip[11] = 0xff;
        break;
    case 2: // compatible
        break;
    case 3: // translated
        a.ip[8] = a.ip[9] = 0xff;
        break;
    case 4: // NAT64
        memcpy(a.ip, "\x00\x64\xff\x9b", 4);
        break;
    case 5: // 6to4
        rng_bytes(rng, a.ip, 16);
        memcpy(a.ip, "\x20\x02", 2);
        at = 2;
        break;
    case 6: // Teredo, as its server
        rng_bytes(rng, a.ip, 16);
        memcpy(a.ip, "\x20\x01\x00\x00", 4);
        at = 4;
        break;
    case 7: // Teredo, as the client behind a server on the Internet
        rng_bytes(rng, a.ip, 16);
        memcpy(a.ip, "\x20\x01\x00\x00", 4);
        memcpy(a.ip + 4, public_v4, 4);
        for (size_t i = 0; i < 4; i++) {
            a.ip[12 + i] = (uint8_t)~v4[i];
        }
        return a;
    default:
        break;
    }
    memcpy(a.ip + at, v4, 4);
    return a;
}

static const char *const inside_ranges[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
};

static void no_encoding_leads_inside(void **state)
{
    (void)state;
    struct address_policy p = {0};
    struct rng rng;
    uint8_t const seed[RNG_SEED_LEN] = {2};
    rng_seed(&rng, seed);
    for (size_t i = 0; i < ARRAY_LEN(inside_ranges); i++) {
        struct cidr c;
        assert_int_equal(cidr_parse(bytes_str(inside_ranges[i]), &c), 0);
        for (int n = 0; n < 500; n++) {
            // Any address of the range; its first and last among them.
            uint32_t const free = 0xffffffffu >> c.bits;
            uint32_t const rest = n == 0 ? 0 : n == 1 ? free : rng_u32(&rng) & free;
            uint8_t v4[4];
            for (size_t k = 0; k < 4; k++) {
                v4[k] = (uint8_t)(c.net.ip[k] | (rest >> (24 - 8 * k)));
            }
            for (unsigned form = 0; form < FORMS; form++) {
                struct addr const a = encode(form, v4, &rng);
                char text[ADDR_STRLEN];
                if (address_policy_check(&p, &a) != ADDRESS_INSIDE) {
                    fail_msg("%s is let through", addr_format_ip(&a, text));
                }
                // Nor may the text that it would be written as.
                struct addr again;
                assert_int_equal(addr_parse_ip(bytes_str(addr_format_ip(&a, text)), &again), 0);
                assert_int_equal(address_policy_check(&p, &again), ADDRESS_INSIDE);
            }
        }
    }
}

// The rules as a plain list, to be compared with for random addresses of IPv4.
static void random_addresses_are_judged_as_by_the_list(void **state)
{
    (void)state;
    struct address_policy p = {0};
    struct cidr_set list = {0};
    struct rng rng;
    uint8_t const seed[RNG_SEED_LEN] = {3};
    rng_seed(&rng, seed);
    for (size_t i = 0; i < ARRAY_LEN(inside_ranges); i++) {
        assert_int_equal(cidr_set_add(&list, bytes_str(inside_ranges[i])), 0);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t v4[4];
        rng_bytes(&rng, v4, 4);
        struct addr const plain = encode(0, v4, &rng);
        bool const in = cidr_set_match(&list, &plain);
        for (unsigned form = 0; form < FORMS; form++) {
            struct addr const a = encode(form, v4, &rng);
            bool const never = form == 2 || form == 3; // refused whatever is inside
            // A random 6to4 or Teredo address may carry a second one: only "inside" is certain.
            bool const either = form == 6;
            if (in || never) {
                assert_false(address_policy_allows(&p, &a));
            } else if (!either) {
                assert_true(address_policy_allows(&p, &a));
            }
        }
    }
    cidr_set_done(&list);
}

// ---- the operator's lists -------------------------------------------------------------------

static void add(struct cidr_set *s, const char *text)
{
    assert_int_equal(cidr_set_add(s, bytes_str(text)), 0);
}

static enum address_verdict check(const struct address_policy *p, const char *text)
{
    struct addr const a = ip(text);
    return address_policy_check(p, &a);
}

static void longest_prefix_decides(void **state)
{
    (void)state;
    struct address_policy p = {0};
    add(&p.allow, "10.0.0.0/8");
    add(&p.deny, "10.0.0.1");
    add(&p.deny, "9.9.9.0/24");
    assert_int_equal(check(&p, "10.0.0.2"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "::ffff:10.0.0.2"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "64:ff9b::10.0.0.2"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "10.0.0.1"), ADDRESS_LISTED);
    assert_int_equal(check(&p, "64:ff9b::10.0.0.1"), ADDRESS_LISTED);
    assert_int_equal(check(&p, "9.9.9.9"), ADDRESS_LISTED);
    assert_int_equal(check(&p, "2002:909:909::1"), ADDRESS_LISTED);
    assert_int_equal(check(&p, "8.8.8.8"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "192.168.0.1"), ADDRESS_INSIDE);
    address_policy_done(&p);
    add(&p.deny, "all");
    add(&p.allow, "203.0.114.0/24");
    assert_int_equal(check(&p, "203.0.114.9"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "8.8.8.8"), ADDRESS_LISTED);
    assert_int_equal(check(&p, "2606:4700::1"), ADDRESS_LISTED);
    add(&p.allow, "all"); // equally long: denied
    assert_int_equal(check(&p, "8.8.8.8"), ADDRESS_LISTED);
    address_policy_done(&p);
    add(&p.allow, "::1");
    add(&p.allow, "127.0.0.0/8");
    assert_int_equal(check(&p, "::1"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "127.0.0.1"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "::127.0.0.1"), ADDRESS_INSIDE); // its outer form is not
    address_policy_done(&p);
}

static void allowing_an_outer_form_is_not_enough(void **state)
{
    (void)state;
    struct address_policy p = {0};
    add(&p.allow, "::/0");
    assert_int_equal(check(&p, "fd00::1"), ADDRESS_ALLOWED);
    assert_int_equal(check(&p, "2002:7f00:1::1"), ADDRESS_INSIDE);
    assert_int_equal(check(&p, "64:ff9b::169.254.169.254"), ADDRESS_INSIDE);
    assert_int_equal(check(&p, "::ffff:10.0.0.1"), ADDRESS_INSIDE);
    address_policy_done(&p);
}

static void ports_are_looked_at(void **state)
{
    (void)state;
    struct address_policy p = {0};
    struct addr a = ip("8.8.8.8");
    static const struct {
        uint16_t port;
        bool usual, listed;
    } cases[] = {{0, true, true},    {1, false, false},    {80, false, true},
                 {443, true, false}, {1023, false, false}, {1024, true, false},
                 {8008, true, true}, {8448, true, false},  {65535, true, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        a.port = cases[i].port;
        assert_int_equal(address_policy_check(&p, &a),
                         cases[i].usual ? ADDRESS_ALLOWED : ADDRESS_PORT);
    }
    assert_int_equal(port_set_add(&p.ports, bytes_str("80")), 0);
    assert_int_equal(port_set_add(&p.ports, bytes_str("8000-8100")), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        a.port = cases[i].port;
        assert_int_equal(address_policy_check(&p, &a),
                         cases[i].listed ? ADDRESS_ALLOWED : ADDRESS_PORT);
    }
    address_policy_done(&p);
    assert_int_equal(port_set_add(&p.ports, bytes_str("any")), 0);
    a.port = 1;
    assert_int_equal(address_policy_check(&p, &a), ADDRESS_ALLOWED);
    struct addr lo = ip("127.0.0.1");
    lo.port = 443;
    assert_int_equal(address_policy_check(&p, &lo), ADDRESS_INSIDE);
}

static void ports_are_read(void **state)
{
    (void)state;
    static const char *const bad[] = {"",  "0",     "65536", "1-",  "-1",     "5-4",
                                      "x", "1-2-3", "80,81", " 80", "000080", "0-80"};
    struct port_set s = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(port_set_add(&s, bytes_str(bad[i])), -EINVAL);
    }
    assert_int_equal(s.count, 0);
    for (size_t i = 0; i < PORT_RANGES_MAX; i++) {
        assert_int_equal(port_set_add(&s, bytes_str("1-65535")), 0);
    }
    assert_int_equal(port_set_add(&s, bytes_str("443")), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_of_the_policy),
        cmocka_unit_test(no_encoding_leads_inside),
        cmocka_unit_test(random_addresses_are_judged_as_by_the_list),
        cmocka_unit_test(longest_prefix_decides),
        cmocka_unit_test(allowing_an_outer_form_is_not_enough),
        cmocka_unit_test(ports_are_looked_at),
        cmocka_unit_test(ports_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

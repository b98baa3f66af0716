// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/candidate.h"

static struct candidate parse(const char *text)
{
    struct candidate c;
    memset(&c, 0, sizeof(c));
    assert_int_equal(candidate_parse(bytes_str(text), &c), 0);
    return c;
}

static void browsers_candidates_are_read(void **state)
{
    (void)state;
    struct addr want = addr_v4(192, 0, 2, 10, 53757);
    struct candidate c = parse("candidate:1007124632 1 udp 2122260223 192.0.2.10 53757 typ host "
                               "generation 0 network-id 1");
    assert_string_equal(c.foundation, "1007124632");
    assert_int_equal(c.component, 1);
    assert_int_equal(c.priority, 2122260223);
    assert_true(addr_eq(&c.addr, &want));
    assert_int_equal(c.type, CANDIDATE_HOST);
    assert_int_equal(c.tcptype, CANDIDATE_TCP_NONE);

    c = parse("candidate:2205041226 1 tcp 1518280447 192.0.2.10 9 typ host tcptype active "
              "generation 1 network-id 1");
    assert_true(c.addr.tcp);
    assert_int_equal(c.tcptype, CANDIDATE_TCP_ACTIVE);
    assert_int_equal(c.addr.port, 9);

    c = parse("a=candidate:842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 10.0.0.5 "
              "rport 46154 generation 0\r\n");
    assert_int_equal(c.type, CANDIDATE_SRFLX);
    struct addr const raddr = addr_v4(10, 0, 0, 5, 46154);
    assert_true(addr_eq(&c.raddr, &raddr));

    c = parse("candidate:1984910614 1 tcp 1671430143 192.0.2.10 18881 typ host tcptype passive "
              "ufrag CHXKbmQcxmmGFSry");
    assert_true(bytes_eq_str(c.ufrag, "CHXKbmQcxmmGFSry"));
    assert_int_equal(c.tcptype, CANDIDATE_TCP_PASSIVE);

    c = parse("candidate:3 1 udp 100 2001:db8::1 4000 typ relay raddr :: rport 0");
    assert_int_equal(c.addr.family, ADDR_V6);
    assert_int_equal(c.type, CANDIDATE_RELAY);
}

static void names_are_kept_apart_and_never_have_an_address(void **state)
{
    (void)state;
    struct candidate const c = parse(
        "candidate:0 1 UDP 2122252543 54a679c1-fa72-4613-9de2-876fe9298898.local 42956 typ host");
    assert_true(c.is_name);
    assert_int_equal(c.addr.family, ADDR_NONE);
    assert_int_equal(c.addr.port, 42956);
}

static void empty_text_is_the_end_of_candidates(void **state)
{
    (void)state;
    struct candidate c;
    assert_int_equal(candidate_parse(bytes_str(""), &c), -ENODATA);
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "x",
        "candidate:",
        "candidate:1",
        "candidate:1 0 udp 1 192.0.2.1 1 typ host",   // component
        "candidate:1 257 udp 1 192.0.2.1 1 typ host", // component
        "candidate:1 1 udp 4294967296 192.0.2.1 1 typ host",
        "candidate:1 1 udp 99999999999999999999999 192.0.2.1 1 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 1 192.0.2.1 -1 typ host",
        "candidate:1 1 udp 1 192.0.2.1 1 host",
        "candidate:1 1 udp 1 192.0.2.1 1 typ",
        "candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 1.1.1.1 rport x",
        "candidate:123456789012345678901234567890123 1 udp 1 192.0.2.1 1 typ host",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct candidate c;
        assert_int_equal(candidate_parse(bytes_str(bad[i]), &c), -EBADMSG);
    }
}

static void a_foundation_with_a_zero_byte_is_refused(void **state)
{
    (void)state;
    static const char text[] = "candidate:\0001 1 udp 1 192.0.2.1 1 typ host";
    struct candidate c;
    assert_int_equal(candidate_parse(bytes_of(text, sizeof(text) - 1), &c), -EBADMSG);
}

static void a_ufrag_that_could_not_be_written_again_is_ignored(void **state)
{
    (void)state;
    struct candidate const c = parse("candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag ab\rcd x y");
    assert_int_equal(c.ufrag.n, 0);
}

static void unknown_kinds_are_told_from_malformed_ones(void **state)
{
    (void)state;
    struct candidate c;
    assert_int_equal(candidate_parse(bytes_str("candidate:1 1 sctp 1 192.0.2.1 1 typ host"), &c),
                     -ENOTSUP);
    assert_int_equal(candidate_parse(bytes_str("candidate:1 1 udp 1 192.0.2.1 1 typ quic"), &c),
                     -ENOTSUP);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host",
        "candidate:1 1 tcp 1671430143 192.0.2.10 7881 typ host tcptype passive",
        "candidate:x/+ 2 udp 0 2001:db8::1 65535 typ relay raddr 10.0.0.1 rport 1 ufrag abcd",
        "candidate:7 1 udp 1 192.0.2.1 1 typ prflx",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct candidate const c = parse(lines[i]);
        char out[CANDIDATE_TEXT_CAP];
        struct wr w = wr_init(out, sizeof(out));
        candidate_write(&w, &c);
        assert_true(wr_ok(&w));
        assert_true(bytes_eq_str(wr_bytes_view(&w), lines[i]));
        for (size_t cap = 0; cap < strlen(lines[i]); cap++) {
            w = wr_init(out, cap);
            candidate_write(&w, &c);
            assert_false(wr_ok(&w));
        }
    }
}

static void priorities_rank_udp_public_ipv6_first(void **state)
{
    (void)state;
    struct addr pub6;
    assert_int_equal(addr_parse_ip(bytes_str("2001:4860::1"), &pub6), 0);
    struct addr const pub4 = addr_v4(8, 8, 8, 8, 1);
    struct addr const lan4 = addr_v4(10, 0, 0, 1, 1);
    uint32_t const a = candidate_priority(CANDIDATE_HOST, false, candidate_local_pref(&pub6, 0));
    uint32_t const b = candidate_priority(CANDIDATE_HOST, false, candidate_local_pref(&pub4, 0));
    uint32_t const b1 = candidate_priority(CANDIDATE_HOST, false, candidate_local_pref(&pub4, 1));
    uint32_t const c = candidate_priority(CANDIDATE_HOST, false, candidate_local_pref(&lan4, 0));
    uint32_t const d = candidate_priority(CANDIDATE_HOST, true, candidate_local_pref(&pub6, 0));
    assert_true(a > b && b > b1 && b1 > c && c > d);
    assert_int_equal(a, 2130706431); // 126, 65535, component 1
    assert_int_equal(d >> 24, 90);
    assert_int_equal(candidate_priority(CANDIDATE_PRFLX, false, 65535) >> 24, 110);
    assert_int_equal(candidate_priority(CANDIDATE_SRFLX, false, 65535) >> 24, 100);
    assert_int_equal(candidate_priority(CANDIDATE_RELAY, true, 65535) >> 24, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browsers_candidates_are_read),
        cmocka_unit_test(names_are_kept_apart_and_never_have_an_address),
        cmocka_unit_test(empty_text_is_the_end_of_candidates),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(a_ufrag_that_could_not_be_written_again_is_ignored),
        cmocka_unit_test(a_foundation_with_a_zero_byte_is_refused),
        cmocka_unit_test(unknown_kinds_are_told_from_malformed_ones),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(priorities_rank_udp_public_ipv6_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

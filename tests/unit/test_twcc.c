// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "sfu/wire/twcc.h"
#include "tests/support/pcap.h"

static int parse(struct bytes packet, struct twcc_feedback *ret)
{
    struct rtcp_iter it;
    struct rtcp_packet k;
    struct rtcp_fb fb;
    rtcp_iter_init(&it, packet);
    if (!rtcp_next(&it, &k) || rtcp_fb_parse(&k, &fb)) {
        return -EBADMSG;
    }
    return twcc_parse(&fb, ret);
}

static void twcc_builds_what_it_reads(void **state)
{
    (void)state;
    struct twcc_builder b;
    static const struct {
        uint16_t sn;
        int64_t at;
    } in[] = {{65530, 64000100}, {65531, 64000400}, {65535, 64063000},
              {0, 64200000},     {1, 64100000},     {40, 64100250}};
    twcc_builder_init(&b, 65529, in[0].at, 7);
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        assert_int_equal(twcc_builder_add(&b, in[i].sn, in[i].at), 0);
    }
    assert_int_equal(twcc_builder_add(&b, 40, 64100250), -EINVAL);
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof(buf));
    twcc_builder_write(&b, &w, 1, 2);
    assert_true(wr_ok(&w));
    assert_int_equal(wr_len(&w) % 4, 0);
    struct twcc_feedback f;
    assert_int_equal(parse(wr_bytes_view(&w), &f), 0);
    assert_int_equal(f.base_sn, 65529);
    assert_int_equal(f.status_count, 48);
    assert_int_equal(f.fb_count, 7);
    struct twcc_iter it;
    struct twcc_status s;
    twcc_iter_init(&it, &f);
    size_t got = 0;
    uint16_t expect = 65529;
    while (twcc_next(&it, &s)) {
        assert_int_equal(s.sn, expect++);
        if (s.received) {
            assert_int_equal(s.sn, in[got].sn);
            assert_true(s.arrival_us == in[got].at / 250 * 250);
            got++;
        }
    }
    assert_int_equal(got, ARRAY_LEN(in));
    for (size_t n = 0; n < wr_len(&w); n++) {
        uint8_t small[256];
        struct wr t = wr_init(small, n);
        twcc_builder_write(&b, &t, 1, 2);
        assert_true(!wr_ok(&t) && wr_len(&t) == 0);
        assert_int_equal(parse(bytes_of(buf, n), &f), -EBADMSG);
    }
}

static void twcc_builder_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct twcc_builder b;
    twcc_builder_init(&b, 0, 1000000, 0);
    assert_int_equal(twcc_builder_add(&b, TWCC_STATUS_MAX, 1000000), -E2BIG);
    assert_int_equal(twcc_builder_add(&b, 0, 1000000), 0);
    // 32767 units of 250 us; the first packet stands at its quantised time.
    assert_int_equal(twcc_builder_add(&b, 1, 1000000 + INT64_C(32768) * 250), -E2BIG);
    assert_int_equal(twcc_builder_add(&b, 1, 1000000 + INT64_C(32767) * 250), 0);
    assert_int_equal(twcc_builder_add(&b, 2, 1000000 + INT64_C(32767) * 250 - INT64_C(32769) * 250),
                     -E2BIG);
    assert_int_equal(twcc_builder_add(&b, TWCC_STATUS_MAX - 1, 1000000 + INT64_C(32767) * 250), 0);
}

// Any pattern of losses and delays comes back, and always fits one datagram.
static void twcc_patterns_survive(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    for (unsigned round = 0; round < 3000; round++) {
        struct twcc_builder b;
        int64_t at[TWCC_STATUS_MAX];
        int64_t t = 5000000;
        unsigned const loss = round % 7;
        unsigned last = 0;
        bool any = false;
        twcc_builder_init(&b, (uint16_t)(round * 31), t, 0);
        for (unsigned i = 0; i < TWCC_STATUS_MAX; i++) {
            seed = seed * 1664525u + 1013904223u;
            unsigned const r = seed >> 16;
            at[i] = -1;
            if (r % 8 < loss || (r % 64 > 40 && round % 5 == 0)) {
                continue;
            }
            t += r % 11 == 0 ? (int64_t)(r % 200000)
                             : (int64_t)(r % 2000) - (r % 17 == 0 ? 3000 : 0);
            assert_int_equal(twcc_builder_add(&b, (uint16_t)(round * 31 + i), t), 0);
            at[i] = t / 250 * 250;
            last = i;
            any = true;
        }
        uint8_t buf[700];
        struct wr w = wr_init(buf, sizeof(buf));
        twcc_builder_write(&b, &w, 1, 2);
        assert_true(any && wr_ok(&w));
        assert_true(wr_len(&w) <= 612);
        struct twcc_feedback f;
        assert_int_equal(parse(wr_bytes_view(&w), &f), 0);
        assert_int_equal(f.status_count, last + 1);
        struct twcc_iter it;
        struct twcc_status s;
        twcc_iter_init(&it, &f);
        for (unsigned i = 0; i <= last; i++) {
            assert_true(twcc_next(&it, &s));
            assert_int_equal(s.received, at[i] >= 0);
            assert_true(!s.received || s.arrival_us == at[i]);
        }
        assert_false(twcc_next(&it, &s));
    }
}

static void twcc_refuses_empty_runs_and_reserved_symbols(void **state)
{
    (void)state;
    uint8_t p[] = {0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1, 0, 0, 1, 0, 0x20, 1, 8, 0};
    struct twcc_feedback f;
    assert_int_equal(parse(bytes_of(p, sizeof(p)), &f), 0);
    p[20] = 0x60; // symbol 3
    assert_int_equal(parse(bytes_of(p, sizeof(p)), &f), -EBADMSG);
    p[20] = 0x20;
    p[21] = 0; // run of nothing
    assert_int_equal(parse(bytes_of(p, sizeof(p)), &f), -EBADMSG);
    p[21] = 1;
    p[15] = 0; // no statuses
    assert_int_equal(parse(bytes_of(p, sizeof(p)), &f), -EBADMSG);
}

// What an independent parser made of the same packets.
static void compare_with_truth(const char *pcap, const char *csv)
{
    struct pcap_file f;
    struct pcap_packet p;
    char path[128];
    char line[128];
    (void)snprintf(path, sizeof(path), "tests/data/media/%s", csv);
    FILE *const truth = fopen(path, "r");
    assert_non_null(truth);
    assert_non_null(fgets(line, sizeof(line), truth));
    pcap_file_open(&f, pcap);
    unsigned feedbacks = 0;
    unsigned rows = 0;
    bool end = fgets(line, sizeof(line), truth) == NULL;
    while (!end && pcap_file_next(&f, &p)) {
        struct twcc_feedback fb;
        if (parse(p.data, &fb)) {
            continue;
        }
        feedbacks++;
        struct twcc_iter it;
        struct twcc_status s;
        twcc_iter_init(&it, &fb);
        while (!end && twcc_next(&it, &s)) {
            if (!s.received) {
                continue; // lost packets may be absent from the table
            }
            char *rest = NULL;
            assert_int_equal(strtoul(line, &rest, 10), s.sn);
            int64_t const at = strtoll(rest + 1, &rest, 10);
            assert_true(at == s.arrival_us);
            assert_int_equal(strtoul(rest + 1, NULL, 10), feedbacks);
            rows++;
            end = fgets(line, sizeof(line), truth) == NULL;
        }
    }
    pcap_file_close(&f);
    (void)fclose(truth);
    assert_true(end && rows > 300 && feedbacks >= 50);
}

static void twcc_reads_browsers(void **state)
{
    (void)state;
    compare_with_truth("sub-cr-loss10-rtcp.pcap", "sub-cr-loss10.twcc.csv");
    compare_with_truth("sub-ff-loss10-rtcp.pcap", "sub-ff-loss10.twcc.csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twcc_builds_what_it_reads),
        cmocka_unit_test(twcc_builder_refuses_what_does_not_fit),
        cmocka_unit_test(twcc_patterns_survive),
        cmocka_unit_test(twcc_refuses_empty_runs_and_reserved_symbols),
        cmocka_unit_test(twcc_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/rtp_stats.h"

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static void rtp_stats_tx_counts_without_padding(void **state)
{
    (void)state;
    struct rtp_stats_tx s;
    rtp_stats_tx_init(&s, 90000);
    rtp_stats_tx_packet(&s, 70000, 1000, 980);
    rtp_stats_tx_packet(&s, 70001, 200, 0);
    rtp_stats_tx_rtx(&s, 1002);
    assert_int_equal(s.packets, 1);
    assert_int_equal(s.payload_bytes, 980);
    assert_int_equal(s.bytes, 1200);
    assert_int_equal(s.rtx_bytes, 1002);
}

static void rtp_stats_tx_measures_the_round_trip(void **state)
{
    (void)state;
    struct rtp_stats_tx s;
    rtp_stats_tx_init(&s, 90000);
    struct rtcp_report_block b = {.highest_sn = 5};
    assert_false(rtp_stats_tx_report(&s, ms(0), &b)); // nothing was sent
    for (unsigned i = 0; i < 100; i++) {
        rtp_stats_tx_packet(&s, 131072 + i, 100, 80);
    }
    // The NTP time is the publisher's: only its echo counts.
    for (unsigned i = 0; i < 12; i++) {
        rtp_stats_tx_sender_report(&s, ms(1000 * i), (ntp_t){(uint64_t)(i + 7) << 32});
    }
    b = (struct rtcp_report_block){
        .highest_sn = 50, .lsr = ntp_mid32((ntp_t){(uint64_t)(11 + 7) << 32}), .dlsr = 65536 / 2};
    assert_true(rtp_stats_tx_report(&s, ms(11000 + 540), &b));
    assert_int_equal(s.rtt_us, 40000);
    assert_int_equal(s.acked_sn, 131072 + 50);
    b.dlsr = 0;
    assert_true(rtp_stats_tx_report(&s, ms(11000 + 80), &b));
    assert_int_equal(s.rtt_us, 70000); // three quarters of the new one
    b.lsr = ntp_mid32((ntp_t){(uint64_t)(2 + 7) << 32});
    assert_false(rtp_stats_tx_report(&s, ms(11000), &b)); // forgotten
    b.lsr = 0;
    assert_false(rtp_stats_tx_report(&s, ms(11000), &b));
    b.lsr = ntp_mid32((ntp_t){(uint64_t)(5 + 7) << 32});
    assert_false(rtp_stats_tx_report(&s, ms(11000), &b)); // six seconds
}

static void rtp_stats_tx_takes_loss_of_the_interval(void **state)
{
    (void)state;
    struct rtp_stats_tx s;
    rtp_stats_tx_init(&s, 90000);
    for (unsigned i = 0; i < 300; i++) {
        rtp_stats_tx_packet(&s, 65536 + 65500 + i, 100, 80);
    }
    struct rtcp_report_block b = {.highest_sn = 65500 + 99, .cumulative_lost = 3};
    (void)rtp_stats_tx_report(&s, ms(0), &b);
    b.highest_sn = 65500 + 199; // cycles are the receiver's own
    b.cumulative_lost = 13;
    (void)rtp_stats_tx_report(&s, ms(0), &b);
    assert_int_equal(s.interval_expected, 100);
    assert_int_equal(s.interval_lost, 10);
    b.cumulative_lost = 12; // duplicates
    (void)rtp_stats_tx_report(&s, ms(0), &b);
    assert_int_equal(s.interval_expected, 0);
    assert_int_equal(s.interval_lost, 0);
    b.highest_sn = 65500 + 301; // never sent
    (void)rtp_stats_tx_report(&s, ms(0), &b);
    assert_int_equal(s.acked_sn, 65536 + 65500 + 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_stats_tx_counts_without_padding),
        cmocka_unit_test(rtp_stats_tx_measures_the_round_trip),
        cmocka_unit_test(rtp_stats_tx_takes_loss_of_the_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

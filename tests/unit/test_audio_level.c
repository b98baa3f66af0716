// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "sfu/media/audio_level.h"
#include "sfu/wire/rtp_ext.h"
#include "tests/support/pcap.h"

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

// n packets of 20 ms from time *t on.
static void feed(struct audio_level *a, int64_t *t, unsigned n, uint8_t level)
{
    for (unsigned i = 0; i < n; i++, *t += 20) {
        audio_level_packet(a, ms(*t), (uint32_t)(*t * 48), level);
    }
}

static void assert_near(double got, double expect)
{
    assert_true(fabs(got - expect) < 0.0005);
}

static void audio_level_follows_livekit_arithmetic(void **state)
{
    (void)state;
    struct audio_level a;
    bool active = true;
    int64_t t = 0;
    audio_level_init(&a, 48000, AUDIO_LEVEL_DEFAULTS);
    assert_near(audio_level_get(&a, ms(0), &active), 0);
    assert_false(active);
    feed(&a, &t, 21, 20); // one window of constant -20 dBov: 0.1, weighted 2/3
    assert_near(audio_level_get(&a, ms(t), &active), 0.1 * 2 / 3);
    assert_true(active);
    feed(&a, &t, 20, 20);
    assert_near(audio_level_get(&a, ms(t), &active), 0.1 * 2 / 3 + 0.1 / 3 * 2 / 3);
    // Half of a window active: 6 dB less.
    feed(&a, &t, 10, 20);
    double const before = a.smoothed;
    feed(&a, &t, 10, 127);
    assert_near(a.smoothed, before + (0.05 - before) * 2 / 3);
    // Too little activity resets at once.
    feed(&a, &t, 7, 20);
    feed(&a, &t, 13, 127);
    assert_near(audio_level_get(&a, ms(t), &active), 0);
    assert_false(active);
}

static void audio_level_is_stale_without_packets(void **state)
{
    (void)state;
    struct audio_level a;
    bool active = false;
    int64_t t = 0;
    audio_level_init(&a, 48000, AUDIO_LEVEL_DEFAULTS);
    feed(&a, &t, 41, 10);
    int64_t const last = t - 20;
    assert_true(audio_level_get(&a, ms(last + 800), &active) > 0.1);
    assert_near(audio_level_get(&a, ms(last + 801), &active), 0);
    assert_false(active);
}

static void audio_level_counts_a_gap_as_one_window_at_most(void **state)
{
    (void)state;
    struct audio_level a;
    audio_level_init(&a, 48000, AUDIO_LEVEL_DEFAULTS);
    audio_level_packet(&a, ms(0), 4294000000u, 10);
    audio_level_packet(&a, ms(5000), 4294000000u + 240000, 10); // five seconds, wraps
    assert_near(a.smoothed, pow(10, -0.5) * 2 / 3);
    assert_int_equal(a.observed_ticks, 0);
    audio_level_packet(&a, ms(5001), 4294000000u, 0); // late
    assert_int_equal(a.loudest, 127);
}

static void audio_level_quantizes_upwards(void **state)
{
    (void)state;
    assert_near(audio_level_quantize(0), 0);
    assert_near(audio_level_quantize(0.01), 0.125);
    assert_near(audio_level_quantize(0.125), 0.125);
    assert_near(audio_level_quantize(0.126), 0.25);
    assert_near(audio_level_quantize(1), 1);
}

// A tone of 1.5 s, then silence with DTX: active, then not.
static void audio_level_reads_chromium_dtx(void **state)
{
    (void)state;
    struct audio_level a;
    audio_level_init(&a, 48000, AUDIO_LEVEL_DEFAULTS);
    struct pcap_file f;
    struct pcap_packet p;
    bool was_active = false;
    bool ended = false;
    pcap_file_open(&f, "cr-opus-dtx.pcap");
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct bytes v;
        uint8_t level = 0;
        bool voice = false;
        bool active = false;
        if (p.rtcp || rtp_parse(p.data, &h) || !rtp_ext_find(&h, 1, &v) ||
            !rtp_ext_audio_level(v, &level, &voice)) {
            continue;
        }
        audio_level_packet(&a, p.at, h.ts, level);
        (void)audio_level_get(&a, p.at, &active);
        ended = ended || (was_active && !active);
        was_active = active;
    }
    pcap_file_close(&f);
    assert_true(ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audio_level_follows_livekit_arithmetic),
        cmocka_unit_test(audio_level_is_stale_without_packets),
        cmocka_unit_test(audio_level_counts_a_gap_as_one_window_at_most),
        cmocka_unit_test(audio_level_quantizes_upwards),
        cmocka_unit_test(audio_level_reads_chromium_dtx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

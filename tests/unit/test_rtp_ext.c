// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtp_ext.h"
#include "tests/support/pcap.h"

static struct rtp_header header(uint16_t profile, const uint8_t *p, size_t n)
{
    return (struct rtp_header){.has_ext = true, .ext_profile = profile, .ext = bytes_of(p, n)};
}

static void rtp_ext_walks_one_byte_form(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x10, 0xaa, 0x00, 0x32, 1, 2, 3, 0, 0xf0, 0x10, 0xff};
    struct rtp_header const h = header(0xbede, p, sizeof(p));
    struct rtp_ext_iter it;
    struct rtp_ext_elem e;
    rtp_ext_iter_init(&it, &h);
    assert_true(rtp_ext_next(&it, &e));
    assert_int_equal(e.id, 1);
    assert_int_equal(e.data.n, 1);
    assert_true(rtp_ext_next(&it, &e));
    assert_int_equal(e.id, 3);
    assert_int_equal(e.data.n, 3);
    assert_false(rtp_ext_next(&it, &e)); // id 15 stops
    assert_false(rtp_ext_next(&it, &e));
}

static void rtp_ext_walks_two_byte_form(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x10, 0, 0x00, 0xff, 2, 1, 2, 7, 1, 9};
    struct rtp_header const h = header(0x1003, p, sizeof(p)); // any appbits
    struct rtp_ext_iter it;
    struct rtp_ext_elem e;
    rtp_ext_iter_init(&it, &h);
    assert_true(rtp_ext_next(&it, &e));
    assert_int_equal(e.id, 16);
    assert_int_equal(e.data.n, 0); // length 0 is allowed
    struct bytes v;
    assert_true(rtp_ext_find(&h, 255, &v));
    assert_int_equal(v.n, 2);
    assert_true(rtp_ext_find(&h, 7, &v));
    assert_int_equal(v.p[0], 9);
    assert_false(rtp_ext_find(&h, 8, &v));
    assert_false(rtp_ext_find(&h, 0, &v));
}

static void rtp_ext_ends_at_an_element_past_the_end(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x10, 0xaa, 0x3f, 1, 2};
    struct rtp_header h = header(0xbede, p, sizeof(p));
    struct bytes v;
    assert_true(rtp_ext_find(&h, 1, &v));
    assert_false(rtp_ext_find(&h, 3, &v));
    h.ext_profile = 0x1234; // some other profile
    assert_false(rtp_ext_find(&h, 1, &v));
    h.ext_profile = 0xbede;
    h.has_ext = false;
    assert_false(rtp_ext_find(&h, 1, &v));
}

static void rtp_ext_writer_picks_the_form(void **state)
{
    (void)state;
    static const uint8_t data[20] = {1, 2, 3};
    struct rtp_ext_elem e[3] = {{1, {data, 3}}, {14, {NULL, 2}}, {5, {data, 16}}};
    struct rtp_header const in = {.pt = 96, .sn = 5};
    uint8_t buf[128];
    uint16_t off[3];
    struct wr w = wr_init(buf, sizeof(buf));
    rtp_write_with_ext(&w, &in, e, 3, off);
    struct rtp_header h;
    assert_true(wr_ok(&w));
    assert_int_equal(rtp_parse(wr_bytes_view(&w), &h), 0);
    assert_int_equal(h.ext_profile, 0xbede);
    struct bytes v;
    assert_true(rtp_ext_find(&h, 14, &v));
    assert_int_equal(v.n, 2);
    assert_ptr_equal(v.p, buf + off[1]); // where the value is patched at send time
    assert_int_equal(v.p[0] | v.p[1], 0);
    for (unsigned k = 0; k < 3; k++) {
        struct rtp_ext_elem x[3];
        memcpy(x, e, sizeof(x));
        x[1].id = k == 0 ? 15 : 14;
        x[2].data.n = k == 1 ? 17 : 16;
        x[0].data.n = k == 2 ? 0 : 3;
        w = wr_init(buf, sizeof(buf));
        rtp_write_with_ext(&w, &in, x, 3, NULL);
        assert_int_equal(rtp_parse(wr_bytes_view(&w), &h), 0);
        assert_int_equal(h.ext_profile, 0x1000);
        assert_true(rtp_ext_find(&h, x[2].id, &v));
        assert_int_equal(v.n, x[2].data.n);
    }
    w = wr_init(buf, sizeof(buf));
    rtp_write_with_ext(&w, &in, e, 0, NULL);
    assert_int_equal(wr_len(&w), RTP_HEADER_LEN);
    e[0].id = 0;
    rtp_ext_write(&w, e, 3, NULL);
    assert_false(wr_ok(&w));
}

static void rtp_ext_writer_fails_in_every_shorter_buffer(void **state)
{
    (void)state;
    static const uint8_t data[3] = {1, 2, 3};
    struct rtp_ext_elem const e[2] = {{1, {data, 3}}, {2, {data, 2}}};
    struct rtp_header const in = {.pt = 96};
    uint8_t buf[24];
    struct wr w = wr_init(buf, sizeof(buf));
    rtp_write_with_ext(&w, &in, e, 2, NULL);
    assert_true(wr_ok(&w));
    assert_int_equal(wr_len(&w), 24);
    for (size_t n = 0; n < sizeof(buf); n++) {
        w = wr_init(buf, n);
        rtp_write_with_ext(&w, &in, e, 2, NULL);
        assert_false(wr_ok(&w));
    }
}

static void rtp_ext_knows_its_uris(void **state)
{
    (void)state;
    for (unsigned t = RTP_EXT_NONE + 1; t < RTP_EXT_COUNT; t++) {
        assert_int_equal(rtp_ext_by_uri(bytes_str(rtp_ext_uri((enum rtp_ext_type)t))), t);
    }
    assert_int_equal(rtp_ext_by_uri(bytes_str("urn:other")), RTP_EXT_NONE);
    assert_int_equal(rtp_ext_by_uri(bytes_str("")), RTP_EXT_NONE);
}

static void rtp_ext_values_survive(void **state)
{
    (void)state;
    uint8_t buf[16];
    uint8_t level = 0;
    bool voice = false;
    buf[0] = rtp_ext_audio_level_byte(35, true);
    assert_true(rtp_ext_audio_level(bytes_of(buf, 1), &level, &voice));
    assert_true(level == 35 && voice);
    assert_false(rtp_ext_audio_level(bytes_of(buf, 0), &level, &voice));
    // 6.18 fixed point: one second is 1 << 18, and 64 s wrap to 0.
    assert_int_equal(rtp_ext_abs_send_time_from_us(1000000), 1 << 18);
    assert_int_equal(rtp_ext_abs_send_time_from_us(64000000), 0);
    assert_int_equal(rtp_ext_abs_send_time_from_us(INT64_C(64000000) * 12345 + 500000), 1 << 17);
    struct wr w = wr_init(buf, sizeof(buf));
    rtp_ext_playout_delay_write(&w, 10, 5000);
    uint16_t lo = 0;
    uint16_t hi = 0;
    assert_true(rtp_ext_playout_delay(wr_bytes_view(&w), &lo, &hi));
    assert_true(lo == 10 && hi == 4095);
}

// Chromium changes form on one SSRC; ids above 14 put all audio into the two-byte form.
static void rtp_ext_reads_mixed_forms_of_chromium(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    pcap_file_open(&f, "cr-vp8-simulcast.pcap");
    unsigned audio = 0;
    unsigned levels = 0;
    unsigned one = 0;
    unsigned two = 0;
    unsigned with_twcc = 0;
    unsigned packets = 0;
    int last_twcc = -1;
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct bytes v;
        if (p.rtcp || !p.from_client) {
            continue;
        }
        assert_int_equal(rtp_parse(p.data, &h), 0);
        packets++;
        uint16_t sn = 0;
        if (rtp_ext_find(&h, 4, &v) && rtp_ext_transport_cc(v, &sn)) {
            with_twcc++;
            assert_true(last_twcc < 0 || sn == (uint16_t)(last_twcc + 1));
            last_twcc = sn;
        }
        if (h.pt == 111) {
            uint8_t level = 0;
            bool voice = false;
            audio++;
            levels += rtp_ext_find(&h, 16, &v) && rtp_ext_audio_level(v, &level, &voice);
            assert_int_equal(h.ext_profile, 0x1000);
        } else {
            *(h.ext_profile == 0x1000 ? &two : &one) += 1;
        }
    }
    pcap_file_close(&f);
    assert_int_equal(with_twcc, packets);
    assert_true(audio > 50);
    assert_int_equal(levels, audio);
    assert_true(one > 20 && two > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_ext_walks_one_byte_form),
        cmocka_unit_test(rtp_ext_walks_two_byte_form),
        cmocka_unit_test(rtp_ext_ends_at_an_element_past_the_end),
        cmocka_unit_test(rtp_ext_writer_picks_the_form),
        cmocka_unit_test(rtp_ext_writer_fails_in_every_shorter_buffer),
        cmocka_unit_test(rtp_ext_knows_its_uris),
        cmocka_unit_test(rtp_ext_values_survive),
        cmocka_unit_test(rtp_ext_reads_mixed_forms_of_chromium),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

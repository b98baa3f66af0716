// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtp_ext.h"
#include "sfu/wire/vla.h"
#include "tests/support/pcap.h"

static void vla_single_zero_means_nothing_is_sent(void **state)
{
    (void)state;
    struct vla v;
    assert_int_equal(vla_parse(bytes_of("\0", 1), &v), 0);
    assert_int_equal(v.stream_count, 0);
}

static void vla_reads_masks_for_each_stream(void **state)
{
    (void)state;
    // rid 1 of 2 streams, masks 0001 and 0011, temporal counts 1 2 3, rates.
    static const uint8_t p[] = {0x50, 0x13, 0x18, 10, 20, 0x90, 0x03, 30, 40, 50};
    struct vla v;
    assert_int_equal(vla_parse(bytes_of(p, sizeof(p)), &v), 0);
    assert_int_equal(v.rid_index, 1);
    assert_int_equal(v.stream_count, 2);
    assert_false(v.has_resolution);
    assert_true(v.layer[0][0].active && !v.layer[0][1].active && v.layer[1][0].active &&
                v.layer[1][1].active);
    assert_int_equal(v.layer[0][0].temporal_count, 1);
    assert_int_equal(v.layer[0][0].kbps[0], 10);
    assert_int_equal(v.layer[1][0].temporal_count, 2);
    assert_int_equal(v.layer[1][0].kbps[1], 400);
    assert_int_equal(v.layer[1][1].temporal_count, 3);
    assert_int_equal(v.layer[1][1].kbps[2], 50);
    for (size_t n = 0; n < sizeof(p); n++) {
        assert_int_equal(vla_parse(bytes_of(p, n), &v), -EBADMSG);
    }
}

static void vla_refuses_a_rid_beyond_its_streams(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x81, 0x00, 10};
    struct vla v;
    assert_int_equal(vla_parse(bytes_of(p, sizeof(p)), &v), -EBADMSG);
}

static void vla_reads_chromium(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    pcap_file_open(&f, "cr-vp8-simulcast.pcap");
    unsigned seen = 0;
    unsigned with_resolution = 0;
    bool full = false;
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct bytes e;
        if (p.rtcp || rtp_parse(p.data, &h) || !rtp_ext_find(&h, 12, &e)) {
            continue;
        }
        struct vla v;
        assert_int_equal(vla_parse(e, &v), 0);
        seen++;
        with_resolution += v.has_resolution;
        if (v.has_resolution && v.layer[2][0].active) {
            full = true;
            assert_int_equal(v.stream_count, 3);
            assert_int_equal(v.layer[0][0].width, 320);
            assert_int_equal(v.layer[1][0].width, 640);
            assert_int_equal(v.layer[2][0].width, 1280);
            assert_int_equal(v.layer[2][0].height, 720);
            assert_int_equal(v.layer[2][0].temporal_count, 3);
            assert_true(v.layer[2][0].kbps[2] > v.layer[2][0].kbps[0]);
        }
    }
    pcap_file_close(&f);
    assert_true(seen > 10);
    assert_true(with_resolution > 0 && full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vla_single_zero_means_nothing_is_sent),
        cmocka_unit_test(vla_reads_masks_for_each_stream),
        cmocka_unit_test(vla_refuses_a_rid_beyond_its_streams),
        cmocka_unit_test(vla_reads_chromium),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

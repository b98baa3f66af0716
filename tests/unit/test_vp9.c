// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtp.h"
#include "sfu/wire/vp9.h"
#include "tests/support/pcap.h"

static void vp9_reads_flexible_mode(void **state)
{
    (void)state;
    // I P L F B E; 15-bit id; tid 2, U, sid 1, D; two references.
    static const uint8_t p[] = {0xfc, 0x81, 0x02, 0x53, 0x03, 0x04};
    struct vp9_desc d;
    assert_int_equal(vp9_parse(bytes_of(p, sizeof(p)), &d), 0);
    assert_int_equal(d.len, 6);
    assert_int_equal(d.picture_id, 0x102);
    assert_true(d.inter && d.flexible && d.start && d.end && d.switch_up && d.inter_layer &&
                !d.has_tl0);
    assert_int_equal(d.tid, 2);
    assert_int_equal(d.sid, 1);
    assert_int_equal(d.pdiff_count, 2);
    assert_int_equal(d.pdiff[0], 1);
    assert_int_equal(d.pdiff[1], 2);
    assert_false(d.key_frame);
    for (size_t n = 0; n < sizeof(p); n++) {
        assert_int_equal(vp9_parse(bytes_of(p, n), &d), -EBADMSG);
    }
    static const uint8_t many[] = {0x50, 0x03, 0x03, 0x03, 0x02};
    assert_int_equal(vp9_parse(bytes_of(many, sizeof(many)), &d), -EBADMSG);
}

static void vp9_reads_scalability_structure(void **state)
{
    (void)state;
    // L B V, not flexible: layer byte, TL0PICIDX; two layers with resolution; a group of two
    // pictures.
    static const uint8_t p[] = {0x2a, 0x00, 0x07, 0x38, 1,    64, 0,    180, 2,
                                128,  1,    104,  2,    0x04, 1,  0x08, 1,   2};
    struct vp9_desc d;
    assert_int_equal(vp9_parse(bytes_of(p, sizeof(p)), &d), 0);
    assert_int_equal(d.len, sizeof(p));
    assert_true(d.has_tl0 && d.tl0_pic_idx == 7 && d.has_ss && d.ss_has_resolution && d.key_frame);
    assert_int_equal(d.ss_spatial_count, 2);
    assert_int_equal(d.ss_width[1], 640);
    assert_int_equal(d.ss_height[1], 360);
    assert_int_equal(d.ss_pictures, 2);
    for (size_t n = 0; n < sizeof(p); n++) {
        assert_int_equal(vp9_parse(bytes_of(p, n), &d), -EBADMSG);
    }
}

static void scan(const char *name, uint8_t pt, bool flexible, unsigned sids, uint16_t width)
{
    struct pcap_file f;
    struct pcap_packet p;
    unsigned media = 0;
    unsigned keys = 0;
    unsigned starts = 0;
    unsigned ends = 0;
    unsigned sid_seen = 0;
    uint16_t max_width = 0;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct vp9_desc d;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != pt || h.payload_len == 0) {
            continue;
        }
        assert_int_equal(vp9_parse(rtp_payload(p.data, &h), &d), 0);
        assert_int_equal(d.flexible, flexible);
        media++;
        keys += d.key_frame;
        starts += d.start;
        ends += d.end;
        sid_seen |= 1u << d.sid;
        for (unsigned i = 0; i < d.ss_spatial_count; i++) {
            max_width = MAX(max_width, d.ss_width[i]);
        }
        assert_true(!h.marker || d.end); // the marker ends the picture, E each layer
    }
    pcap_file_close(&f);
    assert_true(media >= 10 && keys > 0);
    assert_true(starts == ends || starts == ends + 1);
    assert_int_equal(sid_seen, sids);
    assert_int_equal(max_width, width);
}

static void vp9_reads_browsers(void **state)
{
    (void)state;
    scan("cr-vp9-l3t3key.pcap", 98, true, 7, 960);
    scan("cr-screen-vp9-l1t3.pcap", 98, false, 1, 960);
    scan("ff-vp9.pcap", 121, false, 1, 320);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vp9_reads_flexible_mode),
        cmocka_unit_test(vp9_reads_scalability_structure),
        cmocka_unit_test(vp9_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

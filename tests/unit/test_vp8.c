// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtp.h"
#include "sfu/wire/vp8.h"
#include "tests/support/pcap.h"

static void vp8_reads_every_field(void **state)
{
    (void)state;
    static const uint8_t p[] = {0xb0, 0xf0, 0x92, 0x34, 0x56, 0xb1, 0x10, 0,   0,
                                0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x41, 0xff};
    struct vp8_info v;
    assert_int_equal(vp8_parse(bytes_of(p, sizeof(p)), &v), 0);
    assert_int_equal(v.desc.len, 6);
    assert_true(v.desc.non_ref && v.desc.start && v.desc.has_picture_id && v.desc.picture_id_15);
    assert_int_equal(v.desc.picture_id, 0x1234);
    assert_int_equal(v.desc.tl0_pic_idx, 0x56);
    assert_true(v.desc.has_tid && v.desc.layer_sync && v.desc.has_key_idx);
    assert_int_equal(v.desc.tid, 2);
    assert_int_equal(v.desc.key_idx, 0x11);
    assert_true(v.frame_start && v.key_frame);
    assert_int_equal(v.width, 0x280); // without the scale bits
    assert_int_equal(v.height, 0x1e0);
    for (size_t n = 0; n <= 6; n++) {
        assert_int_equal(vp8_parse(bytes_of(p, n), &v), -EBADMSG);
    }
    assert_int_equal(vp8_parse(bytes_of(p, 7), &v), 0); // enough for the key frame bit
    assert_true(v.key_frame && v.width == 0);
}

static void vp8_descriptor_survives_rewriting(void **state)
{
    (void)state;
    for (unsigned m = 0; m < 32; m++) {
        struct vp8_desc d = {.start = true, .pid = 3};
        d.has_picture_id = (m & 1) != 0;
        d.picture_id_15 = d.has_picture_id && (m & 2) != 0;
        d.picture_id = d.picture_id_15 ? 0x7abc : d.has_picture_id ? 0x7f : 0;
        d.has_tl0 = (m & 4) != 0;
        d.tl0_pic_idx = d.has_tl0 ? 200 : 0;
        d.has_tid = (m & 8) != 0;
        d.tid = d.has_tid ? 3 : 0;
        d.layer_sync = d.has_tid;
        d.has_key_idx = (m & 16) != 0;
        d.key_idx = d.has_key_idx ? 31 : 0;
        uint8_t buf[VP8_DESC_MAX];
        struct wr w = wr_init(buf, sizeof(buf));
        vp8_desc_write(&w, &d);
        assert_true(wr_ok(&w));
        struct vp8_desc e;
        assert_int_equal(vp8_desc_parse(wr_bytes_view(&w), &e), 0);
        assert_int_equal(e.len, wr_len(&w));
        assert_true(e.picture_id == d.picture_id && e.picture_id_15 == d.picture_id_15);
        assert_true(e.tl0_pic_idx == d.tl0_pic_idx && e.tid == d.tid && e.key_idx == d.key_idx);
        assert_true(e.layer_sync == d.layer_sync && e.pid == 3 && e.start && !e.non_ref);
        for (size_t n = 0; n < e.len; n++) {
            w = wr_init(buf, n);
            vp8_desc_write(&w, &d);
            assert_false(wr_ok(&w));
        }
    }
}

struct counts {
    unsigned media, keys, with_tid, with_pid;
    uint16_t width;
};

static struct counts scan(const char *name, uint8_t pt)
{
    struct counts c = {0};
    struct pcap_file f;
    struct pcap_packet p;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct vp8_info v;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != pt || h.payload_len == 0) {
            continue;
        }
        struct bytes const payload = rtp_payload(p.data, &h);
        assert_int_equal(vp8_parse(payload, &v), 0);
        c.media++;
        c.keys += v.key_frame;
        c.with_tid += v.desc.has_tid;
        c.with_pid += v.desc.has_picture_id;
        c.width = MAX(c.width, v.width);
        assert_true(!v.key_frame || v.width > 0);
        uint8_t buf[VP8_DESC_MAX];
        struct wr w = wr_init(buf, sizeof(buf));
        vp8_desc_write(&w, &v.desc);
        assert_int_equal(wr_len(&w), v.desc.len);
        assert_memory_equal(buf, payload.p, v.desc.len);
    }
    pcap_file_close(&f);
    return c;
}

static void vp8_reads_browsers(void **state)
{
    (void)state;
    struct counts c = scan("cr-vp8-simulcast-nodd.pcap", 96);
    assert_true(c.media > 50 && c.keys >= 3);
    assert_int_equal(c.with_tid, c.media);
    assert_int_equal(c.width, 1280);
    c = scan("cr-vp8-simulcast.pcap",
             96); // descriptor stripped to one byte by the dependency descriptor
    assert_true(c.media > 50 && c.keys >= 3);
    assert_int_equal(c.with_pid, 0);
    assert_int_equal(c.width, 1280);
    c = scan("cr-vp8-nodd.pcap", 96);
    assert_true(c.with_pid == c.media && c.with_tid == 0 && c.keys > 0);
    c = scan("ff-vp8-simulcast.pcap", 120);
    assert_true(c.with_tid == c.media && c.keys >= 3);
    c = scan("cr-e2ee-vp8.pcap", 96); // the first bytes of a frame are not encrypted
    assert_true(c.keys > 0 && c.width > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vp8_reads_every_field),
        cmocka_unit_test(vp8_descriptor_survives_rewriting),
        cmocka_unit_test(vp8_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/h264.h"
#include "sfu/wire/rtp.h"
#include "tests/support/pcap.h"

static void check(const char *bytes, size_t n, int err, bool idr, bool sps, bool start)
{
    struct h264_info v = {0};
    assert_int_equal(h264_parse(bytes_of(bytes, n), &v), err);
    if (err == 0) {
        assert_int_equal(v.idr, idr);
        assert_int_equal(v.sps, sps);
        assert_int_equal(v.key_frame, idr || sps);
        assert_int_equal(v.nal_start, start);
    }
}

static void h264_finds_key_frames(void **state)
{
    (void)state;
    check("\x65\x88", 2, 0, true, false, true);
    check("\x67\x42", 2, 0, false, true, true);
    check("\x68\x42", 2, 0, false, false, true);
    check("\x41\x9a", 2, 0, false, false, true);
    check("\x78\0\1\x67\0\1\x68", 7, 0, false, true, true);         // STAP-A of SPS, PPS
    check("\x78\0\1\x67\0\1\x68\0\1\x65", 10, 0, true, true, true); // and a small IDR
    check("\x78\0\1\x41\0\1\x41", 7, 0, false, false, true);
    check("\x78\0\1\x67\0\5\x65", 7, 0, true, true, true);       // cut in its last unit
    check("\x7c\x85\1", 3, 0, true, false, true);                // FU-A, start of an IDR
    check("\x7c\x05\1", 3, 0, false, false, false);              // its middle
    check("\x7c\x45\1", 3, 0, false, false, false);              // its end
    check("\x79\0\0\0\1\x65", 6, 0, true, false, true);          // STAP-B
    check("\x7a\0\0\0\1\0\0\0\x65", 9, 0, true, false, true);    // MTAP16
    check("\x7b\0\0\0\1\0\0\0\0\x65", 10, 0, true, false, true); // MTAP24
}

static void h264_refuses_broken_units(void **state)
{
    (void)state;
    check("", 0, -EBADMSG, false, false, false);
    check("\xe5\1", 2, -EBADMSG, false, false, false); // forbidden bit
    check("\x7c", 1, -EBADMSG, false, false, false);
    check("\x78\0\5", 3, -EBADMSG, false, false, false);
    check("\x78\0\0", 3, -EBADMSG, false, false, false); // empty unit
    check("\x78\0", 2, -EBADMSG, false, false, false);
    check("\x60\1", 2, -EBADMSG, false, false, false);
    check("\x7f\1", 2, -EBADMSG, false, false, false);
}

static void scan(const char *name, uint8_t pt, unsigned types)
{
    struct pcap_file f;
    struct pcap_packet p;
    unsigned seen = 0;
    unsigned keys = 0;
    bool first = true;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct h264_info v;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != pt || h.payload_len == 0) {
            continue;
        }
        assert_int_equal(h264_parse(rtp_payload(p.data, &h), &v), 0);
        assert_true(!first || v.sps); // a stream begins with its parameter sets
        first = false;
        seen |= 1u << v.nal_type;
        keys += v.key_frame;
    }
    pcap_file_close(&f);
    assert_true(keys > 0);
    assert_int_equal(seen & types, types);
}

static void h264_reads_browsers(void **state)
{
    (void)state;
    scan("cr-h264-pm1.pcap", 108, 1u << H264_NAL_STAP_A | 1u << H264_NAL_FU_A);
    scan("cr-e2ee-h264.pcap", 108, 1u << H264_NAL_STAP_A | 1u << H264_NAL_FU_A);
    struct pcap_file f;
    struct pcap_packet p;
    unsigned one = 0;
    pcap_file_open(&f, "cr-h264-simulcast.pcap");
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct h264_info v;
        // A small key frame of the lowest layer is one STAP-A of SPS, PPS and IDR.
        one += !p.rtcp && rtp_parse(p.data, &h) == 0 && h.pt >= 102 && h.pt <= 117 &&
               h.payload_len > 0 && h264_parse(rtp_payload(p.data, &h), &v) == 0 &&
               v.nal_type == H264_NAL_STAP_A && v.sps;
    }
    pcap_file_close(&f);
    assert_true(one > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h264_finds_key_frames),
        cmocka_unit_test(h264_refuses_broken_units),
        cmocka_unit_test(h264_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

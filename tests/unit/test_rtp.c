// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/rtp.h"
#include "tests/support/pcap.h"

static void rtp_reads_a_full_header(void **state)
{
    (void)state;
    static const uint8_t p[] = {0xb2, 0xe0, 0x12, 0x34, 0x01, 0x02, 0x03, 0x04, 0xaa, 0xbb, 0xcc,
                                0xdd, 1,    1,    1,    1,    2,    2,    2,    2, // two CSRCs
                                0xbe, 0xde, 0,    1,    0x10, 0x55, 0,    0,       // extension
                                'a',  'b',  0,    0,    3};
    struct rtp_header h;
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), 0);
    assert_true(h.marker && h.has_ext);
    assert_int_equal(h.pt, 96);
    assert_int_equal(h.sn, 0x1234);
    assert_int_equal(h.ts, 0x01020304);
    assert_int_equal(h.ssrc, 0xaabbccdd);
    assert_int_equal(h.csrc_count, 2);
    assert_int_equal(h.ext_profile, 0xbede);
    assert_int_equal(h.ext.n, 4);
    assert_int_equal(h.header_len, 28);
    assert_int_equal(h.payload_len, 2);
    assert_int_equal(h.padding_len, 3);
    assert_memory_equal(rtp_payload(bytes_of(p, sizeof(p)), &h).p, "ab", 2);
}

static void rtp_refuses_what_is_cut_off(void **state)
{
    (void)state;
    static const uint8_t p[] = {0x92, 0xe0, 0x12, 0x34, 1, 2, 3,    4,    5, 6, 7,    8,    1, 1,
                                1,    1,    2,    2,    2, 2, 0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0};
    struct rtp_header h = {.pt = 99};
    for (size_t n = 0; n < sizeof(p); n++) {
        assert_int_equal(rtp_parse(bytes_of(p, n), &h), -EBADMSG);
        assert_int_equal(h.pt, 99); // outputs untouched
    }
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), 0);
    assert_int_equal(h.payload_len, 0);
}

static void rtp_refuses_bad_version_and_padding(void **state)
{
    (void)state;
    uint8_t p[14] = {0x40, 0x60};
    struct rtp_header h;
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), -EBADMSG);
    p[0] = 0xa0;
    p[13] = 0; // a padding length counts itself
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), -EBADMSG);
    p[13] = 3;
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), -EBADMSG);
    p[13] = 2;
    assert_int_equal(rtp_parse(bytes_of(p, sizeof(p)), &h), 0);
    assert_int_equal(h.payload_len, 0);
    assert_int_equal(rtp_parse(bytes_of(p, 12), &h),
                     -EBADMSG); // padding bit and nothing behind the header
}

static void rtp_writes_what_it_reads(void **state)
{
    (void)state;
    static const uint8_t ext[] = {0x10, 0x55, 0x20};
    struct rtp_header const in = {.marker = true,
                                  .has_ext = true,
                                  .pt = 111,
                                  .padding_len = 4,
                                  .sn = 65535,
                                  .ts = 7,
                                  .ssrc = 9,
                                  .ext_profile = 0xbede,
                                  .ext = {ext, sizeof(ext)}};
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    rtp_write(&w, &in);
    wr_str(&w, "payload");
    rtp_write_padding(&w, in.padding_len);
    assert_true(wr_ok(&w));
    struct rtp_header h;
    assert_int_equal(rtp_parse(wr_bytes_view(&w), &h), 0);
    assert_true(h.marker && h.has_ext);
    assert_int_equal(h.pt, 111);
    assert_int_equal(h.sn, 65535);
    assert_int_equal(h.ext.n, 4);
    assert_memory_equal(h.ext.p, "\x10\x55\x20\0", 4);
    assert_int_equal(h.payload_len, 7);
    assert_int_equal(h.padding_len, 4);
    size_t const full = wr_len(&w);
    for (size_t n = 0; n < full; n++) {
        w = wr_init(buf, n);
        rtp_write(&w, &in);
        wr_str(&w, "payload");
        rtp_write_padding(&w, in.padding_len);
        assert_false(wr_ok(&w));
    }
}

// Every recorded packet parses, sequence numbers of each SSRC are continuous, and the header is
// reproduced byte by byte.
static void rtp_reads_browsers(void **state)
{
    (void)state;
    static const char *const files[] = {"cr-vp8-simulcast.pcap", "ff-vp8-simulcast.pcap",
                                        "cr-opus-red-dtx.pcap", "cr-vp9-l3t3key.pcap",
                                        "cr-h264-simulcast.pcap"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct pcap_file f;
        struct pcap_packet p;
        pcap_file_open(&f, files[i]);
        struct {
            uint32_t ssrc;
            uint16_t sn;
        } last[16] = {0};
        size_t ssrcs = 0;
        unsigned seen = 0;
        while (pcap_file_next(&f, &p)) {
            if (p.rtcp) {
                continue;
            }
            struct rtp_header h;
            assert_int_equal(rtp_parse(p.data, &h), 0);
            size_t k = 0;
            while (k < ssrcs && last[k].ssrc != h.ssrc) {
                k++;
            }
            assert_true(k < ARRAY_LEN(last));
            if (k == ssrcs) {
                ssrcs++;
            } else {
                assert_int_equal(h.sn, (uint16_t)(last[k].sn + 1));
            }
            last[k].ssrc = h.ssrc;
            last[k].sn = h.sn;
            uint8_t buf[600];
            struct wr w = wr_init(buf, sizeof(buf));
            rtp_write(&w, &h);
            assert_int_equal(wr_len(&w), h.header_len);
            assert_memory_equal(buf, p.data.p, h.header_len);
            seen++;
        }
        assert_true(seen > 100);
        pcap_file_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_reads_a_full_header),
        cmocka_unit_test(rtp_refuses_what_is_cut_off),
        cmocka_unit_test(rtp_refuses_bad_version_and_padding),
        cmocka_unit_test(rtp_writes_what_it_reads),
        cmocka_unit_test(rtp_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

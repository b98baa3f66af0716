// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/packet_info.h"
#include "tests/support/pcap.h"

struct tally {
    unsigned packets, keys, starts, ends, markers, padding, vp8, dims, levels;
    unsigned tids[4];
    uint16_t width, height;
};

// All media packets of one SSRC or (0) of one payload type.
static struct tally scan(const char *file, uint32_t ssrc, uint8_t pt, enum codec codec,
                         uint8_t ext_dd, uint8_t ext_level)
{
    struct tally t = {0};
    struct pcap_file f;
    struct pcap_packet rec;
    struct packet_info_context ctx = {0};
    struct rtp_ext_map ext = {0};
    ext.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] = ext_dd;
    ext.id[RTP_EXT_AUDIO_LEVEL] = ext_level;
    pcap_file_open(&f, file);
    while (pcap_file_next(&f, &rec)) {
        struct rtp_header h;
        if (rec.rtcp || !rec.from_client || rtp_parse(rec.data, &h) < 0 || h.pt != pt ||
            (ssrc != 0 && h.ssrc != ssrc)) {
            continue;
        }
        struct packet p = {.data = (uint8_t *)(uintptr_t)rec.data.p, .len = (uint16_t)rec.data.n};
        packet_info_header(&p, &h, &ext);
        packet_info_payload(&p, codec, &ctx);
        t.packets++;
        t.keys += p.info.key_frame && p.info.frame_start;
        t.starts += p.info.frame_start;
        t.ends += p.info.frame_end;
        t.markers += p.marker;
        t.padding += p.info.padding_only;
        t.vp8 += p.info.vp8.len > 0;
        t.levels += p.info.audio_level != PACKET_NO_AUDIO_LEVEL;
        if (p.info.temporal < 4) {
            t.tids[p.info.temporal]++;
        }
        if (p.info.width > 0) {
            t.dims++;
            t.width = p.info.width;
            t.height = p.info.height;
        }
    }
    pcap_file_close(&f);
    return t;
}

static void packet_info_reads_vp8(void **state)
{
    (void)state;
    // q of the Chromium simulcast, refused dependency descriptor: three temporal layers.
    struct tally const t =
        scan("video-cr-vp8-simulcast-nodd.pcap", 0x39d90315, 96, CODEC_VP8, 0, 0);
    assert_int_equal(t.packets, 161);
    assert_int_equal(t.vp8, 161);
    assert_int_equal(t.starts, t.markers);
    assert_int_equal(t.ends, t.markers);
    assert_true(t.keys >= 4);
    assert_int_equal(t.dims, t.keys);
    assert_int_equal(t.width, 320);
    assert_true(t.tids[0] > 0 && t.tids[1] > 0 && t.tids[2] > 0);
}

static void packet_info_reads_stripped_vp8(void **state)
{
    (void)state;
    struct tally const t = scan("video-cr-vp8-simulcast.pcap", 0xd657efe4, 96, CODEC_VP8, 14, 0);
    assert_int_equal(t.packets, 205);
    assert_int_equal(t.vp8, 205);
    assert_int_equal(t.starts, t.markers);
    assert_true(t.keys >= 4);
    assert_int_equal(t.tids[0] + t.tids[1] + t.tids[2], 0);
}

static void packet_info_sees_key_frames_of_encrypted_media(void **state)
{
    (void)state;
    struct tally t = scan("cr-e2ee-vp8.pcap", 0, 96, CODEC_VP8, 0, 0);
    assert_true(t.keys >= 1);
    assert_int_equal(t.dims, t.keys);
    t = scan("cr-e2ee-h264.pcap", 0, 108, CODEC_H264, 0, 0);
    assert_true(t.keys >= 1);
    assert_int_equal(t.ends, t.markers);
}

static void packet_info_finds_one_start_for_each_h264_frame(void **state)
{
    (void)state;
    static const char *const files[] = {"cr-h264-pm0.pcap", "cr-h264-pm1.pcap"};
    for (size_t i = 0; i < 2; i++) {
        unsigned packets = 0;
        for (uint8_t pt = 96; pt < 127; pt++) {
            struct tally const t = scan(files[i], 0, pt, CODEC_H264, 0, 0);
            if (t.keys == 0 || t.markers * 2 < t.starts) {
                continue; // RTX or another codec
            }
            packets += t.packets;
            print_message("%s pt %u: %u packets, %u keys, %u starts, %u markers\n", files[i], pt,
                          t.packets, t.keys, t.starts, t.markers);
            assert_true(t.starts >= t.markers && t.starts <= t.markers + t.keys + 1);
        }
        assert_true(packets > 10);
    }
}

static void packet_info_reads_vp9_descriptors(void **state)
{
    (void)state;
    struct tally const t = scan("cr-vp9-l3t3key.pcap", 0, 98, CODEC_VP9, 0, 0);
    print_message("vp9: %u packets, %u keys, %u starts, %u ends, %u markers, %ux%u\n", t.packets,
                  t.keys, t.starts, t.ends, t.markers, t.width, t.height);
    assert_true(t.keys >= 2);
    assert_true(t.starts > t.markers); // one for each spatial layer
    assert_int_equal(t.width, 960);
    assert_int_equal(t.height, 540);
}

static void packet_info_reads_av1_with_and_without_descriptor(void **state)
{
    (void)state;
    struct tally t = scan("cr-av1-l3t3key.pcap", 0, 45, CODEC_AV1, 0, 0);
    print_message("av1 without dd: %u packets, %u keys, %u starts, %u markers\n", t.packets, t.keys,
                  t.starts, t.markers);
    assert_true(t.keys >= 1);
    t = scan("ff-av1.pcap", 0, 99, CODEC_AV1, 0, 0);
    print_message("av1 firefox: %u packets, %u keys, %u starts, %u markers\n", t.packets, t.keys,
                  t.starts, t.markers);
    assert_true(t.keys >= 1);
    assert_true(t.starts + 1 >= t.markers && t.starts <= t.markers + 1);
}

static void packet_info_reads_audio(void **state)
{
    (void)state;
    struct tally const t = scan("cr-opus.pcap", 0, 111, CODEC_OPUS, 0, 1);
    assert_int_equal(t.packets, 49);
    assert_int_equal(t.levels, 49);
    assert_int_equal(t.starts, 49);
}

static void packet_info_survives_nonsense(void **state)
{
    (void)state;
    for (int codec = CODEC_OPUS; codec < CODEC_RTX; codec++) {
        for (unsigned x = 0; x < 4096; x++) {
            uint8_t data[24] = {0x80, 96};
            for (size_t i = 12; i < sizeof(data); i++) {
                data[i] = (uint8_t)((x * 2654435761u) >> ((i % 4) * 8));
            }
            size_t const len = 12 + x % 13;
            struct packet p = {.data = data, .len = (uint16_t)len};
            struct packet_info_context ctx = {0};
            struct rtp_ext_map const ext = {0};
            struct rtp_header h;
            assert_int_equal(rtp_parse(bytes_of(data, len), &h), 0);
            packet_info_header(&p, &h, &ext);
            packet_info_payload(&p, (enum codec)codec, &ctx);
            assert_true(p.info.vp8.len <= p.info.payload_len);
            assert_true(p.info.red_primary_off <= p.info.payload_len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packet_info_reads_vp8),
        cmocka_unit_test(packet_info_reads_stripped_vp8),
        cmocka_unit_test(packet_info_sees_key_frames_of_encrypted_media),
        cmocka_unit_test(packet_info_finds_one_start_for_each_h264_frame),
        cmocka_unit_test(packet_info_reads_vp9_descriptors),
        cmocka_unit_test(packet_info_reads_av1_with_and_without_descriptor),
        cmocka_unit_test(packet_info_reads_audio),
        cmocka_unit_test(packet_info_survives_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/dd.h"
#include "sfu/wire/rtp_ext.h"
#include "sfu/wire/vp9.h"
#include "tests/support/pcap.h"

#define DD_EXT_ID 14

static void dd_needs_three_bytes_and_a_structure(void **state)
{
    (void)state;
    static const uint8_t p[] = {0xc5, 0x12, 0x34};
    struct dd d;
    struct dd_structure s;
    assert_int_equal(dd_parse(bytes_of(p, 2), NULL, &d, &s), -EBADMSG);
    assert_int_equal(dd_parse(bytes_of(p, 3), NULL, &d, &s), -ENOENT);
    assert_int_equal(dd_parse_mandatory(bytes_of(p, 3), &d), 0);
    assert_true(d.start_of_frame && d.end_of_frame);
    assert_int_equal(d.template_id, 5);
    assert_int_equal(d.frame_number, 0x1234);
}

// The packets of one recording with their descriptors read in order.
struct walk {
    struct pcap_file f;
    struct pcap_packet p;
    struct rtp_header h;
    struct bytes raw;
    struct dd d;
    struct dd_structure s;
    bool has_structure;
};

static bool walk_next(struct walk *k, uint8_t pt)
{
    while (pcap_file_next(&k->f, &k->p)) {
        if (k->p.rtcp || rtp_parse(k->p.data, &k->h) || k->h.pt != pt ||
            !rtp_ext_find(&k->h, DD_EXT_ID, &k->raw)) {
            continue;
        }
        int const err = dd_parse(k->raw, k->has_structure ? &k->s : NULL, &k->d, &k->s);
        assert_int_equal(err, 0);
        k->has_structure = true;
        // Everything was understood: only the last byte's padding is left.
        assert_true(k->raw.n == 3 ||
                    (k->d.bit_end <= k->raw.n * 8 && k->d.bit_end > (k->raw.n - 1) * 8));
        return true;
    }
    return false;
}

static void dd_agrees_with_the_vp9_descriptor(void **state)
{
    (void)state;
    static struct walk k;
    unsigned packets = 0;
    unsigned partial = 0;
    uint16_t last = 0;
    pcap_file_open(&k.f, "cr-vp9-l3t3key.pcap");
    while (walk_next(&k, 98)) {
        struct vp9_desc v;
        assert_int_equal(vp9_parse(rtp_payload(k.p.data, &k.h), &v), 0);
        assert_int_equal(v.start, k.d.start_of_frame);
        assert_int_equal(v.end, k.d.end_of_frame);
        assert_int_equal(v.sid, k.d.frame.spatial);
        assert_int_equal(v.tid, k.d.frame.temporal);
        assert_int_equal(v.key_frame, k.d.has_structure);
        if (k.d.has_structure) {
            assert_int_equal(k.s.target_count, 9);
            assert_int_equal(k.s.chain_count, 3);
            assert_int_equal(k.s.spatial_count, 3);
            assert_int_equal(k.s.resolution_count, 3);
            assert_int_equal(k.s.width[2], 960);
            for (unsigned t = 0; t < 9; t++) {
                assert_int_equal(k.s.target_spatial[t], t / 3);
                assert_int_equal(k.s.target_temporal[t], t % 3);
                assert_int_equal(k.s.target_chain[t], t / 3);
            }
            // The mask names targets by their bit: at first the top layer is missing.
            if (k.d.active_targets != 0x1ff) {
                assert_int_equal(k.d.active_targets, 0x3f);
                partial++;
            }
        }
        if (packets > 0) {
            assert_in_range((uint16_t)(k.d.frame_number - last), 0, 1);
        }
        for (unsigned i = 0; i < k.d.frame.fdiff_count; i++) {
            assert_in_range(k.d.frame.fdiff[i], 1, 12);
        }
        last = k.d.frame_number;
        packets++;
    }
    pcap_file_close(&k.f);
    assert_true(packets > 200 && partial > 0);
}

static void dd_follows_a_moved_template_offset(void **state)
{
    (void)state;
    static struct walk k;
    unsigned offsets = 0;
    unsigned last_offset = 99;
    pcap_file_open(&k.f, "cr-av1-l3t3key.pcap");
    while (walk_next(&k, 45)) {
        if (k.d.has_structure && k.s.template_id_offset != last_offset) {
            offsets++;
            last_offset = k.s.template_id_offset;
        }
    }
    pcap_file_close(&k.f);
    assert_int_equal(offsets, 2);
    assert_int_equal(last_offset, 15);
    assert_int_equal(k.s.spatial_count, 2);
    assert_int_equal(k.s.target_count, 4);
    // A template of the old structure does not exist any more.
    struct dd d;
    assert_int_equal(dd_parse(bytes_of("\x80\0\0", 3), &k.s, &d, &k.s), -ENOENT);
}

static void dd_reads_vp8_without_chains(void **state)
{
    (void)state;
    struct pcap_file f;
    struct pcap_packet p;
    struct {
        uint32_t ssrc;
        struct dd_structure s;
    } *const by_ssrc = test_calloc(4, sizeof(*by_ssrc));
    unsigned ssrcs = 0;
    unsigned packets = 0;
    pcap_file_open(&f, "cr-vp8-simulcast.pcap");
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct bytes raw;
        struct dd d;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != 96 || !rtp_ext_find(&h, DD_EXT_ID, &raw)) {
            continue;
        }
        unsigned i = 0;
        while (i < ssrcs && by_ssrc[i].ssrc != h.ssrc) {
            i++;
        }
        assert_int_equal(dd_parse(raw, i < ssrcs ? &by_ssrc[i].s : NULL, &d, &by_ssrc[i].s), 0);
        by_ssrc[i].ssrc = h.ssrc;
        ssrcs += i == ssrcs;
        assert_int_equal(by_ssrc[i].s.chain_count, 0);
        assert_int_equal(d.frame.spatial, 0);
        assert_in_range(d.frame.temporal, 0, 2);
        assert_true(!d.has_structure || raw.n == 23);
        packets++;
    }
    pcap_file_close(&f);
    test_free(by_ssrc);
    assert_int_equal(ssrcs, 3);
    assert_true(packets > 50);
}

static void dd_rewrites_number_and_mask(void **state)
{
    (void)state;
    static const char *const files[] = {"cr-vp9-l3t3key.pcap", "cr-av1-l3t3key.pcap"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        static struct walk k;
        memset(&k, 0, sizeof(k));
        unsigned structures = 0;
        pcap_file_open(&k.f, files[i]);
        while (walk_next(&k, i == 0 ? 98 : 45)) {
            uint8_t buf[DD_LEN_MAX];
            struct wr w = wr_init(buf, sizeof(buf));
            dd_rewrite(&w, k.raw, &k.d, k.s.target_count, k.d.frame_number, false, 0);
            assert_true(wr_ok(&w));
            assert_int_equal(wr_len(&w), k.raw.n);
            assert_memory_equal(buf, k.raw.p, k.raw.n); // unchanged if nothing is changed
            w = wr_init(buf, sizeof(buf));
            dd_rewrite(&w, k.raw, &k.d, k.s.target_count, 0xabcd, true, 0x5);
            static struct dd_structure s;
            s = k.s;
            struct dd d;
            assert_int_equal(dd_parse(wr_bytes_view(&w), &k.s, &d, &s), 0);
            assert_int_equal(d.frame_number, 0xabcd);
            assert_true(d.has_active && d.active_targets == 5);
            assert_memory_equal(&d.frame, &k.d.frame, sizeof(d.frame));
            assert_memory_equal(&s, &k.s, sizeof(s));
            assert_int_equal(d.has_structure, k.d.has_structure);
            structures += d.has_structure;
            for (size_t n = 0; n < wr_len(&w); n++) {
                uint8_t small[DD_LEN_MAX];
                struct wr t = wr_init(small, n);
                dd_rewrite(&t, k.raw, &k.d, k.s.target_count, 0xabcd, true, 0x5);
                assert_false(wr_ok(&t));
            }
        }
        pcap_file_close(&k.f);
        assert_true(structures > 1);
    }
}

static void dd_refuses_cut_structures(void **state)
{
    (void)state;
    static struct walk k;
    pcap_file_open(&k.f, "cr-vp9-l3t3key.pcap");
    while (walk_next(&k, 98)) {
        for (size_t n = 4; k.d.has_structure && n < k.raw.n; n++) {
            struct dd d = {.template_id = 77};
            static struct dd_structure s = {.target_count = 99};
            assert_int_equal(dd_parse(bytes_of(k.raw.p, n), &k.s, &d, &s), -EBADMSG);
            assert_true(d.template_id == 77 && s.target_count == 99); // outputs untouched
        }
    }
    pcap_file_close(&k.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dd_needs_three_bytes_and_a_structure),
        cmocka_unit_test(dd_agrees_with_the_vp9_descriptor),
        cmocka_unit_test(dd_follows_a_moved_template_offset),
        cmocka_unit_test(dd_reads_vp8_without_chains),
        cmocka_unit_test(dd_rewrites_number_and_mask),
        cmocka_unit_test(dd_refuses_cut_structures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

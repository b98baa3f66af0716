// SPDX-License-Identifier: Apache-2.0
// LINK: media
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "sfu/media/rtp_demux.h"
#include "tests/support/pcap.h"

#define MID_ID 4
#define RID_ID 10
#define RRID_ID 11

static struct rtp_demux d;
static struct packet_pool pool;

static int setup(void **state)
{
    (void)state;
    return packet_pool_init(&pool, 512, 256);
}

static int teardown(void **state)
{
    (void)state;
    packet_pool_done(&pool);
    return 0;
}

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static struct rtp_demux_id id(const char *s)
{
    struct rtp_demux_id r = {.len = (uint8_t)strlen(s)};
    memcpy(r.text, s, r.len);
    return r;
}

static void begin(uint8_t mid, uint8_t rid, uint8_t rrid)
{
    struct rtp_ext_map map = {0};
    map.id[RTP_EXT_MID] = mid;
    map.id[RTP_EXT_RID] = rid;
    map.id[RTP_EXT_RRID] = rrid;
    rtp_demux_init(&d);
    rtp_demux_set_extensions(&d, &map);
}

static struct rtp_demux_section simulcast(uint32_t section, const char *mid)
{
    return (struct rtp_demux_section){
        .id = section,
        .kind = MEDIA_VIDEO,
        .mid = id(mid),
        .rid_count = 3,
        .rid = {id("q"), id("h"), id("f")},
        .pt_count = 2,
        .pt = {{96, CODEC_VP8, 0}, {97, CODEC_RTX, 96}},
    };
}

static struct rtp_demux_section single(uint32_t section, const char *mid, uint8_t pt)
{
    return (struct rtp_demux_section){
        .id = section,
        .kind = MEDIA_VIDEO,
        .mid = id(mid),
        .pt_count = 2,
        .pt = {{pt, CODEC_VP8, 0}, {(uint8_t)(pt + 1), CODEC_RTX, pt}},
    };
}

// A packet with the given identification; empty strings are left out.
static struct bytes packet(uint8_t *buf, uint32_t ssrc, uint8_t pt, const char *mid,
                           const char *rid, const char *rrid)
{
    struct rtp_ext_elem e[3];
    size_t n = 0;
    struct rtp_header const h = {.pt = pt, .ssrc = ssrc};
    if (*mid) {
        e[n++] = (struct rtp_ext_elem){MID_ID, bytes_str(mid)};
    }
    if (*rid) {
        e[n++] = (struct rtp_ext_elem){RID_ID, bytes_str(rid)};
    }
    if (*rrid) {
        e[n++] = (struct rtp_ext_elem){RRID_ID, bytes_str(rrid)};
    }
    struct wr w = wr_init(buf, 64);
    rtp_write_with_ext(&w, &h, e, n, NULL);
    wr_str(&w, "xyz");
    assert_true(wr_ok(&w));
    return wr_bytes_view(&w);
}

static enum rtp_demux_result route(int64_t at, uint32_t ssrc, uint8_t pt, const char *mid,
                                   const char *rid, const char *rrid, struct rtp_demux_route *ret)
{
    uint8_t buf[64];
    struct rtp_header h;
    assert_int_equal(rtp_parse(packet(buf, ssrc, pt, mid, rid, rrid), &h), 0);
    return rtp_demux_packet(&d, ms(at), &h, ret);
}

static void rtp_demux_binds_simulcast_for_good(void **state)
{
    (void)state;
    struct rtp_demux_route r;
    begin(MID_ID, RID_ID, RRID_ID);
    struct rtp_demux_section const s = simulcast(7, "0");
    assert_int_equal(rtp_demux_set_section(&d, &s), 0);
    // The first packet of a video is RTX padding.
    assert_int_equal(route(0, 30, 97, "0", "", "f", &r), RTP_DEMUX_BOUND);
    assert_true(r.section_id == 7 && r.encoding == 2 && r.rtx && r.media_pt == 96 &&
                r.codec == CODEC_VP8);
    assert_int_equal(r.media_ssrc, 0);
    assert_int_equal(route(1, 20, 96, "0", "f", "", &r), RTP_DEMUX_BOUND);
    assert_true(r.encoding == 2 && !r.rtx && r.media_ssrc == 20 && r.media_pt == 96);
    assert_int_equal(route(2, 30, 97, "", "", "", &r), RTP_DEMUX_KNOWN); // mid and rid are gone
    assert_int_equal(r.media_ssrc, 20);
    assert_int_equal(route(3, 21, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(r.encoding, 0);
    assert_int_equal(route(900000, 20, 96, "", "", "", &r),
                     RTP_DEMUX_KNOWN); // however long it was silent
    assert_int_equal(rtp_demux_ssrc_of(&d, 7, 2, true), 30);
    assert_int_equal(rtp_demux_ssrc_of(&d, 7, 1, false), 0);
    assert_true(rtp_demux_find(&d, 21, &r) && r.encoding == 0 && !r.rtx);
    assert_false(rtp_demux_find(&d, 0, &r));
    assert_int_equal(route(4, 22, 96, "0", "", "", &r), RTP_DEMUX_UNKNOWN); // which layer?
    assert_int_equal(route(4, 22, 96, "0", "x", "", &r), RTP_DEMUX_UNKNOWN);
    assert_int_equal(route(4, 22, 96, "9", "q", "", &r), RTP_DEMUX_UNKNOWN);
    assert_int_equal(route(4, 22, 50, "0", "q", "", &r), RTP_DEMUX_UNKNOWN_PT);
    assert_int_equal(route(4, 20, 97, "", "", "", &r),
                     RTP_DEMUX_UNKNOWN_PT); // media SSRC, RTX type
    assert_int_equal(route(4, 0, 96, "0", "q", "", &r), RTP_DEMUX_PROBE);
    rtp_demux_done(&d);
}

static void rtp_demux_moves_an_encoding_after_silence_or_bye(void **state)
{
    (void)state;
    struct rtp_demux_route r;
    begin(MID_ID, RID_ID, RRID_ID);
    struct rtp_demux_section const s = simulcast(7, "0");
    assert_int_equal(rtp_demux_set_section(&d, &s), 0);
    assert_int_equal(route(0, 20, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(route(1999, 99, 96, "0", "q", "", &r), RTP_DEMUX_FULL);
    assert_int_equal(r.replaced, 0);
    assert_int_equal(route(2000, 99, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(r.replaced, 20);
    assert_int_equal(route(2001, 20, 96, "", "", "", &r),
                     RTP_DEMUX_UNKNOWN); // the old one is forgotten
    rtp_demux_bye(&d, 99);
    assert_int_equal(route(2002, 98, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    rtp_demux_bye(&d, 98);
    assert_int_equal(route(2003, 98, 96, "", "", "", &r), RTP_DEMUX_KNOWN); // it came back itself
    assert_int_equal(route(2004, 97, 96, "0", "q", "", &r), RTP_DEMUX_FULL);
    rtp_demux_bye(&d, 12345);
    rtp_demux_done(&d);
}

// The section is used again while packets of what it carried before are on their way.
static void rtp_demux_prefers_a_new_ssrc_to_leftovers(void **state)
{
    (void)state;
    struct rtp_demux_route r;
    begin(MID_ID, RID_ID, RRID_ID);
    struct rtp_demux_section const s = simulcast(7, "0");
    assert_int_equal(rtp_demux_set_section(&d, &s), 0);
    assert_int_equal(route(0, 20, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    rtp_demux_remove_section(&d, 7);
    assert_int_equal(rtp_demux_set_section(&d, &s), 0);
    assert_int_equal(route(10, 20, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(route(20, 21, 96, "0", "q", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(r.replaced, 20);
    assert_int_equal(route(30, 20, 96, "0", "q", "", &r), RTP_DEMUX_FULL);
    assert_int_equal(route(40, 21, 96, "", "", "", &r), RTP_DEMUX_KNOWN);
    rtp_demux_done(&d);
}

static void rtp_demux_uses_declared_ssrcs_and_payload_types(void **state)
{
    (void)state;
    struct rtp_demux_route r;
    begin(0, 0, 0);
    struct rtp_demux_section a = single(1, "0", 96);
    a.declared_count = 1;
    a.declared[0] = (struct rtp_demux_declared){100, 101};
    struct rtp_demux_section const b = single(2, "1", 98);
    struct rtp_demux_section const c = single(3, "2", 100);
    struct rtp_demux_section const e = single(4, "3", 100);
    assert_int_equal(rtp_demux_set_section(&d, &a), 0);
    assert_int_equal(rtp_demux_set_section(&d, &b), 0);
    assert_int_equal(rtp_demux_set_section(&d, &c), 0);
    assert_int_equal(rtp_demux_set_section(&d, &e), 0);
    assert_int_equal(route(0, 101, 97, "", "", "", &r), RTP_DEMUX_BOUND);
    assert_true(r.section_id == 1 && r.rtx);
    assert_int_equal(route(0, 100, 96, "", "", "", &r), RTP_DEMUX_BOUND);
    assert_true(r.section_id == 1 && !r.rtx);
    assert_int_equal(route(0, 102, 96, "", "", "", &r), RTP_DEMUX_UNKNOWN); // not one it named
    assert_int_equal(route(0, 200, 98, "", "", "", &r), RTP_DEMUX_BOUND);
    assert_int_equal(r.section_id, 2);
    assert_int_equal(route(0, 300, 100, "", "", "", &r), RTP_DEMUX_UNKNOWN); // two candidates
    rtp_demux_done(&d);
}

static void rtp_demux_forgets_removed_sections(void **state)
{
    (void)state;
    struct rtp_demux_route r;
    begin(MID_ID, RID_ID, RRID_ID);
    for (uint32_t i = 0; i < RTP_DEMUX_SECTIONS; i++) {
        char mid[8];
        snprintf(mid, sizeof(mid), "m%u", i);
        struct rtp_demux_section const s = single(i, mid, 96);
        assert_int_equal(rtp_demux_set_section(&d, &s), 0);
        assert_int_equal(route(0, 1000 + i * 128, 96, mid, "", "", &r), RTP_DEMUX_BOUND);
        assert_int_equal(route(0, 1001 + i * 128, 97, mid, "", "", &r), RTP_DEMUX_BOUND);
    }
    struct rtp_demux_section const more = single(9999, "zz", 96);
    assert_int_equal(rtp_demux_set_section(&d, &more), -ENOBUFS);
    struct rtp_demux_section const again = single(0, "m0", 98); // renegotiated
    assert_int_equal(rtp_demux_set_section(&d, &again), 0);
    assert_int_equal(route(0, 1000, 98, "", "", "", &r), RTP_DEMUX_KNOWN);
    assert_int_equal(route(0, 1000, 96, "", "", "", &r), RTP_DEMUX_UNKNOWN_PT);
    for (uint32_t i = 0; i < RTP_DEMUX_SECTIONS; i += 2) {
        rtp_demux_remove_section(&d, i);
    }
    rtp_demux_remove_section(&d, 7777);
    for (uint32_t i = 1; i < RTP_DEMUX_SECTIONS; i++) {
        assert_int_equal(route(0, 1000 + i * 128, 96, "", "", "", &r),
                         i % 2 ? RTP_DEMUX_KNOWN : RTP_DEMUX_UNKNOWN);
        assert_int_equal(route(0, 1001 + i * 128, 97, "", "", "", &r),
                         i % 2 ? RTP_DEMUX_KNOWN : RTP_DEMUX_UNKNOWN);
        assert_true(i % 2 == 0 || (r.section_id == i && d.section[r.section].id == i &&
                                   r.section == rtp_demux_section_index(&d, i)));
    }
    rtp_demux_done(&d);
}

static struct packet *pooled(int64_t at, uint32_t ssrc, const char *mid)
{
    struct packet *const p = packet_pool_get(&pool);
    assert_non_null(p);
    struct bytes const b = packet(p->data, ssrc, 96, mid, "", "");
    p->len = (uint16_t)b.n;
    p->arrival = ms(at);
    return p;
}

static void rtp_demux_holds_packets_for_their_sdp(void **state)
{
    (void)state;
    begin(MID_ID, RID_ID, RRID_ID);
    for (unsigned i = 0; i < 60; i++) {
        struct packet *const p = pooled(i, 5, "0");
        rtp_demux_hold(&d, ms(i), p);
        packet_unref(p);
    }
    struct packet *const other = pooled(60, 6, "1");
    rtp_demux_hold(&d, ms(60), other);
    packet_unref(other);
    assert_int_equal(d.held_count, RTP_DEMUX_HELD_PER_SSRC + 1);
    assert_null(rtp_demux_take_held(&d, ms(60)));
    struct rtp_demux_section const s = single(1, "0", 96);
    assert_int_equal(rtp_demux_set_section(&d, &s), 0);
    for (unsigned i = 0; i < RTP_DEMUX_HELD_PER_SSRC; i++) {
        struct packet *const p = rtp_demux_take_held(&d, ms(60));
        assert_non_null(p);
        assert_int_equal(p->arrival.us, ms(i).us); // in their order
        packet_unref(p);
    }
    assert_null(rtp_demux_take_held(&d, ms(60)));
    assert_null(rtp_demux_take_held(&d, ms(561)));
    assert_int_equal(d.held_count, 0); // half a second is over
    assert_int_equal(d.held_dropped, 11);
    struct packet *const p = pooled(600, 5, "7");
    rtp_demux_hold(&d, ms(600), p);
    packet_unref(p);
    rtp_demux_done(&d); // gives up what it holds: the pool is empty at the end
}

// Simulcast of both browsers: each SSRC finds its layer, and the pairs of media and RTX fit.
static void replay(const char *name, uint8_t mid, uint8_t rid, uint8_t rrid, uint8_t pt,
                   uint8_t rtx_pt, uint8_t audio)
{
    struct pcap_file f;
    struct pcap_packet p;
    begin(mid, rid, rrid);
    struct rtp_demux_section v = simulcast(10, "0");
    v.pt[0].pt = pt;
    v.pt[1] = (struct rtp_demux_pt){rtx_pt, CODEC_RTX, pt};
    struct rtp_demux_section const a = {.id = 11,
                                        .kind = MEDIA_AUDIO,
                                        .mid = id("1"),
                                        .pt_count = 1,
                                        .pt = {{audio, CODEC_OPUS, 0}}};
    assert_int_equal(rtp_demux_set_section(&d, &v), 0);
    assert_int_equal(rtp_demux_set_section(&d, &a), 0);
    unsigned known = 0;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct rtp_demux_route r;
        if (p.rtcp || rtp_parse(p.data, &h)) {
            continue;
        }
        enum rtp_demux_result const res = rtp_demux_packet(&d, p.at, &h, &r);
        assert_true(res == RTP_DEMUX_KNOWN || res == RTP_DEMUX_BOUND);
        known += res == RTP_DEMUX_KNOWN;
        assert_int_equal(r.section_id, h.pt == audio ? 11 : 10);
        assert_int_equal(r.rtx, h.pt == rtx_pt);
    }
    pcap_file_close(&f);
    assert_true(known > 200);
    for (uint8_t e = 0; e < 2; e++) {
        assert_int_not_equal(rtp_demux_ssrc_of(&d, 10, e, false), 0);
    }
    rtp_demux_done(&d);
}

static void rtp_demux_follows_browsers(void **state)
{
    (void)state;
    replay("cr-vp8-simulcast-nodd.pcap", 9, 10, 11, 96, 97, 111);
    replay("cr-vp8-simulcast.pcap", 9, 10, 11, 96, 97, 111);
    replay("ff-vp8-simulcast.pcap", 3, 9, 10, 120, 124, 109);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_demux_binds_simulcast_for_good),
        cmocka_unit_test(rtp_demux_moves_an_encoding_after_silence_or_bye),
        cmocka_unit_test(rtp_demux_prefers_a_new_ssrc_to_leftovers),
        cmocka_unit_test(rtp_demux_uses_declared_ssrcs_and_payload_types),
        cmocka_unit_test(rtp_demux_forgets_removed_sections),
        cmocka_unit_test(rtp_demux_holds_packets_for_their_sdp),
        cmocka_unit_test(rtp_demux_follows_browsers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

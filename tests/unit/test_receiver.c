// SPDX-License-Identifier: Apache-2.0
// LINK: media
// COVERS: receiver_rtcp
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/receiver.h"
#include "sfu/wire/rtcp_fb.h"
#include "tests/support/media_feed.h"

struct replay {
    struct packet_pool pool;
    struct receiver *r;
    unsigned forwarded[3];
    unsigned rtx_forwarded;
    uint8_t live_seen[64]; // live mask at each quarter of a second
    unsigned quarters;
};

static void replay(struct replay *x, const struct simulcast_recording *rec, unsigned drop_permille)
{
    struct pcap_file f;
    struct pcap_packet p;
    int64_t start = 0;
    uint32_t dice = 1;
    struct rtcp_out out;
    *x = (struct replay){0};
    assert_int_equal(packet_pool_init(&x->pool, 8192, 8192), 0);
    x->r = feed_simulcast_receiver(rec);
    pcap_file_open(&f, rec->file);
    while (pcap_file_next(&f, &p)) {
        start = start == 0 ? p.at.us : start;
        if (mono_reached(receiver_deadline(x->r), p.at)) {
            rtcp_out_init(&out, 1);
            assert_int_equal(receiver_timeout(x->r, p.at, &out), 0);
        }
        unsigned const quarter = (unsigned)((p.at.us - start) / 250000);
        x->live_seen[quarter] = receiver_live_mask(x->r);
        x->quarters = quarter;
        if (p.rtcp) {
            feed_rtcp(x->r, p.at, p.data);
            continue;
        }
        struct rtp_header h;
        bool rtx = false;
        enum receiver_verdict v;
        assert_int_equal(rtp_parse(p.data, &h), 0);
        int const layer = simulcast_layer(rec, h.ssrc, &rtx);
        dice = dice * 1664525u + 1013904223u;
        if (!rtx && (dice >> 16) % 1000 < drop_permille) {
            continue;
        }
        struct packet *const packet =
            feed_packet(&x->pool, x->r, p.at, (uint8_t)layer, rtx, CODEC_VP8, p.data, &v);
        if (v == RECEIVER_FORWARD) {
            x->forwarded[layer]++;
            x->rtx_forwarded += rtx;
            assert_int_equal(packet->ssrc, rec->ssrc[layer]);
            assert_ptr_equal(receiver_history_get(x->r, (uint8_t)layer, packet->ext_sn), packet);
        }
        packet_unref(packet);
    }
    pcap_file_close(&f);
}

static void replay_done(struct replay *x)
{
    struct packet_pool_stats st;
    receiver_free(x->r);
    packet_pool_get_stats(&x->pool, &st);
    assert_int_equal(st.packets_free, st.packets);
    packet_pool_done(&x->pool);
}

static void receiver_counts_what_was_sent(void **state)
{
    (void)state;
    struct replay x;
    struct receiver_encoding_stats st;
    replay(&x, &simulcast_cr_nodd, 0);
    // Packets of each media SSRC by the index of the recording; every retransmission is a probe.
    static const unsigned packets[3] = {161, 284, 331};
    for (uint8_t i = 0; i < 3; i++) {
        receiver_get_encoding_stats(x.r, (mono_t){0}, i, &st);
        assert_int_equal(x.forwarded[i], packets[i]);
        assert_int_equal(st.packets, packets[i]);
        assert_int_equal(st.lost, 0);
        assert_int_equal(st.recovered, 0);
        assert_int_equal(st.nacks_sent, 0);
        assert_true(st.key_frames >= 3);
        assert_int_equal(st.ssrc, simulcast_cr_nodd.ssrc[i]);
        assert_int_equal(st.width, 320u << i);
        assert_int_equal(st.height, 180u << i);
    }
    assert_int_equal(x.rtx_forwarded, 0);
    const uint64_t *const v = receiver_verdicts(x.r);
    assert_true(v[RECEIVER_DROP_DUPLICATE] > 50);
    assert_true(v[RECEIVER_DROP_RTX_PADDING] + v[RECEIVER_DROP_RTX_EARLY] >=
                1); // the first packet of all
    replay_done(&x);
}

static void receiver_recovers_losses_from_probes(void **state)
{
    (void)state;
    struct replay x;
    struct receiver_encoding_stats st;
    replay(&x, &simulcast_cr_nodd, 50);
    uint64_t lost = 0, recovered = 0, nacks = 0;
    for (uint8_t i = 0; i < 3; i++) {
        receiver_get_encoding_stats(x.r, (mono_t){0}, i, &st);
        lost += st.lost;
        recovered += st.recovered;
        nacks += st.nacks_sent;
        assert_int_equal(st.packets, x.forwarded[i]);
    }
    assert_true(lost > 20);
    assert_true(recovered > 0 && recovered == x.rtx_forwarded);
    assert_true(nacks > lost / 2); // the recorded publisher cannot answer
    replay_done(&x);
}

static void receiver_sees_layers_come_and_go(void **state)
{
    (void)state;
    struct replay x;
    replay(&x, &simulcast_cr_dd, 0);
    // f off at 4.6 s and on at 6.6 s, told by the layers allocation within 0.1 s; h off at 8.6 s.
    assert_int_equal(x.live_seen[16], 7);
    assert_int_equal(x.live_seen[20], 3);
    assert_int_equal(x.live_seen[25], 3);
    assert_int_equal(x.live_seen[30], 7);
    assert_int_equal(x.live_seen[37] & 2, 0);
    replay_done(&x);
    replay(&x, &simulcast_ff, 0); // f off at 5.1 s, on at 7.6 s; nothing tells, only silence
    assert_int_equal(x.live_seen[18], 7);
    assert_int_equal(x.live_seen[26], 3);
    assert_int_equal(x.live_seen[33], 7);
    replay_done(&x);
}

static void receiver_learns_the_offsets_between_layers(void **state)
{
    (void)state;
    struct replay x;
    uint32_t a = 0, b = 0, c = 0;
    replay(&x, &simulcast_ff, 0);
    assert_int_equal(receiver_ts_offset(x.r, 0, 1, &a), 0);
    assert_int_equal(receiver_ts_offset(x.r, 1, 2, &b), 0);
    assert_int_equal(receiver_ts_offset(x.r, 0, 2, &c), 0);
    assert_int_equal(a + b, c);
    assert_non_null(receiver_last_sr(x.r, 0));
    assert_null(receiver_last_sr(x.r, 3));
    replay_done(&x);
}

// ---- made-up streams ------------------------------------------------------------------------

struct stream {
    struct packet_pool pool;
    struct receiver *r;
    mono_t now;
};

static void stream_init(struct stream *s)
{
    struct receiver_conf const conf = {
        .codec = CODEC_VP8, .encodings = 1, .nack = true, .pli = true, .clock_rate = 90000};
    assert_int_equal(packet_pool_init(&s->pool, 2048, 2048), 0);
    assert_int_equal(receiver_new(&conf, &s->r), 0);
    s->now = (mono_t){US_PER_S};
}

static void stream_done(struct stream *s)
{
    receiver_free(s->r);
    packet_pool_done(&s->pool);
}

static enum receiver_verdict put(struct stream *s, uint16_t sn, uint32_t ssrc, bool rtx,
                                 uint16_t osn, bool key)
{
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    struct rtp_header const h = {.pt = rtx ? 97 : 96,
                                 .sn = sn,
                                 .ts = 3000u * (rtx ? osn : sn),
                                 .ssrc = ssrc,
                                 .marker = true};
    enum receiver_verdict v;
    rtp_write(&w, &h);
    if (rtx) {
        wr_be16(&w, osn);
    }
    wr_u8(&w, 0x10);
    wr_u8(&w, key ? 0 : 1);
    wr_fill(&w, 7, 10);
    packet_unref(feed_packet(&s->pool, s->r, s->now, 0, rtx, CODEC_VP8, wr_bytes_view(&w), &v));
    return v;
}

// Numbers that are asked for, and whether a key frame is, when the time comes.
static size_t collect(struct stream *s, uint16_t *sns, unsigned *plis)
{
    struct rtcp_out out;
    uint8_t buf[RTCP_OUT_CAP];
    size_t len = 0, n = 0;
    rtcp_out_init(&out, 9);
    *plis = 0;
    assert_int_equal(receiver_timeout(s->r, s->now, &out), 0);
    if (rtcp_out_finish(&out, (struct bytes_mut){buf, sizeof(buf)}, &len) < 0) {
        return 0;
    }
    struct rtcp_iter it;
    struct rtcp_packet p;
    struct rtcp_fb fb;
    rtcp_iter_init(&it, bytes_of(buf, len));
    while (rtcp_next(&it, &p)) {
        if (rtcp_fb_parse(&p, &fb) < 0) {
            continue;
        }
        assert_int_equal(fb.sender_ssrc, 9);
        assert_int_equal(fb.media_ssrc, 5);
        struct rtcp_nack_iter nacks;
        *plis += rtcp_is_pli(&fb);
        rtcp_nack_iter_init(&nacks, &fb);
        while (rtcp_nack_next(&nacks, &sns[n])) {
            n++;
        }
    }
    return n;
}

static void receiver_asks_for_what_is_missing_and_takes_rtx(void **state)
{
    (void)state;
    struct stream s;
    uint16_t sns[64];
    unsigned plis = 0;
    stream_init(&s);
    assert_int_equal(put(&s, 1, 6, true, 65535, false), RECEIVER_DROP_RTX_EARLY);
    assert_int_equal(put(&s, 65534, 5, false, 0, true), RECEIVER_FORWARD);
    assert_int_equal(put(&s, 1, 5, false, 0, false), RECEIVER_FORWARD); // 65535 and 0 are missing
    assert_int_equal(collect(&s, sns, &plis), 0);
    s.now = mono_add_ms(s.now, 10);
    assert_int_equal(collect(&s, sns, &plis), 2);
    assert_int_equal(sns[0], 65535);
    assert_int_equal(sns[1], 0);
    assert_int_equal(put(&s, 2, 6, true, 65535, false), RECEIVER_FORWARD);
    assert_int_equal(put(&s, 3, 6, true, 65535, false), RECEIVER_DROP_DUPLICATE);
    assert_int_equal(put(&s, 0, 5, false, 0, false), RECEIVER_FORWARD); // the original after all
    s.now = mono_add_ms(s.now, 500);
    assert_int_equal(collect(&s, sns, &plis), 0);
    const struct packet *const p = receiver_history_get(s.r, 0, receiver_highest(s.r, 0) - 2);
    assert_non_null(p);
    assert_int_equal(p->sn, 65535);
    assert_int_equal(p->ssrc, 5);
    assert_true(p->info.recovered && p->info.late);
    assert_int_equal(packet_payload(p).n, 12);
    assert_int_equal(packet_payload(p).p[0], 0x10);
    stream_done(&s);
}

static void receiver_repairs_only_what_is_needed(void **state)
{
    (void)state;
    struct stream s;
    uint16_t sns[64];
    unsigned plis = 0;
    stream_init(&s);
    assert_int_equal(put(&s, 10, 5, false, 0, true), RECEIVER_FORWARD);
    receiver_set_needed(s.r, 0);
    assert_int_equal(put(&s, 13, 5, false, 0, false), RECEIVER_FORWARD);
    s.now = mono_add_ms(s.now, 50);
    assert_int_equal(collect(&s, sns, &plis), 0);
    receiver_set_needed(s.r, 1);
    assert_int_equal(put(&s, 15, 5, false, 0, false), RECEIVER_FORWARD);
    s.now = mono_add_ms(s.now, 50);
    assert_int_equal(collect(&s, sns, &plis), 1);
    assert_int_equal(sns[0], 14);
    stream_done(&s);
}

static void receiver_coalesces_key_frame_requests(void **state)
{
    (void)state;
    struct stream s;
    uint16_t sns[64];
    unsigned plis = 0, sum = 0;
    stream_init(&s);
    assert_int_equal(put(&s, 10, 5, false, 0, true), RECEIVER_FORWARD);
    s.now = mono_add_ms(s.now, 1000);
    for (int i = 0; i < 1000; i++) {
        receiver_request_key_frame(s.r, s.now, 0);
        (void)collect(&s, sns, &plis);
        sum += plis;
        s.now = mono_add_ms(s.now, 1);
    }
    assert_in_range(sum, 3, 4); // one every 300 ms
    assert_int_equal(receiver_plis_sent(s.r), sum);
    stream_done(&s);
}

static void receiver_asks_for_a_key_frame_when_too_much_is_missing(void **state)
{
    (void)state;
    struct stream s;
    uint16_t sns[256];
    unsigned plis = 0;
    stream_init(&s);
    assert_int_equal(put(&s, 10, 5, false, 0, true), RECEIVER_FORWARD);
    s.now = mono_add_ms(s.now, 1000);
    assert_int_equal(put(&s, 400, 5, false, 0, false), RECEIVER_FORWARD);
    s.now = mono_add_ms(s.now, 20);
    assert_int_equal(collect(&s, sns, &plis), 0);
    assert_int_equal(plis, 1);
    stream_done(&s);
}

static void receiver_restarts_with_a_new_epoch(void **state)
{
    (void)state;
    struct stream s;
    stream_init(&s);
    assert_int_equal(put(&s, 10, 5, false, 0, true), RECEIVER_FORWARD);
    uint64_t const old = receiver_highest(s.r, 0);
    assert_int_equal(put(&s, 40000, 5, false, 0, false), RECEIVER_DROP_PROBATION);
    assert_int_equal(receiver_epoch(s.r, 0), 0);
    assert_int_equal(put(&s, 40001, 5, false, 0, false), RECEIVER_FORWARD);
    assert_int_equal(receiver_epoch(s.r, 0), 1);
    assert_null(receiver_history_get(s.r, 0, old));
    assert_non_null(receiver_history_get(s.r, 0, receiver_highest(s.r, 0)));
    receiver_bind(s.r, 0, false, 77);
    assert_int_equal(receiver_epoch(s.r, 0), 2);
    assert_int_equal(put(&s, 3, 77, false, 0, true), RECEIVER_FORWARD);
    stream_done(&s);
}

static void receiver_reports_only_bound_and_active_streams(void **state)
{
    (void)state;
    struct stream s;
    struct rtcp_out out;
    uint8_t cursor = 0;
    stream_init(&s);
    receiver_bind(s.r, 0, false, 5);
    receiver_bind(s.r, 0, true, 6);
    rtcp_out_init(&out, 9);
    assert_int_equal(receiver_report(s.r, s.now, &out, &cursor), 0);
    assert_true(rtcp_out_is_empty(&out));
    assert_int_equal(put(&s, 10, 5, false, 0, true), RECEIVER_FORWARD);
    assert_int_equal(put(&s, 12, 5, false, 0, true), RECEIVER_FORWARD);
    cursor = 0;
    assert_int_equal(receiver_report(s.r, s.now, &out, &cursor), 0);
    assert_int_equal(out.rr.block_count, 1);
    assert_int_equal(out.rr.block[0].ssrc, 5);
    assert_int_equal(out.rr.block[0].cumulative_lost, 1);
    (void)put(&s, 1, 6, true, 11, false);
    cursor = 0;
    rtcp_out_init(&out, 9);
    assert_int_equal(receiver_report(s.r, s.now, &out, &cursor), 0);
    assert_int_equal(out.rr.block_count, 2);
    assert_int_equal(out.rr.block[0].cumulative_lost, 1); // RTX does not count as received
    receiver_rtcp_bye(s.r, s.now, 5);
    cursor = 0;
    rtcp_out_init(&out, 9);
    assert_int_equal(receiver_report(s.r, s.now, &out, &cursor), 0);
    assert_true(rtcp_out_is_empty(&out));
    assert_int_equal(receiver_live_mask(s.r), 0);
    stream_done(&s);
}

static void receiver_refuses_foreign_packets(void **state)
{
    (void)state;
    struct stream s;
    enum receiver_verdict v;
    static const uint8_t rtp[14] = {0x80, 96, 0, 1};
    stream_init(&s);
    packet_unref(
        feed_packet(&s.pool, s.r, s.now, 1, false, CODEC_VP8, bytes_of(rtp, sizeof(rtp)), &v));
    assert_int_equal(v, RECEIVER_DROP_ENCODING);
    packet_unref(
        feed_packet(&s.pool, s.r, s.now, 0, false, CODEC_H264, bytes_of(rtp, sizeof(rtp)), &v));
    assert_int_equal(v, RECEIVER_DROP_CODEC);
    struct receiver *r = NULL;
    struct receiver_conf conf = {.codec = CODEC_VP8, .encodings = 4, .clock_rate = 90000};
    assert_int_equal(receiver_new(&conf, &r), -EINVAL);
    conf.encodings = 0;
    assert_int_equal(receiver_new(&conf, &r), -EINVAL);
    conf.encodings = 1;
    conf.codec = CODEC_RTX;
    assert_int_equal(receiver_new(&conf, &r), -EINVAL);
    receiver_free(NULL);
    stream_done(&s);
}

// It was held for its description and released while the batch it came with is still worked on.
static void receiver_takes_a_packet_with_two_owners(void **state)
{
    (void)state;
    static const uint8_t rtp[] = {0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 0x10, 0, 0, 0};
    struct packet_pool pool;
    struct rtp_header h;
    struct rtp_demux_route const route = {.codec = CODEC_VP8, .media_ssrc = 5, .media_pt = 96};
    assert_int_equal(packet_pool_init(&pool, 64, 64), 0);
    struct receiver *const r = feed_simulcast_receiver(&simulcast_cr_nodd);
    struct packet *const p = packet_pool_get(&pool);
    memcpy(p->data, rtp, sizeof(rtp));
    p->len = sizeof(rtp);
    (void)packet_ref(p);
    assert_int_equal(rtp_parse(packet_bytes(p), &h), 0);
    assert_int_equal(receiver_input(r, (mono_t){0}, &route, p, &h), RECEIVER_FORWARD);
    assert_memory_equal(p->data, rtp, sizeof(rtp));
    packet_unref(p);
    packet_unref(p);
    receiver_free(r);
    packet_pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receiver_takes_a_packet_with_two_owners),
        cmocka_unit_test(receiver_counts_what_was_sent),
        cmocka_unit_test(receiver_recovers_losses_from_probes),
        cmocka_unit_test(receiver_sees_layers_come_and_go),
        cmocka_unit_test(receiver_learns_the_offsets_between_layers),
        cmocka_unit_test(receiver_asks_for_what_is_missing_and_takes_rtx),
        cmocka_unit_test(receiver_repairs_only_what_is_needed),
        cmocka_unit_test(receiver_coalesces_key_frame_requests),
        cmocka_unit_test(receiver_asks_for_a_key_frame_when_too_much_is_missing),
        cmocka_unit_test(receiver_restarts_with_a_new_epoch),
        cmocka_unit_test(receiver_reports_only_bound_and_active_streams),
        cmocka_unit_test(receiver_refuses_foreign_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

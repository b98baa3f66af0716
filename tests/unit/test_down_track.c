// SPDX-License-Identifier: Apache-2.0
// LINK: media
// COVERS: down_track_rtcp forwarder
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/seq.h"
#include "sfu/media/down_track.h"
#include "sfu/wire/opus_red.h"
#include "tests/support/media_feed.h"

#define EXT_MID 3
#define EXT_DELAY 9
#define EXT_TWCC 5
#define EXT_AST 6
#define EXT_LEVEL 1
#define EXT_ACT 7
#define EXT_DD 8

struct bench {
    struct packet_pool pool;
    struct receiver *r;
    struct down_track *dt;
    mono_t now;
    uint16_t twcc;
    uint8_t buf[1500];
    struct down_track_out out;
    struct rtp_header h;
    struct bytes payload;
};

static bool padding_first; // of the next track

static bool with_delay; // likewise

static bool with_trailers, cut_trailers; // likewise

static struct down_track *make_track(enum codec codec, uint8_t red_pt)
{
    struct down_track *dt = NULL;
    struct down_track_conf conf = {.codec = codec,
                                   .padding_first = padding_first,
                                   .cut_trailers = cut_trailers,
                                   .clock_rate = codec_clock(codec),
                                   .pt = 120,
                                   .rtx_pt = codec_kind(codec) == MEDIA_VIDEO ? 121 : 0,
                                   .red_pt = red_pt,
                                   .ssrc = 0xaaaa,
                                   .rtx_ssrc = 0xbbbb,
                                   .first_ts = 0xfffffff0,
                                   .first_sn = 0xffff,
                                   .first_rtx_sn = 0x8001,
                                   .mid = "17",
                                   .cname = "somebody"};
    conf.ext.id[RTP_EXT_MID] = EXT_MID;
    conf.ext.id[RTP_EXT_TRANSPORT_CC] = EXT_TWCC;
    conf.ext.id[RTP_EXT_ABS_SEND_TIME] = EXT_AST;
    conf.ext.id[RTP_EXT_AUDIO_LEVEL] = EXT_LEVEL;
    conf.ext.id[RTP_EXT_ABS_CAPTURE_TIME] = EXT_ACT;
    conf.ext.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] = EXT_DD;
    if (with_delay) {
        conf.ext.id[RTP_EXT_PLAYOUT_DELAY] = EXT_DELAY;
        conf.min_playout_delay_ms = 100;
        conf.max_playout_delay_ms = 400;
    }
    assert_int_equal(down_track_new(&conf, &dt), 0);
    return dt;
}

static void bench_init(struct bench *b, enum codec codec, uint8_t red_pt)
{
    struct receiver_conf conf = {.codec = codec,
                                 .encodings = 1,
                                 .nack = true,
                                 .pli = true,
                                 .trailers = with_trailers,
                                 .clock_rate = codec_clock(codec)};
    conf.ext.id[RTP_EXT_AUDIO_LEVEL] = 12;
    conf.ext.id[RTP_EXT_ABS_CAPTURE_TIME] = 13;
    conf.ext.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] = 14;
    *b = (struct bench){.now = {10 * US_PER_S}, .twcc = 65535};
    assert_int_equal(packet_pool_init(&b->pool, 2048, 2048), 0);
    assert_int_equal(receiver_new(&conf, &b->r), 0);
    b->dt = make_track(codec, red_pt);
    down_track_set_writable(b->dt, b->now, true);
}

static void bench_done(struct bench *b)
{
    down_track_free(b->dt);
    receiver_free(b->r);
    packet_pool_done(&b->pool);
}

static enum down_track_result write_to(struct bench *b, const struct packet *p)
{
    b->out = (struct down_track_out){.data = b->buf, .cap = sizeof(b->buf)};
    enum down_track_result const res = down_track_write(b->dt, b->now, b->r, p, &b->twcc, &b->out);
    if (res == DOWN_TRACK_SENT) {
        struct bytes const raw = bytes_of(b->buf, b->out.len);
        assert_int_equal(rtp_parse(raw, &b->h), 0);
        assert_int_equal(b->h.header_len, b->out.header_len);
        assert_int_equal(b->h.sn, b->out.sn);
        assert_int_equal(b->h.ssrc, b->out.ssrc);
        b->payload = rtp_payload(raw, &b->h);
    }
    return res;
}

// A packet with these elements through receiver and down track.
static enum down_track_result send(struct bench *b, enum codec codec, uint16_t sn, uint32_t ts,
                                   bool marker, const struct rtp_ext_elem *e, size_t n,
                                   struct bytes payload, uint8_t padding)
{
    uint8_t buf[1400];
    struct wr w = wr_init(buf, sizeof(buf));
    enum receiver_verdict v;
    struct rtp_header const h = {
        .pt = 96, .sn = sn, .ts = ts, .ssrc = 5, .marker = marker, .padding_len = padding};
    rtp_write_with_ext(&w, &h, e, n, NULL);
    wr_bytes(&w, payload);
    rtp_write_padding(&w, padding);
    struct packet *const p =
        feed_packet(&b->pool, b->r, b->now, 0, false, codec, wr_bytes_view(&w), &v);
    assert_int_equal(v, RECEIVER_FORWARD);
    enum down_track_result const res = write_to(b, p);
    packet_unref(p);
    return res;
}

static bool has_ext(const struct bench *b, uint8_t id, struct bytes expect)
{
    struct bytes got;
    return rtp_ext_find(&b->h, id, &got) && (expect.p == NULL || bytes_eq(got, expect));
}

static const struct bytes none = {NULL, 0};
static const uint8_t opus[] = {0x78, 1, 2, 3, 4, 5, 6, 7};
#define OPUS bytes_of(opus, sizeof(opus))

static void down_track_writes_header_and_extensions(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    static const uint8_t level[] = {0x85}, act[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct rtp_ext_elem const e[] = {{12, {level, 1}}, {13, {act, 8}}, {4, {act, 2}}};
    assert_int_equal(send(&b, CODEC_OPUS, 500, 777, true, e, 3, OPUS, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x7fff); // the top bit of the first number is cleared
    assert_int_equal(b.h.ts, 0xfffffff0);
    assert_int_equal(b.h.ssrc, 0xaaaa);
    assert_int_equal(b.h.pt, 120);
    assert_true(b.h.marker);
    assert_true(bytes_eq(b.payload, OPUS));
    assert_true(has_ext(&b, EXT_LEVEL, bytes_of(level, 1)));
    assert_true(has_ext(&b, EXT_ACT, bytes_of(act, 8)));
    assert_true(has_ext(&b, EXT_MID, bytes_str("17")));
    assert_true(has_ext(&b, EXT_TWCC, bytes_of("\xff\xff", 2)));
    assert_true(has_ext(&b, EXT_AST, none));
    assert_false(has_ext(&b, 12, none)); // the publisher's ids mean nothing here
    assert_true(b.out.has_twcc);
    assert_int_equal(b.out.twcc_sn, 65535);
    assert_int_equal(b.out.roc, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 501, 777 + 960, false, NULL, 0, OPUS, 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8000);
    assert_int_equal(b.h.ts, 0xfffffff0 + 960u);
    assert_true(has_ext(&b, EXT_TWCC, bytes_of("\0\0", 2)));
    assert_false(has_ext(&b, EXT_LEVEL, none));
    bench_done(&b);
}

static void down_track_rolls_over(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    for (uint32_t i = 0; i < 70000; i++) {
        b.now = mono_add_us(b.now, 20000);
        assert_int_equal(send(&b, CODEC_OPUS, (uint16_t)i, i * 960, false, NULL, 0, OPUS, 0),
                         DOWN_TRACK_SENT);
        assert_int_equal(b.out.roc, (0x7fff + i) >> 16);
        assert_int_equal(b.out.sn, (uint16_t)(0x7fff + i));
    }
    bench_done(&b);
}

static void down_track_stops_mid_after_a_report(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    for (uint16_t i = 0; i < 60; i++) {
        assert_int_equal(send(&b, CODEC_OPUS, i, i * 960u, false, NULL, 0, OPUS, 0),
                         DOWN_TRACK_SENT);
        assert_int_equal(has_ext(&b, EXT_MID, none), i < 50);
    }
    bench_done(&b);
    bench_init(&b, CODEC_OPUS, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    struct rtcp_report_block const rb = {.ssrc = 0xaaaa};
    down_track_rtcp_block(b.dt, b.now, &rb);
    assert_int_equal(send(&b, CODEC_OPUS, 2, 1920, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_false(has_ext(&b, EXT_MID, none));
    bench_done(&b);
}

static void down_track_leaves_padding_out(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, none, 100),
                     DOWN_TRACK_PADDING); // before the start
    assert_int_equal(send(&b, CODEC_OPUS, 2, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x7fff);
    assert_int_equal(send(&b, CODEC_OPUS, 3, 960, false, NULL, 0, none, 200), DOWN_TRACK_PADDING);
    assert_int_equal(send(&b, CODEC_OPUS, 4, 960, false, NULL, 0, none, 200), DOWN_TRACK_PADDING);
    assert_int_equal(send(&b, CODEC_OPUS, 5, 1920, false, NULL, 0, OPUS, 5), DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8000);
    assert_int_equal(b.h.padding_len, 0);
    assert_true(bytes_eq(b.payload, OPUS));
    bench_done(&b);
}

static void down_track_passes_red_or_its_primary(void **state)
{
    (void)state;
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    struct opus_red const red = {.count = 2, .block = {{111, 960, {opus, 3}}, {111, 0, OPUS}}};
    opus_red_write(&w, &red);
    struct bench b;
    bench_init(&b, CODEC_OPUS, 63);
    assert_int_equal(send(&b, CODEC_RED, 1, 960, false, NULL, 0, wr_bytes_view(&w), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 63);
    assert_true(bytes_eq(b.payload, wr_bytes_view(&w)));
    assert_int_equal(send(&b, CODEC_OPUS, 2, 1920, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 120);
    bench_done(&b);
    bench_init(&b, CODEC_OPUS, 0);
    assert_int_equal(send(&b, CODEC_RED, 1, 960, false, NULL, 0, wr_bytes_view(&w), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 120);
    assert_true(bytes_eq(b.payload, OPUS));
    assert_int_equal(send(&b, CODEC_RED, 2, 960, false, NULL, 0, bytes_of("\x80", 1), 0),
                     DOWN_TRACK_MALFORMED);
    bench_done(&b);
}

static void down_track_cuts_trailers_of_those_who_do_not_know_them(void **state)
{
    (void)state;
    struct bytes const frame = bytes_of("\x65\x88"
                                        "abc\xfaLKTS",
                                        10);
    for (int cut = 0; cut < 2; cut++) {
        struct bench b;
        with_trailers = true;
        cut_trailers = cut != 0;
        bench_init(&b, CODEC_H264, 0);
        with_trailers = false;
        cut_trailers = false;
        assert_int_equal(send(&b, CODEC_H264, 1, 0, true, NULL, 0, frame, 0), DOWN_TRACK_SENT);
        assert_int_equal(b.payload.n, cut ? 5 : 10);
        // Within a frame the same bytes are part of it.
        assert_int_equal(send(&b, CODEC_H264, 2, 3000, false, NULL, 0, frame, 0), DOWN_TRACK_SENT);
        assert_int_equal(b.payload.n, 10);
        bench_done(&b);
    }
    struct bench b;
    cut_trailers = true;
    bench_init(&b, CODEC_H264, 0); // of a track that announced none
    cut_trailers = false;
    assert_int_equal(send(&b, CODEC_H264, 1, 0, true, NULL, 0, frame, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.payload.n, 10);
    bench_done(&b);
}

static void down_track_says_why_it_sends_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    down_track_set_disabled(b.dt, b.now, true);
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_DISABLED);
    down_track_set_disabled(b.dt, b.now, false);
    down_track_set_publisher_muted(b.dt, b.now, true);
    assert_int_equal(send(&b, CODEC_OPUS, 2, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_MUTED);
    down_track_set_publisher_muted(b.dt, b.now, false);
    down_track_set_paused(b.dt, b.now, true);
    assert_int_equal(send(&b, CODEC_OPUS, 3, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_PAUSED);
    down_track_set_writable(b.dt, b.now, false);
    assert_int_equal(send(&b, CODEC_OPUS, 4, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_UNWRITABLE);
    assert_false(down_track_is_forwarding(b.dt));
    down_track_set_paused(b.dt, b.now, false);
    down_track_set_writable(b.dt, b.now, true);
    assert_true(down_track_is_forwarding(b.dt));
    down_track_set_max_layers(b.dt, DOWN_TRACK_NO_LAYER, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 5, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_PAUSED);
    down_track_set_max_layers(b.dt, 2, 3);
    assert_int_equal(send(&b, CODEC_OPUS, 6, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    struct down_track_stats st;
    down_track_get_stats(b.dt, &st);
    assert_int_equal(st.results[DOWN_TRACK_DISABLED], 1);
    assert_int_equal(st.results[DOWN_TRACK_PAUSED], 2);
    assert_int_equal(st.packets, 1);
    bench_done(&b);
}

static void down_track_resumes_audio_on_time(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    uint32_t const first = b.h.ts;
    down_track_set_publisher_muted(b.dt, b.now, true);
    b.now = mono_add_ms(b.now, 5000);
    down_track_set_publisher_muted(b.dt, b.now, false);
    // The publisher's timestamps stood still meanwhile (replaceTrack(null), recording cr-opus):
    // time passed all the same.
    assert_int_equal(send(&b, CODEC_OPUS, 2, 1920, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8000);
    assert_int_equal(b.h.ts - first, 5 * 48000);
    down_track_set_disabled(b.dt, b.now, true);
    b.now = mono_add_ms(b.now, 1000);
    down_track_set_disabled(b.dt, b.now, false);
    // They went on: the exact relation is kept, packets that were not sent leave no hole.
    assert_int_equal(send(&b, CODEC_OPUS, 52, 1920 + 48100, false, NULL, 0, OPUS, 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8001);
    assert_int_equal(b.h.ts - first, 5 * 48000 + 48100);
    bench_done(&b);
}

static struct bytes vp8(uint8_t *buf, bool key, bool start, uint16_t picture, uint8_t tid)
{
    struct wr w = wr_init(buf, 64);
    struct vp8_desc const d = {.start = start,
                               .has_picture_id = true,
                               .picture_id_15 = picture > 127,
                               .picture_id = picture,
                               .has_tl0 = true,
                               .tl0_pic_idx = 3,
                               .has_tid = true,
                               .tid = tid};
    vp8_desc_write(&w, &d);
    wr_u8(&w, key ? 0 : 1);
    wr_fill(&w, (uint8_t)picture, 20);
    return wr_bytes_view(&w);
}

static enum down_track_result rtx(struct bench *b)
{
    b->out = (struct down_track_out){.data = b->buf, .cap = sizeof(b->buf)};
    enum down_track_result const res = down_track_write_rtx(b->dt, b->now, b->r, &b->twcc, &b->out);
    if (res == DOWN_TRACK_SENT) {
        assert_int_equal(rtp_parse(bytes_of(b->buf, b->out.len), &b->h), 0);
        b->payload = rtp_payload(bytes_of(b->buf, b->out.len), &b->h);
    }
    return res;
}

static void down_track_answers_nacks_with_what_it_sent(void **state)
{
    (void)state;
    struct bench b;
    uint8_t buf[64], first[64];
    bench_init(&b, CODEC_VP8, 0);
    assert_int_equal(send(&b, CODEC_VP8, 1, 3000, true, NULL, 0, vp8(buf, false, true, 9, 0), 0),
                     DOWN_TRACK_WAIT_KEY);
    assert_int_equal(send(&b, CODEC_VP8, 2, 6000, false, NULL, 0, vp8(buf, true, true, 10, 0), 0),
                     DOWN_TRACK_SENT);
    size_t const first_len = b.payload.n;
    memcpy(first, b.payload.p, first_len);
    uint32_t const first_ts = b.h.ts;
    assert_int_equal(first_len, 6 + 21); // the picture id became two bytes
    assert_int_equal(send(&b, CODEC_VP8, 3, 6000, true, NULL, 0, vp8(buf, false, false, 10, 0), 0),
                     DOWN_TRACK_SENT);
    b.now = mono_add_ms(b.now, 100);
    uint16_t const sns[] = {0x7fff, 0x7ffe, 0x8000, 0x8001};
    down_track_rtcp_nack(b.dt, b.now, sns, 4);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT);
    assert_int_equal(b.h.ssrc, 0xbbbb);
    assert_int_equal(b.h.pt, 121);
    assert_int_equal(b.h.sn, 1); // the top bit of the first number is cleared
    assert_int_equal(b.h.ts, first_ts);
    assert_false(b.h.marker);
    assert_true(b.out.is_rtx && b.out.has_twcc);
    assert_int_equal(b.payload.p[0] << 8 | b.payload.p[1], 0x7fff);
    assert_int_equal(b.payload.n, first_len + 2);
    assert_memory_equal(b.payload.p + 2, first, first_len);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT);
    assert_true(b.h.marker);
    assert_int_equal(b.h.sn, 2);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    down_track_rtcp_nack(b.dt, b.now, sns, 1); // asked again at once
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    struct down_track_stats st;
    down_track_get_stats(b.dt, &st);
    assert_int_equal(st.nacks, 5);
    assert_int_equal(st.nacks_answered, 2);
    assert_int_equal(st.nacks_missed, 3);
    assert_int_equal(st.rtx_packets, 2);
    bench_done(&b);
}

static void down_track_tells_the_playout_delay_until_it_arrived(void **state)
{
    (void)state;
    struct bench b;
    uint8_t buf[64];
    with_delay = true;
    bench_init(&b, CODEC_VP8, 0);
    for (uint16_t i = 2; i < 5; i++) {
        assert_int_equal(send(&b, CODEC_VP8, i, i * 3000u, true, NULL, 0,
                              vp8(buf, i == 2, true, (uint8_t)(8 + i), 0), 0),
                         DOWN_TRACK_SENT);
        assert_true(has_ext(&b, EXT_DELAY, bytes_of((const uint8_t[]){0, 0xa0, 40}, 3)));
    }
    uint16_t const first = 0x7fff;
    b.now = mono_add_ms(b.now, 100);
    down_track_rtcp_nack(b.dt, b.now, &first, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT);
    // A report about the first of them, with jitter of 20 ms, and one second later.
    struct rtcp_report_block rb = {.ssrc = 0xaaaa, .highest_sn = 0x7fff, .jitter = 1800};
    down_track_rtcp_block(b.dt, b.now, &rb);
    assert_int_equal(send(&b, CODEC_VP8, 5, 15000, true, NULL, 0, vp8(buf, false, true, 13, 0), 0),
                     DOWN_TRACK_SENT);
    assert_false(has_ext(&b, EXT_DELAY, none));
    b.now = mono_add_ms(b.now, 1000);
    down_track_rtcp_block(b.dt, b.now, &rb);
    assert_int_equal(send(&b, CODEC_VP8, 6, 18000, true, NULL, 0, vp8(buf, false, true, 14, 0), 0),
                     DOWN_TRACK_SENT);
    assert_true(has_ext(&b, EXT_DELAY, bytes_of((const uint8_t[]){1, 0x20, 40}, 3))); // 180 ms
    bench_done(&b);
    bench_init(&b, CODEC_OPUS, 0); // nobody waits for sound
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_false(has_ext(&b, EXT_DELAY, none));
    bench_done(&b);
    with_delay = false;
}

static void down_track_ignores_nacks_between_pli_and_key_frame(void **state)
{
    (void)state;
    struct bench b;
    uint8_t buf[64], encoding = 9;
    bench_init(&b, CODEC_VP8, 0);
    assert_true(down_track_poll_key_frame(b.dt, b.now, b.r, &encoding)); // nothing was sent yet
    assert_false(down_track_poll_key_frame(b.dt, b.now, b.r, &encoding));
    assert_int_equal(send(&b, CODEC_VP8, 2, 6000, true, NULL, 0, vp8(buf, true, true, 10, 0), 0),
                     DOWN_TRACK_SENT);
    b.now = mono_add_ms(b.now, 300);
    assert_false(down_track_poll_key_frame(b.dt, b.now, b.r, &encoding));
    uint16_t const old = 0x7fff;
    down_track_rtcp_pli(b.dt, b.now);
    assert_true(mono_reached(down_track_deadline(b.dt), b.now));
    assert_true(down_track_poll_key_frame(b.dt, b.now, b.r, &encoding));
    assert_int_equal(encoding, 0);
    down_track_rtcp_nack(b.dt, b.now, &old, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    assert_int_equal(send(&b, CODEC_VP8, 3, 9000, true, NULL, 0, vp8(buf, true, true, 11, 0), 0),
                     DOWN_TRACK_SENT);
    b.now = mono_add_ms(b.now, 100);
    down_track_rtcp_nack(b.dt, b.now, &old, 1); // of before the key frame
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    uint16_t const key = 0x8000;
    down_track_rtcp_nack(b.dt, b.now, &key, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT);
    bench_done(&b);
}

static void padded_bench(struct bench *b, enum codec codec)
{
    padding_first = true;
    bench_init(b, codec, 0);
    padding_first = false;
}

static enum down_track_result pad(struct bench *b)
{
    b->out = (struct down_track_out){.data = b->buf, .cap = sizeof(b->buf)};
    enum down_track_result const res = down_track_write_padding(b->dt, b->now, &b->twcc, &b->out);
    if (res == DOWN_TRACK_SENT) {
        assert_int_equal(rtp_parse(bytes_of(b->buf, b->out.len), &b->h), 0);
        assert_int_equal(b->h.header_len, b->out.header_len);
        assert_int_equal(b->h.sn, b->out.sn);
    }
    return res;
}

// The next one, when it is due and not before.
static enum down_track_result pad_next(struct bench *b)
{
    mono_t const at = down_track_deadline(b->dt);
    assert_true(mono_diff_us(at, b->now) >= 50 * US_PER_MS);
    b->now = mono_add_us(at, -1);
    assert_int_equal(pad(b), DOWN_TRACK_NOTHING);
    b->now = at;
    return pad(b);
}

static void down_track_pads_until_media_comes(void **state)
{
    (void)state;
    struct bench b;
    uint8_t buf[64];
    padded_bench(&b, CODEC_VP8);
    down_track_set_writable(b.dt, b.now, false);
    down_track_set_publisher_muted(b.dt, b.now, true);
    assert_true(mono_is_never(down_track_deadline(b.dt)));
    b.now = mono_add_ms(b.now, 5000);
    assert_int_equal(pad(&b), DOWN_TRACK_NOTHING);
    down_track_set_writable(b.dt, b.now, true);
    mono_t first = MONO_NEVER;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pad_next(&b), DOWN_TRACK_SENT);
        first = i == 0 ? b.now : first;
        uint16_t const sn = (uint16_t)(0x7fff + i);
        assert_int_equal(b.h.sn, sn);
        assert_int_equal(b.out.roc, 0);
        assert_int_equal(b.h.ts, 0xfffffff0u + (uint32_t)(mono_diff_us(b.now, first) * 9 / 100));
        assert_int_equal(b.h.ssrc, 0xaaaa);
        assert_int_equal(b.h.pt, 120);
        assert_false(b.h.marker);
        assert_true(has_ext(&b, EXT_MID, bytes_str("17")) && has_ext(&b, EXT_AST, none));
        // All of the rest is padding: zeros and the length.
        assert_int_equal(b.buf[0] & 0x20, 0x20);
        assert_int_equal(b.h.payload_len, 0);
        assert_int_equal(b.h.padding_len, 255);
        assert_int_equal(b.out.len, b.out.header_len + 255);
        assert_int_equal(b.buf[b.out.len - 1], 255);
        for (size_t k = b.out.header_len; k < b.out.len - 1; k++) {
            assert_int_equal(b.buf[k], 0);
        }
    }
    struct down_track_totals totals;
    down_track_get_totals(b.dt, &totals);
    assert_int_equal(totals.sent + totals.holes, 0);
    // Media comes: the next number, later in time by what has passed.
    uint32_t const ts = b.h.ts;
    down_track_set_publisher_muted(b.dt, b.now, false);
    uint16_t const sns[] = {0x7fff, 0x8000, 0x8001, 0x8002};
    b.now = mono_add_ms(b.now, 20);
    down_track_rtcp_nack(b.dt, b.now, sns, 4);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    assert_int_equal(send(&b, CODEC_VP8, 2, 6000, true, NULL, 0, vp8(buf, true, true, 10, 0), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8002);
    assert_int_equal(b.h.ts, ts + 1800);
    assert_int_equal(b.h.padding_len, 0);
    b.now = mono_add_ms(b.now, 200);
    down_track_rtcp_nack(b.dt, b.now, sns, 4);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT); // the media packet alone
    assert_int_equal(b.payload.p[0] << 8 | b.payload.p[1], 0x8002);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    b.now = mono_add_ms(b.now, 10000);
    assert_int_equal(pad(&b), DOWN_TRACK_NOTHING); // for good
    down_track_set_publisher_muted(b.dt, b.now, true);
    assert_true(mono_is_never(down_track_deadline(b.dt)));
    down_track_get_totals(b.dt, &totals);
    assert_int_equal(totals.sent, 1);
    assert_int_equal(totals.holes, 0);
    bench_done(&b);
}

// A picture that is found by marker and timestamp alone: nothing was cut off, so no number is left
// out.
static void down_track_continues_padding_in_any_codec(void **state)
{
    (void)state;
    static const uint8_t sps[] = {0x78, 0,    4,    0x67, 0x42, 0xe0, 0x1f, 0,
                                  6,    0x65, 0x88, 0x80, 1,    2,    3};
    struct bench b;
    padded_bench(&b, CODEC_H264);
    b.now = mono_add_ms(b.now, DOWN_TRACK_PADDING_WAIT_MS);
    assert_int_equal(pad(&b), DOWN_TRACK_SENT);
    uint32_t ts = b.h.ts;
    // In the same instant: later all the same.
    assert_int_equal(send(&b, CODEC_H264, 2, 6000, true, NULL, 0, bytes_of(sps, sizeof(sps)), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8000);
    assert_true((int32_t)(b.h.ts - ts) > 0);
    bench_done(&b);
    padded_bench(&b, CODEC_OPUS);
    assert_int_equal(pad_next(&b), DOWN_TRACK_SENT);
    ts = b.h.ts;
    b.now = mono_add_ms(b.now, 20);
    assert_int_equal(send(&b, CODEC_OPUS, 7, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    assert_int_equal(b.h.sn, 0x8000);
    assert_int_equal(b.h.ts, ts + 960);
    bench_done(&b);
}

static void down_track_pads_in_bounds(void **state)
{
    (void)state;
    struct bench b;
    padded_bench(&b, CODEC_OPUS);
    down_track_set_disabled(b.dt, b.now, true);
    mono_t const begin = b.now;
    unsigned n = 0;
    while (!mono_is_never(down_track_deadline(b.dt))) {
        n += pad_next(&b) == DOWN_TRACK_SENT;
        down_track_set_writable(b.dt, b.now, n % 2 == 0); // paths come and go
        down_track_set_writable(b.dt, b.now, true);
        assert_true(n <= DOWN_TRACK_PADDING_PACKETS);
    }
    assert_int_equal(n, DOWN_TRACK_PADDING_PACKETS);
    bench_done(&b);
    // Without interruption they take as long as livekit's, and end with a report.
    padded_bench(&b, CODEC_OPUS);
    for (n = 0; n < DOWN_TRACK_PADDING_PACKETS; n++) {
        assert_int_equal(pad_next(&b), DOWN_TRACK_SENT);
    }
    assert_in_range(mono_diff_us(b.now, begin), 5 * US_PER_S, 7 * US_PER_S);
    bench_done(&b);
    padded_bench(&b, CODEC_OPUS);
    struct rtcp_report_block r = {.ssrc = 0xaaaa};
    down_track_rtcp_block(b.dt, b.now, &r);
    assert_int_equal(pad_next(&b), DOWN_TRACK_SENT);
    down_track_rtcp_block(b.dt, b.now, &r); // of a receiver that has got nothing
    assert_int_equal(pad_next(&b), DOWN_TRACK_SENT);
    r.highest_sn = 0x7fff;
    down_track_rtcp_block(b.dt, b.now, &r);
    assert_int_equal(pad_next(&b), DOWN_TRACK_NOTHING);
    assert_true(mono_is_never(down_track_deadline(b.dt)));
    bench_done(&b);
    bench_init(&b, CODEC_OPUS, 0); // nobody asked for it
    assert_true(mono_is_never(down_track_deadline(b.dt)));
    b.now = mono_add_ms(b.now, 1000);
    assert_int_equal(pad(&b), DOWN_TRACK_NOTHING);
    bench_done(&b);
}

// The other codec comes from another receiver, whose numbers and times have nothing to do with those
// before.
static void down_track_goes_on_in_another_codec(void **state)
{
    (void)state;
    struct bench b;
    uint8_t key[64] = {0x65, 1, 2, 3}; // an IDR slice
    uint8_t buf[64];
    uint16_t const lost = 0x7fff;
    bench_init(&b, CODEC_H264, 0);
    struct receiver *const old = b.r;
    assert_int_equal(send(&b, CODEC_H264, 500, 777, true, NULL, 0, bytes_of(key, sizeof(key)), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 120);
    uint32_t const ts = b.h.ts;

    struct receiver_conf const conf = {
        .codec = CODEC_VP8, .encodings = 1, .nack = true, .pli = true, .clock_rate = 90000};
    assert_int_equal(receiver_new(&conf, &b.r), 0);
    b.now = mono_add_ms(b.now, 1000);
    down_track_set_codec(b.dt, b.now, CODEC_VP8, 98, 99);
    uint8_t encoding = 7;
    assert_true(down_track_poll_key_frame(b.dt, b.now, b.r, &encoding));
    assert_int_equal(encoding, 0);
    // Nothing of before is repeated, and it begins with a key frame.
    down_track_rtcp_nack(b.dt, b.now, &lost, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    assert_int_equal(send(&b, CODEC_VP8, 60000, 5, true, NULL, 0, vp8(buf, false, true, 3, 0), 0),
                     DOWN_TRACK_WAIT_KEY);
    assert_int_equal(send(&b, CODEC_VP8, 60001, 5, true, NULL, 0, vp8(buf, true, true, 4, 0), 0),
                     DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 98);
    assert_int_equal(b.h.ssrc, 0xaaaa);
    assert_int_equal(b.out.sn, 0x8000);
    assert_int_equal(b.h.ts - ts, 90000); // a second has passed
    assert_int_equal(
        send(&b, CODEC_VP8, 60002, 3005, true, NULL, 0, vp8(buf, false, true, 5, 0), 0),
        DOWN_TRACK_SENT);
    assert_int_equal(b.h.ts - ts, 93000);
    uint16_t const sn = b.out.sn;
    b.now = mono_add_ms(b.now, 100);
    down_track_rtcp_nack(b.dt, b.now, &sn, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_SENT);
    assert_int_equal(b.h.pt, 99);
    // A codec without RTX: the history is given up for good.
    down_track_set_codec(b.dt, b.now, CODEC_VP8, 98, 0);
    down_track_rtcp_nack(b.dt, b.now, &sn, 1);
    assert_int_equal(rtx(&b), DOWN_TRACK_NOTHING);
    assert_int_equal(send(&b, CODEC_VP8, 60003, 9005, true, NULL, 0, vp8(buf, true, true, 6, 0), 0),
                     DOWN_TRACK_SENT);
    receiver_free(old);
    bench_done(&b);
}

static void down_track_reports_in_the_publishers_time(void **state)
{
    (void)state;
    struct bench b;
    struct rtcp_out out;
    uint8_t buf[64];
    bench_init(&b, CODEC_VP8, 0);
    rtcp_out_init(&out, 1);
    assert_int_equal(down_track_write_sr(b.dt, b.now, b.r, true, &out), -EAGAIN); // nothing sent
    assert_int_equal(send(&b, CODEC_VP8, 2, 6000, true, NULL, 0, vp8(buf, true, true, 10, 0), 0),
                     DOWN_TRACK_SENT);
    uint32_t const ts = b.h.ts;
    b.now = mono_add_ms(b.now, 60);
    assert_int_equal(down_track_write_sr(b.dt, b.now, b.r, false, &out),
                     -EAGAIN); // no report of the publisher
    struct rtcp_sr const in = {
        .ssrc = 5, .ntp = {UINT64_C(0x1234567800000000)}, .rtp_ts = 6000 + 9000};
    receiver_rtcp_sr(b.r, b.now, &in);
    b.now = mono_add_ms(b.now, 500);
    assert_true(mono_reached(down_track_deadline(b.dt), b.now));
    assert_int_equal(down_track_write_sr(b.dt, b.now, b.r, false, &out), 0);
    assert_int_equal(down_track_write_sr(b.dt, b.now, b.r, false, &out), -EAGAIN);
    uint8_t raw[RTCP_OUT_CAP];
    size_t len = 0;
    struct rtcp_iter it;
    struct rtcp_packet p;
    struct rtcp_sr sr;
    struct bytes cname;
    assert_int_equal(rtcp_out_finish(&out, (struct bytes_mut){raw, sizeof(raw)}, &len), 0);
    rtcp_iter_init(&it, bytes_of(raw, len));
    assert_true(rtcp_next(&it, &p));
    assert_int_equal(rtcp_sr_parse(&p, &sr), 0);
    assert_int_equal(sr.ssrc, 0xaaaa);
    assert_int_equal(sr.ntp.v, UINT64_C(0x1234567880000000)); // half a second later
    assert_int_equal(sr.rtp_ts, ts + 9000 + 45000);
    assert_int_equal(sr.packets, 1);
    assert_int_equal(sr.octets, b.payload.n);
    assert_true(rtcp_next(&it, &p));
    assert_int_equal(rtcp_sdes_cname(&p, 0xaaaa, &cname), 0);
    assert_true(bytes_eq_str(cname, "somebody"));
    // The subscriber's report echoes it 30 ms later.
    struct rtcp_report_block const rb = {
        .ssrc = 0xaaaa, .lsr = ntp_mid32(sr.ntp), .dlsr = 655, .fraction_lost = 12};
    b.now = mono_add_ms(b.now, 40);
    down_track_rtcp_block(b.dt, b.now, &rb);
    struct down_track_stats st;
    down_track_get_stats(b.dt, &st);
    assert_in_range(st.rtt_us, 29000, 31000);
    assert_int_equal(st.fraction_lost, 12);
    bench_done(&b);
}

static void down_track_carries_the_dependency_descriptor_of_layered_codecs_only(void **state)
{
    (void)state;
    struct bench b;
    static const uint8_t dd[] = {0xc0, 0, 1, 0x80, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    static const uint8_t key[] = {0x08 | 0x10, 0x0a, 1, 2, 3, 4};
    uint8_t buf[64];
    struct rtp_ext_elem const e = {14, {dd, sizeof(dd)}};
    bench_init(&b, CODEC_AV1, 0);
    assert_int_equal(send(&b, CODEC_AV1, 2, 6000, true, &e, 1, bytes_of(key, sizeof(key)), 0),
                     DOWN_TRACK_SENT);
    assert_true(has_ext(&b, EXT_DD, bytes_of(dd, sizeof(dd)))); // over 16 bytes: the two-byte form
    assert_int_equal(b.h.ext_profile, RTP_EXT_PROFILE_TWO_BYTE);
    bench_done(&b);
    bench_init(&b, CODEC_VP8, 0);
    assert_int_equal(send(&b, CODEC_VP8, 2, 6000, true, &e, 1, vp8(buf, true, true, 10, 0), 0),
                     DOWN_TRACK_SENT);
    assert_false(has_ext(&b, EXT_DD, none));
    bench_done(&b);
}

static void down_track_needs_room(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, CODEC_OPUS, 0);
    assert_int_equal(send(&b, CODEC_OPUS, 1, 960, false, NULL, 0, OPUS, 0), DOWN_TRACK_SENT);
    struct packet p = {.data = b.buf, .ext_sn = 99999};
    for (size_t cap = 0; cap < DOWN_TRACK_HEADER_MAX; cap++) {
        struct down_track_out out = {.data = b.buf, .cap = cap};
        assert_int_equal(down_track_write(b.dt, b.now, b.r, &p, &b.twcc, &out),
                         DOWN_TRACK_NO_SPACE);
    }
    struct down_track *dt = NULL;
    struct down_track_conf conf = {.codec = CODEC_RTX, .clock_rate = 90000};
    assert_int_equal(down_track_new(&conf, &dt), -EINVAL);
    conf.codec = CODEC_VP8;
    conf.clock_rate = 0;
    assert_int_equal(down_track_new(&conf, &dt), -EINVAL);
    down_track_free(NULL);
    bench_done(&b);
}

static void down_track_chooses_layers_by_size(void **state)
{
    (void)state;
    static const uint32_t h3[] = {180, 360, 720}, h2[] = {360, 360};
    assert_int_equal(down_track_layer_for_size(h3, 3, 1280, 720, 320, 180), 0);
    assert_int_equal(down_track_layer_for_size(h3, 3, 1280, 720, 355, 200),
                     0); // within the tolerance
    assert_int_equal(down_track_layer_for_size(h3, 3, 1280, 720, 358, 201), 1);
    assert_int_equal(down_track_layer_for_size(h3, 3, 1280, 720, 720, 405), 2);
    assert_int_equal(down_track_layer_for_size(h3, 3, 1280, 720, 7200, 4050), 2);
    assert_int_equal(down_track_layer_for_size(h2, 2, 640, 360, 10, 10), 1); // equal neighbours
    assert_int_equal(down_track_layer_for_size(NULL, 0, 1280, 720, 500, 200), 0);
    assert_int_equal(down_track_layer_for_size(NULL, 0, 720, 1280, 500, 200),
                     2); // portrait: width counts
}

// ---- recorded simulcast ---------------------------------------------------------------------

struct continuity {
    bool started;
    uint16_t sn;
    uint32_t ts;
    bool has_picture;
    uint16_t picture;
    uint8_t tl0;
    bool marker;
    unsigned packets, switches, layer_packets[3];
};

// A stream without loss: numbers without a hole, time that never stands or goes back between
// frames, counters in step.
static void check_next(struct continuity *c, const struct bench *b, uint8_t layer)
{
    struct vp8_info v;
    assert_int_equal(vp8_parse(b->payload, &v), 0);
    if (c->started) {
        assert_int_equal(b->h.sn, (uint16_t)(c->sn + 1));
        assert_int_equal(v.frame_start, c->marker);
        if (v.frame_start) {
            assert_in_range(b->h.ts - c->ts, 1, 90000 / 2);
        } else {
            assert_int_equal(b->h.ts, c->ts);
        }
        if (v.desc.has_picture_id && v.frame_start) {
            assert_int_equal(v.desc.picture_id, (c->picture + 1) & 0x7fff);
        }
        if (v.desc.has_tl0 && v.frame_start) {
            assert_int_equal(v.desc.tl0_pic_idx, (uint8_t)(c->tl0 + (v.desc.tid == 0)));
        }
    } else {
        assert_true(v.key_frame);
    }
    *c = (struct continuity){true,
                             b->h.sn,
                             b->h.ts,
                             true,
                             v.desc.picture_id,
                             v.desc.tl0_pic_idx,
                             b->h.marker,
                             c->packets,
                             c->switches,
                             {c->layer_packets[0], c->layer_packets[1], c->layer_packets[2]}};
    c->packets++;
    c->layer_packets[layer]++;
}

static void replay_with_switches(const struct simulcast_recording *rec, struct continuity *c,
                                 struct down_track_stats *st)
{
    // Wishes at these times; the recorded publishers send key frames on all layers at 3.0 to 3.7 s
    // and at 9.0 s.
    static const struct {
        int64_t ms;
        int spatial, temporal;
    } wishes[] = {{0, 0, 0}, {2500, 1, 1}, {5000, 2, 3}, {8700, 0, 1}};
    struct bench b = {.now = {0}};
    struct pcap_file f;
    struct pcap_packet p;
    int64_t start = 0;
    size_t wish = 0;
    *c = (struct continuity){0};
    assert_int_equal(packet_pool_init(&b.pool, 4096, 4096), 0);
    b.r = feed_simulcast_receiver(rec);
    b.dt = make_track(CODEC_VP8, 0);
    down_track_set_writable(b.dt, b.now, true);
    pcap_file_open(&f, rec->file);
    while (pcap_file_next(&f, &p)) {
        start = start == 0 ? p.at.us : start;
        b.now = p.at;
        if (wish < ARRAY_LEN(wishes) && p.at.us - start >= wishes[wish].ms * US_PER_MS) {
            down_track_set_max_layers(b.dt, wishes[wish].spatial, wishes[wish].temporal);
            wish++;
        }
        struct rtcp_out out;
        rtcp_out_init(&out, 1);
        assert_int_equal(receiver_timeout(b.r, b.now, &out), 0);
        if (p.rtcp) {
            feed_rtcp(b.r, p.at, p.data);
            continue;
        }
        struct rtp_header h;
        bool is_rtx = false;
        enum receiver_verdict v;
        assert_int_equal(rtp_parse(p.data, &h), 0);
        int const layer = simulcast_layer(rec, h.ssrc, &is_rtx);
        struct packet *const packet =
            feed_packet(&b.pool, b.r, p.at, (uint8_t)layer, is_rtx, CODEC_VP8, p.data, &v);
        if (v == RECEIVER_FORWARD && write_to(&b, packet) == DOWN_TRACK_SENT) {
            check_next(c, &b, (uint8_t)layer);
        }
        packet_unref(packet);
    }
    pcap_file_close(&f);
    down_track_get_stats(b.dt, st);
    bench_done(&b);
}

static void down_track_joins_recorded_layers_into_one_stream(void **state)
{
    (void)state;
    static const struct simulcast_recording *const recs[] = {&simulcast_cr_nodd, &simulcast_ff,
                                                             &simulcast_cr_dd};
    for (size_t i = 0; i < ARRAY_LEN(recs); i++) {
        struct continuity c;
        struct down_track_stats st;
        replay_with_switches(recs[i], &c, &st);
        print_message("%s: %u packets (%u/%u/%u), %u switches, %llu left out by layer\n",
                      recs[i]->file, c.packets, c.layer_packets[0], c.layer_packets[1],
                      c.layer_packets[2], st.layer_switches,
                      (unsigned long long)st.results[DOWN_TRACK_TEMPORAL]);
        assert_int_equal(c.packets, st.results[DOWN_TRACK_SENT]);
        assert_true(st.layer_switches >= 2);
        assert_true(c.packets > 150);
        assert_true(c.layer_packets[0] > 10 && c.layer_packets[1] > 10);
        // Without temporal ids (stripped by the dependency descriptor) nothing can be left out.
        assert_int_equal(st.results[DOWN_TRACK_TEMPORAL] > 0, recs[i] != &simulcast_cr_dd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(down_track_writes_header_and_extensions),
        cmocka_unit_test(down_track_rolls_over),
        cmocka_unit_test(down_track_stops_mid_after_a_report),
        cmocka_unit_test(down_track_tells_the_playout_delay_until_it_arrived),
        cmocka_unit_test(down_track_leaves_padding_out),
        cmocka_unit_test(down_track_passes_red_or_its_primary),
        cmocka_unit_test(down_track_cuts_trailers_of_those_who_do_not_know_them),
        cmocka_unit_test(down_track_says_why_it_sends_nothing),
        cmocka_unit_test(down_track_resumes_audio_on_time),
        cmocka_unit_test(down_track_answers_nacks_with_what_it_sent),
        cmocka_unit_test(down_track_ignores_nacks_between_pli_and_key_frame),
        cmocka_unit_test(down_track_pads_until_media_comes),
        cmocka_unit_test(down_track_continues_padding_in_any_codec),
        cmocka_unit_test(down_track_pads_in_bounds),
        cmocka_unit_test(down_track_goes_on_in_another_codec),
        cmocka_unit_test(down_track_reports_in_the_publishers_time),
        cmocka_unit_test(down_track_carries_the_dependency_descriptor_of_layered_codecs_only),
        cmocka_unit_test(down_track_needs_room),
        cmocka_unit_test(down_track_chooses_layers_by_size),
        cmocka_unit_test(down_track_joins_recorded_layers_into_one_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

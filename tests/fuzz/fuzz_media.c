// SPDX-License-Identifier: Apache-2.0
// LINK: media
// Receiver and down tracks under any sequence of packets, feedback, switches and time. The first
// byte chooses the codec; then each operation is one byte and its arguments. What leaves must be
// well-formed RTP with unique sequence numbers.
#include <stdlib.h>

#include "sfu/media/down_track.h"

#define TRACKS 2
#define BATCH 4

struct machine {
    struct packet_pool pool;
    struct receiver *r;
    struct down_track *dt[TRACKS];
    uint16_t twcc;
    mono_t now;
    enum codec codec;
    uint32_t sent[TRACKS][65536]; // by number: rollover counter + 1, 0 none
};

static void check(const struct down_track_out *out)
{
    struct rtp_header h;
    if (rtp_parse(bytes_of(out->data, out->len), &h) < 0 || h.header_len != out->header_len ||
        h.sn != out->sn) {
        abort();
    }
}

// One index of SRTP is never used for two packets (RFC 3711 section 9.1).
static void check_unique(struct machine *m, int track, const struct down_track_out *out)
{
    if (m->sent[track][out->sn] == out->roc + 1) {
        abort();
    }
    m->sent[track][out->sn] = out->roc + 1;
}

static void send_all(struct machine *m, const struct packet *p)
{
    uint8_t buf[1500];
    for (int i = 0; i < TRACKS; i++) {
        struct down_track_out out = {.data = buf, .cap = sizeof(buf)};
        if (down_track_write(m->dt[i], m->now, m->r, p, &m->twcc, &out) == DOWN_TRACK_SENT) {
            check(&out);
            check_unique(m, i, &out);
        }
    }
}

// What was lost before p and is repeated in it.
static void fill_holes(struct machine *m, const struct packet *p)
{
    for (uint8_t i = 0; i < p->info.red_holes; i++) {
        struct packet *const q = packet_pool_get(&m->pool);
        if (q == NULL) {
            return;
        }
        if (!receiver_fill_hole(m->r, p, i, q)) {
            abort(); // it was said to be there
        }
        send_all(m, q);
        packet_unref(q);
    }
}

static void packet(struct machine *m, struct rd *in)
{
    uint8_t const flags = rd_u8(in);
    struct rtp_header const h = {.pt = 96,
                                 .marker = flags & 1,
                                 .sn = rd_be16(in),
                                 .ts = rd_be16(in) * 100u,
                                 .ssrc = 1u + (flags >> 6),
                                 .padding_len = flags & 2 ? 9 : 0};
    struct bytes const payload = rd_take(in, MIN(rd_left(in), flags & 4 ? 24u : 8u));
    struct rtp_ext_elem const e = {(uint8_t)(1u + (flags >> 3) % 4u),
                                   payload.n > 0 ? payload : bytes_of("x", 1)};
    struct packet *const p = packet_pool_get(&m->pool);
    if (p == NULL) {
        return; // the histories hold them all
    }
    struct wr w = wr_init(p->data, PACKET_DATA_CAP);
    rtp_write_with_ext(&w, &h, &e, flags & 8 ? 1 : 0, NULL);
    wr_bytes(&w, flags & 16 ? bytes_of(NULL, 0) : payload);
    rtp_write_padding(&w, h.padding_len);
    p->len = (uint16_t)wr_len(&w);
    p->arrival = m->now;
    struct rtp_header parsed;
    if (rtp_parse(packet_bytes(p), &parsed) == 0) {
        bool const red = m->codec == CODEC_OPUS && (flags & 32);
        struct rtp_demux_route const route = {.encoding = flags >> 6,
                                              .rtx = m->codec != CODEC_OPUS && (flags & 32),
                                              .codec = red ? CODEC_RED : (uint8_t)m->codec};
        if (receiver_input(m->r, m->now, &route, p, &parsed) == RECEIVER_FORWARD) {
            fill_holes(m, p);
            send_all(m, p);
        }
    }
    packet_unref(p);
}

static void feedback(struct machine *m, struct rd *in)
{
    uint8_t buf[1500];
    uint8_t const what = rd_u8(in);
    struct down_track *const dt = m->dt[what % TRACKS];
    uint16_t const sn = rd_be16(in);
    down_track_rtcp_nack(dt, m->now, &sn, 1);
    if (what & 2) {
        down_track_rtcp_pli(dt, m->now);
    }
    struct down_track_out out = {.data = buf, .cap = sizeof(buf)};
    while (down_track_write_rtx(dt, m->now, m->r, &m->twcc, &out) == DOWN_TRACK_SENT) {
        check(&out);
    }
    struct rtcp_report_block const b = {.ssrc = 10u + what % TRACKS, .lsr = sn, .highest_sn = sn};
    down_track_rtcp_block(dt, m->now, &b);
}

static void change(struct machine *m, struct rd *in)
{
    uint8_t const what = rd_u8(in);
    uint8_t const arg = rd_u8(in);
    struct down_track *const dt = m->dt[what % TRACKS];
    switch ((what >> 1) % 8) {
    case 0:
        down_track_set_max_layers(dt, arg % 5 - 1, arg / 5 % 5 - 1);
        break;
    case 1:
        down_track_set_allowed_layers(dt, arg % 5 - 1, arg / 5 % 5 - 1, arg & 128);
        break;
    case 2:
        down_track_set_disabled(dt, m->now, arg & 1);
        break;
    case 3:
        down_track_set_publisher_muted(dt, m->now, arg & 1);
        break;
    case 4:
        down_track_set_paused(dt, m->now, arg & 1);
        break;
    case 5:
        receiver_set_needed(m->r, arg);
        break;
    case 6:
        receiver_rtcp_bye(m->r, m->now, arg);
        break;
    default:
        receiver_bind(m->r, arg % 4, arg & 4, 1u + arg / 8u);
        break;
    }
}

static void passing(struct machine *m, struct rd *in)
{
    struct rtcp_out out;
    uint8_t encoding = 0, cursor = 0;
    m->now = mono_add_us(m->now, (int64_t)rd_be16(in) * 100);
    struct rtcp_sr const sr = {.ssrc = 1 + rd_u8(in) % 3u,
                               .ntp = {rd_be32(in) * UINT64_C(77777777)},
                               .rtp_ts = rd_be32(in)};
    receiver_rtcp_sr(m->r, m->now, &sr);
    rtcp_out_init(&out, 1);
    if (receiver_timeout(m->r, m->now, &out) == 0 &&
        receiver_report(m->r, m->now, &out, &cursor) == 0) {
        for (int i = 0; i < TRACKS; i++) {
            if (down_track_poll_key_frame(m->dt[i], m->now, m->r, &encoding)) {
                receiver_request_key_frame(m->r, m->now, encoding);
            }
            (void)!down_track_write_sr(m->dt[i], m->now, m->r, sr.rtp_ts & 1, &out);
        }
    }
    uint8_t buf[RTCP_OUT_CAP];
    size_t len = 0;
    (void)!rtcp_out_finish(&out, (struct bytes_mut){buf, sizeof(buf)}, &len);
}

static void machine_init(struct machine *m, uint8_t kind)
{
    static const enum codec codecs[] = {CODEC_VP8, CODEC_OPUS, CODEC_VP9,
                                        CODEC_AV1, CODEC_H264, CODEC_H265};
    *m = (struct machine){.codec = codecs[kind % ARRAY_LEN(codecs)], .now = {US_PER_S}};
    struct receiver_conf rc = {.codec = m->codec,
                               .encodings = m->codec == CODEC_OPUS ? 1 : 3,
                               .nack = true,
                               .pli = true,
                               .trailers = (kind & 64) != 0,
                               .clock_rate = codec_clock(m->codec),
                               .vla_encoding = {0, 1, 2}};
    rc.ext.id[RTP_EXT_AUDIO_LEVEL] = 1;
    rc.ext.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] = 2;
    rc.ext.id[RTP_EXT_VIDEO_LAYERS_ALLOCATION] = 3;
    rc.ext.id[RTP_EXT_ABS_CAPTURE_TIME] = 4;
    if (packet_pool_init(&m->pool, 512, 512) < 0 || receiver_new(&rc, &m->r) < 0) {
        abort();
    }
    for (unsigned i = 0; i < TRACKS; i++) {
        struct down_track_conf dc = {.codec = m->codec,
                                     .clock_rate = rc.clock_rate,
                                     .pt = 100,
                                     .rtx_pt = 101,
                                     .red_pt = i == 0 ? 63 : 0,
                                     .cut_trailers = i == 0,
                                     .ssrc = 10 + i,
                                     .rtx_ssrc = 20 + i,
                                     .mid = "m",
                                     .cname = "c"};
        for (uint8_t k = 1; k < RTP_EXT_COUNT; k++) {
            dc.ext.id[k] = (uint8_t)(k + i * 4);
        }
        if (down_track_new(&dc, &m->dt[i]) < 0) {
            abort();
        }
        down_track_set_writable(m->dt[i], m->now, true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd in = rd_init(bytes_of(data, n));
    static struct machine m;
    machine_init(&m, rd_u8(&in));
    while (rd_left(&in) > 0) {
        switch (rd_u8(&in) % 8) {
        case 0:
            feedback(&m, &in);
            break;
        case 1:
            change(&m, &in);
            break;
        case 2:
            passing(&m, &in);
            break;
        default:
            packet(&m, &in);
            break;
        }
    }
    for (int i = 0; i < TRACKS; i++) {
        down_track_free(m.dt[i]);
    }
    receiver_free(m.r);
    packet_pool_done(&m.pool); // asserts that every packet came back
    return 0;
}

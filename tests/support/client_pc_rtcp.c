// SPDX-License-Identifier: Apache-2.0
// Reports and feedback of a test client's peer connection, both ways.
#include "common/sys/clock.h"
#include "sfu/media/rtcp_out.h"
#include "sfu/wire/rtcp_fb.h"
#include "tests/support/client_pc_internal.h"

// libwebrtc sends video reports each second.
#define REPORT_US INT64_C(1000000)
// Missing numbers are gathered for this long, as the server does (media-plane 4.5).
#define FEEDBACK_US INT64_C(10000)

// ---- in -----------------------------------------------------------------------------------------

static struct client_sender *find_sender(struct client_pc *p, uint32_t ssrc,
                                         struct client_encoding **ret)
{
    for (size_t i = 0; i < p->sender_count; i++) {
        *ret = client_sender_find(p->senders[i], ssrc);
        if (*ret != NULL) {
            return p->senders[i];
        }
    }
    return NULL;
}

static void take_blocks(struct client_pc *p, const struct rtcp_report_block *block, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct client_encoding *e = NULL;
        if (find_sender(p, block[i].ssrc, &e) != NULL) {
            bool const rtx = block[i].ssrc == e->rtx_ssrc;
            e->reported = e->reported || !rtx;
            e->rtx_reported = e->rtx_reported || rtx;
            e->fraction_lost = rtx ? e->fraction_lost : block[i].fraction_lost;
        }
    }
}

static void take_nack(struct client_pc *p, const struct rtcp_fb *fb)
{
    struct client_encoding *e = NULL;
    struct client_sender *const s = find_sender(p, fb->media_ssrc, &e);
    struct rtcp_nack_iter it;
    uint16_t sn = 0;
    if (s == NULL) {
        return;
    }
    rtcp_nack_iter_init(&it, fb);
    while (rtcp_nack_next(&it, &sn)) {
        client_sender_repeat(s, e, sn);
    }
}

static void want_key(struct client_pc *p, uint32_t ssrc)
{
    struct client_encoding *e = NULL;
    if (find_sender(p, ssrc, &e) != NULL) {
        e->want_key = true;
        e->plis++;
    }
}

static void take_feedback(struct client_pc *p, const struct rtcp_packet *packet)
{
    struct rtcp_fb fb;
    struct rtcp_fir fir;
    struct twcc_feedback twcc;
    if (rtcp_fb_parse(packet, &fb) < 0) {
        p->malformed++;
    } else if (fb.type == RTCP_RTPFB && fb.fmt == RTCP_RTPFB_NACK) {
        take_nack(p, &fb);
    } else if (fb.type == RTCP_RTPFB && fb.fmt == RTCP_RTPFB_TWCC) {
        if (twcc_parse(&fb, &twcc) < 0) {
            p->malformed++;
        } else {
            p->twcc_in++;
        }
    } else if (rtcp_is_pli(&fb)) {
        want_key(p, fb.media_ssrc);
    } else if (rtcp_fir_parse(&fb, &fir) == 0) {
        for (uint8_t i = 0; i < fir.count; i++) {
            want_key(p, fir.entry[i].ssrc);
        }
    }
}

static void take_sr(struct client_pc *p, const struct rtcp_packet *packet)
{
    struct rtcp_sr sr;
    struct client_stream *s = NULL;
    if (rtcp_sr_parse(packet, &sr) < 0) {
        p->malformed++;
        return;
    }
    take_blocks(p, sr.block, sr.block_count);
    HASH_FIND(hh, p->streams, &sr.ssrc, sizeof(sr.ssrc), s);
    if (s != NULL) {
        (void)rtp_stats_rx_sender_report(&s->rx, p->net->now, &sr);
    }
}

void client_pc_rtcp_input_(struct client_pc *p, struct bytes compound)
{
    struct rtcp_iter it;
    struct rtcp_packet packet;
    struct rtcp_rr rr;
    p->rtcp_in++;
    rtcp_iter_init(&it, compound);
    while (rtcp_next(&it, &packet)) {
        if (packet.type == RTCP_SR) {
            take_sr(p, &packet);
        } else if (packet.type == RTCP_RR && rtcp_rr_parse(&packet, &rr) == 0) {
            take_blocks(p, rr.block, rr.block_count);
        } else if (packet.type == RTCP_RTPFB || packet.type == RTCP_PSFB) {
            take_feedback(p, &packet);
        }
    }
    p->malformed += it.bad;
}

// ---- out ----------------------------------------------------------------------------------------

static void send_compound(struct client_pc *p, struct rtcp_out *o)
{
    uint8_t buf[RTCP_OUT_CAP];
    size_t len = 0;
    if (rtcp_out_finish(o, (struct bytes_mut){buf, sizeof(buf)}, &len) == 0 &&
        peer_connection_send_rtcp(p->pc, bytes_of(buf, len), &p->net->out) == 0) {
        p->rtcp_out++;
    }
    rtcp_out_init(o, p->rtcp_ssrc);
}

static void add_sender_reports(struct client_pc *p, struct client_sender *s, struct rtcp_out *o)
{
    struct clock_sample const t = clock_read();
    for (uint8_t i = 0; i < s->conf.layers; i++) {
        struct client_encoding *const e = &s->layer[i];
        if (e->packets == 0) {
            continue;
        }
        struct rtcp_sr const sr = {
            .ssrc = e->ssrc,
            .ntp = t.ntp,
            .rtp_ts = client_sender_rtp_ts(s, e, t.mono),
            .packets = (uint32_t)e->packets,
            .octets = (uint32_t)e->payload_bytes,
        };
        if (rtcp_out_add_sr(o, &sr, bytes_str(s->cid)) == -ENOBUFS) {
            send_compound(p, o);
            p->rtcp_lost += rtcp_out_add_sr(o, &sr, bytes_str(s->cid)) < 0;
        }
    }
}

static void add_block(struct client_pc *p, struct client_stream *s, struct rtcp_out *o)
{
    struct rtcp_report_block b = {.ssrc = s->ssrc};
    if (!rtp_stats_rx_report(&s->rx, p->net->now, &b)) {
        return;
    }
    b.ssrc = s->ssrc;
    if (rtcp_out_add_block(o, &b) == -ENOBUFS) {
        send_compound(p, o);
        p->rtcp_lost += rtcp_out_add_block(o, &b) < 0;
    }
}

void client_pc_send_reports_(void *user)
{
    struct client_pc *const p = user;
    struct rtcp_out o;
    client_timer_set(&p->report, p->net, mono_add_us(p->net->now, REPORT_US));
    if (client_pc_path(p) == NULL) {
        return;
    }
    client_net_use(p->net, &p->socket);
    rtcp_out_init(&o, p->rtcp_ssrc);
    for (size_t i = 0; i < p->sender_count; i++) {
        add_sender_reports(p, p->senders[i], &o);
    }
    for (struct client_stream *s = p->streams; s != NULL; s = s->hh.next) {
        if (s->live) {
            add_block(p, s, &o);
        }
    }
    if (!rtcp_out_is_empty(&o)) {
        send_compound(p, &o);
    }
    client_net_flush(p->net);
}

static mono_t stream_deadline(const struct client_pc *p)
{
    mono_t at = MONO_NEVER;
    for (const struct client_stream *s = p->streams; s != NULL; s = s->hh.next) {
        if (s->live) {
            at = mono_min(at, client_stream_deadline(s));
        }
    }
    return mono_is_never(at) ? at : mono_max(at, p->feedback_at);
}

void client_pc_schedule_feedback_(struct client_pc *p)
{
    // Only the stream of the packet that has just come can have become sooner.
    mono_t at = timer_is_set(&p->feedback.t) ? p->feedback.t.at : MONO_NEVER;
    if (p->last != NULL) {
        mono_t const stream = client_stream_deadline(p->last);
        at = mono_is_never(stream) ? at : mono_min(at, mono_max(stream, p->feedback_at));
    }
    if (p->twcc != NULL) {
        at = mono_min(at, twcc_recorder_deadline(p->twcc));
    }
    if (!timer_is_set(&p->feedback.t) || mono_before(at, p->feedback.t.at)) {
        client_timer_set(&p->feedback, p->net, at);
    }
}

static void add_stream_feedback(struct client_pc *p, struct client_stream *s, struct rtcp_out *o)
{
    uint16_t sn[NACK_QUEUE_MAX];
    bool pli = false;
    size_t const n = client_stream_feedback(s, p->net->now, sn, ARRAY_LEN(sn), &pli);
    // 200 numbers and a PLI fit an empty compound.
    if (n > 0 && rtcp_out_add_nack(o, s->ssrc, sn, n) == -ENOBUFS) {
        send_compound(p, o);
        p->rtcp_lost += rtcp_out_add_nack(o, s->ssrc, sn, n) < 0;
    }
    if (pli && rtcp_out_add_pli(o, s->ssrc) == -ENOBUFS) {
        send_compound(p, o);
        p->rtcp_lost += rtcp_out_add_pli(o, s->ssrc) < 0;
    }
}

static void add_twcc(struct client_pc *p, struct rtcp_out *o)
{
    uint8_t buf[TWCC_RECORDER_PACKET_MAX];
    uint32_t const media = p->last != NULL ? p->last->ssrc : 0;
    for (;;) {
        struct wr w = wr_init(buf, sizeof(buf));
        if (!twcc_recorder_write(p->twcc, p->net->now, p->rtcp_ssrc, media, &w)) {
            return;
        }
        if (rtcp_out_add_raw(o, wr_bytes_view(&w)) == -ENOBUFS) {
            send_compound(p, o);
            p->rtcp_lost += rtcp_out_add_raw(o, wr_bytes_view(&w)) < 0;
        }
        p->twcc_out++;
    }
}

void client_pc_send_feedback_(void *user)
{
    struct client_pc *const p = user;
    struct rtcp_out o;
    if (client_pc_path(p) == NULL) {
        return;
    }
    client_net_use(p->net, &p->socket);
    rtcp_out_init(&o, p->rtcp_ssrc);
    if (mono_reached(p->feedback_at, p->net->now)) {
        for (struct client_stream *s = p->streams; s != NULL; s = s->hh.next) {
            if (s->live) {
                add_stream_feedback(p, s, &o);
            }
        }
        p->feedback_at = mono_add_us(p->net->now, FEEDBACK_US);
    }
    if (p->twcc != NULL) {
        add_twcc(p, &o);
    }
    if (!rtcp_out_is_empty(&o)) {
        send_compound(p, &o);
    }
    client_net_flush(p->net);
    mono_t const twcc = p->twcc != NULL ? twcc_recorder_deadline(p->twcc) : MONO_NEVER;
    client_timer_set(&p->feedback, p->net, mono_min(stream_deadline(p), twcc));
}

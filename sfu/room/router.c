// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/router.h"

#include "sfu/media/down_track.h"
#include "sfu/room/participant.h"
#include "sfu/room/published_track.h"
#include "sfu/room/subscription.h"
#include "sfu/transport/peer_connection.h"

// ---- in -------------------------------------------------------------------------------------

static struct track_media *media_of(const struct pc_transport *t,
                                    const struct rtp_demux_route *route)
{
    const struct pc_ingress *const in = t->ingress;
    return route->section < in->section_count ? in->sections[route->section].media : NULL;
}

static void mark_dirty(struct room_env *env, struct track_media *media)
{
    if (!media->dirty) {
        media->dirty = true;
        media->dirty_next = env->dirty;
        env->dirty = media;
    }
}

static void fan_out(struct room_env *env, struct track_media *media);

static void add_to_batch(struct room_env *env, struct track_media *media, struct packet *p)
{
    if (media->batch_count == TRACK_MEDIA_BATCH) {
        fan_out(env, media);
    }
    media->batch[media->batch_count++] = packet_ref(p);
    mark_dirty(env, media);
}

// What was lost before p, and is repeated in it.
static void add_holes(struct room_env *env, struct track_media *media, const struct packet *p)
{
    for (uint8_t i = 0; i < p->info.red_holes; i++) {
        struct packet *const q = packet_pool_get(env->pool);
        if (q == NULL) {
            return;
        }
        if (receiver_fill_hole(media->receiver, p, i, q)) {
            add_to_batch(env, media, q);
        }
        packet_unref(q);
    }
}

static void deliver(struct pc_transport *t, struct track_media *media,
                    const struct rtp_demux_route *route, struct packet *p,
                    const struct rtp_header *h)
{
    struct room_env *const env = t->env;
    enum receiver_verdict const verdict = receiver_input(media->receiver, env->now, route, p, h);
    pc_transport_media_by(t, mono_max(receiver_deadline(media->receiver), env->now));
    if (verdict != RECEIVER_FORWARD) {
        return;
    }
    if (p->info.audio_level != PACKET_NO_AUDIO_LEVEL && !media->video) {
        audio_level_packet(&media->track->level, p->arrival, p->ts, p->info.audio_level);
    }
    if (media->output_count == 0) {
        return;
    }
    if (UNLIKELY(p->info.red_holes > 0)) {
        add_holes(env, media, p);
    }
    add_to_batch(env, media, p);
}

static void route_packet(struct pc_transport *t, struct packet *p, const struct rtp_header *h)
{
    struct room_env *const env = t->env;
    struct rtp_demux_route route;
    enum rtp_demux_result const result = rtp_demux_packet(&t->ingress->demux, env->now, h, &route);
    switch (result) {
    case RTP_DEMUX_BOUND:
    case RTP_DEMUX_KNOWN:
        break;
    case RTP_DEMUX_UNKNOWN:
        env->drops[ROOM_DROP_UNBOUND_SSRC]++;
        rtp_demux_hold(&t->ingress->demux, env->now, p);
        return;
    case RTP_DEMUX_FULL:
        env->drops[ROOM_DROP_SSRC_LIMIT]++;
        return;
    case RTP_DEMUX_UNKNOWN_PT:
    case RTP_DEMUX_PROBE:
        env->drops[ROOM_DROP_UNBOUND_SSRC]++;
        return;
    }
    struct track_media *const media = media_of(t, &route);
    if (result == RTP_DEMUX_BOUND) {
        pc_transport_bound(t, media, &route, h->ssrc);
    }
    if (media == NULL || media->receiver == NULL) {
        env->drops[ROOM_DROP_UNBOUND_SSRC]++;
        return;
    }
    deliver(t, media, &route, p, h);
}

void router_rtp(struct pc_transport *t, struct packet *p)
{
    struct room_env *const env = t->env;
    struct rtp_header h;
    if (rtp_parse(packet_bytes(p), &h) < 0) {
        env->drops[ROOM_DROP_MALFORMED_RTP]++;
        return;
    }
    if (t->ingress == NULL) {
        env->drops[ROOM_DROP_UNBOUND_SSRC]++;
        return;
    }
    struct bytes ext;
    uint16_t twcc_sn = 0;
    // Arrivals are recorded before any decision about the packet: the sender's estimate counts all
    // of them.
    if (rtp_ext_find(&h, t->ingress->demux.ext.id[RTP_EXT_TRANSPORT_CC], &ext) &&
        rtp_ext_transport_cc(ext, &twcc_sn)) {
        twcc_recorder_record(&t->ingress->twcc, p->arrival, twcc_sn, p->len);
        pc_transport_media_by(t, mono_max(twcc_recorder_deadline(&t->ingress->twcc), env->now));
    }
    route_packet(t, p, &h);
}

void router_release_held(struct pc_transport *t)
{
    if (t->ingress == NULL) {
        return;
    }
    for (struct packet *p = NULL;
         (p = rtp_demux_take_held(&t->ingress->demux, t->env->now)) != NULL;) {
        struct rtp_header h;
        if (rtp_parse(packet_bytes(p), &h) == 0) {
            route_packet(t, p, &h);
        }
        packet_unref(p);
    }
}

// ---- out ------------------------------------------------------------------------------------

static inline void commit(struct room_env *env, struct outbox_slot *slot,
                          const struct peer_connection_path *path, const struct down_track_out *out)
{
    slot->dst = path->dst;
    slot->local = path->local;
    slot->protect = OUTBOX_PROTECT_RTP;
    slot->len = (uint16_t)out->len;
    slot->rtp_header_len = (uint16_t)out->header_len;
    slot->rtp_roc = out->roc;
    slot->srtp = path->srtp;
    outbox_commit(env->outbox);
    env->forwarded++;
}

#define OUT_CAP (OUTBOX_DATA_CAP - OUTBOX_TAILROOM)

// Asks the publisher for a key frame if the down track waits for one.
static void want_key_frame(struct room_env *env, struct track_media *media, struct down_track *dt)
{
    uint8_t encoding = 0;
    if (down_track_poll_key_frame(dt, env->now, media->receiver, &encoding)) {
        receiver_request_key_frame(media->receiver, env->now, encoding);
        pc_transport_media_by(media->track->publisher->publisher, env->now);
    }
    // A layer that it has switched to, or waits for: losses there count from now on.
    track_media_need(media, dt);
}

// Writes the retransmissions that are due on one subscription.
static void send_rtx(struct pc_transport *t, struct subscription *s)
{
    struct room_env *const env = t->env;
    const struct peer_connection_path *const path = peer_connection_path(t->pc);
    while (path->srtp != NULL) {
        struct outbox_slot *const slot = outbox_reserve(env->outbox);
        struct down_track_out out = {.data = slot->data, .cap = OUT_CAP};
        enum down_track_result const r =
            down_track_write_rtx(s->down_track, env->now, s->media->receiver, &t->twcc_sn, &out);
        if (r == DOWN_TRACK_SENT) {
            commit(env, slot, path, &out);
        } else if (r == DOWN_TRACK_NOTHING) {
            break;
        }
    }
}

// Writes the padding that is due on one subscription that has had no media yet.
static void send_padding(struct pc_transport *t, struct subscription *s)
{
    struct room_env *const env = t->env;
    const struct peer_connection_path *const path = peer_connection_path(t->pc);
    struct outbox_slot *const slot = outbox_reserve(env->outbox);
    struct down_track_out out = {.data = slot->data, .cap = OUT_CAP};
    if (down_track_write_padding(s->down_track, env->now, &t->twcc_sn, &out) == DOWN_TRACK_SENT &&
        path->srtp != NULL) {
        commit(env, slot, path, &out);
    }
}

static void fan_out_one(struct room_env *env, struct track_media *media,
                        const struct track_output *o)
{
    const struct peer_connection_path *const path = peer_connection_path(o->transport->pc);
    if (path->srtp == NULL) {
        return;
    }
    bool all_sent = true;
    for (uint8_t i = 0; i < media->batch_count; i++) {
        struct outbox_slot *const slot = outbox_reserve(env->outbox);
        struct down_track_out out = {.data = slot->data, .cap = OUT_CAP};
        enum down_track_result const r =
            down_track_write(o->down_track, env->now, media->receiver, media->batch[i],
                             &o->transport->twcc_sn, &out);
        if (LIKELY(r == DOWN_TRACK_SENT)) {
            commit(env, slot, path, &out);
        } else {
            all_sent = false;
        }
    }
    if (!all_sent && media->video) {
        want_key_frame(env, media, o->down_track);
    }
    if (UNLIKELY(down_track_has_catch_up(o->down_track))) {
        send_rtx(o->transport, o->subscription);
    }
}

static void drop_batch(struct track_media *media)
{
    for (uint8_t i = 0; i < media->batch_count; i++) {
        packet_unref(media->batch[i]);
    }
    media->batch_count = 0;
}

static void fan_out(struct room_env *env, struct track_media *media)
{
    for (uint32_t i = 0; i < media->output_count; i++) {
        // The state of the next subscriber is on its way to the cache while this one is written.
        if (i + 1 < media->output_count) {
            down_track_prefetch(media->outputs[i + 1].down_track);
        }
        fan_out_one(env, media, &media->outputs[i]);
    }
    drop_batch(media);
}

void router_flush(struct room_env *env)
{
    while (env->dirty != NULL) {
        struct track_media *const media = env->dirty;
        env->dirty = media->dirty_next;
        media->dirty = false;
        fan_out(env, media);
    }
}

void router_forget(struct room_env *env, struct track_media *media)
{
    drop_batch(media);
    if (!media->dirty) {
        return;
    }
    struct track_media **link = &env->dirty;
    while (*link != media) {
        link = &(*link)->dirty_next;
    }
    *link = media->dirty_next;
    media->dirty = false;
}

// ---- RTCP in --------------------------------------------------------------------------------

static struct subscription *output_by_ssrc(const struct pc_transport *t, uint32_t ssrc)
{
    struct subscription *s = NULL;
    HASH_FIND(hh_ssrc, t->outputs, &ssrc, sizeof(ssrc), s);
    if (s == NULL) {
        HASH_FIND(hh_rtx, t->outputs_rtx, &ssrc, sizeof(ssrc), s);
    }
    return s != NULL && s->down_track != NULL ? s : NULL;
}

static struct track_media *input_by_ssrc(const struct pc_transport *t, uint32_t ssrc)
{
    struct rtp_demux_route route;
    if (t->ingress == NULL || !rtp_demux_find(&t->ingress->demux, ssrc, &route)) {
        return NULL;
    }
    struct track_media *const media = media_of(t, &route);
    return media != NULL && media->receiver != NULL ? media : NULL;
}

static void input_blocks(struct pc_transport *t, const struct rtcp_report_block *b, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++) {
        struct subscription *const s = output_by_ssrc(t, b[i].ssrc);
        if (s != NULL && b[i].ssrc == s->ssrc) {
            down_track_rtcp_block(s->down_track, t->env->now, &b[i]);
        }
    }
}

static void input_nack(struct pc_transport *t, const struct rtcp_fb *fb)
{
    struct subscription *const s = output_by_ssrc(t, fb->media_ssrc);
    if (s == NULL) {
        return;
    }
    // 17 numbers an item, and a compound holds fewer than 375 items; more than a few hundred are a
    // storm anyway.
    uint16_t sns[256];
    size_t n = 0;
    struct rtcp_nack_iter it;
    rtcp_nack_iter_init(&it, fb);
    while (n < ARRAY_LEN(sns) && rtcp_nack_next(&it, &sns[n])) {
        n++;
    }
    down_track_rtcp_nack(s->down_track, t->env->now, sns, n);
    send_rtx(t, s);
}

static void input_key_frame_request(struct pc_transport *t, uint32_t ssrc)
{
    struct subscription *const s = output_by_ssrc(t, ssrc);
    if (s != NULL) {
        down_track_rtcp_pli(s->down_track, t->env->now);
        want_key_frame(t->env, s->media, s->down_track);
    }
}

static void input_feedback(struct pc_transport *t, const struct rtcp_packet *p)
{
    struct rtcp_fb fb;
    struct rtcp_fir fir;
    if (rtcp_fb_parse(p, &fb) < 0) {
        t->env->drops[ROOM_DROP_MALFORMED_RTCP]++;
    } else if (fb.type == RTCP_RTPFB && fb.fmt == RTCP_RTPFB_NACK) {
        input_nack(t, &fb);
    } else if (rtcp_is_pli(&fb)) {
        input_key_frame_request(t, fb.media_ssrc);
    } else if (fb.type == RTCP_PSFB && fb.fmt == RTCP_PSFB_FIR && rtcp_fir_parse(&fb, &fir) == 0) {
        for (uint8_t i = 0; i < fir.count; i++) {
            input_key_frame_request(t, fir.entry[i].ssrc);
        }
    }
    // Transport-wide feedback and REMB are for the bandwidth estimator.
}

static void input_xr(struct pc_transport *t, const struct rtcp_packet *p)
{
    struct rtcp_xr xr;
    if (rtcp_xr_parse(p, &xr) < 0) {
        t->env->drops[ROOM_DROP_MALFORMED_RTCP]++;
        return;
    }
    if (xr.has_rrtr) {
        t->rrtr_ssrc = xr.ssrc;
        t->rrtr_lrr = ntp_mid32(xr.rrtr);
        t->rrtr_at = t->env->now;
        pc_transport_media_by(t, mono_add_ms(t->env->now, 100));
    }
    for (uint8_t i = 0; i < xr.dlrr_count; i++) {
        int64_t rtt_us = 0;
        // Three seconds: media-plane 5.12.
        if (xr.dlrr[i].ssrc == t->rtcp_ssrc &&
            rtcp_rtt_us(rtcp_ntp_of_mono(t->env->now), xr.dlrr[i].lrr, xr.dlrr[i].dlrr,
                        3 * US_PER_S, &rtt_us)) {
            pc_transport_set_rtt(t, rtt_us);
        }
    }
}

static void input_reports(struct pc_transport *t, const struct rtcp_packet *p)
{
    struct rtcp_sr sr;
    struct rtcp_rr rr;
    if (p->type == RTCP_SR && rtcp_sr_parse(p, &sr) == 0) {
        struct track_media *const media = input_by_ssrc(t, sr.ssrc);
        if (media != NULL) {
            receiver_rtcp_sr(media->receiver, t->env->now, &sr);
        }
        input_blocks(t, sr.block, sr.block_count);
    } else if (p->type == RTCP_RR && rtcp_rr_parse(p, &rr) == 0) {
        input_blocks(t, rr.block, rr.block_count);
    } else {
        t->env->drops[ROOM_DROP_MALFORMED_RTCP]++;
    }
}

static void input_bye(struct pc_transport *t, const struct rtcp_packet *p)
{
    struct rtcp_bye bye;
    if (t->ingress == NULL || rtcp_bye_parse(p, &bye) < 0) {
        return;
    }
    for (uint8_t i = 0; i < bye.count; i++) {
        struct track_media *const media = input_by_ssrc(t, bye.ssrc[i]);
        if (media != NULL) {
            receiver_rtcp_bye(media->receiver, t->env->now, bye.ssrc[i]);
        }
        rtp_demux_bye(&t->ingress->demux, bye.ssrc[i]);
    }
}

void router_rtcp(struct pc_transport *t, struct bytes compound)
{
    struct rtcp_iter it;
    struct rtcp_packet p;
    rtcp_iter_init(&it, compound);
    while (rtcp_next(&it, &p)) {
        switch (p.type) {
        case RTCP_SR:
        case RTCP_RR:
            input_reports(t, &p);
            break;
        case RTCP_BYE:
            input_bye(t, &p);
            break;
        case RTCP_XR:
            input_xr(t, &p);
            break;
        case RTCP_RTPFB:
        case RTCP_PSFB:
            input_feedback(t, &p);
            break;
        default:
            break; // SDES, APP, unknown
        }
    }
    if (it.bad) {
        t->env->drops[ROOM_DROP_MALFORMED_RTCP]++;
    }
}

// ---- RTCP out -------------------------------------------------------------------------------

// livekit and libwebrtc report about once a second; spread so that many transports do not fire
// together.
#define REPORT_INTERVAL_US INT64_C(1000000)

static void send_compound(struct pc_transport *t, struct rtcp_out *out)
{
    uint8_t buf[RTCP_OUT_CAP];
    size_t n = 0;
    if (!rtcp_out_is_empty(out) &&
        rtcp_out_finish(out, (struct bytes_mut){buf, sizeof(buf)}, &n) == 0) {
        pc_transport_send_rtcp(t, bytes_of(buf, n));
    }
    rtcp_out_init(out, t->rtcp_ssrc);
}

static void out_receiver(struct pc_transport *t, struct track_media *media, bool report,
                         struct rtcp_out *out)
{
    mono_t const now = t->env->now;
    if (mono_reached(receiver_deadline(media->receiver), now) &&
        receiver_timeout(media->receiver, now, out) < 0) {
        send_compound(t, out);
        // What still does not fit comes with the next deadline.
        (void)!receiver_timeout(media->receiver, now, out);
    }
    uint8_t cursor = 0;
    if (report && receiver_report(media->receiver, now, out, &cursor) < 0) {
        send_compound(t, out);
        (void)!receiver_report(media->receiver, now, out, &cursor);
    }
}

static mono_t out_ingress(struct pc_transport *t, struct rtcp_out *out)
{
    struct room_env *const env = t->env;
    mono_t const now = env->now;
    bool const report = mono_reached(t->next_report, now);
    bool receiving = false;
    mono_t next = MONO_NEVER;
    for (uint16_t i = 0; i < t->ingress->section_count; i++) {
        struct track_media *const media = t->ingress->sections[i].media;
        if (media == NULL || media->receiver == NULL) {
            continue;
        }
        receiving = true;
        if (report) {
            track_media_update_needed(media);
        }
        out_receiver(t, media, report, out);
        next = mono_min(next, receiver_deadline(media->receiver));
    }
    if (report && receiving) {
        t->next_report = mono_add_us(now, REPORT_INTERVAL_US * 8 / 10 +
                                              rng_u32(env->rng) % (REPORT_INTERVAL_US * 4 / 10));
        struct rtcp_xr const xr = {
            .ssrc = t->rtcp_ssrc, .has_rrtr = true, .rrtr = rtcp_ntp_of_mono(now)};
        (void)!rtcp_out_add_xr(out, &xr);
    }
    uint8_t buf[TWCC_RECORDER_PACKET_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    while (
        twcc_recorder_write(&t->ingress->twcc, now, t->rtcp_ssrc, pc_transport_any_ssrc(t), &w)) {
        if (rtcp_out_add_raw(out, wr_bytes_view(&w)) < 0) {
            send_compound(t, out);
            (void)!rtcp_out_add_raw(out, wr_bytes_view(&w));
        }
        w = wr_init(buf, sizeof(buf));
    }
    next = mono_min(next, twcc_recorder_deadline(&t->ingress->twcc));
    return receiving ? mono_min(next, t->next_report) : next;
}

static mono_t out_down_tracks(struct pc_transport *t, struct rtcp_out *out)
{
    struct room_env *const env = t->env;
    mono_t next = MONO_NEVER;
    for (struct subscription *s = t->outputs; s != NULL; s = s->hh_ssrc.next) {
        if (s->down_track == NULL) {
            continue;
        }
        if (mono_reached(down_track_deadline(s->down_track), env->now)) {
            want_key_frame(env, s->media, s->down_track);
            send_padding(t, s);
            if (down_track_write_sr(s->down_track, env->now, s->media->receiver, false, out) ==
                -ENOBUFS) {
                send_compound(t, out);
                (void)!down_track_write_sr(s->down_track, env->now, s->media->receiver, false, out);
            }
        }
        next = mono_min(next, down_track_deadline(s->down_track));
    }
    return next;
}

// Answers the receiver reference time of the peer (RFC 3611 section 4.5).
static void add_dlrr(struct pc_transport *t, struct rtcp_out *out)
{
    int64_t const delay_us = mono_diff_us(t->env->now, t->rrtr_at);
    struct rtcp_xr const xr = {
        .ssrc = t->rtcp_ssrc,
        .dlrr_count = 1,
        .dlrr = {{t->rrtr_ssrc, t->rrtr_lrr, (uint32_t)(delay_us * 65536 / US_PER_S)}},
    };
    (void)!rtcp_out_add_xr(out, &xr);
}

void router_media_timeout(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    struct rtcp_out out;
    rtcp_out_init(&out, t->rtcp_ssrc);
    mono_t next = out_down_tracks(t, &out);
    if (t->ingress != NULL) {
        next = mono_min(next, out_ingress(t, &out));
    }
    if (t->rrtr_ssrc != 0) {
        add_dlrr(t, &out);
        t->rrtr_ssrc = 0;
    }
    send_compound(t, &out);
    // A deadline that stays in the past must not spin the loop: at most one round a millisecond.
    timer_heap_set(env->timers, &t->media, mono_max(next, mono_add_ms(env->now, 1)));
}

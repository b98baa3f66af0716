// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/down_track_internal.h"

#include "common/base/mem.h"
#include "sfu/media/packet_info.h"

// Repetition of key frame requests: clamp(2 x RTT, 200 ms, 1 s) (livekit forwarder.go).
#define KEY_FRAME_WAIT_MIN_US (200 * US_PER_MS)
#define KEY_FRAME_WAIT_MAX_US (1000 * US_PER_MS)

// First sender report: soon after the first packet of a source (media-plane 5.11).
#define SR_FIRST_US (50 * US_PER_MS)

// Opus: 20 ms at 48 kHz; the frame that livekit-client knows as server-injected silence
// (client-sdk-js src/e2ee/worker/sifPayload.ts, OpusSilenceFrame): TOC F8 and 79 more bytes.

// What livekit sends (pkg/sfu/downtrack.go, RTPPaddingMaxPayloadSize): all that the length byte can
// say.
#define PADDING_LEN 255u

int down_track_new(const struct down_track_conf *conf, struct down_track **ret)
{
    bool const video = codec_kind(conf->codec) == MEDIA_VIDEO;
    if (codec_kind(conf->codec) == MEDIA_NONE || conf->clock_rate == 0 ||
        strnlen(conf->mid, sizeof(conf->mid)) > DOWN_TRACK_MID_MAX ||
        strnlen(conf->cname, sizeof(conf->cname)) > DOWN_TRACK_CNAME_MAX) {
        return -EINVAL;
    }
    struct down_track *const dt = NEW(struct down_track);
    if (!dt) {
        return -ENOMEM;
    }
    dt->conf = *conf;
    dt->key_full = conf->key_full;
    if (video && conf->rtx_pt != 0) {
        dt->sequencer = NEW(struct sequencer);
        if (!dt->sequencer) {
            down_track_free(dt);
            return -ENOMEM;
        }
    }
    dt->block = DOWN_TRACK_UNWRITABLE;
    dt->mid_len = (uint8_t)strlen(conf->mid);
    dt->mid_left = dt->mid_len > 0 && conf->ext.id[RTP_EXT_MID] != 0 ? DOWN_TRACK_MID_PACKETS : 0;
    dt->rtx_saved = DOWN_TRACK_RTX_SAVED_MAX;
    dt->rtx_sn = conf->first_rtx_sn & 0x7fffu;
    dt->sr_next = MONO_NEVER;
    dt->padding_next = MONO_NEVER;
    dt->padding_left = conf->padding_first ? DOWN_TRACK_PADDING_PACKETS : 0;
    dt->has_delay =
        video && conf->ext.id[RTP_EXT_PLAYOUT_DELAY] != 0 &&
        playout_delay_init(&dt->delay, conf->min_playout_delay_ms, conf->max_playout_delay_ms);
    dt->delay_due = dt->has_delay;
    rtp_stats_tx_init(&dt->stats, conf->clock_rate);
    forwarder_init(&dt->forwarder, conf->codec, conf->clock_rate, conf->first_sn & 0x7fffu,
                   conf->first_ts);
    *ret = dt;
    return 0;
}

void down_track_free(struct down_track *dt)
{
    if (dt) {
        mem_free(dt->sequencer);
        mem_free(dt);
    }
}

// ---- switches -------------------------------------------------------------------------------

static enum down_track_result blocked_by(const struct down_track *dt)
{
    const struct layer_selector *const s = &dt->forwarder.selector;
    if (!dt->writable) {
        return DOWN_TRACK_UNWRITABLE;
    }
    if (dt->disabled) {
        return DOWN_TRACK_DISABLED;
    }
    if (dt->muted) {
        return DOWN_TRACK_MUTED;
    }
    return dt->paused || s->max_spatial < 0 || s->allowed_spatial < 0 ? DOWN_TRACK_PAUSED
                                                                      : DOWN_TRACK_SENT;
}

// The next poll asks for a key frame without waiting.
static void want_key_frame(struct down_track *dt, mono_t now)
{
    dt->key_wanted = dt->forwarder.video;
    dt->key_next = now;
}

// After any switch changed. The first packet after an interruption continues by the resume rule,
// video with a key frame.
static void update_block(struct down_track *dt, mono_t now)
{
    enum down_track_result const before = (enum down_track_result)dt->block;
    dt->block = (uint8_t)blocked_by(dt);
    if (before == dt->block) {
        return;
    }
    if (before == DOWN_TRACK_SENT || dt->block == DOWN_TRACK_SENT) {
        forwarder_interrupt(&dt->forwarder, before == DOWN_TRACK_MUTED);
    }
    if (dt->block == DOWN_TRACK_SENT) {
        want_key_frame(dt, now);
        dt->nack_gate = false;
    } else {
        dt->key_wanted = false;
        dt->pli_pending = false;
    }
}

void down_track_set_max_layers(struct down_track *dt, int spatial, int temporal)
{
    layer_selector_set_max(&dt->forwarder.selector, spatial, temporal);
    update_block(dt, (mono_t){0});
    want_key_frame(dt, (mono_t){0});
}

void down_track_set_allowed_layers(struct down_track *dt, int spatial, int temporal, bool urgent)
{
    layer_selector_set_allowed(&dt->forwarder.selector, spatial, temporal, urgent);
    update_block(dt, (mono_t){0});
    want_key_frame(dt, (mono_t){0});
}

void down_track_set_disabled(struct down_track *dt, mono_t now, bool disabled)
{
    dt->disabled = disabled;
    update_block(dt, now);
}

void down_track_set_publisher_muted(struct down_track *dt, mono_t now, bool muted)
{
    dt->muted = muted;
    update_block(dt, now);
}

void down_track_set_paused(struct down_track *dt, mono_t now, bool paused)
{
    dt->paused = paused;
    update_block(dt, now);
}

void down_track_set_writable(struct down_track *dt, mono_t now, bool writable)
{
    dt->writable = writable;
    dt->padding_next = writable && dt->padding_left > 0
                           ? mono_add_ms(now, DOWN_TRACK_PADDING_WAIT_MS)
                           : MONO_NEVER;
    update_block(dt, now);
}

bool down_track_is_forwarding(const struct down_track *dt)
{
    return dt->block == DOWN_TRACK_SENT;
}

// ---- layers and key frames ------------------------------------------------------------------

uint8_t down_track_needed_mask(const struct down_track *dt)
{
    if (dt->block != DOWN_TRACK_SENT) {
        return 0;
    }
    const struct layer_selector *const s = &dt->forwarder.selector;
    if (s->current_spatial < 0 && !dt->polled) {
        return (1u << RECEIVER_MAX_ENCODINGS) - 1; // the number of encodings is not known yet
    }
    int const target = layer_selector_target(s, dt->live);
    uint8_t const wanted = (uint8_t)(target >= 0 ? 1u << target : 0u);
    uint8_t const current = (uint8_t)(s->current_spatial >= 0 ? 1u << s->current_spatial : 0u);
    return wanted | current;
}

void down_track_get_layers(const struct down_track *dt, struct down_track_layers *ret)
{
    const struct layer_selector *const s = &dt->forwarder.selector;
    *ret = (struct down_track_layers){
        .current_spatial = s->current_spatial,
        .current_temporal = s->current_temporal,
        .target_spatial = MIN(s->max_spatial, s->allowed_spatial),
        .target_temporal = MIN(s->max_temporal, s->allowed_temporal),
        .max_spatial = s->max_spatial,
        .max_temporal = s->max_temporal,
    };
}

int down_track_layer_for_size(const uint32_t *heights, size_t n, uint32_t source_width,
                              uint32_t source_height, uint32_t width, uint32_t height)
{
    uint32_t const fallback[] = {180, 360, MIN(source_width, source_height)};
    bool const portrait = source_width != 0 && source_width < source_height;
    uint32_t wanted = height;
    if (n == 0) {
        heights = fallback;
        n = ARRAY_LEN(fallback);
        wanted = portrait ? width : height;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        // layerSelectionTolerance 0.9 (livekit pkg/rtc/mediatrackreceiver.go): a tile may be that
        // much larger.
        bool const enough = (uint64_t)heights[i] * 10 >= (uint64_t)wanted * 9;
        if (enough && heights[i] != heights[i + 1]) {
            return (int)i;
        }
    }
    return (int)n - 1;
}

mono_t down_track_key_full(const struct down_track *dt)
{
    return dt->key_full;
}

// Whether a request now repeats the last one, which nothing has answered yet.
static bool repeats_request(const struct down_track *dt)
{
    return dt->key_asked && dt->keys_had == dt->forwarder.key_frames;
}

mono_t down_track_keys_at_(const struct down_track *dt)
{
    int64_t const allowance = (DOWN_TRACK_KEYS_BURST - 1) * DOWN_TRACK_KEYS_INTERVAL_US;
    return repeats_request(dt) ? (mono_t){0} : (mono_t){dt->key_full.us - allowance};
}

static void take_key_frame(struct down_track *dt, mono_t now)
{
    if (!repeats_request(dt)) {
        dt->key_full = mono_add_us(mono_max(dt->key_full, now), DOWN_TRACK_KEYS_INTERVAL_US);
        dt->keys_had = dt->forwarder.key_frames;
        dt->key_asked = true;
    }
}

bool down_track_poll_key_frame(struct down_track *dt, mono_t now, const struct receiver *r,
                               uint8_t *ret_encoding)
{
    if (dt->block != DOWN_TRACK_SENT || !dt->forwarder.video) {
        return false;
    }
    dt->forwarder.selector.encodings = (int8_t)receiver_conf(r)->encodings;
    dt->live = receiver_live_mask(r);
    dt->polled = true;
    uint8_t encoding = dt->forwarder.encoding;
    bool const wanted = forwarder_wants_key_frame(&dt->forwarder, r, &encoding);
    bool const due = wanted && mono_reached(dt->key_next, now);
    dt->key_wanted = wanted;
    if ((!due && !dt->pli_pending) || !mono_reached(down_track_keys_at_(dt), now)) {
        return false;
    }
    take_key_frame(dt, now);
    dt->pli_pending = false;
    int64_t const wait =
        MAX(KEY_FRAME_WAIT_MIN_US, MIN(2 * receiver_rtt_us(r), KEY_FRAME_WAIT_MAX_US));
    dt->key_next = mono_add_us(now, wait);
    *ret_encoding = encoding;
    return true;
}

mono_t down_track_deadline(const struct down_track *dt)
{
    if (dt->block != DOWN_TRACK_SENT) {
        return dt->padding_next;
    }
    mono_t t = mono_min(dt->sr_next, dt->padding_next);
    if (dt->nack_count > 0) {
        return (mono_t){0};
    }
    if (dt->key_wanted) {
        t = mono_min(t, mono_max(dt->key_next, down_track_keys_at_(dt)));
    }
    return dt->pli_pending ? mono_min(t, down_track_keys_at_(dt)) : t;
}

bool down_track_has_catch_up(const struct down_track *dt)
{
    const struct forwarder *const f = &dt->forwarder;
    return dt->sequencer && dt->block == DOWN_TRACK_SENT && f->catch_next < f->catch_end;
}

// ---- packets --------------------------------------------------------------------------------

// On all packets of a frame alike: they leave in one piece when they have one size. Repetitions go
// without. Out of the way of those that have nothing to tell.
static __attribute__((noinline, cold)) size_t
add_delay(struct down_track *dt, const struct down_track_packet *pkt, struct rtp_ext_elem *e)
{
    if (pkt->rtx) {
        return 0;
    }
    *e = (struct rtp_ext_elem){dt->conf.ext.id[RTP_EXT_PLAYOUT_DELAY],
                               {dt->delay.bytes, sizeof(dt->delay.bytes)}};
    playout_delay_attach(&dt->delay, (uint16_t)pkt->sn);
    return 1;
}

// Header extensions: those made here and those carried over under the subscriber's ids.
static size_t collect_extensions(struct down_track *dt, const struct down_track_packet *pkt,
                                 uint8_t *twcc, uint8_t *ast, uint8_t *level,
                                 struct rtp_ext_elem *e)
{
    const struct packet *const source = pkt->source;
    const uint8_t *const id = dt->conf.ext.id;
    size_t n = 0;
    if (id[RTP_EXT_TRANSPORT_CC] != 0) {
        e[n++] = (struct rtp_ext_elem){id[RTP_EXT_TRANSPORT_CC], {twcc, 2}};
    }
    if (id[RTP_EXT_ABS_SEND_TIME] != 0) {
        e[n++] = (struct rtp_ext_elem){id[RTP_EXT_ABS_SEND_TIME], {ast, 3}};
    }
    if (UNLIKELY(dt->mid_left > 0)) {
        e[n++] =
            (struct rtp_ext_elem){id[RTP_EXT_MID], {(const uint8_t *)dt->conf.mid, dt->mid_len}};
    }
    if (!source) {
        return n;
    }
    if (UNLIKELY(dt->delay_due)) {
        n += add_delay(dt, pkt, &e[n]);
    }
    if (source->info.audio_level != PACKET_NO_AUDIO_LEVEL && id[RTP_EXT_AUDIO_LEVEL] != 0) {
        *level = rtp_ext_audio_level_byte(source->info.audio_level, source->info.audio_voice);
        e[n++] = (struct rtp_ext_elem){id[RTP_EXT_AUDIO_LEVEL], {level, 1}};
    }
    if (source->info.capture_time_len > 0 && id[RTP_EXT_ABS_CAPTURE_TIME] != 0) {
        e[n++] =
            (struct rtp_ext_elem){id[RTP_EXT_ABS_CAPTURE_TIME], packet_info_capture_time(source)};
    }
    // Only the codecs whose layers need it; on VP8 and H.264 it is refused towards publishers
    // (media-plane 4.14).
    bool const layered = dt->conf.codec == CODEC_VP9 || dt->conf.codec == CODEC_AV1;
    if (layered && source->info.dd_len > 0 && id[RTP_EXT_DEPENDENCY_DESCRIPTOR] != 0) {
        e[n++] = (struct rtp_ext_elem){id[RTP_EXT_DEPENDENCY_DESCRIPTOR], packet_info_dd(source)};
    }
    return n;
}

void down_track_write_packet_(struct down_track *dt, mono_t now,
                              const struct down_track_packet *pkt, uint16_t *twcc_sn,
                              struct down_track_out *out)
{
    bool const has_twcc = dt->conf.ext.id[RTP_EXT_TRANSPORT_CC] != 0;
    uint8_t const twcc[2] = {(uint8_t)(*twcc_sn >> 8), (uint8_t)*twcc_sn};
    uint32_t const send_time = rtp_ext_abs_send_time_from_us(now.us);
    uint8_t const ast[3] = {(uint8_t)(send_time >> 16), (uint8_t)(send_time >> 8),
                            (uint8_t)send_time};
    uint8_t level = 0;
    struct rtp_ext_elem elems[6];
    size_t const n = collect_extensions(dt, pkt, (uint8_t *)(uintptr_t)twcc,
                                        (uint8_t *)(uintptr_t)ast, &level, elems);
    struct rtp_header const h = {
        .marker = pkt->marker,
        .pt = pkt->pt,
        .sn = (uint16_t)pkt->sn,
        .ts = pkt->ts,
        .ssrc = pkt->ssrc,
        .padding_len = pkt->padding_len,
    };
    struct wr w = wr_init(out->data, out->cap);
    rtp_write_with_ext(&w, &h, elems, n, NULL);
    size_t const header_len = wr_len(&w);
    if (pkt->rtx) {
        wr_be16(&w, pkt->osn);
    }
    wr_bytes(&w, pkt->desc);
    wr_bytes(&w, bytes_of(pkt->payload.p + pkt->desc_in_len, pkt->payload.n - pkt->desc_in_len));
    assert(wr_ok(&w)); // the caller checked out->cap
    out->len = wr_len(&w);
    out->header_len = header_len;
    out->ssrc = pkt->ssrc;
    out->sn = (uint16_t)pkt->sn;
    out->roc = (uint32_t)(pkt->sn >> 16);
    out->is_rtx = pkt->rtx;
    out->has_twcc = has_twcc;
    out->twcc_sn = *twcc_sn;
    *twcc_sn = (uint16_t)(*twcc_sn + has_twcc);
    dt->mid_left = (uint8_t)(dt->mid_left - (dt->mid_left > 0));
}

static enum down_track_result count(struct down_track *dt, enum down_track_result res)
{
    dt->results[res]++;
    return res;
}

static enum down_track_result result_of(enum forwarder_result res)
{
    switch (res) {
    case FORWARDER_SEND:
        return DOWN_TRACK_SENT;
    case FORWARDER_WAIT_KEY:
        return DOWN_TRACK_WAIT_KEY;
    case FORWARDER_LAYER:
        return DOWN_TRACK_LAYER;
    case FORWARDER_TEMPORAL:
        return DOWN_TRACK_TEMPORAL;
    case FORWARDER_PADDING:
        return DOWN_TRACK_PADDING;
    case FORWARDER_LATE:
        return DOWN_TRACK_LATE;
    case FORWARDER_DUPLICATE:
        return DOWN_TRACK_DUPLICATE;
    case FORWARDER_TIMESTAMP:
        return DOWN_TRACK_TIMESTAMP;
    case FORWARDER_MALFORMED:
        break;
    }
    return DOWN_TRACK_MALFORMED;
}

// Payload type and payload bytes for this subscriber. False if it cannot take the packet.
static bool choose_payload(const struct down_track *dt, const struct packet *p,
                           struct down_track_packet *pkt)
{
    pkt->payload = down_track_payload_(dt, p);
    pkt->pt = dt->conf.pt;
    if (LIKELY(p->info.codec == dt->conf.codec) || p->info.padding_only) {
        return true;
    }
    if (p->info.codec != CODEC_RED) {
        return false;
    }
    if (dt->conf.red_pt != 0) {
        pkt->pt = dt->conf.red_pt;
        return true;
    }
    pkt->payload.p += p->info.red_primary_off;
    pkt->payload.n -= p->info.red_primary_off;
    return p->info.red_primary_off > 0;
}

// A new source: reports about the old relation of times are void; old numbers of an ended sequence
// lead nowhere.
static void note_switch(struct down_track *dt, mono_t now)
{
    dt->sr_next = mono_add_us(now, SR_FIRST_US);
    if (dt->sequencer && dt->epoch != dt->forwarder.epoch) {
        sequencer_reset(dt->sequencer);
    }
    dt->epoch = dt->forwarder.epoch;
}

static void remember(struct down_track *dt, mono_t now, const struct packet *p,
                     const struct down_track_packet *pkt)
{
    struct sequencer_entry *const e = sequencer_put(dt->sequencer, (uint16_t)pkt->sn);
    e->source_sn = (uint32_t)p->ext_sn;
    e->ts = pkt->ts;
    e->sent_ms = (uint32_t)(now.us / US_PER_MS);
    e->sn = (uint16_t)pkt->sn;
    e->encoding = p->info.encoding & 3u;
    e->marker = pkt->marker;
    e->used = 1;
    e->answers = 0;
    e->desc_in_len = (uint8_t)pkt->desc_in_len;
    e->desc_len = (uint8_t)pkt->desc.n;
    memcpy(e->desc, pkt->desc.n > 0 ? pkt->desc.p : e->desc, pkt->desc.n);
}

static void note_key_frame(struct down_track *dt, uint64_t sn)
{
    if (dt->nack_gate) {
        dt->nack_gate = false;
        dt->key_sn = sn;
    }
}

enum down_track_result down_track_write(struct down_track *dt, mono_t now, const struct receiver *r,
                                        const struct packet *p, uint16_t *twcc_sn,
                                        struct down_track_out *out)
{
    if (dt->block != DOWN_TRACK_SENT) {
        return count(dt, (enum down_track_result)dt->block);
    }
    if (UNLIKELY(out->cap < down_track_room_(p))) {
        return count(dt, DOWN_TRACK_NO_SPACE);
    }
    // What fills a hole goes to those who cannot do so by themselves; the original to the others.
    if (UNLIKELY(dt->conf.red_pt != 0 ? p->info.recovered : p->info.red_filled)) {
        return count(dt, DOWN_TRACK_DUPLICATE);
    }
    struct down_track_packet pkt = {.ssrc = dt->conf.ssrc, .marker = p->marker, .source = p};
    if (UNLIKELY(!choose_payload(dt, p, &pkt))) {
        return count(dt, DOWN_TRACK_MALFORMED);
    }
    struct forwarder_translation t;
    enum forwarder_result const res = forwarder_packet(&dt->forwarder, now, r, p, &t);
    if (res != FORWARDER_SEND) {
        return count(dt, result_of(res));
    }
    uint8_t desc[VP8_DESC_MAX];
    if (t.rewrite_desc) {
        struct wr w = wr_init(desc, sizeof(desc));
        vp8_desc_write(&w, &t.desc);
        pkt.desc = wr_bytes_view(&w);
        pkt.desc_in_len = p->info.vp8.len;
    }
    pkt.sn = t.sn;
    pkt.ts = t.ts;
    if (UNLIKELY(t.switched)) {
        note_switch(dt, now);
    }
    down_track_write_packet_(dt, now, &pkt, twcc_sn, out);
    if (dt->sequencer) {
        remember(dt, now, p, &pkt);
        dt->rtx_saved = MIN(dt->rtx_saved + (uint32_t)out->len / DOWN_TRACK_RTX_SHARE,
                            DOWN_TRACK_RTX_SAVED_MAX);
    }
    if (UNLIKELY(p->info.key_frame && p->info.frame_start)) {
        note_key_frame(dt, t.sn);
    }
    rtp_stats_tx_packet(&dt->stats, t.sn, out->len, out->len - out->header_len);
    return count(dt, DOWN_TRACK_SENT);
}

void down_track_set_codec(struct down_track *dt, mono_t now, enum codec codec, uint8_t pt,
                          uint8_t rtx_pt)
{
    dt->conf.codec = codec;
    dt->conf.pt = pt;
    dt->conf.rtx_pt = dt->sequencer ? rtx_pt : 0;
    if (rtx_pt == 0) {
        mem_free(dt->sequencer);
        dt->sequencer = NULL;
    }
    forwarder_set_codec(&dt->forwarder, codec);
    // The old history is not there any more, and what is live in the new one is not known.
    if (dt->sequencer) {
        sequencer_reset(dt->sequencer);
    }
    dt->nack_count = 0;
    dt->pli_pending = false;
    dt->polled = false;
    dt->live = 0;
    if (dt->block == DOWN_TRACK_SENT) {
        want_key_frame(dt, now);
    }
}

// The subscriber has had RTP, or it would not help any more.
static bool needs_no_padding(const struct down_track *dt)
{
    // A report that names a number that was sent; some are about nothing yet.
    bool const arrived = dt->stats.has_report && dt->stats.acked_sn >= dt->stats.first_sn;
    return dt->padding_left == 0 || dt->stats.packets > 0 || arrived;
}

enum down_track_result down_track_write_padding(struct down_track *dt, mono_t now,
                                                uint16_t *twcc_sn, struct down_track_out *out)
{
    uint8_t padding[PADDING_LEN];
    if (!mono_reached(dt->padding_next, now)) {
        return DOWN_TRACK_NOTHING;
    }
    if (needs_no_padding(dt)) {
        dt->padding_left = 0;
        dt->padding_next = MONO_NEVER;
        return DOWN_TRACK_NOTHING;
    }
    unsigned const sent = DOWN_TRACK_PADDING_PACKETS - dt->padding_left--;
    dt->padding_next = mono_add_ms(now, (int64_t)DOWN_TRACK_PADDING_INTERVAL_MS << sent);
    if (out->cap < sizeof(padding) + DOWN_TRACK_HEADER_MAX) {
        return count(dt, DOWN_TRACK_NO_SPACE);
    }
    struct forwarder_translation t;
    struct wr w = wr_init(padding, sizeof(padding));
    rtp_write_padding(&w, sizeof(padding));
    forwarder_insert_padding(&dt->forwarder, now, &t);
    struct down_track_packet const pkt = {
        .ssrc = dt->conf.ssrc,
        .pt = dt->conf.pt,
        .sn = t.sn,
        .ts = t.ts,
        .padding_len = sizeof(padding),
        .payload = wr_bytes_view(&w),
    };
    down_track_write_packet_(dt, now, &pkt, twcc_sn, out);
    rtp_stats_tx_packet(&dt->stats, t.sn, out->len, 0);
    dt->padding_sent++;
    return count(dt, DOWN_TRACK_SENT);
}

void down_track_prefetch(const struct down_track *dt)
{
    const char *const p = (const char *)dt;
    for (size_t i = 0; i < offsetof(struct down_track, forwarder.rtp.ranges); i += 64) {
        __builtin_prefetch(p + i, 1);
    }
    __builtin_prefetch(&dt->forwarder.vp8, 1);
}

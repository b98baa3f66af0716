// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_stream.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "sfu/wire/vp8.h"
#include "tests/support/client_net.h"
#include "tests/support/client_pattern.h"

// Test clients put a whole VP8 key frame header (RFC 6386 section 9.1) in front of each frame.
#define VP8_HEADER 10u
// Without a key frame after this a browser asks, and again so often (libwebrtc: 200 ms when nothing
// can be decoded).
#define PLI_AFTER_US INT64_C(300000)
#define PLI_EVERY_US INT64_C(1000000)
// A jump like this is a new start, not a loss (RFC 3550 A.1: 3000).
#define JUMP 3000

int client_stream_new(const struct jsep_transceiver *t, const struct jsep_ssrc *ssrc,
                      struct client_stream **ret)
{
    struct client_stream *const s = NEW(struct client_stream);
    if (s == NULL) {
        return -ENOMEM;
    }
    s->ssrc = ssrc->ssrc;
    s->rtx_ssrc = ssrc->rtx_ssrc;
    s->audio = t->kind == JSEP_AUDIO;
    rtp_stats_rx_init(&s->rx, s->audio ? 48000 : 90000);
    int const rc = client_stream_describe(s, t);
    if (rc < 0) {
        client_stream_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void client_stream_free(struct client_stream *s)
{
    if (s != NULL) {
        mem_free(s->nack);
        mem_free(s);
    }
}

int client_stream_describe(struct client_stream *s, const struct jsep_transceiver *t)
{
    const struct jsep_codec *const c = t->codec_count > 0 ? &t->codecs[0] : NULL;
    s->live = true;
    (void)snprintf(s->mid, sizeof(s->mid), "%s", t->mid);
    (void)snprintf(s->stream_id, sizeof(s->stream_id), "%s", t->remote->stream_id);
    const char *const bar = strchr(t->remote->stream_id, '|');
    // With grouped streams only the track id names the track (livekit-protocol 4.4).
    bool const in_stream = bar != NULL && strncmp(bar + 1, "TR", 2) == 0;
    (void)snprintf(s->track_sid, sizeof(s->track_sid), "%s",
                   in_stream ? bar + 1 : t->remote->track_id);
    if (c == NULL) {
        return 0;
    }
    s->pt = c->pt;
    s->rtx_pt = c->rtx_pt;
    s->want_pli = (c->fb & SDP_FB_PLI) != 0;
    if ((c->fb & SDP_FB_NACK) != 0 && s->nack == NULL) {
        s->nack = NEW(struct nack_queue);
        if (s->nack == NULL) {
            return -ENOMEM;
        }
        nack_queue_init(s->nack);
    }
    return 0;
}

// ---- sequence numbers ---------------------------------------------------------------------------

enum place { PLACE_NEXT, PLACE_AFTER_GAP, PLACE_FILLED, PLACE_DUPLICATE, PLACE_OLD };

static bool test_bit(const struct client_stream *s, uint64_t sn)
{
    return (s->seen[(sn % CLIENT_STREAM_WINDOW) / 64] >> (sn % 64)) & 1u;
}

static void set_bit(struct client_stream *s, uint64_t sn, bool on)
{
    uint64_t *const w = &s->seen[(sn % CLIENT_STREAM_WINDOW) / 64];
    uint64_t const bit = UINT64_C(1) << (sn % 64);
    *w = on ? *w | bit : *w & ~bit;
}

static void begin(struct client_stream *s, uint64_t sn)
{
    memset(s->seen, 0, sizeof(s->seen));
    s->first = sn;
    s->highest = sn;
    set_bit(s, sn, true);
    s->stats.received++;
}

static void advance(struct client_stream *s, mono_t now, uint64_t sn)
{
    uint64_t const gap = sn - s->highest - 1;
    for (uint64_t i = s->highest + 1; i < sn; i++) {
        set_bit(s, i, false);
    }
    set_bit(s, sn, true);
    if (gap > 0) {
        s->stats.missing += gap;
        s->stats.lost_first += gap;
        if (s->nack != NULL && !nack_queue_add(s->nack, now, s->highest + 1, gap)) {
            s->next_pli = now;
        }
    }
    s->highest = sn;
    s->stats.received++;
}

// Where the packet belongs. `extended` is its number.
static enum place place(struct client_stream *s, mono_t now, uint16_t sn, bool repeated,
                        uint64_t *extended)
{
    // Far from zero, so that numbers before the first one have a place too.
    uint64_t const base = UINT64_C(1) << 32;
    if (s->first == 0) {
        *extended = base + sn;
        begin(s, *extended);
        return PLACE_NEXT;
    }
    uint64_t const x = seq16_extend(s->highest, sn);
    *extended = x;
    if (x > s->highest + JUMP || x + JUMP < s->highest) {
        if (repeated) {
            return PLACE_OLD;
        }
        s->stats.jumps++;
        begin(s, x);
        return PLACE_AFTER_GAP;
    }
    if (x > s->highest) {
        bool const next = x == s->highest + 1;
        advance(s, now, x);
        return next ? PLACE_NEXT : PLACE_AFTER_GAP;
    }
    if (x < s->first || x + CLIENT_STREAM_WINDOW <= s->highest) {
        return PLACE_OLD;
    }
    if (test_bit(s, x)) {
        return PLACE_DUPLICATE;
    }
    set_bit(s, x, true);
    s->stats.received++;
    s->stats.missing--;
    if (s->nack != NULL) {
        (void)nack_queue_remove(s->nack, now, x, repeated);
    }
    return PLACE_FILLED;
}

// ---- content ------------------------------------------------------------------------------------

static void note_latency(struct client_stream *s, struct client_net *n, mono_t arrival,
                         int64_t sent_us)
{
    int64_t const us = arrival.us - sent_us;
    histogram_add(&n->latency, us);
    s->stats.latency_min_us = s->stats.latency_max_us == 0 ? us : MIN(s->stats.latency_min_us, us);
    s->stats.latency_max_us = MAX(s->stats.latency_max_us, us);
}

static void note_frame(struct client_stream *s, const struct vp8_info *v)
{
    s->stats.frames++;
    s->stats.key_frames += v->key_frame;
    s->has_key = s->has_key || v->key_frame;
    s->frame_whole = true;
}

// Picture ids go up by one from frame to frame, and stay within one.
static void note_picture(struct client_stream *s, const struct vp8_info *v, bool consecutive)
{
    if (!v->desc.has_picture_id) {
        return;
    }
    uint16_t const wanted = (uint16_t)((s->picture_id + v->frame_start) & 0x7fff);
    s->stats.picture_errors += s->known && consecutive && v->desc.picture_id != wanted;
    s->picture_id = v->desc.picture_id;
}

// Consecutive packets of one encoding have consecutive counters, unless the server left out what
// came before `key`.
static void note_counter(struct client_stream *s, const struct client_pattern *p, bool key,
                         bool consecutive)
{
    if (s->known &&
        (p->layer != s->layer || p->track != s->track || p->publisher != s->publisher)) {
        s->stats.switches++;
        s->stats.bad_switches += !key;
    } else if (s->known && consecutive && p->counter != s->counter + 1) {
        bool const may_be = key && p->counter > s->counter;
        s->stats.skips += may_be;
        s->stats.counter_errors += !may_be;
    }
    s->known = true;
    s->publisher = p->publisher;
    s->track = p->track;
    s->layer = p->layer;
    s->counter = p->counter;
}

static void end_frame(struct client_stream *s, mono_t arrival)
{
    if (s->frame_whole) {
        s->stats.frames_whole++;
        if (s->has_key && s->first_frame_at.us == 0) {
            s->first_frame_at = arrival;
        }
    }
    s->frame_whole = false;
}

static void check(struct client_stream *s, struct client_net *n, mono_t arrival,
                  struct bytes payload, uint64_t sn, bool marker, enum place where)
{
    // Packets that come late are checked for content only: the order of frames was judged without
    // them.
    bool const forward = where == PLACE_NEXT || where == PLACE_AFTER_GAP;
    bool const consecutive = where == PLACE_NEXT && sn == s->last_whole + 1;
    struct vp8_info v = {0};
    size_t skip = 0;
    if (!s->audio) {
        if (vp8_parse(payload, &v) < 0) {
            s->stats.checked++;
            s->stats.content_errors++;
            return;
        }
        skip = v.desc.len + (v.frame_start ? VP8_HEADER : 0);
    }
    struct client_pattern p;
    struct bytes const content =
        skip <= payload.n ? bytes_of(payload.p + skip, payload.n - skip) : bytes_of(NULL, 0);
    s->stats.checked++;
    int const rc = client_pattern_read(content, &p);
    if (rc < 0) {
        s->stats.foreign += rc == -ENOMSG;
        s->stats.content_errors += rc != -ENOMSG;
        return;
    }
    if (!forward) {
        return;
    }
    note_latency(s, n, arrival, p.sent_us);
    if (!consecutive) {
        s->frame_whole = false;
    }
    if (s->audio) {
        s->first_frame_at = s->first_frame_at.us == 0 ? arrival : s->first_frame_at;
    } else {
        note_picture(s, &v, consecutive);
    }
    if (v.frame_start) {
        note_frame(s, &v);
    }
    note_counter(s, &p, s->audio || v.key_frame, consecutive);
    if (marker) {
        end_frame(s, arrival);
    }
    s->last_whole = sn;
}

// ---- packets ------------------------------------------------------------------------------------

void client_stream_packet(struct client_stream *s, struct client_net *n, mono_t arrival,
                          const struct rtp_header *h, struct bytes packet, bool whole)
{
    uint64_t sn = 0;
    if (s->first_at.us == 0) {
        s->first_at = arrival;
        s->next_pli = mono_add_us(arrival, PLI_AFTER_US);
    }
    (void)rtp_stats_rx_packet(&s->rx, arrival, h->sn, h->ts, packet.n, whole ? h->payload_len : 1);
    enum place const where = place(s, n->now, h->sn, false, &sn);
    s->stats.bytes += packet.n;
    switch (where) {
    case PLACE_NEXT:
    case PLACE_AFTER_GAP:
        break;
    case PLACE_FILLED:
        s->stats.reordered++;
        break;
    case PLACE_DUPLICATE:
    case PLACE_OLD:
        s->stats.duplicates++;
        return;
    }
    if (!whole) {
        return;
    }
    if (h->payload_len == 0) {
        s->stats.padding++;
        // It stands between two packets whose counters are consecutive.
        s->last_whole = s->last_whole + 1 == sn ? sn : s->last_whole;
        return;
    }
    check(s, n, arrival, rtp_payload(packet, h), sn, h->marker, where);
}

void client_stream_rtx(struct client_stream *s, struct client_net *n, mono_t arrival,
                       const struct rtp_header *h, struct bytes packet)
{
    struct bytes const payload = rtp_payload(packet, h);
    uint64_t sn = 0;
    s->stats.rtx++;
    if (payload.n < 2 || s->first == 0) {
        s->stats.probes++;
        return;
    }
    struct rd r = rd_init(payload);
    uint16_t const original = rd_be16(&r);
    enum place const where = place(s, n->now, original, true, &sn);
    if (where == PLACE_DUPLICATE || where == PLACE_OLD) {
        s->stats.duplicates++;
        return;
    }
    s->stats.recovered++;
    if (payload.n > 2) {
        check(s, n, arrival, rd_rest(&r), sn, h->marker, where);
    }
}

size_t client_stream_feedback(struct client_stream *s, mono_t now, uint16_t *sn, size_t cap,
                              bool *ret_pli)
{
    *ret_pli = false;
    if (s->want_pli && s->stats.checked > 0 && !s->has_key && mono_reached(s->next_pli, now)) {
        *ret_pli = true;
        s->stats.plis++;
        s->next_pli = mono_add_us(now, PLI_EVERY_US);
    }
    if (s->nack == NULL || s->nack->count == 0) {
        return 0;
    }
    size_t const n = nack_queue_collect(s->nack, now, sn, cap);
    s->stats.nacked += n;
    return n;
}

mono_t client_stream_deadline(const struct client_stream *s)
{
    mono_t const nack = s->nack != NULL ? nack_queue_deadline(s->nack) : MONO_NEVER;
    bool const waits = s->want_pli && s->stats.checked > 0 && !s->has_key;
    return waits ? mono_min(nack, s->next_pli) : nack;
}

void client_stream_stats_add(struct client_stream_stats *into,
                             const struct client_stream_stats *from)
{
    if (from->latency_max_us > 0) {
        into->latency_min_us = into->latency_max_us == 0
                                   ? from->latency_min_us
                                   : MIN(into->latency_min_us, from->latency_min_us);
        into->latency_max_us = MAX(into->latency_max_us, from->latency_max_us);
    }
    into->received += from->received;
    into->missing += from->missing;
    into->bytes += from->bytes;
    into->lost_first += from->lost_first;
    into->recovered += from->recovered;
    into->reordered += from->reordered;
    into->duplicates += from->duplicates;
    into->rtx += from->rtx;
    into->probes += from->probes;
    into->padding += from->padding;
    into->jumps += from->jumps;
    into->checked += from->checked;
    into->content_errors += from->content_errors;
    into->foreign += from->foreign;
    into->counter_errors += from->counter_errors;
    into->skips += from->skips;
    into->frames += from->frames;
    into->frames_whole += from->frames_whole;
    into->key_frames += from->key_frames;
    into->picture_errors += from->picture_errors;
    into->switches += from->switches;
    into->bad_switches += from->bad_switches;
    into->nacked += from->nacked;
    into->plis += from->plis;
}

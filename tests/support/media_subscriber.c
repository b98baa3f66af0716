// SPDX-License-Identifier: Apache-2.0
// The subscriber of media_model.h.
#include <stdlib.h>

#include "common/base/seq.h"
#include "sfu/wire/rtcp_fb.h"
#include "sfu/wire/rtp_ext.h"
#include "tests/support/media_model.h"

// As recorded of Chromium on a 40 ms path (sub-cr-loss10): repeated each 109 ms; libwebrtc gives up
// after ten.
#define NACK_FIRST_US (10 * US_PER_MS)
#define NACK_REPEAT_US (110 * US_PER_MS)
#define NACK_TRIES 10
#define NACK_MAX 100u
// Numbers before the first packet that may still come.
#define MODEL_REORDER 64u
// libwebrtc asks for a key frame after 200 ms without a first one; here also when a hole was given
// up.
#define PLI_FIRST_US (200 * US_PER_MS)
#define PLI_REPEAT_US (500 * US_PER_MS)

bool model_read_payload_(struct bytes payload, struct model_received *ret);

void model_subscriber_init(struct model_subscriber *s, uint32_t ssrc, uint32_t rtx_ssrc)
{
    *s = (struct model_subscriber){.ssrc = ssrc, .rtx_ssrc = rtx_ssrc};
    s->packets = calloc(MODEL_SUB_PACKETS, sizeof(*s->packets));
}

void model_subscriber_done(struct model_subscriber *s)
{
    free(s->packets);
}

static void note_missing(struct model_subscriber *s, mono_t now, uint64_t from, uint64_t to)
{
    for (uint64_t sn = from; sn < to && sn - s->first < MODEL_SUB_PACKETS; sn++) {
        struct model_received *const p = &s->packets[sn - s->first];
        p->missing_since = now;
        p->nack_at = mono_add_us(now, NACK_FIRST_US);
    }
}

// True if the frame that begins at this number is there.
static bool is_whole(const struct model_subscriber *s, uint64_t start)
{
    if (start < s->first || start - s->first >= MODEL_SUB_PACKETS - 255) {
        return false;
    }
    const struct model_received *const p = &s->packets[start - s->first];
    for (unsigned i = 0; i < p->count; i++) {
        if (!p[i].present) {
            return false;
        }
    }
    return p->present;
}

static void note_packet(struct model_subscriber *s, mono_t now, uint16_t sn,
                        const struct rtp_header *h, struct bytes payload, bool recovered)
{
    if (!s->started) {
        if (recovered) {
            return;
        }
        s->started = true;
        s->started_at = now;
        s->first = 65536u + sn - MODEL_REORDER; // packets may have overtaken each other
        s->highest = 65536u + sn - 1u;
    }
    uint64_t const ext = seq16_extend(s->highest, sn);
    if (ext < s->first || ext - s->first >= MODEL_SUB_PACKETS) {
        s->corrupt++;
        return;
    }
    struct model_received *const p = &s->packets[ext - s->first];
    struct model_received got = *p;
    if (!model_read_payload_(payload, &got)) {
        s->corrupt++;
        return;
    }
    if (p->present) {
        s->duplicates++;
        s->corrupt += p->frame != got.frame || p->index != got.index || p->layer != got.layer ||
                      p->ts != h->ts || p->picture_id != got.picture_id;
        return;
    }
    got.present = true;
    got.marker = h->marker;
    got.ts = h->ts;
    got.recovered = recovered;
    *p = got;
    s->has_key = s->has_key || (got.key && is_whole(s, ext - got.index));
    if (ext > s->highest) {
        note_missing(s, now, s->highest + 1, ext);
        s->highest = ext;
    }
}

void model_subscriber_rtp(struct model_subscriber *s, mono_t now, struct bytes packet)
{
    struct rtp_header h;
    struct bytes twcc;
    uint16_t seq = 0;
    if (rtp_parse(packet, &h) < 0) {
        s->corrupt++;
        return;
    }
    if (rtp_ext_find(&h, MODEL_EXT_TWCC, &twcc) && rtp_ext_transport_cc(twcc, &seq)) {
        s->has_twcc = true;
        s->last_twcc = seq;
    }
    s->last_media = now;
    struct bytes payload = rtp_payload(packet, &h);
    if (h.ssrc == s->ssrc) {
        s->media++;
        note_packet(s, now, h.sn, &h, payload, false);
    } else if (h.ssrc == s->rtx_ssrc && payload.n > 2) {
        struct rd r = rd_init(payload);
        uint16_t const osn = rd_be16(&r);
        uint64_t const before = s->duplicates;
        s->rtx++;
        note_packet(s, now, osn, &h, rd_rest(&r), true);
        s->rtx_useless += s->duplicates - before;
        s->duplicates = before;
    } else {
        s->corrupt++;
    }
}

static void send(struct model_subscriber *s, mono_t now, struct model_rng *r, struct model_link *up,
                 const uint16_t *sns, size_t n, bool pli)
{
    uint8_t buf[MODEL_MTU];
    struct wr w = wr_init(buf, sizeof(buf));
    if (n > 0) {
        rtcp_nack_write(&w, 1, s->ssrc, sns, n);
        s->nacks += n;
    }
    if (pli) {
        rtcp_pli_write(&w, 1, s->ssrc);
        s->plis++;
    }
    model_link_send(up, now, r, wr_bytes_view(&w));
}

void model_subscriber_tick(struct model_subscriber *s, mono_t now, struct model_rng *r,
                           struct model_link *up)
{
    uint16_t sns[NACK_MAX];
    size_t n = 0;
    bool given_up = false;
    // A key frame makes everything before it unimportant.
    uint64_t from = s->highest - s->first > 600 ? s->highest - 600 : s->first + MODEL_REORDER;
    for (uint64_t sn = s->highest; s->started && sn > from; sn--) {
        const struct model_received *const p = &s->packets[sn - s->first];
        if (p->present && p->key && p->start) {
            from = sn;
        }
    }
    for (uint64_t sn = from; s->started && sn <= s->highest; sn++) {
        struct model_received *const p = &s->packets[sn - s->first];
        if (p->present) {
            continue;
        }
        given_up |= p->nack_tries >= NACK_TRIES;
        if (p->nack_tries < NACK_TRIES && mono_reached(p->nack_at, now) && n < NACK_MAX) {
            sns[n++] = (uint16_t)sn;
            p->nack_tries++;
            p->nack_at = mono_add_us(now, NACK_REPEAT_US);
        }
    }
    bool const keyless =
        s->started && !s->has_key && mono_diff_us(now, s->started_at) > PLI_FIRST_US;
    bool const pli = (given_up || keyless) && mono_reached(s->pli_at, now);
    if (pli) {
        s->pli_at = mono_add_us(now, PLI_REPEAT_US);
    }
    if (n > 0 || pli) {
        send(s, now, r, up, sns, n, pli);
    }
}

// ---- judgement ------------------------------------------------------------------------------

struct judge {
    const struct model_subscriber *s;
    struct model_verdict *v;
    // Of the last complete frame.
    bool has_last, last_adjacent;
    struct model_received first, last;
    uint8_t last_tl0_base;
    bool has_tl0;
    // Decoder by the publisher's references: newest decodable frame of each temporal layer.
    bool ok[3];
    uint32_t frame[3];
    int broken_key; // 1 + layer of a key frame that did not arrive whole
};

static void judge_times(struct judge *j, const struct model_received *f)
{
    uint64_t const ms =
        (uint64_t)f->frame * 1000 / MODEL_FPS - (uint64_t)j->first.frame * 1000 / MODEL_FPS;
    int64_t const error = seq32_diff(f->ts, j->first.ts + (uint32_t)ms * (MODEL_CLOCK / 1000));
    j->v->ts_not_rising += seq32_diff(f->ts, j->last.ts) <= 0;
    j->v->ts_wrong += error > 2 || error < -2;
    j->v->max_ts_error = MAX(j->v->max_ts_error, error < 0 ? -error : error);
}

static void judge_counters(struct judge *j, const struct model_received *f)
{
    if (j->last_adjacent) {
        j->v->picture_id_gaps += f->picture_id != ((j->last.picture_id + 1) & 0x7fff);
        uint8_t const tl0 = (uint8_t)(j->last.tl0 + (f->tid == 0));
        j->v->tl0_gaps += f->tl0 != tl0;
    }
}

// References of the libvpx pattern: a base picture refers to the one before; an upper one to the
// newest picture of each lower layer, and, not being a sync point, to the newest of its own.
static void judge_references(struct judge *j, const struct model_received *f, bool switched)
{
    bool decodable = f->key;
    if (f->key) {
        j->ok[1] = j->ok[2] = false;
    } else if (f->tid == 0) {
        decodable = !switched && j->ok[0];
    } else {
        decodable = !switched && j->ok[0] && f->frame - j->frame[0] < 4;
    }
    j->ok[f->tid] = decodable;
    j->frame[f->tid] = f->frame;
    j->v->decodable += decodable;
}

static void judge_frame(struct judge *j, const struct model_received *f)
{
    bool const switched = j->has_last && f->layer != j->last.layer;
    j->v->frames++;
    j->v->by_layer[f->layer]++;
    if (j->has_last) {
        judge_times(j, f);
        judge_counters(j, f);
    }
    if (!j->has_last) {
        j->first = *f;
    }
    j->v->switches += switched;
    j->v->switch_without_key += switched && !f->key && j->broken_key != 1 + f->layer;
    judge_references(j, f, switched);
    j->last = *f;
    j->has_last = true;
    j->broken_key = 0;
}

void model_subscriber_judge(const struct model_subscriber *s, struct model_verdict *ret)
{
    struct judge j = {.s = s, .v = ret};
    *ret = (struct model_verdict){0};
    uint64_t const total = s->started ? s->highest - s->first + 1 : 0;
    uint64_t i = 0;
    while (i < MODEL_REORDER && i < total && !s->packets[i].present) {
        i++;
    }
    while (i < total) {
        const struct model_received *const p = &s->packets[i];
        if (!p->present) {
            ret->holes++;
            j.last_adjacent = false;
            i++;
            continue;
        }
        if (p->index != 0) {
            j.last_adjacent = false; // the rest of a cut frame
            i++;
            continue;
        }
        uint64_t k = 0;
        bool whole = true;
        for (; k < p->count && i + k < total; k++) {
            const struct model_received *const q = &s->packets[i + k];
            whole = whole && q->present && q->frame == p->frame && q->layer == p->layer &&
                    q->index == k && q->ts == p->ts && q->picture_id == p->picture_id;
            if (!whole) {
                break;
            }
            ret->misplaced_markers += q->marker != (k + 1 == p->count);
        }
        if (whole && k == p->count) {
            judge_frame(&j, p);
            j.last_adjacent = true;
        } else {
            ret->broken_frames++;
            j.last_adjacent = false;
            j.broken_key = p->key ? 1 + p->layer : j.broken_key;
        }
        i += MAX(k, 1u);
    }
}

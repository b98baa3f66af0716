// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/forwarder.h"

#include "common/base/seq.h"

void forwarder_init(struct forwarder *f, enum codec codec, uint32_t clock_rate, uint16_t first_sn,
                    uint32_t first_ts)
{
    *f = (struct forwarder){
        .codec = (uint8_t)codec,
        .video = codec_kind(codec) == MEDIA_VIDEO,
        .clock_rate = clock_rate,
    };
    layer_selector_init(&f->selector, 1);
    rtp_munger_init(&f->rtp, first_sn, first_ts);
    vp8_munger_init(&f->vp8);
}

void forwarder_interrupt(struct forwarder *f, bool muted_by_publisher)
{
    f->resync = true;
    f->muted_resync = muted_by_publisher;
    f->refusals = 0;
    layer_selector_restart(&f->selector);
}

void forwarder_set_codec(struct forwarder *f, enum codec codec)
{
    forwarder_interrupt(f, false);
    f->codec = (uint8_t)codec;
    f->attached = false; // no relation to any encoding of the new receiver
    f->squeeze = false;
    f->catch_next = f->catch_end = 0;
}

static uint32_t ticks(const struct forwarder *f, int64_t us)
{
    return (uint32_t)(us * (int64_t)f->clock_rate / US_PER_S);
}

static int64_t ticks_to_us(const struct forwarder *f, int64_t t)
{
    return t * US_PER_S / (int64_t)f->clock_rate;
}

// The outgoing timestamp that incoming ts of an encoding stands for by the relation in use. False
// if that is not known.
static bool reference_ts(const struct forwarder *f, const struct receiver *r, uint8_t encoding,
                         uint32_t ts, uint32_t *ret)
{
    uint32_t offset = 0;
    if (!f->attached) {
        return false;
    }
    if (encoding != f->encoding && receiver_ts_offset(r, encoding, f->encoding, &offset) < 0) {
        return false;
    }
    if (encoding == f->encoding && receiver_epoch(r, encoding) != f->epoch) {
        return false; // the source started anew: its old relation says nothing
    }
    *ret = ts + offset - f->rtp.ts_offset;
    return true;
}

// Two frames are at least this far apart (60 frames/s: 1500 ticks), so squeezing by it keeps their
// order.
#define SQUEEZE 1024
// Squeezed timestamps lie within that of the floor: FORWARDER_LAYER_BEHIND_US at 90 kHz are 4500
// ticks.
#define SQUEEZED_MAX 8

// The outgoing timestamp of a packet of the current source.
static uint32_t outgoing_ts(struct forwarder *f, uint32_t ts)
{
    uint32_t const natural = ts - f->rtp.ts_offset;
    if (LIKELY(!f->squeeze)) {
        return natural;
    }
    int64_t const above = seq32_diff(natural, f->ts_floor);
    if (above > SQUEEZED_MAX) {
        // Long past: forget, before the comparison wraps.
        f->squeeze = above < (int64_t)f->clock_rate * 10;
        return natural;
    }
    int64_t const since_first = seq32_diff(natural, f->ts_first);
    return f->ts_floor + 1 + (uint32_t)(MAX(since_first, 0) / SQUEEZE);
}

static uint32_t expected_ts(const struct forwarder *f, mono_t now)
{
    return f->rtp.last_ts + ticks(f, mono_diff_us(now, f->last_sent));
}

// Coming back after an interruption, or first start: the natural timestamp of the first packet.
static uint32_t resume_ts(const struct forwarder *f, mono_t now, const struct receiver *r,
                          const struct packet *p)
{
    if (!f->rtp.started) {
        return f->rtp.last_ts;
    }
    uint32_t const expected = expected_ts(f, now);
    uint32_t ref = 0;
    if (!reference_ts(f, r, p->info.encoding, p->ts, &ref)) {
        return expected;
    }
    int64_t const behind = ticks_to_us(f, seq32_diff(expected, ref));
    bool const lost = behind > FORWARDER_RESUME_HIGH_US || behind < -FORWARDER_RESUME_HIGH_US;
    bool const stale = f->muted_resync && behind > FORWARDER_RESUME_BEHIND_US;
    return lost || stale ? expected : ref;
}

// Another encoding without interruption: the natural timestamp of its first packet. False if its
// time does not fit (now).
static bool switch_ts(struct forwarder *f, mono_t now, const struct receiver *r,
                      const struct packet *p, uint32_t *ret)
{
    bool const current_live = receiver_live_mask(r) & (1u << f->encoding);
    bool const may_refuse = current_live && (p->info.late || f->refusals < FORWARDER_MAX_REFUSALS);
    uint32_t const expected = expected_ts(f, now);
    uint32_t ref = 0;
    if (!reference_ts(f, r, p->info.encoding, p->ts, &ref)) {
        *ret = expected;
        return !may_refuse;
    }
    int64_t const behind = ticks_to_us(f, seq32_diff(f->rtp.last_ts, ref));
    if (behind > FORWARDER_LAYER_BEHIND_US) {
        *ret = expected;
        return !may_refuse;
    }
    int64_t const ahead = ticks_to_us(f, seq32_diff(ref, expected));
    *ret = ahead > FORWARDER_RESUME_HIGH_US ? expected : ref;
    return true;
}

// A hole in the sequence numbers keeps a receiver that finds frames by marker and timestamp alone
// from joining the cut frame with the new one. VP8 and VP9 have start bits; there the hole would
// only be asked for in vain.
static uint32_t skip_before_switch(const struct forwarder *f)
{
    bool const has_start_bit = f->codec == CODEC_VP8 || f->codec == CODEC_VP9;
    return f->video && f->rtp.started && !f->rtp.last_marker && !has_start_bit ? 1 : 0;
}

// natural: outgoing timestamp that belongs to the packet by its time; squeezed if it is not newer
// than what was sent.
static void attach(struct forwarder *f, const struct receiver *r, const struct packet *p,
                   uint32_t natural)
{
    bool const behind = f->rtp.started && seq32_diff(f->rtp.last_ts, natural) > 4 * SQUEEZE;
    f->squeeze = f->rtp.started;
    f->ts_floor = f->rtp.last_ts;
    // Further behind than can be squeezed: the relation is given up.
    f->ts_first = behind ? f->rtp.last_ts + 1 : natural;
    rtp_munger_switch(&f->rtp, p->ext_sn, p->ts, f->ts_first, skip_before_switch(f));
    vp8_munger_switch(&f->vp8);
    f->switches += f->attached && f->encoding != p->info.encoding;
    f->encoding = p->info.encoding;
    f->epoch = receiver_epoch(r, f->encoding);
    f->attached = true;
    f->resync = false;
    f->refusals = 0;
    f->catch_next = p->ext_sn + 1;
    f->catch_end = p->info.late ? receiver_highest(r, f->encoding) + 1 : f->catch_next;
}

// Video of another encoding than the one in use, or any before the first key frame.
static enum forwarder_result try_attach(struct forwarder *f, mono_t now, const struct receiver *r,
                                        const struct packet *p)
{
    bool const interrupted = !f->attached || f->resync;
    enum forwarder_result const otherwise = interrupted ? FORWARDER_WAIT_KEY : FORWARDER_LAYER;
    if (!p->info.key_frame || !p->info.frame_start) {
        return otherwise;
    }
    if (p->info.late &&
        receiver_highest(r, p->info.encoding) - p->ext_sn > FORWARDER_CATCH_UP_MAX) {
        return otherwise;
    }
    if (!layer_selector_key_frame(&f->selector, now, p->info.encoding, receiver_live_mask(r))) {
        return otherwise;
    }
    uint32_t ts = 0;
    if (interrupted) {
        ts = resume_ts(f, now, r, p);
    } else if (!switch_ts(f, now, r, p, &ts)) {
        f->refusals = (uint8_t)(f->refusals + !p->info.late);
        return FORWARDER_TIMESTAMP;
    }
    layer_selector_switched(&f->selector, p->info.encoding);
    attach(f, r, p, ts);
    return FORWARDER_SEND;
}

// Finds or makes the relation between the packet and the outgoing stream. FORWARDER_SEND: it is of
// the current source.
static enum forwarder_result select_source(struct forwarder *f, mono_t now,
                                           const struct receiver *r, const struct packet *p,
                                           bool *ret_switched)
{
    if (UNLIKELY(p->info.epoch != (uint8_t)receiver_epoch(r, p->info.encoding))) {
        return FORWARDER_LATE; // of a sequence that ended later in the same batch
    }
    f->selector.encodings = (int8_t)receiver_conf(r)->encodings;
    if (f->attached && f->epoch != receiver_epoch(r, f->encoding)) {
        forwarder_interrupt(f, false);
    }
    bool const current = f->attached && !f->resync && p->info.encoding == f->encoding;
    if (current && (!f->video || f->selector.current_spatial == f->encoding)) {
        return FORWARDER_SEND;
    }
    if (p->info.padding_only) {
        return FORWARDER_PADDING;
    }
    if (f->video) {
        if (current && !f->resync) {
            f->resync = true; // the selector gave the layer up
        }
        enum forwarder_result const res = try_attach(f, now, r, p);
        *ret_switched = res == FORWARDER_SEND;
        return res;
    }
    if (p->info.late) {
        return FORWARDER_LATE;
    }
    attach(f, r, p, resume_ts(f, now, r, p));
    f->selector.current_spatial = 0;
    *ret_switched = true;
    return FORWARDER_SEND;
}

static enum forwarder_result munge_vp8(struct forwarder *f, const struct packet *p,
                                       enum rtp_munger_place place,
                                       struct forwarder_translation *ret)
{
    const struct packet_info *const i = &p->info;
    if (i->vp8.len == 0) {
        return FORWARDER_MALFORMED;
    }
    uint8_t const limit =
        place == RTP_MUNGER_LATE
            ? PACKET_NO_TEMPORAL
            : layer_selector_temporal(&f->selector, i->vp8.has_tid ? i->vp8.tid : 0, i->frame_start,
                                      i->key_frame, i->vp8.has_tid && i->vp8.layer_sync);
    switch (vp8_munger_packet(&f->vp8, &i->vp8, place, limit, &ret->desc)) {
    case VP8_MUNGER_SEND:
        ret->rewrite_desc = true;
        return FORWARDER_SEND;
    case VP8_MUNGER_LEAVE_OUT:
        rtp_munger_left_out(&f->rtp, p->ext_sn, false);
        return FORWARDER_TEMPORAL;
    case VP8_MUNGER_LEAVE_OUT_GAP:
        rtp_munger_left_out(&f->rtp, p->ext_sn, true);
        return FORWARDER_TEMPORAL;
    case VP8_MUNGER_LATE:
        break;
    }
    return FORWARDER_LATE;
}

enum forwarder_result forwarder_packet(struct forwarder *f, mono_t now, const struct receiver *r,
                                       const struct packet *p, struct forwarder_translation *ret)
{
    ret->switched = false;
    ret->rewrite_desc = false;
    enum forwarder_result res = select_source(f, now, r, p, &ret->switched);
    if (res != FORWARDER_SEND) {
        return res;
    }
    enum rtp_munger_place place = rtp_munger_place(&f->rtp, p->ext_sn, &ret->sn);
    if (UNLIKELY(place == RTP_MUNGER_GAP) && f->codec == CODEC_VP8 &&
        vp8_munger_gap_was_left_out(&f->vp8, &p->info.vp8)) {
        rtp_munger_left_out(&f->rtp, p->ext_sn - 1, true);
        place = rtp_munger_place(&f->rtp, p->ext_sn, &ret->sn);
    }
    if (UNLIKELY(place == RTP_MUNGER_DUPLICATE)) {
        return FORWARDER_DUPLICATE;
    }
    if (UNLIKELY(place == RTP_MUNGER_UNKNOWN)) {
        return FORWARDER_LATE;
    }
    if (UNLIKELY(p->info.padding_only)) {
        if (place != RTP_MUNGER_LATE) {
            rtp_munger_left_out(&f->rtp, p->ext_sn, false);
        }
        return FORWARDER_PADDING;
    }
    if (f->codec == CODEC_VP8) {
        res = munge_vp8(f, p, place, ret);
        if (res != FORWARDER_SEND) {
            if (res == FORWARDER_MALFORMED && place != RTP_MUNGER_LATE) {
                rtp_munger_left_out(&f->rtp, p->ext_sn, false);
            }
            return res;
        }
    }
    ret->ts = outgoing_ts(f, p->ts);
    f->key_frames += p->info.key_frame && p->info.frame_start;
    if (LIKELY(place != RTP_MUNGER_LATE)) {
        rtp_munger_sent(&f->rtp, p->ext_sn, ret->sn, ret->ts, p->marker);
        f->last_sent = now;
    }
    return FORWARDER_SEND;
}

const struct packet *forwarder_take_catch_up(struct forwarder *f, const struct receiver *r)
{
    while (f->catch_next < f->catch_end) {
        if (f->resync || f->epoch != receiver_epoch(r, f->encoding)) {
            f->catch_next = f->catch_end;
            break;
        }
        const struct packet *const p = receiver_history_get(r, f->encoding, f->catch_next++);
        if (p) {
            return p;
        }
    }
    return NULL;
}

bool forwarder_wants_key_frame(const struct forwarder *f, const struct receiver *r,
                               uint8_t *ret_encoding)
{
    if (!f->video) {
        return false;
    }
    return layer_selector_wants_key_frame(&f->selector, receiver_live_mask(r), ret_encoding);
}

void forwarder_insert_padding(struct forwarder *f, mono_t now, struct forwarder_translation *ret)
{
    uint32_t const ts = f->rtp.started ? expected_ts(f, now) : f->rtp.last_ts;
    *ret = (struct forwarder_translation){.ts = ts};
    // As if a picture had ended: nothing was cut off, so no number is skipped before the next one.
    ret->sn = rtp_munger_insert(&f->rtp, ts, true);
    f->last_sent = now;
}

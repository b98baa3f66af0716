// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rtp_demux.h"

#include <string.h>

#include "common/base/mem.h"

void rtp_demux_init(struct rtp_demux *d)
{
    memset(d, 0, sizeof(*d));
}

void rtp_demux_done(struct rtp_demux *d)
{
    for (size_t i = 0; i < d->held_count; i++) {
        packet_unref(d->held[i]);
    }
    d->held_count = 0;
    mem_free(d->section);
    mem_free(d->binding);
    mem_free(d->slot_of_);
    d->section = NULL;
    d->binding = NULL;
    d->slot_of_ = NULL;
    d->section_count = d->section_cap = d->ssrc_count = d->ssrc_cap = 0;
}

void rtp_demux_set_extensions(struct rtp_demux *d, const struct rtp_ext_map *map)
{
    d->ext = *map;
}

// ---- SSRC table: open addressing, half full at most -----------------------------------------

// Places before the first section asks for more.
#define SSRCS_MIN 16u

// The peer chooses the SSRCs, but of its own table only: the longest probe is bounded by ssrc_cap.
static uint32_t slot_for(const struct rtp_demux *d, uint32_t ssrc)
{
    // Fibonacci hashing; the slots are a power of two.
    return (uint32_t)((uint64_t)(ssrc * UINT32_C(0x9e3779b1)) * (2u * d->ssrc_cap) >> 32);
}

static uint32_t slot_after(const struct rtp_demux *d, uint32_t slot)
{
    return (slot + 1) & (2u * d->ssrc_cap - 1);
}

static struct rtp_demux_binding_ *binding_find(const struct rtp_demux *d, uint32_t ssrc)
{
    if (d->ssrc_cap == 0) {
        return NULL;
    }
    for (uint32_t i = slot_for(d, ssrc); d->slot_of_[i] != 0; i = slot_after(d, i)) {
        struct rtp_demux_binding_ *const b = &d->binding[d->slot_of_[i] - 1];
        if (b->ssrc == ssrc) {
            return b;
        }
    }
    return NULL;
}

static void slot_enter(struct rtp_demux *d, uint16_t index)
{
    uint32_t i = slot_for(d, d->binding[index].ssrc);
    while (d->slot_of_[i] != 0) {
        i = slot_after(d, i);
    }
    d->slot_of_[i] = (uint16_t)(index + 1);
}

static void slots_fill(struct rtp_demux *d)
{
    memset(d->slot_of_, 0, 2u * d->ssrc_cap * sizeof(*d->slot_of_));
    for (uint16_t i = 0; i < d->ssrc_count; i++) {
        slot_enter(d, i);
    }
}

// Room for `count` bindings. -ENOMEM: all is as before.
static int bindings_reserve(struct rtp_demux *d, uint32_t count)
{
    uint32_t cap = SSRCS_MIN;
    while (cap < count) {
        cap *= 2;
    }
    if (cap <= d->ssrc_cap) {
        return 0;
    }
    uint16_t *const slots = mem_array(2u * cap, sizeof(*slots));
    struct rtp_demux_binding_ *const v =
        slots != NULL ? mem_regrow(d->binding, cap, sizeof(*v)) : NULL;
    if (v == NULL) {
        mem_free(slots);
        return -ENOMEM;
    }
    mem_free(d->slot_of_);
    d->binding = v;
    d->slot_of_ = slots;
    d->ssrc_cap = (uint16_t)cap;
    slots_fill(d);
    return 0;
}

// Removal moves the last binding into the gap and enters all anew: it happens with signalling, not
// with packets.
static void binding_remove(struct rtp_demux *d, struct rtp_demux_binding_ *b)
{
    *b = d->binding[--d->ssrc_count];
    slots_fill(d);
}

static struct rtp_demux_binding_ *binding_of(const struct rtp_demux *d, uint16_t section,
                                             uint8_t encoding, bool rtx)
{
    for (uint16_t i = 0; i < d->ssrc_count; i++) {
        struct rtp_demux_binding_ *const b = &d->binding[i];
        if (b->section == section && b->encoding == encoding && b->rtx == rtx) {
            return b;
        }
    }
    return NULL;
}

// ---- SSRCs of sections that stopped ---------------------------------------------------------

static void retire(struct rtp_demux *d, uint32_t ssrc)
{
    d->retired[d->retired_next] = ssrc;
    d->retired_next = (uint8_t)((d->retired_next + 1u) % RTP_DEMUX_RETIRED);
}

static bool is_retired(const struct rtp_demux *d, uint32_t ssrc)
{
    for (size_t i = 0; i < RTP_DEMUX_RETIRED; i++) {
        if (d->retired[i] == ssrc) {
            return true;
        }
    }
    return false;
}

// ---- sections -------------------------------------------------------------------------------

uint16_t rtp_demux_section_index(const struct rtp_demux *d, uint32_t id)
{
    uint16_t i = 0;
    while (i < d->section_count && d->section[i].id != id) {
        i++;
    }
    return i < d->section_count ? i : RTP_DEMUX_SECTIONS;
}

static uint8_t encoding_count(const struct rtp_demux_section *s)
{
    return s->rid_count > 0 ? s->rid_count : 1;
}

// SSRCs that all sections and one more may have.
static uint32_t ssrcs_with(const struct rtp_demux *d, const struct rtp_demux_section *s)
{
    uint32_t n = 2u * encoding_count(s);
    for (uint16_t i = 0; i < d->section_count; i++) {
        n += 2u * encoding_count(&d->section[i]);
    }
    return n;
}

static int sections_reserve(struct rtp_demux *d)
{
    if (d->section_count < d->section_cap) {
        return 0;
    }
    uint16_t const cap = (uint16_t)MIN(MAX(2u, 2u * d->section_cap), RTP_DEMUX_SECTIONS);
    struct rtp_demux_section *const v = mem_regrow(d->section, cap, sizeof(*v));
    if (v == NULL) {
        return -ENOMEM;
    }
    d->section = v;
    d->section_cap = cap;
    return 0;
}

int rtp_demux_set_section(struct rtp_demux *d, const struct rtp_demux_section *s)
{
    uint16_t const at = rtp_demux_section_index(d, s->id);
    if (bindings_reserve(d, ssrcs_with(d, s)) < 0) {
        return -ENOMEM;
    }
    if (at < d->section_count) {
        d->section[at] = *s;
        return 0;
    }
    if (d->section_count == RTP_DEMUX_SECTIONS) {
        return -ENOBUFS;
    }
    if (sections_reserve(d) < 0) {
        return -ENOMEM;
    }
    d->section[d->section_count++] = *s;
    return 0;
}

void rtp_demux_remove_section(struct rtp_demux *d, uint32_t id)
{
    uint16_t const at = rtp_demux_section_index(d, id);
    if (at == RTP_DEMUX_SECTIONS) {
        return;
    }
    for (uint16_t i = d->ssrc_count; i-- > 0;) {
        if (d->binding[i].section == at) {
            retire(d, d->binding[i].ssrc);
            d->binding[i] = d->binding[--d->ssrc_count];
        }
    }
    uint16_t const last = --d->section_count;
    for (uint16_t i = 0; i < d->ssrc_count; i++) {
        if (d->binding[i].section == last) {
            d->binding[i].section = at;
        }
    }
    d->section[at] = d->section[last];
    slots_fill(d);
}

static bool id_eq(const struct rtp_demux_id *id, struct bytes b)
{
    return id->len > 0 && bytes_eq(bytes_of(id->text, id->len), b);
}

static const struct rtp_demux_pt *pt_find(const struct rtp_demux_section *s, uint8_t pt)
{
    for (uint8_t i = 0; i < s->pt_count; i++) {
        if (s->pt[i].pt == pt) {
            return &s->pt[i];
        }
    }
    return NULL;
}

// ---- where does a packet of an unknown SSRC belong ------------------------------------------

struct target {
    const struct rtp_demux_section *section;
    uint8_t encoding;
};

static bool by_rid(const struct rtp_demux_section *s, struct bytes rid, struct target *t)
{
    for (uint8_t i = 0; i < s->rid_count; i++) {
        if (id_eq(&s->rid[i], rid)) {
            *t = (struct target){s, i};
            return true;
        }
    }
    return false;
}

// The section with this MID, NULL if there is none (yet).
static const struct rtp_demux_section *section_by_mid(const struct rtp_demux *d, struct bytes mid)
{
    for (uint16_t i = 0; i < d->section_count; i++) {
        if (id_eq(&d->section[i].mid, mid)) {
            return &d->section[i];
        }
    }
    return NULL;
}

// RID or repaired RID names the encoding (RFC 8853 section 5.5). One encoding needs no name; among
// several nothing can be told without.
static bool by_encoding_name(const struct rtp_demux *d, const struct rtp_header *h,
                             const struct rtp_demux_section *s, struct target *t)
{
    struct bytes rid;
    if (rtp_ext_find(h, d->ext.id[RTP_EXT_RRID], &rid) ||
        rtp_ext_find(h, d->ext.id[RTP_EXT_RID], &rid)) {
        if (by_rid(s, rid, t)) {
            return true;
        }
    }
    *t = (struct target){s, 0};
    return s->rid_count <= 1;
}

static bool by_declaration(const struct rtp_demux *d, uint32_t ssrc, struct target *t)
{
    for (uint16_t i = 0; i < d->section_count; i++) {
        const struct rtp_demux_section *const s = &d->section[i];
        for (uint8_t k = 0; k < MIN(s->declared_count, encoding_count(s)); k++) {
            if (s->declared[k].ssrc == ssrc || (s->declared[k].rtx_ssrc == ssrc && ssrc != 0)) {
                *t = (struct target){s, k};
                return true;
            }
        }
    }
    return false;
}

// Last resort: the payload type belongs to one section only, and that one has one encoding. Not if
// the sections name their SSRCs: then this one is nobody's yet.
static bool by_payload_type(const struct rtp_demux *d, uint8_t pt, struct target *t)
{
    unsigned found = 0;
    for (uint16_t i = 0; i < d->section_count; i++) {
        const struct rtp_demux_section *const s = &d->section[i];
        if (pt_find(s, pt)) {
            *t = (struct target){s, 0};
            found++;
        }
    }
    return found == 1 && t->section->rid_count <= 1 && t->section->declared_count == 0;
}

// RFC 8843 section 9.2: a packet that carries a MID belongs there or nowhere; then SSRCs of the
// SDP, then payload types.
static bool resolve(const struct rtp_demux *d, const struct rtp_header *h, struct target *t)
{
    struct bytes mid;
    if (rtp_ext_find(h, d->ext.id[RTP_EXT_MID], &mid)) {
        const struct rtp_demux_section *const s = section_by_mid(d, mid);
        return s &&
               (by_encoding_name(d, h, s, t) || (by_declaration(d, h->ssrc, t) && t->section == s));
    }
    return by_declaration(d, h->ssrc, t) || by_payload_type(d, h->pt, t);
}

static uint32_t ssrc_of(const struct rtp_demux *d, uint16_t section, uint8_t encoding, bool rtx)
{
    const struct rtp_demux_binding_ *const b = binding_of(d, section, encoding, rtx);
    return b ? b->ssrc : 0;
}

static void fill_route(const struct rtp_demux *d, const struct rtp_demux_binding_ *b,
                       const struct rtp_demux_pt *pt, struct rtp_demux_route *ret)
{
    const struct rtp_demux_section *const s = &d->section[b->section];
    *ret = (struct rtp_demux_route){
        .section_id = s->id,
        .section = b->section,
        .encoding = b->encoding,
        .rtx = b->rtx,
        .media_ssrc = b->ssrc,
    };
    if (b->rtx) {
        ret->media_ssrc = ssrc_of(d, b->section, b->encoding, false);
    }
    if (pt) {
        const struct rtp_demux_pt *const media = pt->codec == CODEC_RTX ? pt_find(s, pt->apt) : pt;
        ret->codec = media ? media->codec : CODEC_NONE;
        ret->media_pt = pt->codec == CODEC_RTX ? pt->apt : pt->pt;
    }
}

// Room for one more SSRC of this encoding: a new one takes the place of one that said goodbye or
// fell silent.
static bool make_room(struct rtp_demux *d, mono_t now, const struct target *t, bool rtx,
                      uint32_t *ret_replaced)
{
    struct rtp_demux_binding_ *const old =
        binding_of(d, (uint16_t)(t->section - d->section), t->encoding, rtx);
    if (old) {
        bool const live = mono_diff_us(now, old->last_seen) < RTP_DEMUX_SILENT_US;
        if (live && !old->stopped && !old->suspect) {
            return false;
        }
        *ret_replaced = old->ssrc;
        binding_remove(d, old);
    }
    return d->ssrc_count < d->ssrc_cap;
}

static enum rtp_demux_result bind_new(struct rtp_demux *d, mono_t now, const struct rtp_header *h,
                                      struct rtp_demux_route *ret)
{
    struct target t = {NULL, 0};
    if (!resolve(d, h, &t)) {
        return RTP_DEMUX_UNKNOWN;
    }
    const struct rtp_demux_pt *const pt = pt_find(t.section, h->pt);
    if (!pt) {
        return RTP_DEMUX_UNKNOWN_PT;
    }
    bool const rtx = pt->codec == CODEC_RTX;
    uint32_t replaced = 0;
    if (!make_room(d, now, &t, rtx, &replaced)) {
        return RTP_DEMUX_FULL;
    }
    uint16_t const index = d->ssrc_count++;
    d->binding[index] = (struct rtp_demux_binding_){
        .ssrc = h->ssrc,
        .section = (uint16_t)(t.section - d->section),
        .encoding = t.encoding,
        .rtx = rtx,
        .suspect = is_retired(d, h->ssrc),
        .last_seen = now,
    };
    slot_enter(d, index);
    fill_route(d, &d->binding[index], pt, ret);
    ret->replaced = replaced;
    return RTP_DEMUX_BOUND;
}

enum rtp_demux_result rtp_demux_packet(struct rtp_demux *d, mono_t now, const struct rtp_header *h,
                                       struct rtp_demux_route *ret)
{
    if (h->ssrc == 0) {
        return RTP_DEMUX_PROBE;
    }
    struct rtp_demux_binding_ *const b = binding_find(d, h->ssrc);
    if (!b) {
        return bind_new(d, now, h, ret);
    }
    b->last_seen = now;
    const struct rtp_demux_pt *const pt = pt_find(&d->section[b->section], h->pt);
    // Media and RTX do not share an SSRC (RFC 4588 section 4: session or SSRC multiplexing).
    if (!pt || (pt->codec == CODEC_RTX) != b->rtx) {
        return RTP_DEMUX_UNKNOWN_PT;
    }
    b->stopped = false;
    fill_route(d, b, pt, ret);
    return RTP_DEMUX_KNOWN;
}

void rtp_demux_bye(struct rtp_demux *d, uint32_t ssrc)
{
    struct rtp_demux_binding_ *const b = ssrc != 0 ? binding_find(d, ssrc) : NULL;
    if (b) {
        b->stopped = true;
    }
}

bool rtp_demux_find(const struct rtp_demux *d, uint32_t ssrc, struct rtp_demux_route *ret)
{
    const struct rtp_demux_binding_ *const b = ssrc != 0 ? binding_find(d, ssrc) : NULL;
    if (!b) {
        return false;
    }
    fill_route(d, b, NULL, ret);
    return true;
}

uint32_t rtp_demux_ssrc_of(const struct rtp_demux *d, uint32_t section_id, uint8_t encoding,
                           bool rtx)
{
    uint16_t const section = rtp_demux_section_index(d, section_id);
    return section < d->section_count ? ssrc_of(d, section, encoding, rtx) : 0;
}

// ---- packets that came before their SDP -----------------------------------------------------

static void held_remove(struct rtp_demux *d, size_t at)
{
    d->held_count--;
    memmove(&d->held[at], &d->held[at + 1], (d->held_count - at) * sizeof(d->held[0]));
}

static void held_expire(struct rtp_demux *d, mono_t now)
{
    while (d->held_count > 0 && mono_diff_us(now, d->held[0]->arrival) > RTP_DEMUX_HOLD_US) {
        packet_unref(d->held[0]);
        held_remove(d, 0);
        d->held_dropped++;
    }
}

static uint32_t ssrc_in(const struct packet *p)
{
    struct rtp_header h;
    return rtp_parse(packet_bytes(p), &h) == 0 ? h.ssrc : 0;
}

void rtp_demux_hold(struct rtp_demux *d, mono_t now, struct packet *p)
{
    held_expire(d, now);
    uint32_t const ssrc = ssrc_in(p);
    unsigned same = 0;
    for (size_t i = 0; i < d->held_count; i++) {
        same += ssrc_in(d->held[i]) == ssrc;
    }
    if (ssrc == 0 || is_retired(d, ssrc) || same >= RTP_DEMUX_HELD_PER_SSRC ||
        d->held_count == RTP_DEMUX_HELD) {
        d->held_dropped++;
        return;
    }
    d->held[d->held_count++] = packet_ref(p);
}

struct packet *rtp_demux_take_held(struct rtp_demux *d, mono_t now)
{
    held_expire(d, now);
    for (size_t i = 0; i < d->held_count; i++) {
        struct packet *const p = d->held[i];
        struct rtp_header h;
        struct target t;
        if (rtp_parse(packet_bytes(p), &h) == 0 &&
            (binding_find(d, h.ssrc) || resolve(d, &h, &t))) {
            held_remove(d, i);
            return p;
        }
    }
    return NULL;
}

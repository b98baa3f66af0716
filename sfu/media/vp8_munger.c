// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/vp8_munger.h"

#include <string.h>

#define PICTURE_MASK_15 0x7fffu
#define PICTURE_MASK_7 0x7fu
#define KEY_IDX_MASK 0x1fu

void vp8_munger_init(struct vp8_munger *m)
{
    memset(m, 0, sizeof(*m));
}

void vp8_munger_switch(struct vp8_munger *m)
{
    m->started = false;
    memset(m->pictures, 0, sizeof(m->pictures));
}

// The extended picture number nearest to the highest one. 7-bit numbers wrap at 128, 15-bit ones at
// 32768.
static int32_t extend_picture(const struct vp8_munger *m, const struct vp8_desc *d)
{
    uint32_t const mask = d->picture_id_15 ? PICTURE_MASK_15 : PICTURE_MASK_7;
    uint32_t const half = (mask + 1) / 2;
    uint32_t const ahead = ((uint32_t)d->picture_id - (uint32_t)m->highest_picture) & mask;
    return ahead < half ? m->highest_picture + (int32_t)ahead
                        : m->highest_picture - (int32_t)(mask + 1 - ahead);
}

static struct vp8_munger_picture *slot_of(struct vp8_munger *m, int32_t id)
{
    return &m->pictures[(uint32_t)id % VP8_MUNGER_PICTURES];
}

static struct vp8_munger_picture *find_picture(struct vp8_munger *m, int32_t id)
{
    struct vp8_munger_picture *const p = slot_of(m, id);
    return p->used && p->id == id ? p : NULL;
}

static struct vp8_munger_picture *add_picture(struct vp8_munger *m, int32_t id)
{
    struct vp8_munger_picture *const p = slot_of(m, id);
    if (!p->used || p->id != id) {
        *p = (struct vp8_munger_picture){.id = id, .used = true};
    }
    return p;
}

// Sets the offsets by the first packet of a source: each counter goes on behind its last outgoing
// value, or keeps its own values if nothing was sent before.
static void start(struct vp8_munger *m, const struct vp8_desc *d)
{
    m->started = true;
    m->highest_picture = d->picture_id;
    if (!m->has_out) {
        m->picture_offset = 0;
        m->tl0_offset = 0;
        m->key_idx_offset = 0;
        return;
    }
    m->picture_offset = (uint16_t)((unsigned)d->picture_id - m->last_picture - 1u);
    m->tl0_offset = (uint8_t)((unsigned)d->tl0_pic_idx - m->last_tl0 - 1u);
    m->key_idx_offset = (uint8_t)((unsigned)d->key_idx - m->last_key_idx - 1u);
}

static void rewrite(const struct vp8_munger *m, const struct vp8_desc *d, int32_t picture,
                    uint16_t offset, struct vp8_desc *ret)
{
    *ret = *d;
    ret->picture_id_15 = d->has_picture_id;
    ret->picture_id = (uint16_t)(((uint32_t)picture - offset) & PICTURE_MASK_15);
    ret->tl0_pic_idx = (uint8_t)((unsigned)d->tl0_pic_idx - m->tl0_offset);
    ret->key_idx = (uint8_t)(((unsigned)d->key_idx - m->key_idx_offset) & KEY_IDX_MASK);
}

// Every picture from the newest one to this one may own the lost packets.
static void note_gap(struct vp8_munger *m, int32_t picture)
{
    int32_t first = m->highest_picture;
    if (picture - first >= (int32_t)VP8_MUNGER_PICTURES) {
        first = picture - (int32_t)VP8_MUNGER_PICTURES + 1;
    }
    for (int32_t id = first; id <= picture; id++) {
        struct vp8_munger_picture *const p = add_picture(m, id);
        if (!p->dropped) {
            p->missing = true;
            p->offset = m->picture_offset;
        }
    }
}

// True if the packet of a too high temporal layer is to be left out.
static bool filter(struct vp8_munger *m, int32_t picture, enum rtp_munger_place place)
{
    struct vp8_munger_picture *const p = add_picture(m, picture);
    if (p->exempt) {
        return false;
    }
    if (p->dropped) {
        return true;
    }
    // Behind a gap, or in the middle of a picture that was begun (the limit was lowered there): all
    // of it is sent.
    if (place == RTP_MUNGER_GAP || picture <= m->highest_picture) {
        p->exempt = true;
        return false;
    }
    p->dropped = true;
    m->picture_offset++;
    return true;
}

static enum vp8_munger_result late(struct vp8_munger *m, const struct vp8_desc *d, int32_t picture,
                                   struct vp8_desc *ret)
{
    const struct vp8_munger_picture *const p = find_picture(m, picture);
    if (!p || !p->missing) {
        return VP8_MUNGER_LATE;
    }
    rewrite(m, d, picture, p->offset, ret);
    return VP8_MUNGER_SEND;
}

enum vp8_munger_result vp8_munger_packet(struct vp8_munger *m, const struct vp8_desc *d,
                                         enum rtp_munger_place place, uint8_t max_temporal,
                                         struct vp8_desc *ret_desc)
{
    if (UNLIKELY(!m->started)) {
        start(m, d);
        m->highest_picture -= 1; // so that the first picture counts as new
    }
    if (UNLIKELY(!d->has_picture_id)) {
        // Nothing to map late packets by, and nothing that would show a picture left out: only
        // counters are rewritten.
        rewrite(m, d, 0, 0, ret_desc);
        m->has_out = true;
        m->last_tl0 = place == RTP_MUNGER_LATE ? m->last_tl0 : ret_desc->tl0_pic_idx;
        m->last_key_idx = place == RTP_MUNGER_LATE ? m->last_key_idx : ret_desc->key_idx;
        return VP8_MUNGER_SEND;
    }
    int32_t const picture = extend_picture(m, d);
    if (UNLIKELY(place == RTP_MUNGER_LATE)) {
        return late(m, d, picture, ret_desc);
    }
    if (UNLIKELY(place == RTP_MUNGER_GAP)) {
        note_gap(m, picture);
    }
    if (d->has_tid && d->tid > max_temporal && filter(m, picture, place)) {
        bool const same = picture == m->highest_picture && place == RTP_MUNGER_GAP;
        m->highest_picture = MAX(picture, m->highest_picture);
        return same ? VP8_MUNGER_LEAVE_OUT_GAP : VP8_MUNGER_LEAVE_OUT;
    }
    rewrite(m, d, picture, m->picture_offset, ret_desc);
    m->highest_picture = MAX(picture, m->highest_picture);
    m->has_out = true;
    m->last_picture = ret_desc->picture_id;
    m->last_tl0 = ret_desc->tl0_pic_idx;
    m->last_key_idx = ret_desc->key_idx;
    return VP8_MUNGER_SEND;
}

bool vp8_munger_gap_was_left_out(struct vp8_munger *m, const struct vp8_desc *d)
{
    if (!m->started || !d->has_picture_id || !d->start || d->pid != 0) {
        return false;
    }
    const struct vp8_munger_picture *const p = find_picture(m, m->highest_picture);
    return p && p->dropped && extend_picture(m, d) == m->highest_picture + 1;
}

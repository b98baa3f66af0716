// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/vp8.h"

#define VP8_X 0x80u
#define VP8_N 0x20u
#define VP8_S 0x10u
#define VP8_I 0x80u
#define VP8_L 0x40u
#define VP8_T 0x20u
#define VP8_K 0x10u
#define VP8_M 0x80u
#define VP8_DIMENSION_MASK 0x3fffu // the upper two bits are the scale (RFC 6386 section 9.1)

int vp8_desc_parse(struct bytes payload, struct vp8_desc *ret)
{
    struct rd r = rd_init(payload);
    struct vp8_desc d = {0};
    uint8_t const b0 = rd_u8(&r);
    d.non_ref = (b0 & VP8_N) != 0;
    d.start = (b0 & VP8_S) != 0;
    d.pid = b0 & 7u;
    uint8_t const x = b0 & VP8_X ? rd_u8(&r) : 0;
    if (x & VP8_I) {
        d.has_picture_id = true;
        d.picture_id = rd_u8(&r);
        if (d.picture_id & VP8_M) {
            d.picture_id_15 = true;
            d.picture_id = (uint16_t)(((d.picture_id & 0x7fu) << 8) | rd_u8(&r));
        }
    }
    if (x & VP8_L) {
        d.has_tl0 = true;
        d.tl0_pic_idx = rd_u8(&r);
    }
    if (x & (VP8_T | VP8_K)) {
        uint8_t const b = rd_u8(&r);
        d.has_tid = (x & VP8_T) != 0;
        d.has_key_idx = (x & VP8_K) != 0;
        d.tid = d.has_tid ? b >> 6 : 0;
        d.layer_sync = d.has_tid && (b & 0x20u) != 0;
        d.key_idx = d.has_key_idx ? b & 0x1fu : 0;
    }
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    d.len = (uint8_t)(payload.n - rd_left(&r));
    *ret = d;
    return 0;
}

int vp8_parse(struct bytes payload, struct vp8_info *ret)
{
    struct vp8_info v = {0};
    int const err = vp8_desc_parse(payload, &v.desc);
    if (err) {
        return err;
    }
    struct rd r = rd_init(bytes_of(payload.p + v.desc.len, payload.n - v.desc.len));
    if (rd_left(&r) == 0) {
        return -EBADMSG;
    }
    v.frame_start = v.desc.start && v.desc.pid == 0;
    // Frame tag (RFC 6386 section 9.1): three bytes, lowest bit 0 = key frame; then start code and
    // dimensions.
    v.key_frame = v.frame_start && (rd_peek_u8(&r) & 1u) == 0;
    if (v.key_frame) {
        rd_skip(&r, 3);
        uint32_t const start_code = rd_be24(&r);
        unsigned const w0 = rd_u8(&r);
        unsigned const w1 = rd_u8(&r);
        unsigned const h0 = rd_u8(&r);
        unsigned const h1 = rd_u8(&r);
        if (rd_ok(&r) && start_code == 0x9d012au) {
            v.width = (uint16_t)((w0 | w1 << 8) & VP8_DIMENSION_MASK);
            v.height = (uint16_t)((h0 | h1 << 8) & VP8_DIMENSION_MASK);
        }
    }
    *ret = v;
    return 0;
}

void vp8_desc_write(struct wr *w, const struct vp8_desc *d)
{
    unsigned const x = (d->has_picture_id ? VP8_I : 0u) | (d->has_tl0 ? VP8_L : 0u) |
                       (d->has_tid ? VP8_T : 0u) | (d->has_key_idx ? VP8_K : 0u);
    wr_u8(w, (uint8_t)((x ? VP8_X : 0u) | (d->non_ref ? VP8_N : 0u) | (d->start ? VP8_S : 0u) |
                       (d->pid & 7u)));
    if (x == 0) {
        return;
    }
    wr_u8(w, (uint8_t)x);
    if (d->has_picture_id) {
        if (d->picture_id_15) {
            wr_be16(w, (uint16_t)(0x8000u | (d->picture_id & 0x7fffu)));
        } else {
            wr_u8(w, d->picture_id & 0x7fu);
        }
    }
    if (d->has_tl0) {
        wr_u8(w, d->tl0_pic_idx);
    }
    if (d->has_tid || d->has_key_idx) {
        unsigned const t = d->has_tid ? ((d->tid & 3u) << 6) | (d->layer_sync ? 0x20u : 0u) : 0u;
        wr_u8(w, (uint8_t)(t | (d->has_key_idx ? d->key_idx & 0x1fu : 0u)));
    }
}

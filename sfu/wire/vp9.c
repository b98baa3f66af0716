// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/vp9.h"

#define VP9_I 0x80u
#define VP9_P 0x40u
#define VP9_L 0x20u
#define VP9_F 0x10u
#define VP9_B 0x08u
#define VP9_E 0x04u
#define VP9_V 0x02u
#define VP9_Z 0x01u

// Scalability structure (RFC 9628 section 4.2.1): |N_S|Y|G|-|-|-|, resolutions, group of pictures.
static void read_ss(struct rd *r, struct vp9_desc *d)
{
    uint8_t const b = rd_u8(r);
    d->has_ss = true;
    d->ss_spatial_count = (uint8_t)((b >> 5) + 1u);
    d->ss_has_resolution = (b & 0x10u) != 0;
    if (d->ss_has_resolution) {
        for (unsigned i = 0; i < d->ss_spatial_count; i++) {
            d->ss_width[i] = rd_be16(r);
            d->ss_height[i] = rd_be16(r);
        }
    }
    if (b & 0x08u) {
        d->ss_pictures = rd_u8(r);
        for (unsigned i = 0; i < d->ss_pictures; i++) {
            rd_skip(r, (rd_u8(r) >> 2) & 3u); // R: that many P_DIFF bytes follow
        }
    }
}

static void read_references(struct rd *r, struct vp9_desc *d)
{
    bool more = true;
    while (more) {
        uint8_t const b = rd_u8(r);
        if (d->pdiff_count == VP9_PDIFF_MAX) {
            rd_fail(r);
            return;
        }
        d->pdiff[d->pdiff_count++] = b >> 1;
        more = (b & 1u) != 0;
    }
}

int vp9_parse(struct bytes payload, struct vp9_desc *ret)
{
    struct rd r = rd_init(payload);
    uint8_t const b0 = rd_u8(&r);
    struct vp9_desc d = {
        .inter = (b0 & VP9_P) != 0,
        .flexible = (b0 & VP9_F) != 0,
        .start = (b0 & VP9_B) != 0,
        .end = (b0 & VP9_E) != 0,
        .not_ref_for_upper = (b0 & VP9_Z) != 0,
        .has_picture_id = (b0 & VP9_I) != 0,
        .has_layer = (b0 & VP9_L) != 0,
    };
    if (d.has_picture_id) {
        d.picture_id = rd_u8(&r);
        if (d.picture_id & 0x80u) {
            d.picture_id_15 = true;
            d.picture_id = (uint16_t)(((d.picture_id & 0x7fu) << 8) | rd_u8(&r));
        }
    }
    if (d.has_layer) {
        uint8_t const b = rd_u8(&r);
        d.tid = b >> 5;
        d.switch_up = (b & 0x10u) != 0;
        d.sid = (b >> 1) & 7u;
        d.inter_layer = (b & 1u) != 0;
        if (!d.flexible) {
            d.has_tl0 = true;
            d.tl0_pic_idx = rd_u8(&r);
        }
    }
    if (d.flexible && d.inter) {
        read_references(&r, &d);
    }
    if (b0 & VP9_V) {
        read_ss(&r, &d);
    }
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    d.len = (uint16_t)(payload.n - rd_left(&r));
    d.key_frame = !d.inter && d.start && d.sid == 0;
    *ret = d;
    return 0;
}

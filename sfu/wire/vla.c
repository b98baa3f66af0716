// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/vla.h"

// Base-128 number, at most 32 bits.
static uint32_t read_leb128(struct rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t const b = rd_u8(r);
        v |= (uint64_t)(b & 0x7fu) << shift;
        if ((b & 0x80u) == 0) {
            if (v > UINT32_MAX) {
                break;
            }
            return (uint32_t)v;
        }
    }
    rd_fail(r);
    return 0;
}

// Fields of 2 or 4 bits packed from the upper end, each run of them padded to a whole byte.
struct packed {
    struct rd *r;
    uint8_t byte;
    unsigned bits_left;
};

static uint8_t packed_next(struct packed *p, unsigned bits)
{
    if (p->bits_left == 0) {
        p->byte = rd_u8(p->r);
        p->bits_left = 8;
    }
    p->bits_left -= bits;
    return (uint8_t)(((unsigned)p->byte >> p->bits_left) & ((1u << bits) - 1u));
}

static void read_resolutions(struct rd *r, struct vla *v)
{
    for (unsigned s = 0; s < v->stream_count; s++) {
        for (unsigned l = 0; l < VLA_SPATIAL_MAX; l++) {
            struct vla_layer *const layer = &v->layer[s][l];
            if (layer->active) {
                uint32_t const width = rd_be16(r) + 1u;
                uint32_t const height = rd_be16(r) + 1u;
                layer->width = (uint16_t)MIN(width, UINT16_MAX);
                layer->height = (uint16_t)MIN(height, UINT16_MAX);
                layer->fps = rd_u8(r);
            }
        }
    }
}

int vla_parse(struct bytes data, struct vla *ret)
{
    struct rd r = rd_init(data);
    struct vla v = {0};
    uint8_t const b0 = rd_u8(&r);
    if (rd_ok(&r) && b0 == 0 && rd_left(&r) == 0) {
        *ret = v;
        return 0;
    }
    v.rid_index = b0 >> 6;
    v.stream_count = (uint8_t)(((b0 >> 4) & 3u) + 1u);
    uint8_t const shared = b0 & 0x0f;
    struct packed masks = {.r = &r};
    for (unsigned s = 0; s < v.stream_count; s++) {
        unsigned const mask = shared != 0 ? shared : packed_next(&masks, 4);
        for (unsigned l = 0; l < VLA_SPATIAL_MAX; l++) {
            v.layer[s][l].active = (mask >> l & 1u) != 0;
        }
    }
    struct packed counts = {.r = &r};
    for (unsigned i = 0; i < v.stream_count * VLA_SPATIAL_MAX; i++) {
        struct vla_layer *const layer = &v.layer[i / VLA_SPATIAL_MAX][i % VLA_SPATIAL_MAX];
        layer->temporal_count = layer->active ? (uint8_t)(packed_next(&counts, 2) + 1u) : 0;
    }
    for (unsigned i = 0; i < v.stream_count * VLA_SPATIAL_MAX; i++) {
        struct vla_layer *const layer = &v.layer[i / VLA_SPATIAL_MAX][i % VLA_SPATIAL_MAX];
        for (unsigned t = 0; t < layer->temporal_count; t++) {
            layer->kbps[t] = read_leb128(&r);
        }
    }
    if (rd_ok(&r) && rd_left(&r) > 0) {
        v.has_resolution = true;
        read_resolutions(&r, &v);
    }
    if (!rd_ok(&r) || v.rid_index >= v.stream_count) {
        return -EBADMSG;
    }
    *ret = v;
    return 0;
}

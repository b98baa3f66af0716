// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/av1.h"

// Length of an OBU element: LEB128 of at most eight bytes; more than 32 bits cannot be in a packet.
static size_t read_leb128(struct rd *r)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t const b = rd_u8(r);
        v |= (uint64_t)(b & 0x7fu) << (7 * i);
        if ((b & 0x80u) == 0) {
            if (v > UINT32_MAX) {
                break;
            }
            return (size_t)v;
        }
    }
    rd_fail(r);
    return 0;
}

// OBU header (AV1 section 5.3.2): forbidden 1, type 4, extension 1, has_size 1, reserved 1.
static void read_obu_header(struct rd *r, struct av1_info *v)
{
    uint8_t const b = rd_u8(r);
    if (b & 0x80u) {
        rd_fail(r);
        return;
    }
    v->has_obu = true;
    v->obu_type = (b >> 3) & 0x0fu;
    v->has_layer = (b & 0x04u) != 0;
    if (v->has_layer) {
        uint8_t const ext = rd_u8(r);
        v->tid = ext >> 5;
        v->sid = (ext >> 3) & 3u;
    }
}

int av1_parse(struct bytes payload, struct av1_info *ret)
{
    struct rd r = rd_init(payload);
    uint8_t const b0 = rd_u8(&r);
    struct av1_info v = {
        .continues_first = (b0 & 0x80u) != 0,
        .last_continues = (b0 & 0x40u) != 0,
        .element_count = (b0 >> 4) & 3u,
        .new_sequence = (b0 & 0x08u) != 0,
    };
    // The last element has no length when W counts the elements.
    struct rd element = r;
    if (v.element_count != 1) {
        size_t const len = read_leb128(&r);
        element = rd_sub(&r, len);
    }
    if (rd_left(&element) == 0) {
        return -EBADMSG;
    }
    if (!v.continues_first) {
        read_obu_header(&element, &v);
    }
    if (!rd_ok(&r) || !rd_ok(&element) || (v.new_sequence && v.continues_first)) {
        return -EBADMSG;
    }
    v.key_frame = v.new_sequence;
    *ret = v;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/h265.h"

// Two-byte NAL header (RFC 7798 section 1.1.4): F 1, Type 6, LayerId 6, TID 3.
#define NAL_TYPE(h) (((h) >> 9) & 0x3fu)

static bool is_key(unsigned type)
{
    return (type >= H265_NAL_IRAP_FIRST && type <= H265_NAL_IRAP_LAST) ||
           (type >= H265_NAL_VPS && type <= H265_NAL_PPS);
}

int h265_parse(struct bytes payload, struct h265_info *ret)
{
    struct rd r = rd_init(payload);
    unsigned const header = rd_be16(&r);
    if (!rd_ok(&r) || header >> 15 != 0 || (header & 7u) == 0) {
        return -EBADMSG;
    }
    struct h265_info v = {
        .nal_type = (uint8_t)NAL_TYPE(header),
        .tid = (uint8_t)((header & 7u) - 1u),
        .nal_start = true,
    };
    v.inner_type = v.nal_type;
    v.key_frame = is_key(v.nal_type);
    if (v.nal_type == H265_NAL_FU) {
        uint8_t const fu = rd_u8(&r);
        v.inner_type = fu & 0x3fu;
        v.nal_start = (fu & 0x80u) != 0;
        v.key_frame = v.nal_start && is_key(v.inner_type);
    } else if (v.nal_type == H265_NAL_AP) {
        while (rd_ok(&r) && rd_left(&r) > 0) {
            struct rd nal = rd_sub(&r, rd_be16(&r));
            bool const key = is_key(NAL_TYPE((unsigned)rd_be16(&nal)));
            if (!rd_ok(&nal)) {
                rd_fail(&r);
            }
            v.key_frame = v.key_frame || key;
        }
    }
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    *ret = v;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/h264.h"

#define NAL_FORBIDDEN 0x80u
#define NAL_TYPE_MASK 0x1fu
#define FU_START 0x80u

static void note(struct h264_info *v, uint8_t type)
{
    v->idr = v->idr || type == H264_NAL_IDR;
    v->sps = v->sps || type == H264_NAL_SPS;
}

// Aggregation units: a 16-bit size before each NAL, and `skip` bytes of decoding order and
// timestamp after it. Only the first byte of each NAL matters: a unit that claims more than there
// is still says what it is.
static void read_aggregate(struct rd *r, struct h264_info *v, size_t skip)
{
    while (rd_ok(r) && rd_left(r) > 0) {
        size_t const len = rd_be16(r);
        rd_skip(r, skip);
        uint8_t const type = rd_peek_u8(r) & NAL_TYPE_MASK;
        if (len == 0 || !rd_ok(r)) {
            rd_fail(r);
        } else {
            note(v, type);
            rd_skip(r, MIN(len, rd_left(r)));
        }
    }
}

int h264_parse(struct bytes payload, struct h264_info *ret)
{
    struct rd r = rd_init(payload);
    uint8_t const b0 = rd_u8(&r);
    struct h264_info v = {.nal_type = b0 & NAL_TYPE_MASK, .nal_start = true};
    v.inner_type = v.nal_type;
    if (!rd_ok(&r) || (b0 & NAL_FORBIDDEN)) {
        return -EBADMSG;
    }
    switch (v.nal_type) {
    case H264_NAL_STAP_A:
        read_aggregate(&r, &v, 0);
        break;
    case H264_NAL_STAP_B:
        rd_skip(&r, 2); // decoding order number
        read_aggregate(&r, &v, 0);
        break;
    case H264_NAL_MTAP16:
    case H264_NAL_MTAP24:
        rd_skip(&r, 2);
        read_aggregate(&r, &v, v.nal_type == H264_NAL_MTAP16 ? 3 : 4);
        break;
    case H264_NAL_FU_A:
    case H264_NAL_FU_B: {
        uint8_t const fu = rd_u8(&r);
        v.inner_type = fu & NAL_TYPE_MASK;
        v.nal_start = (fu & FU_START) != 0;
        if (v.nal_start) {
            note(&v, v.inner_type);
        }
        break;
    }
    case 0:
    case 30:
    case 31:
        return -EBADMSG; // RFC 6184 table 1: undefined or reserved
    default:
        note(&v, v.nal_type);
        break;
    }
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    v.key_frame = v.idr || v.sps;
    *ret = v;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an SFU needs of H.264 payloads (RFC 6184): whether a packet belongs to a key frame and
// starts a NAL unit. NAL headers stay clear under end-to-end encryption. Pure.

#include "common/base/bytes.h"

enum h264_nal {
    H264_NAL_SLICE = 1,
    H264_NAL_IDR = 5,
    H264_NAL_SEI = 6,
    H264_NAL_SPS = 7,
    H264_NAL_PPS = 8,
    H264_NAL_AUD = 9,
    H264_NAL_STAP_A = 24,
    H264_NAL_STAP_B = 25,
    H264_NAL_MTAP16 = 26,
    H264_NAL_MTAP24 = 27,
    H264_NAL_FU_A = 28,
    H264_NAL_FU_B = 29,
};

struct h264_info {
    uint8_t nal_type;   // of the payload: 1..23, or an aggregation or fragment type
    uint8_t inner_type; // fragments: type of the fragmented NAL; else as nal_type
    bool nal_start;     // false for the later fragments of a fragmented NAL
    bool idr;           // holds (the start of) an IDR slice
    bool sps;           // holds a sequence parameter set
    bool key_frame; // idr or sps: a decoder may start here. Several packets of one key frame may
                    // say so.
};

// -EBADMSG: empty, forbidden bit, no NAL header where a fragment or an aggregation should have one,
// type 0, 30 or 31.
int h264_parse(struct bytes payload, struct h264_info *ret) NODISCARD;

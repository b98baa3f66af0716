// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an SFU needs of H.265 payloads (RFC 7798): key frame test and temporal id. Pure.

#include "common/base/bytes.h"

enum h265_nal {
    H265_NAL_IRAP_FIRST = 16, // BLA_W_LP ... RSV_IRAP_VCL23
    H265_NAL_IRAP_LAST = 23,
    H265_NAL_VPS = 32,
    H265_NAL_SPS = 33,
    H265_NAL_PPS = 34,
    H265_NAL_AP = 48,
    H265_NAL_FU = 49,
    H265_NAL_PACI = 50,
};

struct h265_info {
    uint8_t nal_type;
    uint8_t inner_type;
    uint8_t tid; // nuh_temporal_id_plus1 - 1
    bool nal_start;
    bool key_frame; // IRAP slice or parameter set
};

// -EBADMSG: short, forbidden bit, temporal id 0 (plus1), cut off unit.
int h265_parse(struct bytes payload, struct h265_info *ret) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// VP9 payload descriptor (RFC 9628 section 4.2). The frame itself is never read: under end-to-end
// encryption none of it is clear. Pure.
//
//   |I|P|L|F|B|E|V|Z|
//   |M| PICTURE ID  |   if I; 15 bits if M
//   | TID |U| SID |D|   if L
//   |   TL0PICIDX   |   if L and not F
//   | P_DIFF      |N|   if F and P, up to three
//   | SS ...            if V

#include "common/base/bytes.h"

#define VP9_SPATIAL_MAX 8u
#define VP9_PDIFF_MAX 3u

struct vp9_desc {
    uint16_t len;           // bytes of the descriptor
    bool inter;             // P: predicted from an earlier picture
    bool flexible;          // F
    bool start;             // B: start of a (layer) frame
    bool end;               // E: end of a (layer) frame
    bool not_ref_for_upper; // Z
    bool has_picture_id;
    bool picture_id_15;
    uint16_t picture_id;
    bool has_layer; // L
    uint8_t tid;
    uint8_t sid;
    bool switch_up;   // U
    bool inter_layer; // D
    bool has_tl0;
    uint8_t tl0_pic_idx;
    uint8_t pdiff_count;
    uint8_t pdiff[VP9_PDIFF_MAX];
    bool has_ss;              // V: scalability structure
    uint8_t ss_spatial_count; // 1..8
    bool ss_has_resolution;
    uint16_t ss_width[VP9_SPATIAL_MAX];
    uint16_t ss_height[VP9_SPATIAL_MAX];
    uint8_t ss_pictures; // N_G
    bool key_frame;      // first packet of a key picture: not P, B, and lowest spatial layer
};

// -EBADMSG: cut off, or more than three reference indices.
int vp9_parse(struct bytes payload, struct vp9_desc *ret) NODISCARD;

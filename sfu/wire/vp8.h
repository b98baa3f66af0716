// SPDX-License-Identifier: Apache-2.0
#pragma once
// VP8 payload descriptor (RFC 7741 section 4.2) and frame header (section 4.3). Pure.
//
//   |X|R|N|S|R| PID |   required
//   |I|L|T|K| RSV   |   if X
//   |M| PictureID   |   if I; 15 bits if M
//   |   TL0PICIDX   |   if L
//   |TID|Y| KEYIDX  |   if T or K
//
// Works on end-to-end encrypted media as well: livekit-client leaves the first 10 (key frame) or 3
// bytes of a frame clear.

#include "common/base/bytes.h"

#define VP8_DESC_MAX 6u // longest descriptor

struct vp8_desc {
    uint8_t len;  // bytes of the descriptor
    bool non_ref; // N: may be dropped without harm to other frames
    bool start;   // S: start of a partition
    uint8_t pid;  // partition, 3 bits
    bool has_picture_id;
    bool picture_id_15; // written in 15 bits
    uint16_t picture_id;
    bool has_tl0;
    uint8_t tl0_pic_idx;
    bool has_tid;
    uint8_t tid;     // 2 bits
    bool layer_sync; // Y
    bool has_key_idx;
    uint8_t key_idx; // 5 bits
};

struct vp8_info {
    struct vp8_desc desc;
    bool frame_start; // S and PID 0: first packet of a frame
    bool key_frame;   // frame_start and the frame tag says key
    uint16_t width;   // of key frames whose start code is intact, else 0
    uint16_t height;
};

// -EBADMSG: descriptor cut off.
int vp8_desc_parse(struct bytes payload, struct vp8_desc *ret) NODISCARD;

// Descriptor and what can be seen of the frame. -EBADMSG: descriptor cut off, or nothing after it.
int vp8_parse(struct bytes payload, struct vp8_info *ret) NODISCARD;

// Writes d (d->len is ignored). X is left out if there is no optional field.
void vp8_desc_write(struct wr *w, const struct vp8_desc *d);

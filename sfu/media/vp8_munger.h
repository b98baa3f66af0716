// SPDX-License-Identifier: Apache-2.0
#pragma once
// VP8 payload descriptor of a down track (RFC 7741 section 4.2): continuous PictureID, TL0PICIDX
// and KEYIDX over layer switches, and the temporal filter.
//
// The three counters run per encoding, so each has an offset that is set anew at a source switch.
// Dropping a picture of a higher temporal layer closes the PictureIDs up (TL0PICIDX counts base
// pictures only and is not touched). A gap in the sequence numbers makes the filter careful: which
// picture the lost packets belong to is unknown, so the packet behind the gap is sent whatever its
// layer, and every picture that may have lost packets keeps its offset for the late ones.
//
// The outgoing PictureID is always written in 15 bits: its length then never changes within a
// stream. Only the descriptor changes, so end-to-end encrypted frames stay intact (media-plane
// 4.7).
//
// Pure. Upstream: livekit pkg/sfu/codecmunger/vp8.go @788d4c35 (there three maps of 50, 20 and 20
// pictures; here one ring of 64).

#include "sfu/media/rtp_munger.h"
#include "sfu/wire/vp8.h"

// Pictures remembered: 2 s at 30 fps, more than a history. A power of two.
#define VP8_MUNGER_PICTURES 64u

struct vp8_munger_picture {
    int32_t id; // extended, incoming
    uint16_t offset;
    bool used : 1;
    bool missing : 1; // late packets of it may come: use offset
    bool dropped : 1; // left out as a whole
    bool exempt : 1;  // sent although of a too high layer
};

struct vp8_munger {
    bool started; // offsets are set
    bool has_out; // the last_* values are set
    uint16_t picture_offset;
    uint8_t tl0_offset;
    uint8_t key_idx_offset;
    int32_t highest_picture; // extended, incoming
    uint16_t last_picture;   // outgoing
    uint8_t last_tl0;
    uint8_t last_key_idx;
    struct vp8_munger_picture pictures[VP8_MUNGER_PICTURES];
};

enum vp8_munger_result {
    VP8_MUNGER_SEND,
    VP8_MUNGER_LEAVE_OUT,     // temporal layer: not sent, numbers close up
    VP8_MUNGER_LEAVE_OUT_GAP, // likewise, and so are the lost packets before it: they are of the
                              // same picture
    VP8_MUNGER_LATE,          // late packet of a picture that was left out or is forgotten
};

void vp8_munger_init(struct vp8_munger *m);

// The next packet comes from another source (or after a pause): its values become the successors of
// the last ones sent.
void vp8_munger_switch(struct vp8_munger *m);

// One packet of the current source. d: its descriptor; place: NEXT, GAP or LATE; max_temporal:
// highest layer to send. With SEND *ret_desc is the descriptor to write.
enum vp8_munger_result vp8_munger_packet(struct vp8_munger *m, const struct vp8_desc *d,
                                         enum rtp_munger_place place, uint8_t max_temporal,
                                         struct vp8_desc *ret_desc);

// True if the packets missing before this one (which stands behind a gap) can only belong to a
// picture that was left out: it was the newest one, and this packet begins the next. Then the gap
// is to be left out too, or the subscriber would ask for it in vain.
bool vp8_munger_gap_was_left_out(struct vp8_munger *m, const struct vp8_desc *d);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dependency descriptor (AV1 RTP payload specification, appendix A): for each packet which frame it
// belongs to, its layer, what the frame depends on, and for which decode targets it is needed.
// Pure.
//
// Mandatory: start_of_frame 1, end_of_frame 1, template_id 6, frame_number 16. If longer: flags
// (structure present, active decode targets present, custom dtis, custom fdiffs, custom chains),
// [structure], [active mask], custom values. The structure comes with key frames only and is kept
// by the reader; every other descriptor is read against it.

#include "common/base/bytes.h"

#define DD_MANDATORY_LEN 3u
#define DD_LEN_MAX 255u      // two-byte header extension
#define DD_TEMPLATES_MAX 64u // six bits
#define DD_TARGETS_MAX 32u   // five bits, plus 1
#define DD_CHAINS_MAX 32u
#define DD_FDIFFS_MAX 16u // template diffs are 1..16: more of them would repeat
#define DD_SPATIAL_MAX 4u // two-bit spatial ids as libwebrtc and LiveKit allow
#define DD_TEMPORAL_MAX 8u

enum dd_dti {
    DD_DTI_NOT_PRESENT,
    DD_DTI_DISCARDABLE,
    DD_DTI_SWITCH,
    DD_DTI_REQUIRED,
};

// What one frame (or a template) depends on.
struct dd_frame {
    uint8_t spatial;
    uint8_t temporal;
    uint8_t fdiff_count;
    uint16_t fdiff[DD_FDIFFS_MAX]; // frame_number minus this = a referred frame
    uint8_t dti[DD_TARGETS_MAX];   // enum dd_dti; structure.target_count entries
    uint8_t
        chain_diff[DD_CHAINS_MAX]; // 0 = first frame of the chain; structure.chain_count entries
};

struct dd_structure {
    uint8_t template_id_offset;
    uint8_t template_count;
    uint8_t target_count;                   // decode targets, >= 1
    uint8_t chain_count;                    // may be 0 (recorded for VP8)
    uint8_t target_chain[DD_TARGETS_MAX];   // the chain that protects it; only if chain_count > 0
    uint8_t target_spatial[DD_TARGETS_MAX]; // highest layers that the target contains
    uint8_t target_temporal[DD_TARGETS_MAX];
    uint8_t spatial_count;    // highest spatial id of the templates + 1
    uint8_t resolution_count; // 0 or spatial_count
    uint16_t width[DD_SPATIAL_MAX];
    uint16_t height[DD_SPATIAL_MAX];
    struct dd_frame templates[DD_TEMPLATES_MAX];
};

struct dd {
    bool start_of_frame;
    bool end_of_frame;
    uint8_t template_id;
    uint16_t frame_number;
    bool has_structure;      // first packet of a key frame
    bool has_active;         // active_targets was written (or implied all by a new structure)
    uint32_t active_targets; // bit i = decode target i
    struct dd_frame frame;   // template with custom values applied
    // Where things stand in the bits, for dd_rewrite.
    uint16_t bit_structure_end; // end of [structure], = 29 without; 0 if only the mandatory part is
                                // there
    uint16_t bit_custom;        // start of the custom values
    uint16_t bit_end;           // end of what was understood
};

// Parses. `known`: the structure in force (may be NULL before the first one); if the descriptor
// brings a structure it is written to *ret_structure and used instead of known. known may equal
// ret_structure. -EBADMSG malformed; -ENOENT: needs a structure and there is none, or the template
// does not exist in it. ret_structure is untouched unless 0 is returned and ret->has_structure.
int dd_parse(struct bytes data, const struct dd_structure *known, struct dd *ret,
             struct dd_structure *ret_structure) NODISCARD;

// Reads only the mandatory part. -EBADMSG: shorter than three bytes.
int dd_parse_mandatory(struct bytes data, struct dd *ret) NODISCARD;

// Writes the descriptor again with another frame number and, if set_active, with this mask of
// active decode targets (target_count bits, always written). data and d: what dd_parse read and
// returned; target_count: of the structure in force. At most DD_LEN_MAX bytes, else w->err.
void dd_rewrite(struct wr *w, struct bytes data, const struct dd *d, uint8_t target_count,
                uint16_t frame_number, bool set_active, uint32_t active_targets);

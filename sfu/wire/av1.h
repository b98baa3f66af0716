// SPDX-License-Identifier: Apache-2.0
#pragma once
// AV1 aggregation header (AV1 RTP payload specification section 4.4) and the first OBU element.
// Layers and frame limits come from the dependency descriptor (dd.h). Pure.
//
//   |Z|Y| W |N|-|-|-|

#include "common/base/bytes.h"

enum av1_obu {
    AV1_OBU_SEQUENCE_HEADER = 1,
    AV1_OBU_TEMPORAL_DELIMITER = 2,
    AV1_OBU_FRAME_HEADER = 3,
    AV1_OBU_TILE_GROUP = 4,
    AV1_OBU_METADATA = 5,
    AV1_OBU_FRAME = 6,
};

struct av1_info {
    bool continues_first;  // Z: first element continues an OBU of the packet before
    bool last_continues;   // Y
    uint8_t element_count; // W; 0 = each element has its length
    bool new_sequence;     // N: first packet of a coded video sequence
    bool has_obu;          // first element starts an OBU: type and ids below are set
    uint8_t obu_type;
    bool has_layer; // OBU extension present
    uint8_t tid;
    uint8_t sid;
    bool key_frame; // N, and no continuation: a decoder may start here
};

// -EBADMSG: no OBU element, element past the end, forbidden bit, N together with Z (section 4.4:
// must not).
int av1_parse(struct bytes payload, struct av1_info *ret) NODISCARD;

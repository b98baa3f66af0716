// SPDX-License-Identifier: Apache-2.0
#pragma once
// RED for Opus (RFC 2198): splitting and building. Pure. Never used on end-to-end encrypted media
// (the payload is opaque).
//
//   |1|   block PT  |  timestamp offset (14) |  block length (10) |   for each redundant block,
//   oldest first |0|   block PT  |                                                 primary

#include "common/base/bytes.h"

#define OPUS_RED_BLOCKS_MAX 8u // redundant + primary; browsers use 2 or 3
#define OPUS_RED_BLOCK_LEN_MAX 1023u
#define OPUS_RED_OFFSET_MAX 16383u

struct opus_red_block {
    uint8_t pt;
    uint16_t ts_offset; // how much older than the packet's timestamp; 0 for the primary
    struct bytes data;  // borrowed
};

struct opus_red {
    uint8_t count; // >= 1; the last one is the primary
    struct opus_red_block block[OPUS_RED_BLOCKS_MAX];
};

// -EBADMSG: cut off. -E2BIG: more than OPUS_RED_BLOCKS_MAX blocks.
int opus_red_parse(struct bytes payload, struct opus_red *ret) NODISCARD;

// Writes headers and blocks; a redundant block that is too long or too old sets w->err, as does
// count 0.
void opus_red_write(struct wr *w, const struct opus_red *red);

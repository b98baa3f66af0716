// SPDX-License-Identifier: Apache-2.0
#pragma once
// Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01),
// RTPFB format 15. Pure.
//
//   0                   1                   2                   3
//  |V=2|P|  FMT=15 |    PT=205     |           length              |
//  |                     SSRC of packet sender                     |
//  |                      SSRC of media source                     |
//  |      base sequence number     |      packet status count      |
//  |                 reference time                | fb pkt. count |
//  |          packet chunk         |         packet chunk          |
//  |   ...         |  recv delta   |  recv delta   | zero padding  |
//
// Chunks: run length = 0 | 2-bit symbol | 13-bit run; vector = 1 | 0 | 14 x 1 bit, or 1 | 1 | 7 x 2
// bits. Symbols: 0 lost, 1 small delta (uint8 x 250 us), 2 large or negative delta (int16 x 250
// us), 3 reserved (read as received without a delta, as libwebrtc does not accept it we refuse the
// packet).

#include "sfu/wire/rtcp_fb.h"

#define TWCC_DELTA_UNIT_US 250
#define TWCC_REFERENCE_UNIT_US 64000
#define TWCC_REFERENCE_BITS 24 // the reference time wraps after 2^24 x 64 ms
// Statuses in one packet that we write. 256 large deltas and their chunks are 606 bytes: always one
// datagram.
#define TWCC_STATUS_MAX 256u

struct twcc_feedback {
    uint32_t sender_ssrc;
    uint32_t media_ssrc;
    uint16_t base_sn;
    uint16_t status_count;
    uint32_t reference; // 24 bits, units of 64 ms, signed in the draft; the reader unwraps it
    uint8_t fb_count;
    struct bytes chunks; // borrowed
    struct bytes deltas; // borrowed, exactly as long as the symbols ask for
};

// Parses and validates the whole packet: afterwards the walk cannot fail. -EBADMSG: not a TWCC
// feedback, chunks or deltas short, status count 0, reserved symbol.
int twcc_parse(const struct rtcp_fb *fb, struct twcc_feedback *ret) NODISCARD;

struct twcc_status {
    uint16_t sn;
    bool received;
    int64_t
        arrival_us; // if received: since reference time 0 of the receiver's clock (wraps with it)
};

struct twcc_iter {
    struct rd chunks;
    struct rd deltas;
    uint16_t sn;
    uint16_t left;       // statuses not handed out
    uint16_t chunk;      // current chunk
    uint16_t chunk_left; // symbols left in it
    int64_t time_us;
};

void twcc_iter_init(struct twcc_iter *it, const struct twcc_feedback *f);
bool twcc_next(struct twcc_iter *it, struct twcc_status *ret);

// ---- writing --------------------------------------------------------------------------------

// One feedback packet being built. Sequence numbers are added in ascending order; what is skipped
// is reported lost.
struct twcc_builder {
    uint16_t base_sn;
    uint8_t fb_count;
    uint16_t count; // statuses so far
    uint32_t reference;
    int64_t last_units; // quantised arrival of the last packet, in 250 us units: rounding never
                        // accumulates
    uint16_t delta_bytes;
    uint8_t symbol[TWCC_STATUS_MAX];
    int16_t delta[TWCC_STATUS_MAX];
};

// base_sn: the first number reported (received or not). first_arrival_us (>= 0): arrival of the
// first *received* packet; the reference time is the multiple of 64 ms at or before it.
void twcc_builder_init(struct twcc_builder *b, uint16_t base_sn, int64_t first_arrival_us,
                       uint8_t fb_count);

// Reports sn as received at arrival_us (>= 0, same clock). -E2BIG: does not fit this packet (too
// many statuses, or the delta exceeds 16 bits): write it and begin another one with this number.
// -EINVAL: sn is not after the last one.
int twcc_builder_add(struct twcc_builder *b, uint16_t sn, int64_t arrival_us) NODISCARD;

// Appends the packet. Writes nothing if no status was added. Sets w->err if it does not fit.
void twcc_builder_write(const struct twcc_builder *b, struct wr *w, uint32_t sender_ssrc,
                        uint32_t media_ssrc);

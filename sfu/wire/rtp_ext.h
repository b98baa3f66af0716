// SPDX-License-Identifier: Apache-2.0
#pragma once
// RTP header extensions (RFC 8285), one-byte and two-byte form, and the values that are understood.
// Pure.
//
// One-byte form, profile 0xBEDE: id (4 bits), length - 1 (4 bits), data. id 0 = padding byte, id 15
// = stop. Two-byte form, profile 0x100x:  id (8 bits), length (8 bits), data. id 0 = padding byte;
// length 0 allowed. A sender may change form from packet to packet (a=extmap-allow-mixed): Chromium
// does so on a single SSRC when an element is longer than 16 bytes (recording cr-vp8-simulcast).

#include "common/base/mono.h"
#include "sfu/wire/rtp.h"

#define RTP_EXT_PROFILE_ONE_BYTE 0xBEDEu
#define RTP_EXT_PROFILE_TWO_BYTE 0x1000u // the low four bits are "appbits"

#define RTP_EXT_ONE_BYTE_ID_MAX 14u
#define RTP_EXT_ONE_BYTE_LEN_MAX 16u

// Extensions known by URI. The ids are negotiated: see rtp_ext_map.
enum rtp_ext_type {
    RTP_EXT_NONE,
    RTP_EXT_MID,                     // RFC 9143
    RTP_EXT_RID,                     // RFC 8852
    RTP_EXT_RRID,                    // RFC 8852 repaired
    RTP_EXT_AUDIO_LEVEL,             // RFC 6464
    RTP_EXT_TRANSPORT_CC,            // draft-holmer-rmcat-transport-wide-cc-extensions-01
    RTP_EXT_ABS_SEND_TIME,           // webrtc.org experiment
    RTP_EXT_ABS_CAPTURE_TIME,        // webrtc.org experiment
    RTP_EXT_DEPENDENCY_DESCRIPTOR,   // AV1 RTP payload specification, appendix A
    RTP_EXT_VIDEO_LAYERS_ALLOCATION, // webrtc.org experiment, version 00
    RTP_EXT_PLAYOUT_DELAY,           // webrtc.org experiment
    RTP_EXT_VIDEO_ORIENTATION,       // 3GPP TS 26.114
    RTP_EXT_VIDEO_CONTENT_TYPE,      // webrtc.org experiment
    RTP_EXT_VIDEO_TIMING,            // webrtc.org experiment
    RTP_EXT_COLOR_SPACE,             // webrtc.org experiment
    RTP_EXT_TOFFSET,                 // RFC 5450
    RTP_EXT_FRAME_MARKING,           // draft-ietf-avtext-framemarking-07
    RTP_EXT_COUNT,
};

// The URI, or "" for RTP_EXT_NONE.
const char *rtp_ext_uri(enum rtp_ext_type t);
// RTP_EXT_NONE if unknown.
enum rtp_ext_type rtp_ext_by_uri(struct bytes uri);

// Ids of one peer connection (under BUNDLE one id maps to one URI over all sections, RFC 9143). All
// zero = nothing.
struct rtp_ext_map {
    uint8_t id[RTP_EXT_COUNT]; // 0 = not negotiated
};

struct rtp_ext_elem {
    uint8_t id; // 1..255
    struct bytes data;
};

// Walks the elements of a header. Malformed or unknown blocks end the walk early: what came before
// stays valid.
struct rtp_ext_iter {
    struct rd r;
    bool two_byte;
};

void rtp_ext_iter_init(struct rtp_ext_iter *it, const struct rtp_header *h);
// False at the end. *ret borrows from the packet.
bool rtp_ext_next(struct rtp_ext_iter *it, struct rtp_ext_elem *ret);

// The first element with this id; false if absent or id is 0.
bool rtp_ext_find(const struct rtp_header *h, uint8_t id, struct bytes *ret);

// Writes profile, length, elements and padding, choosing the one-byte form if every element fits it
// (id <= 14, 1..16 bytes), else the two-byte form. n = 0 writes nothing. An element with data.p ==
// NULL and data.n > 0 is reserved as zeros. ret_off (may be NULL, else n entries): offset of each
// element's data from w->base, so that values that are known only at send time are patched in
// place. Data longer than 255 bytes, or id 0, sets w->err.
void rtp_ext_write(struct wr *w, const struct rtp_ext_elem *elems, size_t n, uint16_t *ret_off);

// Header and extension block together (h->has_ext and h->ext are ignored): the egress path.
void rtp_write_with_ext(struct wr *w, const struct rtp_header *h, const struct rtp_ext_elem *elems,
                        size_t n, uint16_t *ret_off);

// ---- values ---------------------------------------------------------------------------------

// RFC 6464: level is -dBov, 0 loudest, 127 silence. False unless there is at least one byte.
bool rtp_ext_audio_level(struct bytes data, uint8_t *ret_level, bool *ret_voice);
// The byte of the extension.
uint8_t rtp_ext_audio_level_byte(uint8_t level, bool voice);

// Transport-wide sequence number. False unless there are at least two bytes.
bool rtp_ext_transport_cc(struct bytes data, uint16_t *ret_sn);

// abs-send-time: 24 bits, 6.18 fixed point seconds. From any clock; microseconds modulo 64 s.
uint32_t rtp_ext_abs_send_time_from_us(int64_t us);

// Playout delay limits in units of 10 ms, 12 bits each (webrtc.org experiment). Values above 4095
// are clamped.
void rtp_ext_playout_delay_write(struct wr *w, uint16_t min_10ms, uint16_t max_10ms);
bool rtp_ext_playout_delay(struct bytes data, uint16_t *ret_min_10ms, uint16_t *ret_max_10ms);

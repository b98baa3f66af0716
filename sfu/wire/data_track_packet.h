// SPDX-License-Identifier: Apache-2.0
#pragma once
// Packets of data tracks, messages of the channel `_data_track` (livekit-protocol 3.9). Big endian:
//
//     0                   1                   2                   3
//    +-----+-+-+-+---+---------------+-------------------------------+
//    |  V  |S|F|X| 0 |   reserved    |            handle             |
//    +-----+-+-+-+---+---------------+-------------------------------+
//    |        sequence number        |         frame number          |
//    +-------------------------------+-------------------------------+
//    |                     timestamp (90 kHz)                        |
//    +-------------------------------+-------------------------------+
//    | X: words of the block - 1     | extensions: tag, length, ...  |
//    +-------------------------------+-------------------------------+
//
// V: version, 0. S, F: first and last packet of a frame. The extension block is counted in words of
// 32 bits with its length field; tag 0 is padding.
//
// A server changes nothing but the handle. Pure. Upstream: livekit pkg/rtc/datatrack/packet.go.
// Deviation: a packet that is too short for its extensions is refused here.

#include "common/base/bytes.h"

#define DATA_TRACK_HEADER_LEN 12

struct data_track_packet {
    uint8_t version;
    bool start, final; // of a frame
    uint16_t handle;
    uint16_t sequence;
    uint16_t frame;
    uint32_t timestamp;
    struct bytes extensions; // behind the length field, padding included; views into the packet
    struct bytes payload;
};

// -EBADMSG: shorter than what it says. Of versions other than 0 only the first four bytes are known
// to be what they are here; everything behind the header is payload then.
int data_track_packet_parse(struct bytes packet, struct data_track_packet *ret) NODISCARD;

// Replaces the handle of a packet that parsed.
void data_track_packet_set_handle(struct bytes_mut packet, uint16_t handle);

// Writes a packet of version 0 (clients in tests). extensions: a multiple of 4 minus 2 bytes, or
// empty; the writer fails otherwise.
void data_track_packet_write(struct wr *w, const struct data_track_packet *p);

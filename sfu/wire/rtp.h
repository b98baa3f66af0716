// SPDX-License-Identifier: Apache-2.0
#pragma once
// The RTP header (RFC 3550 section 5.1). Pure.
//
//   0                   1                   2                   3
//   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//  |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//  |                           timestamp                           |
//  |                             SSRC                              |
//  |                       CSRC list (CC x 32)                     |
//  |   extension profile (if X)    |  length in 32-bit words       |
//  |                        extension block                        |

#include "common/base/bytes.h"

#define RTP_HEADER_LEN 12u // fixed part
#define RTP_VERSION 2u

struct rtp_header {
    bool marker;
    bool has_ext;       // X bit: ext_profile and ext are meaningful
    uint8_t pt;         // 7 bits
    uint8_t csrc_count; // the list itself is skipped: no sender of ours mixes
    uint8_t
        padding_len; // bytes at the end of the packet, the length byte included; 0 without P bit
    uint16_t sn;
    uint32_t ts;
    uint32_t ssrc;
    uint16_t ext_profile; // 0xBEDE, 0x100x (RFC 8285), or anything
    struct bytes ext;    // the extension block without profile and length; borrowed from the packet
    uint16_t header_len; // where the payload starts (CSRCs and extension included)
    uint16_t payload_len; // without padding; 0 = padding-only or empty packet
};

// Parses the header of a decrypted packet. -EBADMSG: short, version not 2, extension or padding
// past the end, padding bit with a padding length of 0 (RFC 3550: the count includes itself),
// longer than 65535. ret->ext borrows from packet.
int rtp_parse(struct bytes packet, struct rtp_header *ret) NODISCARD;

// The payload of a packet whose header was parsed by rtp_parse from the same bytes.
static inline struct bytes rtp_payload(struct bytes packet, const struct rtp_header *h)
{
    return bytes_of(packet.p + h->header_len, h->payload_len);
}

// Writes the header without CSRCs. If h->has_ext, also profile, length and h->ext, zero-padded to
// 32 bits (at most 65535 words fit the length field; more sets w->err). The P bit is set if
// h->padding_len > 0: the caller appends the padding (rtp_write_padding). header_len, payload_len
// and csrc_count are not used.
void rtp_write(struct wr *w, const struct rtp_header *h);

// Appends n bytes of padding, the last one holding n. n = 0 writes nothing.
void rtp_write_padding(struct wr *w, uint8_t n);

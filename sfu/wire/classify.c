// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/classify.h"

#include "sfu/wire/stun.h"

// DTLS record header (RFC 6347 section 4.1), RTP fixed header (RFC 3550 section 5.1), RTCP: first
// packet's header and SSRC, without which SRTCP cannot be (RFC 3711 section 3.4), ChannelData
// header (RFC 8656 section 12.4).
#define DTLS_MIN 13
#define RTP_MIN 12
#define RTCP_MIN 8
#define CHANNEL_DATA_MIN 4

static bool looks_like_stun(struct bytes d)
{
    if (d.n < STUN_HEADER_LEN) {
        return false;
    }
    struct rd r = rd_init(d);
    rd_skip(&r, 2);
    size_t const len = rd_be16(&r);
    return rd_be32(&r) == STUN_COOKIE && len % 4 == 0 && len == d.n - STUN_HEADER_LEN;
}

enum packet_class classify_packet(struct bytes d)
{
    if (d.n < 2) {
        return PACKET_CLASS_UNKNOWN;
    }
    uint8_t const first = d.p[0];
    // Most packets are media.
    if (first >= 128 && first <= 191) {
        if (d.p[1] >= 192 && d.p[1] <= 223) {
            return d.n >= RTCP_MIN ? PACKET_CLASS_RTCP : PACKET_CLASS_UNKNOWN;
        }
        return d.n >= RTP_MIN ? PACKET_CLASS_RTP : PACKET_CLASS_UNKNOWN;
    }
    if (first <= 3) {
        return looks_like_stun(d) ? PACKET_CLASS_STUN : PACKET_CLASS_UNKNOWN;
    }
    if (first >= 20 && first <= 63) {
        return d.n >= DTLS_MIN ? PACKET_CLASS_DTLS : PACKET_CLASS_UNKNOWN;
    }
    if (first >= 64 && first <= 79) {
        return d.n >= CHANNEL_DATA_MIN ? PACKET_CLASS_TURN_CHANNEL : PACKET_CLASS_UNKNOWN;
    }
    return PACKET_CLASS_UNKNOWN;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which protocol a datagram of the shared media port belongs to (RFC 7983, RFC 5761 section 4).
// Pure.
//
//     first byte  0..3      STUN
//                 20..63    DTLS
//                 64..79    TURN channel
//                 128..191  RTP; RTCP if the second byte is 192..223
//                 others    nothing of ours (ZRTP, QUIC, ...)

#include "common/base/bytes.h"

enum packet_class {
    PACKET_CLASS_UNKNOWN, // also: too short for what its first byte says
    PACKET_CLASS_STUN,
    PACKET_CLASS_DTLS,
    PACKET_CLASS_TURN_CHANNEL,
    PACKET_CLASS_RTP,
    PACKET_CLASS_RTCP,
    PACKET_CLASS_COUNT,
};

// Looks at the first two bytes, the length, and for STUN at the magic cookie and the length field.
enum packet_class classify_packet(struct bytes datagram);

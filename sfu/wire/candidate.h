// SPDX-License-Identifier: Apache-2.0
#pragma once
// ICE candidate lines (RFC 8839 section 5.1, RFC 6544 section 4.5): SDP attributes and trickled
// text. Pure.
//
//     candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host [raddr A rport P] [tcptype passive]
//     [name value]...

#include "common/base/addr.h"

#define CANDIDATE_FOUNDATION_CAP 33 // 32 ice-chars and the terminating zero
#define CANDIDATE_TEXT_CAP 256      // any line that candidate_write makes

enum candidate_type {
    CANDIDATE_HOST,
    CANDIDATE_SRFLX,
    CANDIDATE_PRFLX,
    CANDIDATE_RELAY,
};

enum candidate_tcptype {
    CANDIDATE_TCP_NONE, // UDP
    CANDIDATE_TCP_ACTIVE,
    CANDIDATE_TCP_PASSIVE,
    CANDIDATE_TCP_SO,
};

struct candidate {
    char foundation[CANDIDATE_FOUNDATION_CAP];
    uint16_t component; // 1..256; browsers that do not mux RTCP yet send 2 as well
    uint32_t priority;
    struct addr addr;  // family ADDR_NONE: a host name (see is_name), never resolved by us
    bool is_name;      // mDNS (.local) or another name
    struct addr raddr; // ADDR_NONE if absent or a name
    enum candidate_type type;
    enum candidate_tcptype tcptype;
    struct bytes ufrag; // extension "ufrag" (libwebrtc); empty if absent; view into the text
};

// Parses "candidate:..." (an "a=" in front and line ends behind are tolerated). Unknown extensions
// are skipped. -ENODATA: empty text, which is how Firefox says "end of candidates". -ENOTSUP:
// well-formed but of a kind nobody here can use (other transport than udp/tcp/ssltcp, unknown
// type). -EBADMSG: malformed. *ret untouched then.
int candidate_parse(struct bytes text, struct candidate *ret) NODISCARD;

// Writes the line without "a=" and without line end. Errors are the writer's.
void candidate_write(struct wr *w, const struct candidate *c);

// RFC 8445 section 5.1.2.1 for component 1: type preference (host 126, prflx 110, srflx 100, relay
// 0), local preference. TCP lowers the type preference to 90 as libwebrtc does, so that UDP always
// outranks it.
uint32_t candidate_priority(enum candidate_type type, bool tcp, uint16_t local_pref);

// The local preference of one of our addresses: public before private, IPv6 before IPv4 of the same
// kind; index (0..255) tells several of one kind apart.
uint16_t candidate_local_pref(const struct addr *a, uint8_t index);

// "host", "srflx", "prflx", "relay".
const char *candidate_type_name(enum candidate_type t);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// RTCP (RFC 3550 section 6, XR blocks of RFC 3611): walking compounds, reports, SDES, BYE. Pure.
//
//   0                   1                   2                   3
//  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//  |V=2|P| RC/FMT  |      PT       |  length in 32-bit words - 1   |
//
// Reading is tolerant: a compound is processed up to its first bad packet, reduced-size RTCP (RFC
// 5506) is accepted (Firefox sends bare NACK and PLI), unknown types are handed out and may be
// skipped.

#include "common/base/bytes.h"
#include "common/base/mono.h"

enum rtcp_type {
    RTCP_SR = 200,
    RTCP_RR = 201,
    RTCP_SDES = 202,
    RTCP_BYE = 203,
    RTCP_APP = 204,
    RTCP_RTPFB = 205,
    RTCP_PSFB = 206,
    RTCP_XR = 207,
};

#define RTCP_HEADER_LEN 4u
#define RTCP_COUNT_MAX 31u // five bits: report blocks, sources
#define RTCP_REPORT_BLOCK_LEN 24u
#define RTCP_DLRR_MAX                                                                              \
    16u // sub-blocks kept of one XR packet; a sender with more sources is not ours

struct rtcp_packet {
    uint8_t type;      // enum rtcp_type, or another value
    uint8_t count;     // RC, SC or FMT
    struct bytes body; // after the common header, padding removed; borrowed
    struct bytes raw;  // with header and padding
};

struct rtcp_iter {
    struct rd r;
    bool bad; // the walk ended at a malformed packet
};

void rtcp_iter_init(struct rtcp_iter *it, struct bytes compound);
// False at the end or at the first malformed packet (it->bad).
bool rtcp_next(struct rtcp_iter *it, struct rtcp_packet *ret);

struct rtcp_report_block {
    uint32_t ssrc;
    uint8_t fraction_lost;   // of 256
    int32_t cumulative_lost; // 24 bits signed; the writer clamps
    uint32_t highest_sn;     // cycles in the upper half
    uint32_t jitter;         // RTP clock units
    uint32_t lsr;            // middle 32 bits of the NTP time of the last SR; 0 = none
    uint32_t dlsr;           // 1/65536 s
};

struct rtcp_sr {
    uint32_t ssrc;
    ntp_t ntp;
    uint32_t rtp_ts;
    uint32_t packets;
    uint32_t octets;
    uint8_t block_count; // <= RTCP_COUNT_MAX
    struct rtcp_report_block block[RTCP_COUNT_MAX];
};

struct rtcp_rr {
    uint32_t ssrc;
    uint8_t block_count;
    struct rtcp_report_block block[RTCP_COUNT_MAX];
};

struct rtcp_bye {
    uint8_t count;
    uint32_t ssrc[RTCP_COUNT_MAX];
};

// RFC 3611 section 4.5: one answer to a receiver reference time.
struct rtcp_dlrr {
    uint32_t ssrc;
    uint32_t lrr;
    uint32_t dlrr; // 1/65536 s
};

struct rtcp_xr {
    uint32_t ssrc;
    bool has_rrtr;
    ntp_t rrtr; // receiver reference time (section 4.4)
    uint8_t dlrr_count;
    struct rtcp_dlrr dlrr[RTCP_DLRR_MAX];
};

// Parsers: p->type must be the right one. -EBADMSG: wrong type or short. Profile-specific
// extensions are skipped.
int rtcp_sr_parse(const struct rtcp_packet *p, struct rtcp_sr *ret) NODISCARD;
int rtcp_rr_parse(const struct rtcp_packet *p, struct rtcp_rr *ret) NODISCARD;
int rtcp_bye_parse(const struct rtcp_packet *p, struct rtcp_bye *ret) NODISCARD;
// Unknown block types are skipped.
int rtcp_xr_parse(const struct rtcp_packet *p, struct rtcp_xr *ret) NODISCARD;
// CNAME of `ssrc`; -ENOENT if the packet has none for it. *ret_cname borrows.
int rtcp_sdes_cname(const struct rtcp_packet *p, uint32_t ssrc, struct bytes *ret_cname) NODISCARD;

// Writers append one RTCP packet (to a compound) and set w->err when it does not fit; nothing is
// written partially, so that a full compound keeps what it had (the caller clears w->err or checks
// before).
void rtcp_sr_write(struct wr *w, const struct rtcp_sr *sr);
void rtcp_rr_write(struct wr *w, const struct rtcp_rr *rr);
void rtcp_sdes_cname_write(struct wr *w, uint32_t ssrc, struct bytes cname); // at most 255 bytes
void rtcp_bye_write(struct wr *w, const uint32_t *ssrc, size_t n);           // n <= RTCP_COUNT_MAX
void rtcp_xr_write(struct wr *w, const struct rtcp_xr *xr); // nothing to say: nothing written

// Round trip in microseconds from a report block or DLRR: now - last - delay (RFC 3550
// section 6.4.1), `now` in the clock of which `last` (LSR, LRR) is an echo. False if last is 0 or
// the result is negative or over max_us.
bool rtcp_rtt_us(ntp_t now, uint32_t last, uint32_t delay, int64_t max_us, int64_t *ret_us);

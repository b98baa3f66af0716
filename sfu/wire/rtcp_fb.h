// SPDX-License-Identifier: Apache-2.0
#pragma once
// RTCP feedback: NACK and PLI (RFC 4585), FIR (RFC 5104 section 4.3.1), REMB
// (draft-alvestrand-rmcat-remb-03). Pure. Transport-wide congestion control feedback is in twcc.h.

#include "sfu/wire/rtcp.h"

enum rtcp_rtpfb_fmt {
    RTCP_RTPFB_NACK = 1,
    RTCP_RTPFB_TWCC = 15,
};

enum rtcp_psfb_fmt {
    RTCP_PSFB_PLI = 1,
    RTCP_PSFB_FIR = 4,
    RTCP_PSFB_AFB = 15, // REMB if it says so
};

#define RTCP_REMB_SSRC_MAX                                                                         \
    16u // SSRCs kept of one REMB; Chromium lists video and RTX (recording sub-cr-remb)
#define RTCP_FIR_MAX 16u // entries kept of one FIR

// Common part of all feedback packets (RFC 4585 section 6.1).
struct rtcp_fb {
    uint8_t type; // RTCP_RTPFB or RTCP_PSFB
    uint8_t fmt;
    uint32_t sender_ssrc;
    uint32_t media_ssrc;
    struct bytes fci; // feedback control information; borrowed
};

// -EBADMSG: not RTPFB or PSFB, or short.
int rtcp_fb_parse(const struct rtcp_packet *p, struct rtcp_fb *ret) NODISCARD;

// Sequence numbers of a NACK in the order they are written.
struct rtcp_nack_iter {
    struct rd r;
    uint16_t pid;
    uint16_t blp; // not yet handed out
    uint8_t bit;
};

// fb must be RTCP_RTPFB / RTCP_RTPFB_NACK (else the walk is empty).
void rtcp_nack_iter_init(struct rtcp_nack_iter *it, const struct rtcp_fb *fb);
bool rtcp_nack_next(struct rtcp_nack_iter *it, uint16_t *ret_sn);

// sn[]: ascending in serial order (duplicates allowed). Packs PID/BLP pairs into one packet. n = 0
// writes nothing.
void rtcp_nack_write(struct wr *w, uint32_t sender_ssrc, uint32_t media_ssrc, const uint16_t *sn,
                     size_t n);

bool rtcp_is_pli(const struct rtcp_fb *fb);
void rtcp_pli_write(struct wr *w, uint32_t sender_ssrc, uint32_t media_ssrc);

struct rtcp_fir_entry {
    uint32_t ssrc;
    uint8_t seq;
};

struct rtcp_fir {
    uint8_t count;
    struct rtcp_fir_entry entry[RTCP_FIR_MAX];
};

// -EBADMSG: not a FIR, or no entry.
int rtcp_fir_parse(const struct rtcp_fb *fb, struct rtcp_fir *ret) NODISCARD;
void rtcp_fir_write(struct wr *w, uint32_t sender_ssrc, const struct rtcp_fir_entry *entry,
                    size_t n);

struct rtcp_remb {
    uint64_t bitrate; // bit/s; saturated at UINT64_MAX
    uint8_t ssrc_count;
    uint32_t ssrc[RTCP_REMB_SSRC_MAX];
};

// -EBADMSG: not a REMB, or short.
int rtcp_remb_parse(const struct rtcp_fb *fb, struct rtcp_remb *ret) NODISCARD;
// The mantissa has 18 bits: the rate is rounded down.
void rtcp_remb_write(struct wr *w, uint32_t sender_ssrc, const struct rtcp_remb *remb);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Collects what receivers, down tracks and the transport want to say by RTCP within one tick, and
// turns it into one compound packet (RFC 3550 section 6.1): sender reports with their CNAMEs,
// receiver report with all blocks, then XR and feedback. If there is no sender report, a receiver
// report comes first even when it is empty, so that the result is a valid compound with or without
// reduced-size RTCP (RFC 5506).
//
// The owner keeps one rtcp_out for each transport and tick, on its stack (4 KiB) or in the worker.
// Every add function returns -ENOBUFS when the compound is full: finish it, send it, init again,
// add again.
//
// Pure. Upstream: livekit pkg/rtc/transport.go (one compound per kind there).

#include "sfu/wire/rtcp.h"

// A compound must fit a datagram with SRTCP index and tag (14 bytes) on a 1200-byte path.
#define RTCP_OUT_CAP 1180

struct rtcp_out {
    struct rtcp_rr rr; // sender SSRC and the blocks so far
    size_t used;       // bytes of the compound so far, the receiver report included
    size_t sr_len, fb_len;
    uint8_t sr[RTCP_OUT_CAP];
    uint8_t fb[RTCP_OUT_CAP];
};

// sender_ssrc: of receiver reports and feedback.
void rtcp_out_init(struct rtcp_out *o, uint32_t sender_ssrc);

// Bytes that can still be added.
size_t rtcp_out_left(const struct rtcp_out *o);

// True if nothing was added.
bool rtcp_out_is_empty(const struct rtcp_out *o);

// Sender report (its blocks are not used) with an SDES CNAME chunk of at most 255 bytes.
int rtcp_out_add_sr(struct rtcp_out *o, const struct rtcp_sr *sr, struct bytes cname) NODISCARD;

// Report block of the receiver report.
int rtcp_out_add_block(struct rtcp_out *o, const struct rtcp_report_block *b) NODISCARD;

// Generic NACK (RFC 4585 section 6.2.1) for sequence numbers in ascending order. All or nothing.
int rtcp_out_add_nack(struct rtcp_out *o, uint32_t media_ssrc, const uint16_t *sns,
                      size_t n) NODISCARD;

int rtcp_out_add_pli(struct rtcp_out *o, uint32_t media_ssrc) NODISCARD;

// XR (RFC 3611): receiver reference time (once per transport and second), answers to those of the
// peer.
int rtcp_out_add_xr(struct rtcp_out *o, const struct rtcp_xr *xr) NODISCARD;

// Any finished RTCP packet (transport-wide feedback, REMB).
int rtcp_out_add_raw(struct rtcp_out *o, struct bytes packet) NODISCARD;

// Writes the compound. -ENOENT if nothing was added, -ENOBUFS if it does not fit buf (RTCP_OUT_CAP
// bytes always suffice). *ret_len is set on success only.
int rtcp_out_finish(const struct rtcp_out *o, struct bytes_mut buf, size_t *ret_len) NODISCARD;

// Our clock as NTP, for RRTR and DLRR: the origin is arbitrary, the rate exact.
ntp_t rtcp_ntp_of_mono(mono_t t);

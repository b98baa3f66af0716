// SPDX-License-Identifier: Apache-2.0
#pragma once
// Statistics of one RTP stream. Pure.
//   rtp_stats_rx: what comes from a publisher on one SSRC: sequence and timestamp unwrapping, loss,
//   jitter, sender reports
//                 received, report blocks to send (RFC 3550 sections 6.4 and A.1, A.3, A.8;
//                 media-plane 4.4, 4.9).
//   rtp_stats_tx: what we send to a subscriber on one SSRC: counts, sender reports sent, and what
//   its report blocks say
//                 (media-plane 5.11, 5.12).
// Upstream: livekit pkg/sfu/rtpstats/rtp_stats_receiver.go, rtp_stats_sender.go.
// Deviations: restart after two consecutive packets in the new place (RFC 3550 A.1) instead of five
// or never.

#include "common/base/mono.h"
#include "common/base/seq.h"
#include "sfu/wire/rtcp.h"

// RFC 3550 A.1: larger jumps forward are a restart, further back is not a late packet. MAX_MISORDER
// is 100 there; at 500 packets a 1 Mbit/s stream may be 4 s late, which covers any RTX
// (media-plane 4.4).
#define RTP_STATS_MAX_DROPOUT 3000
#define RTP_STATS_MAX_MISORDER 500
#define RTP_STATS_WINDOW                                                                           \
    1024u // numbers remembered to tell late from duplicate; power of two > MAX_MISORDER

enum rtp_flow {
    RTP_FLOW_FIRST,     // first packet of the stream
    RTP_FLOW_NEXT,      // in order, possibly after a gap
    RTP_FLOW_LATE,      // older than the highest, not seen before
    RTP_FLOW_DUPLICATE, // seen before: drop
    RTP_FLOW_RESTART, // the stream goes on elsewhere: flush history, NACKs; a key frame is needed.
                      // ext_sn goes on upwards.
    RTP_FLOW_STRAY,   // too far off to belong to the stream: drop
};

struct rtp_flow_info {
    enum rtp_flow flow;
    uint64_t ext_sn; // never 0
    uint64_t ext_ts;
    uint64_t gap_first; // missing numbers before this packet: [gap_first, gap_first + gap_count)
    uint64_t gap_count; // 0 unless NEXT after a gap
};

// A sender report and when it came.
struct rtp_stats_sr {
    ntp_t ntp;
    uint32_t rtp_ts;
    uint64_t ext_ts; // rtp_ts unwrapped on the same circle as rtp_flow_info.ext_ts
    mono_t arrival;
    uint32_t packets;
    uint32_t octets;
};

struct rtp_stats_rx {
    uint32_t clock; // Hz
    bool started;
    uint64_t first_sn;
    uint64_t highest_sn;
    uint64_t highest_ts;
    uint64_t seen[RTP_STATS_WINDOW / 64]; // by ext_sn
    bool has_probe; // RFC 3550 A.1 bad_seq: the next number that would prove a restart
    uint16_t probe_sn;

    uint64_t packets; // received, duplicates and strays not counted
    uint64_t bytes;   // RTP packets with headers
    uint64_t payload_bytes;
    uint64_t padding_packets;
    uint64_t duplicates;
    uint64_t late;
    uint64_t strays;
    uint64_t restarts;
    uint64_t lost_before;  // expected - received of the time before the last restart
    uint64_t base_packets; // packets at the last restart
    uint64_t frames;       // distinct timestamps in order

    // Jitter (A.8), once a frame.
    bool has_transit;
    uint64_t jitter_ts;
    int64_t transit;    // in clock units
    uint64_t jitter_q4; // 16 x the estimate, as A.8's integer form

    // Snapshot at the last report block.
    uint64_t report_expected;
    uint64_t report_received;

    // Sender reports.
    bool has_sr;
    bool has_rejected;
    struct rtp_stats_sr sr;
    struct rtp_stats_sr
        rejected; // a report that did not fit; the next one that fits it proves it right
};

void rtp_stats_rx_init(struct rtp_stats_rx *s, uint32_t clock);

// One packet of the primary SSRC (never one recovered by RTX: those are not "received", 4.9).
// bytes: whole packet; payload: without padding, 0 = padding-only, which counts as received but
// gives no jitter sample.
struct rtp_flow_info rtp_stats_rx_packet(struct rtp_stats_rx *s, mono_t arrival, uint16_t sn,
                                         uint32_t ts, size_t bytes, size_t payload);

// Unwraps a sequence number without counting it: the OSN of an RTX packet. False if the stream has
// not started or the number is farther off than a late packet may be.
bool rtp_stats_rx_extend(const struct rtp_stats_rx *s, uint16_t sn, uint64_t *ret_ext_sn);

// A sender report of this SSRC. Returns false if it is implausible and kept back: going backwards,
// or its RTP clock deviating more than 20 % from the wall clock since the last one. The second
// consistent one is believed (replaceTrack shifts the relation for good, recording cr-opus).
bool rtp_stats_rx_sender_report(struct rtp_stats_rx *s, mono_t arrival, const struct rtcp_sr *sr);

// The last accepted report, or NULL.
const struct rtp_stats_sr *rtp_stats_rx_last_sr(const struct rtp_stats_rx *s);

// Fills a report block (block->ssrc is the caller's) and begins a new interval. False if nothing
// was received yet.
bool rtp_stats_rx_report(struct rtp_stats_rx *s, mono_t now, struct rtcp_report_block *ret);

// Packets expected and not received so far (raw, before RTX); negative with duplicates never
// happens since they are not counted.
uint64_t rtp_stats_rx_lost(const struct rtp_stats_rx *s);
// RFC 3550 jitter in clock units.
uint32_t rtp_stats_rx_jitter(const struct rtp_stats_rx *s);

// ---- sending side ---------------------------------------------------------------------------

#define RTP_STATS_SRS 8u // sender reports remembered: an RR may echo an old one
#define RTP_STATS_RTT_MAX_US INT64_C(3000000)

struct rtp_stats_tx {
    uint32_t clock;
    bool started;
    uint64_t first_sn; // extended, as sent
    uint64_t highest_sn;
    uint64_t packets;       // padding-only packets not counted (media-plane 5.11)
    uint64_t payload_bytes; // without padding
    uint64_t bytes;         // everything that left
    uint64_t rtx_packets;
    uint64_t rtx_bytes;

    uint32_t sr_count;
    uint32_t sr_mid[RTP_STATS_SRS]; // NTP middle bits of the reports sent
    mono_t sr_at[RTP_STATS_SRS];

    // From the last report block.
    bool has_report;
    mono_t report_at;
    uint8_t fraction_lost;
    int32_t cumulative_lost;
    uint64_t acked_sn; // extended highest number received
    uint32_t jitter;   // clock units
    bool has_rtt;
    int64_t rtt_us; // smoothed: 0.75 of the new value, as LiveKit
    // Interval of the last two report blocks, for quality.
    uint32_t interval_expected;
    uint32_t interval_lost;
};

void rtp_stats_tx_init(struct rtp_stats_tx *s, uint32_t clock);

// A packet left. ext_sn: extended outgoing number. payload 0 = padding-only.
void rtp_stats_tx_packet(struct rtp_stats_tx *s, uint64_t ext_sn, size_t bytes, size_t payload);
void rtp_stats_tx_rtx(struct rtp_stats_tx *s, size_t bytes);

// A sender report with this NTP time leaves now; fill packet and octet counts from the struct.
void rtp_stats_tx_sender_report(struct rtp_stats_tx *s, mono_t now, ntp_t ntp);

// A report block about our SSRC arrived. Returns true if it gave a round trip (LSR matches one of
// the last reports sent).
bool rtp_stats_tx_report(struct rtp_stats_tx *s, mono_t now, const struct rtcp_report_block *b);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// One stream that a test client receives (an SSRC and the one that repeats it): loss, order,
// duplicates, content, latency, and the feedback a browser would give. Packets are checked whole
// (decrypted), or by their headers only, which SRTP does not encrypt: sequence numbers tell losses
// and order without the price of decryption.
//
// Owner thread.

#include "common/base/hash.h"
#include "sfu/media/nack_queue.h"
#include "sfu/media/rtp_stats.h"
#include "sfu/transport/jsep.h"

struct client_net;

// Sequence numbers remembered, to tell late from duplicate: 8 s of 500 packets a second.
#define CLIENT_STREAM_WINDOW 4096u

// All counters since the stream began. expected = received + missing.
struct client_stream_stats {
    uint64_t received;   // distinct numbers, by themselves or repeated
    uint64_t missing;    // numbers between first and highest that never came
    uint64_t bytes;      // of packets of the primary SSRC
    uint64_t lost_first; // missing when a later number came
    uint64_t recovered;  // of these, by repetition (RTX)
    uint64_t reordered;  // of these, came late by themselves
    uint64_t duplicates;
    uint64_t rtx;     // packets of the repeating SSRC
    uint64_t probes;  // of these, padding only
    uint64_t padding; // padding only on the primary SSRC
    uint64_t jumps;   // the numbers went on somewhere else
    // Only of packets that were checked whole.
    uint64_t checked;
    uint64_t content_errors; // changed or cut
    uint64_t foreign; // not made by a test client: blank frames with which servers end a track
    uint64_t
        counter_errors;    // consecutive numbers, but packets of the encoding left out or mixed up
    uint64_t skips;        // the same where it may be: video going on at a key frame, audio
    uint64_t frames;       // begun
    uint64_t frames_whole; // all packets in order
    uint64_t key_frames;
    uint64_t picture_errors; // consecutive frames whose picture id did not go up by one
    uint64_t switches;       // to another layer
    uint64_t bad_switches;   // of these, not at a key frame
    // What we asked for.
    uint64_t nacked; // numbers, repeats included
    uint64_t plis;
    int64_t latency_min_us, latency_max_us; // one way, 0 without checked packets
};

struct client_stream {
    UT_hash_handle hh;     // by ssrc
    UT_hash_handle hh_rtx; // by rtx_ssrc
    uint32_t ssrc;
    uint32_t rtx_ssrc; // 0: none
    bool audio;
    bool live; // in the last description
    char mid[16];
    char stream_id[80]; // "PA_...|TR_..."
    char track_sid[40];
    struct rtp_stats_rx rx;
    struct nack_queue *nack; // NULL: no NACK agreed
    struct client_stream_stats stats;
    // What the checked packets said last.
    uint32_t publisher;
    uint8_t track;
    uint8_t layer;
    bool known;      // the three above are set
    mono_t first_at; // first packet, 0: none yet
    mono_t
        first_frame_at; // video: first whole frame that began with a key frame; audio: first packet

    // ---- internal ----
    uint8_t rtx_pt, pt;
    bool want_pli;
    mono_t next_pli;
    uint64_t first, highest; // extended sequence numbers
    uint64_t seen[CLIENT_STREAM_WINDOW / 64];
    uint64_t last_whole; // number of the last packet whose content was looked at in order
    uint32_t counter;
    uint16_t picture_id;
    bool frame_whole, has_key;
};

// For the section t, which receives. -ENOMEM.
int client_stream_new(const struct jsep_transceiver *t, const struct jsep_ssrc *ssrc,
                      struct client_stream **ret) NODISCARD;
void client_stream_free(struct client_stream *s); // accepts NULL

// What the section says now (track, payload types, feedback). -ENOMEM.
int client_stream_describe(struct client_stream *s, const struct jsep_transceiver *t) NODISCARD;

// One packet of the primary SSRC. whole: plain payload, to be checked; else the header is all that
// can be read.
void client_stream_packet(struct client_stream *s, struct client_net *n, mono_t arrival,
                          const struct rtp_header *h, struct bytes packet, bool whole);

// One decrypted packet of the repeating SSRC.
void client_stream_rtx(struct client_stream *s, struct client_net *n, mono_t arrival,
                       const struct rtp_header *h, struct bytes packet);

// Sequence numbers to be asked for now; at most cap. *ret_pli: a key frame is needed.
size_t client_stream_feedback(struct client_stream *s, mono_t now, uint16_t *sn, size_t cap,
                              bool *ret_pli);
// When client_stream_feedback has something to say; MONO_NEVER.
mono_t client_stream_deadline(const struct client_stream *s);

// Adds the counters of `from` (latencies: the extremes).
void client_stream_stats_add(struct client_stream_stats *into,
                             const struct client_stream_stats *from);

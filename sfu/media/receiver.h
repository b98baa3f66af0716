// SPDX-License-Identifier: Apache-2.0
#pragma once
// Receiver: one published track on its way in, with all its simulcast encodings.
//
//   demux -> receiver_input --> FORWARD: give the packet to every down_track_write, then unref
//                 |             other:   unref (the drop is counted)
//                 +-> history (for the NACK responder of the down tracks), loss, liveness
//   receiver_timeout(rtcp_out) --> NACK, PLI towards the publisher when they are due
//   receiver_report(rtcp_out)  --> report blocks, once a second per transport
//
// An encoding is known by its rank: 0 = lowest (q), at most three. Its media and RTX SSRCs are
// bound when the demultiplexer learns them; the receiver reports on an SSRC only once it is bound
// and has delivered media (media-plane 4.2: a report block ends the sender's identification by
// mid/rid). SVC streams have one encoding; spatial layers inside of it are known by
// packet.info.spatial.
//
// Timestamps of simulcast encodings have unrelated origins; the receiver learns the offsets between
// them once per publication from sender reports, snapped to frames that both captured (media-plane
// 5.3).
//
// Pure. Thread: the worker that owns the room. Upstream: livekit pkg/sfu/receiver.go,
// pkg/sfu/buffer/buffer_base.go @788d4c35; deviations: faster liveness (4.10), key frame requests
// of all layers are satisfied by one answer (4.11).

#include "sfu/media/packet_pool.h"
#include "sfu/media/rtcp_out.h"
#include "sfu/media/rtp_demux.h"
#include "sfu/media/rtp_stats.h"
#include "sfu/wire/codec.h"
#include "sfu/wire/rtp_ext.h"

#define RECEIVER_MAX_ENCODINGS 3

struct receiver;

struct receiver_conf {
    enum codec codec;  // of the track: CODEC_OPUS (its RED is accepted as well), CODEC_VP8, ...
    uint8_t encodings; // 1..RECEIVER_MAX_ENCODINGS
    bool nack;         // generic NACK was negotiated
    bool pli;          // nack pli was negotiated
    bool screen_share; // slower liveness: static screens send few packets
    bool encrypted;    // end-to-end encrypted: RED blocks cannot be told apart
    bool trailers;     // frames end with a packet trailer
    uint32_t clock_rate;
    struct rtp_ext_map ext; // ids of the publisher's transport
    // Stream number in the video layers allocation (order of a=simulcast) -> encoding.
    uint8_t vla_encoding[RECEIVER_MAX_ENCODINGS];
};

// What became of a packet. Everything but RECEIVER_FORWARD is counted and the packet is of no
// further use.
enum receiver_verdict {
    RECEIVER_FORWARD,    // new packet (also padding-only and recovered ones): pass on to the down
                         // tracks
    RECEIVER_DROP_CODEC, // payload type of another codec than the track's
    RECEIVER_DROP_RTX_PADDING, // RTX without an original sequence number: a bandwidth probe
    RECEIVER_DROP_RTX_EARLY,   // RTX before the media of the encoding started
    RECEIVER_DROP_DUPLICATE,   // already there; RTX copies are mostly this (probes)
    RECEIVER_DROP_TOO_OLD,     // behind the history
    RECEIVER_DROP_PROBATION,   // far away sequence number, not yet believed
    RECEIVER_DROP_ENCODING,    // no such encoding
    RECEIVER_VERDICT_COUNT,
};

// -EINVAL: encodings or clock out of range; -ENOMEM.
int receiver_new(const struct receiver_conf *conf, struct receiver **ret) NODISCARD;
// Releases all packets of the history. Accepts NULL.
void receiver_free(struct receiver *r);

// Binds an SSRC of an encoding (media or RTX), or moves the binding: then the sequence starts anew.
void receiver_bind(struct receiver *r, uint8_t encoding, bool rtx, uint32_t ssrc);

// One decrypted packet; route: by rtp_demux_packet; h: its header by rtp_parse. Fills the media
// fields of p. The history keeps its own reference; the caller keeps his. p must not be shared yet.
// May move p->data (compaction of small packets): views taken before, h->ext included, are dead
// afterwards.
enum receiver_verdict receiver_input(struct receiver *r, mono_t now,
                                     const struct rtp_demux_route *route, struct packet *p,
                                     const struct rtp_header *h);

// A packet with p->info.red_holes > 0 brought what was lost before it: makes `ret` (fresh from the pool)
// the missing one i < red_holes, oldest first, which goes to the down tracks before p. False: it cannot
// be had.
bool receiver_fill_hole(struct receiver *r, const struct packet *p, uint8_t i, struct packet *ret);

// RTCP from the publisher. SSRCs that are not ours are ignored.
void receiver_rtcp_sr(struct receiver *r, mono_t now, const struct rtcp_sr *sr);
void receiver_rtcp_bye(struct receiver *r, mono_t now, uint32_t ssrc);

// Round trip to the publisher (DLRR, or the transport's other measurements); paces NACK and PLI.
void receiver_set_rtt(struct receiver *r, int64_t rtt_us);

// Encodings that some subscriber needs (bit = rank): only their losses are repaired. All at the
// start. An encoding that becomes needed again starts with an empty NACK window.
void receiver_set_needed(struct receiver *r, uint8_t mask);
// The mask set last; all encodings at the beginning.
uint8_t receiver_needed(const struct receiver *r);

// Asks for a key frame of an encoding. Cheap and idempotent: requests are coalesced, spaced and
// remembered until the key frame arrives (media-plane 4.11). min_spacing_us: 0 for the default; 1 s
// in large rooms.
void receiver_request_key_frame(struct receiver *r, mono_t now, uint8_t encoding);
void receiver_set_key_frame_spacing(struct receiver *r, int64_t min_spacing_us);

// When receiver_timeout has something to do; MONO_NEVER if nothing.
mono_t receiver_deadline(const struct receiver *r);

// Adds the NACKs and PLIs that are due. -ENOBUFS: out is full, send it and call again with a fresh
// one.
int receiver_timeout(struct receiver *r, mono_t now, struct rtcp_out *out) NODISCARD;

// Adds one report block for each bound SSRC that delivered media since the start. `cursor` (0 at
// first) makes it resumable: -ENOBUFS: send out, call again with the same cursor.
int receiver_report(struct receiver *r, mono_t now, struct rtcp_out *out,
                    uint8_t *cursor) NODISCARD;

// ---- what down tracks and the room read -----------------------------------------------------

// The part of a receiver that is read for every packet and subscriber. Written by the receiver
// only.
struct receiver_view {
    struct receiver_conf conf;
    uint8_t live_mask; // encodings that are sending (bit = rank)
    uint32_t
        epoch[RECEIVER_MAX_ENCODINGS]; // increased when the sequence of an encoding starts anew
    uint64_t
        highest[RECEIVER_MAX_ENCODINGS]; // highest extended sequence number; 0 before the start
    int64_t rtt_us;                      // to the publisher
};

// A receiver begins with its view.
static inline const struct receiver_view *receiver_view(const struct receiver *r)
{
    return (const struct receiver_view *)(const void *)r;
}

static inline const struct receiver_conf *receiver_conf(const struct receiver *r)
{
    return &receiver_view(r)->conf;
}

// Changes with packets, receiver_timeout and video layers allocations.
static inline uint8_t receiver_live_mask(const struct receiver *r)
{
    return receiver_view(r)->live_mask;
}

static inline uint64_t receiver_highest(const struct receiver *r, uint8_t encoding)
{
    return receiver_view(r)->highest[encoding];
}

// Sequence state derived from an encoding must be dropped when this changes.
static inline uint32_t receiver_epoch(const struct receiver *r, uint8_t encoding)
{
    return receiver_view(r)->epoch[encoding];
}

// Round trip to the publisher in use (70 ms until one is set).
static inline int64_t receiver_rtt_us(const struct receiver *r)
{
    return receiver_view(r)->rtt_us;
}

// Packet of the history by extended sequence number, borrowed; NULL if it is not there (any more).
// Audio has no history: without RTX nothing can be repeated.
struct packet *receiver_history_get(const struct receiver *r, uint8_t encoding, uint64_t ext_sn);

// Difference ts(to) - ts(from) of the same instant, modulo 2^32. -EAGAIN: not known yet.
int receiver_ts_offset(const struct receiver *r, uint8_t from, uint8_t to, uint32_t *ret) NODISCARD;

// Last accepted sender report of an encoding: NTP and RTP time, and when it came. NULL before the
// first one.
const struct rtp_stats_sr *receiver_last_sr(const struct receiver *r, uint8_t encoding);

#define RECEIVER_TEMPORAL_MAX 4

struct receiver_encoding_stats {
    uint32_t ssrc, rtx_ssrc;
    bool live;
    uint16_t width, height;  // last key frame or layers allocation; 0 unknown
    uint64_t packets, bytes; // distinct media packets with their headers, recovered ones included
    uint64_t padding_packets, recovered, duplicates;
    uint64_t lost; // RFC 3550: RTX does not count as received
    uint32_t jitter_us;
    uint64_t nacks_sent; // sequence numbers asked for
    uint32_t key_frames;
    uint64_t bitrate[RECEIVER_TEMPORAL_MAX]; // bit/s of temporal layers 0..i
    uint32_t fps_x10;
};
void receiver_get_encoding_stats(const struct receiver *r, mono_t now, uint8_t encoding,
                                 struct receiver_encoding_stats *ret);

// What came and what was missing since the start, over all encodings, for quality: raw, RTX does not
// count as received. Numbers may go back when late packets come or an SSRC is bound anew.
struct receiver_totals {
    uint64_t expected, lost;
};
void receiver_get_totals(const struct receiver *r, struct receiver_totals *ret);

// Key frame requests sent; tests see by it that requests are coalesced.
uint64_t receiver_plis_sent(const struct receiver *r);

// Counters by verdict over all encodings, RECEIVER_VERDICT_COUNT entries.
const uint64_t *receiver_verdicts(const struct receiver *r);

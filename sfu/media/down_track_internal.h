// SPDX-License-Identifier: Apache-2.0
#pragma once
// Inside of a down track, shared by down_track.c (packets) and down_track_rtcp.c (NACK, reports,
// statistics). Nobody else includes this.

#include "sfu/media/down_track.h"
#include "sfu/media/forwarder.h"
#include "sfu/media/playout_delay.h"
#include "sfu/media/rtp_stats.h"
#include "sfu/media/sequencer.h"

// NACKed numbers waiting for down_track_write_rtx. More than a browser asks for in one tick; what
// does not fit is asked for again.
#define DOWN_TRACK_NACKS 256u

// MID is sent until the first report block arrives, at most on this many packets (media-plane 5.1).
#define DOWN_TRACK_MID_PACKETS 50

// Retransmissions may use 20 % of the bytes sent (media-plane 5.8), saved up to one large key
// frame.
#define DOWN_TRACK_RTX_SHARE 5u
#define DOWN_TRACK_RTX_SAVED_MAX 60000u

struct down_track {
    // What every packet touches comes first.
    uint8_t
        block; // enum down_track_result: why nothing is sent; DOWN_TRACK_SENT = nothing in the way
    bool disabled, muted, paused, writable;
    bool key_wanted;  // as far as known at the last poll
    bool polled;      // `live` is known
    uint8_t live;     // live encodings at the last poll
    bool pli_pending; // the subscriber asked
    bool nack_gate;   // between its PLI and the key frame: NACKs are pointless
    uint8_t mid_left; // packets that still carry MID
    uint8_t mid_len;
    bool delay_due;              // the next packets carry the playout delay
    uint32_t rtx_saved;          // bytes that retransmissions may use
    mono_t key_next;             // next key frame request
    mono_t key_full;             // DOWN_TRACK_KEYS_BURST are allowed again
    uint32_t keys_had;           // forwarder.key_frames at the last request
    bool key_asked;              // keys_had is known
    mono_t sr_next;              // MONO_NEVER before the first packet
    struct sequencer *sequencer; // NULL without RTX
    struct rtp_stats_tx stats;
    struct down_track_conf conf;
    uint64_t results[DOWN_TRACK_RESULT_COUNT];
    struct forwarder forwarder;

    uint64_t key_sn; // extended outgoing number of the key frame that ended the last gate; 0 none
    uint64_t rtx_sn; // extended, next
    int64_t rtt_us;
    uint32_t sr_round;
    uint32_t plis;
    uint32_t plis_late; // waited for the allowance
    uint32_t epoch;
    uint64_t nacks, nacks_answered, nacks_missed;
    uint16_t nack_head, nack_count;
    uint16_t nack_sns[DOWN_TRACK_NACKS];
    mono_t padding_next;  // MONO_NEVER: none, or not while unwritable
    uint8_t padding_left; // packets that may still be sent
    uint8_t padding_sent;
    bool has_delay; // the subscriber is told how long to hold video back
    struct playout_delay delay;
};

// When it may ask for a key frame, as far as its allowance goes.
mono_t down_track_keys_at_(const struct down_track *dt);

// Everything of an outgoing packet that is not in the source packet.
struct down_track_packet {
    uint32_t ssrc;
    uint32_t ts;
    uint64_t sn; // extended
    uint8_t pt;
    bool marker;
    bool rtx;
    uint16_t osn;      // rtx
    struct bytes desc; // replaces the first desc_in_len bytes of the payload
    uint16_t desc_in_len;
    uint8_t padding_len;         // of the end of payload; it is all of it, or 0
    struct bytes payload;        // of the source
    const struct packet *source; // extensions to carry over; NULL if made here
};

// Bytes that a packet may take on its way out.
static inline size_t down_track_room_(const struct packet *p)
{
    return (size_t)p->info.payload_len + p->info.dd_len + DOWN_TRACK_HEADER_MAX;
}

// The payload that the subscriber gets of a packet.
static inline struct bytes down_track_payload_(const struct down_track *dt, const struct packet *p)
{
    struct bytes b = packet_payload(p);
    if (UNLIKELY(p->info.trailer_len > 0) && dt->conf.cut_trailers) {
        b.n -= p->info.trailer_len;
    }
    return b;
}

// Writes header, extensions and payload. out->cap was checked.
void down_track_write_packet_(struct down_track *dt, mono_t now,
                              const struct down_track_packet *pkt, uint16_t *twcc_sn,
                              struct down_track_out *out);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Models of the peers of an SFU on a virtual clock: a publisher of VP8 simulcast with three
// temporal layers (as Chromium sends it), lossy links, and a subscriber that asks for what is
// missing and checks what it got. Everything is seeded.
//
// Payloads look end-to-end encrypted: only descriptor and frame tag can be read, the rest is
// pseudo-random and can be recomputed from a few numbers in it, so the subscriber notices every
// changed bit.

#include "common/base/bytes.h"
#include "common/base/mono.h"

struct model_rng {
    uint64_t s;
};
uint32_t model_rand(struct model_rng *r);
// True with probability permille / 1000.
bool model_chance(struct model_rng *r, unsigned permille);

// ---- link -----------------------------------------------------------------------------------

#define MODEL_MTU 1500u
#define MODEL_LINK_CAP 2048u

struct model_datagram {
    mono_t at;
    uint16_t len;
    uint8_t data[MODEL_MTU];
};

// Delivers in order of arrival time; jitter above the packet spacing reorders.
struct model_link {
    unsigned loss_permille;
    int64_t delay_us, jitter_us;
    size_t count;
    uint64_t sent, lost;
    struct model_datagram *queue; // sorted by time
};

void model_link_init(struct model_link *l, int64_t delay_us, int64_t jitter_us,
                     unsigned loss_permille);
void model_link_done(struct model_link *l);
void model_link_send(struct model_link *l, mono_t now, struct model_rng *r, struct bytes data);
// The next datagram that has arrived; false if none. *ret is valid until the next call.
bool model_link_take(struct model_link *l, mono_t now, struct model_datagram *ret);

// ---- publisher ------------------------------------------------------------------------------

#define MODEL_LAYERS 3
#define MODEL_PT 96
#define MODEL_RTX_PT 97
#define MODEL_EXT_TWCC 4
#define MODEL_HISTORY 1024u
#define MODEL_CLOCK 90000
#define MODEL_FPS 30

struct model_sent {
    uint16_t sn, len;
    uint8_t data[MODEL_MTU];
};

struct model_layer {
    bool active;
    uint32_t ssrc, rtx_ssrc;
    uint32_t ts_origin;
    uint16_t sn, rtx_sn;
    uint16_t picture_id;
    uint8_t tl0;
    uint32_t packets, octets;
    uint32_t phase; // frames since the key frame: temporal pattern
    bool key_next;
    struct model_sent *history;
};

struct model_publisher {
    struct model_rng rng;
    mono_t start;
    uint32_t frame; // next to be captured
    mono_t key_at;  // when a requested key frame is made; MONO_NEVER
    mono_t last_key;
    mono_t sr_at;
    uint64_t plis, nacks, rtx_sent, keys;
    struct model_layer layers[MODEL_LAYERS];
};

void model_publisher_init(struct model_publisher *p, mono_t now, uint64_t seed);
void model_publisher_done(struct model_publisher *p);
// Sends the frames and reports that are due.
void model_publisher_tick(struct model_publisher *p, mono_t now, struct model_link *up);
// RTCP from the SFU: NACK is answered by RTX, PLI by key frames on all layers 20 ms later.
void model_publisher_rtcp(struct model_publisher *p, mono_t now, struct bytes compound,
                          struct model_link *up);
void model_publisher_set_active(struct model_publisher *p, int layer, bool active);
// Layer of an SSRC, -1 if unknown.
int model_publisher_layer(const struct model_publisher *p, uint32_t ssrc, bool *ret_rtx);

// ---- subscriber -----------------------------------------------------------------------------

#define MODEL_SUB_PACKETS 32768u

// What the subscriber knows of one sequence number.
struct model_received {
    bool present;
    bool marker, start, key, recovered;
    uint8_t layer, tid, index, count;
    uint8_t tl0;
    uint16_t picture_id;
    uint32_t ts;
    uint32_t frame; // the publisher's number
    mono_t nack_at; // next request while missing
    uint8_t nack_tries;
    mono_t missing_since;
};

struct model_subscriber {
    uint32_t ssrc, rtx_ssrc;
    bool started, has_key; // has_key: a whole key frame arrived
    mono_t started_at;
    uint64_t first, highest; // extended sequence numbers
    uint64_t media, rtx, rtx_useless, corrupt, duplicates;
    uint64_t nacks, plis;
    mono_t pli_at;
    mono_t last_media;
    uint16_t rtx_sn;
    bool rtx_started;
    uint64_t rtx_gaps;
    uint16_t last_twcc;
    bool has_twcc;
    uint64_t twcc_gaps;
    struct model_received *packets; // by extended number - first
};

void model_subscriber_init(struct model_subscriber *s, uint32_t ssrc, uint32_t rtx_ssrc);
void model_subscriber_done(struct model_subscriber *s);
void model_subscriber_rtp(struct model_subscriber *s, mono_t now, struct bytes packet);
// Requests that are due: a NACK (10 ms after a gap was seen, each 110 ms, ten times), a PLI (hole
// given up, or nothing at all).
void model_subscriber_tick(struct model_subscriber *s, mono_t now, struct model_rng *r,
                           struct model_link *up);

// What the stream looked like, read in order of sequence numbers.
struct model_verdict {
    uint64_t frames;        // complete
    uint64_t broken_frames; // with missing packets
    uint64_t holes;         // sequence numbers never received
    uint64_t switches;      // changes of layer
    uint64_t decodable; // frames whose references (as the publisher made them) were all decodable
    uint64_t by_layer[MODEL_LAYERS];
    // Violations, all zero in a correct stream:
    uint64_t ts_not_rising; // between frames
    uint64_t ts_wrong; // since the first frame another time has passed than between the captures:
                       // two ticks
    uint64_t picture_id_gaps; // between complete neighbours
    uint64_t tl0_gaps;
    uint64_t switch_without_key;
    uint64_t misplaced_markers;
    uint64_t claimed_decodable; // descriptor says decodable, references are missing
    int64_t max_ts_error;       // ticks
};
void model_subscriber_judge(const struct model_subscriber *s, struct model_verdict *ret);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// One track that a test client publishes: audio that looks like Opus with an audio level, or VP8
// with true descriptors and key frames when asked for, plain or as simulcast. Repeats what is asked
// for by NACK.
//
// Owner thread.

#include "sfu/transport/jsep.h"
#include "tests/support/client_net.h"

struct client_pc;

#define CLIENT_LAYERS_MAX 3
// Packets that can be repeated: 1 s of 500 packets a second. They are made again from what is kept
// here.
#define CLIENT_HISTORY 512u

struct client_layer_conf {
    uint16_t width, height;
    uint16_t packets;     // of a frame
    uint16_t packet_size; // RTP payload bytes
};

struct client_track_conf {
    bool audio;
    uint8_t layers;       // video: 1 = plain, 2..3 = rid simulcast (q, h, f)
    uint32_t interval_us; // between frames
    struct client_layer_conf layer[CLIENT_LAYERS_MAX]; // lowest first; audio: [0].packet_size only
    uint32_t key_every; // a key frame each so many frames; 0: only when asked for
    uint8_t level;      // audio: -dBov
    const char *name;   // NULL: by kind
};

// 50 packets a second of 80 bytes: 32 kbit/s Opus.
#define CLIENT_TRACK_OPUS                                                                          \
    ((struct client_track_conf){.audio = true,                                                     \
                                .layers = 1,                                                       \
                                .interval_us = 20000,                                              \
                                .layer = {{.packet_size = 80, .packets = 1}},                      \
                                .level = 20})
// 30 frames a second of three layers, about 0.1, 0.5 and 1.1 Mbit/s.
#define CLIENT_TRACK_SIMULCAST                                                                     \
    ((struct client_track_conf){                                                                   \
        .layers = 3,                                                                               \
        .interval_us = 33333,                                                                      \
        .layer = {{320, 180, 1, 500}, {640, 360, 2, 1000}, {1280, 720, 4, 1150}}})

struct client_sent_; // what a packet can be made again from

struct client_encoding {
    uint32_t ssrc, rtx_ssrc;
    uint32_t ts_base;
    uint64_t ext_sn, rtx_sn; // of the next packet
    uint32_t counter, frame;
    uint32_t last_ts;
    uint16_t picture_id;
    uint8_t tl0;
    bool want_key;
    // A report about it came: mid and rid are known to the receiver. The repeating stream has its
    // own.
    bool reported, rtx_reported;
    struct client_sent_ *history; // CLIENT_HISTORY entries by number
    // Since the start.
    uint64_t packets, payload_bytes, frames, key_frames, nacked, repeated, plis;
    uint8_t fraction_lost; // of the last report
};

struct client_sender {
    struct client_net *net;
    struct client_pc *pc; // whose transport it uses
    struct jsep_transceiver *section;
    struct client_track_conf conf;
    uint32_t publisher; // for the pattern
    uint8_t index;
    char cid[40];
    char sid[40];       // given by the server; "" before
    uint8_t pt, rtx_pt; // 0: not negotiated
    bool muted, paused;
    struct client_timer timer;
    mono_t next;  // frame
    mono_t epoch; // of timestamps
    struct client_encoding layer[CLIENT_LAYERS_MAX];
};

// Names of simulcast streams by layer: q, h, f (livekit-protocol 4.5).
extern const char *const client_rids[CLIENT_LAYERS_MAX];

// -ENOMEM. The section comes with client_sender_attach.
int client_sender_new(struct client_net *n, struct client_pc *pc,
                      const struct client_track_conf *conf, uint32_t publisher, uint8_t index,
                      struct client_sender **ret) NODISCARD;
void client_sender_free(struct client_sender *s); // accepts NULL

// Describes the track in the section. -ENOMEM, -EINVAL.
int client_sender_attach(struct client_sender *s, struct jsep_transceiver *section) NODISCARD;

// A description was finished or the transport changed: begins to send as soon as it may, and stops
// when it may not.
void client_sender_update(struct client_sender *s);

// No frames while paused (the load generator's quiet moments) or muted.
void client_sender_set_paused(struct client_sender *s, bool paused);
void client_sender_set_muted(struct client_sender *s, bool muted);

// The encoding that has this SSRC (or repeats it); NULL.
struct client_encoding *client_sender_find(struct client_sender *s, uint32_t ssrc);

// A number of e that the server misses.
void client_sender_repeat(struct client_sender *s, struct client_encoding *e, uint16_t sn);

// Packets sent by all encodings.
uint64_t client_sender_packets(const struct client_sender *s);

// RTP time of e at `now`, for sender reports.
uint32_t client_sender_rtp_ts(const struct client_sender *s, const struct client_encoding *e,
                              mono_t now);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Media of a room_client: tracks it sends (VP8 simulcast of media_model, or audio with levels) and
// streams it receives and checks.

#include "sfu/media/rtp_stats.h"
#include "sfu/transport/peer_connection.h"
#include "tests/support/media_model.h"

struct jsep_transceiver;
struct room_client;
struct room_pc;

enum room_media {
    ROOM_AUDIO,
    ROOM_VIDEO,           // one encoding, SSRC in the description
    ROOM_VIDEO_SIMULCAST, // q, h, f
};

#define ROOM_SSRCS 6

// What a SubscribedQualityUpdate said of one codec.
struct room_quality {
    char codec[16];
    int best; // VideoQuality, -1: none
};

struct room_sender {
    enum room_media media;
    char cid[64];
    char sid[24]; // after track_published
    struct jsep_transceiver *section;
    bool muted;
    uint8_t level; // audio: -dBov
    struct model_publisher model;
    struct model_link link; // what the model wants to send
    uint32_t audio_ssrc;
    uint64_t audio_sn;
    uint64_t audio_run; // packets since it was muted
    mono_t audio_at;
    bool disable_red, encrypted; // of add_track
    bool trailers;               // frames end with packet trailers
    uint64_t ext_sn[ROOM_SSRCS];
    uint64_t packets;
    unsigned quality_updates;
    struct room_quality qualities[4]; // of the last one, primary codec first
    size_t quality_count;
    uint8_t codec;     // enum codec that it is published in, VP8 unless set
    uint8_t backup;    // enum codec announced besides, CODEC_NONE: none
    int backup_policy; // BackupCodecPolicy
    bool named;        // add_track names the codec
    char sdp_cid[64];
    struct room_sender *first;  // this is the second codec of that
    struct room_sender *second; // publishes the same track in the backup codec
};

struct room_stream {
    struct room_stream *prev, *next;
    uint32_t ssrc, rtx_ssrc;
    char track_sid[24];
    char publisher_sid[24];
    bool audio;
    struct model_subscriber model; // video
    struct model_link link;        // its requests
    uint64_t packets, audio_bad, highest;
    uint64_t trailers; // of packets: with a packet trailer
    uint64_t red;      // of packets: in RED
    uint64_t padding;  // of packets: those that hold nothing else
    uint64_t srs;
    uint8_t delay_id; // of the playout delay; 0: not negotiated
    uint64_t delays;  // packets that had one, and what the last of them said
    uint16_t delay_min, delay_max;
    struct rtp_stats_rx rx; // what is reported to the server
};

struct room_sender *room_sender_new(struct room_client *c, enum room_media media);
void room_sender_free(struct room_sender *s);
// What is due, into p's outbox.
void room_sender_tick(struct room_sender *s, struct room_pc *p);

// Streams that the last description of p announces; old ones stay for inspection.
void room_streams_update(struct room_client *c, struct room_pc *p);
void room_stream_free(struct room_stream *s);

// One packet from the server.
void room_media_rtp(struct room_client *c, struct bytes packet);
void room_media_rtcp(struct room_client *c, struct room_pc *p, struct bytes compound);
// Requests (NACK, PLI) of what is received on p.
void room_streams_tick(struct room_client *c, struct room_pc *p);

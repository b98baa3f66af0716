// SPDX-License-Identifier: Apache-2.0
#pragma once
// Two SRTP transports with the same keys, one on each ingress back end, that are given the same
// packets and must agree: on the verdict, on the plain bytes, on what they leave of a refused
// packet. And the sender they listen to.

#include "sfu/transport/srtp_transport.h"

// Longest packet that can be given, and written by srtp_twins_make.
#define SRTP_TWINS_PACKET_MAX 1500

struct srtp_twins {
    struct srtp_transport *ours;
    struct srtp_transport *reference;
    struct srtp_batch *batch;
    struct srtp_egress *sender;
    struct outbox out;
    uint8_t plain[SRTP_TWINS_PACKET_MAX]; // of the last packet that was accepted
    size_t plain_len;
};

struct srtp_twins_packet {
    uint32_t ssrc;
    uint64_t index; // ROC and sequence number
    uint8_t csrcs;  // 0..15
    int ext_words;  // negative: no extension
    size_t payload;
};

void srtp_twins_init(struct srtp_twins *w);
void srtp_twins_done(struct srtp_twins *w);

// Writes the protected packet into `ret` and returns its length. The payload follows from index and
// SSRC.
size_t srtp_twins_make(struct srtp_twins *w, const struct srtp_twins_packet *p,
                       uint8_t ret[static SRTP_TWINS_PACKET_MAX]);

// Gives a copy of the packet to both; aborts when they disagree. The transport's verdict.
enum srtp_drop srtp_twins_give(struct srtp_twins *w, mono_t now, struct bytes packet);

int srtp_twins_bind(struct srtp_twins *w, uint32_t ssrc);
void srtp_twins_release(struct srtp_twins *w, uint32_t ssrc);

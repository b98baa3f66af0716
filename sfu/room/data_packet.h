// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the server changes in a DataPacket before others see it, and which it keeps to itself
// (livekit-protocol 3.8.2, steps 3 to 5). Works on decoded messages only.
//
// Pure. Upstream: livekit pkg/rtc/participant.go (onReceivedDataMessage).

#include "common/lk/livekit.h"
#include "sfu/room/data_channels.h"

struct arena;

// Memory that one decoded packet may take: 64 KB on the wire, whose worst case (a list of empty
// strings) grows tenfold.
#define DATA_PACKET_ARENA_CAP ((size_t)1 << 20)

// Who sends.
struct data_packet_sender {
    const char *sid;
    const char *identity;
    bool hidden; // nobody learns its identity
    bool agent;  // may transcribe, and speak for others
};

enum data_packet_use {
    DATA_PACKET_FORWARD,
    DATA_PACKET_METRICS,   // for participants with canSubscribeMetrics only
    DATA_PACKET_FORBIDDEN, // a transcription by somebody who is no agent
};

// Writes the channel's kind and the sender's names over whatever the sender wrote, and unites the
// two lists of destinations. Strings of `from` are borrowed: they must outlive the packet.
enum data_packet_use data_packet_prepare(Livekit__DataPacket *p, enum data_kind kind,
                                         const struct data_packet_sender *from);

// Makes a packet around the payload of a channel that LiveKit does not know. payload and from are
// borrowed. user must live as long as packet.
void data_packet_wrap(Livekit__DataPacket *packet, Livekit__UserPacket *user, struct bytes payload,
                      const struct data_packet_sender *from);

// Metrics carry the sender's clock; receivers compare those of several senders. Writes the times by
// our clock where the sender's are: now is when the batch was sent, network delay neglected.
// Allocates from a; without memory some times stay as they are.
void data_packet_normalize_metrics(Livekit__MetricsBatch *m, wall_t now, struct arena *a);

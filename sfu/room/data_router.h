// SPDX-License-Identifier: Apache-2.0
#pragma once
// Data packets from one participant to others (livekit-protocol 3.8.2), encoded once for a room.
//
//     bytes of a channel ─► sender allowed? ─► decode ─► sequence ─► overwrite (data_packet)
//       ─► encode ─► every receiver that the destinations name ─► data_channels
//
// - canPublishData is asked of the permission at that moment.
// - A reliable packet with a sequence must be higher than the sender's last one; else it is a
//   repetition after a resume and dropped. Packets are never renumbered: clients drop by the
//   sequence themselves.
// - A reliable packet that leaves sequences out, while its sender may yet repeat them (its WebSocket
//   is gone or was), waits for them (data_gap). A gap of a sender whose session stands is none: a
//   client counts what it then finds too large to send, too.
// - Hidden participants receive; what they send has no identity.
// - Lossy packets go to ACTIVE participants only, reliable ones to everybody whose join was
//   answered (held until the channel is open).
//
// Upstream: livekit pkg/rtc/room.go (onDataMessage, BroadcastDataMessageForRoom). Deviations: late
// joiners get everything from their JoinResponse on (there: 2 s, 100 kB), metrics are handed on at
// once (there: gathered), packets wait for those before them, a sender may name at most DATA_DESTINATIONS_MAX destinations.
//
// Owner thread: the room's worker.

#include "sfu/room/data_channels.h"

typedef struct Livekit__DataPacket Livekit__DataPacket;

struct participant;
struct room;

// How long after a resume a client may repeat what it had put aside. It does so as soon as its media
// is back, for which it waits 15 s and 2 s.
#define DATA_REPEAT_MS 20000
// A client that pings does so every 5 s (livekit-protocol 1.7), and gives its socket up 15 s after
// the last answer.
#define DATA_REPEAT_SILENT_MS 12000

// One message of the channel `_reliable` or `_lossy` of p.
void data_router_input(struct participant *p, enum data_kind kind, struct bytes message);

// One message of a channel with a label that LiveKit does not know: goes as a UserPacket to all
// others, reliably (livekit-protocol 3.8.1).
void data_router_opaque(struct participant *p, struct bytes message);

// Sends a packet of the server (room service) as it is, over the channel that packet->kind says.
// Receivers: destination_identities and, in a user packet, destination_sids; everybody when both are
// empty. Nobody being there is no error. -EMSGSIZE over SCTP_MAX_MESSAGE, -E2BIG over
// DATA_DESTINATIONS_MAX names, -ENOMEM.
int data_router_send_server(struct room *r, Livekit__DataPacket *packet) NODISCARD;

// ROOM_TIMER_DATA_GAP fired: what is missing does not come any more, unless p is still away.
void data_router_gap_timeout(struct participant *p);

// p is about to end: others get what it had sent ahead.
void data_router_flush(struct participant *p);

// Sequence of the last reliable packet that was accepted from p, with none missing before it: ReconnectResponse.last_message_seq.
uint32_t data_router_last_sequence(const struct participant *p);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way of a packet through a room: from a publisher's transport to the down tracks of all
// subscribers.
//
//   router_rtp, for each packet:
//     parse, TWCC arrival, demultiplex, receiver_input ──► media->batch
//   router_flush, once for each batch of received datagrams:
//     for each output { for each packet of the batch: write }
//
// Fan-out goes subscriber by subscriber, so that packets for one address lie next to each other in
// the outbox and leave as one GSO message.
//
// No allocation, no lock, no log. Owner thread: the room's worker.

#include "sfu/room/pc_transport.h"

struct track_media;

// One decrypted RTP packet from the peer of t. Takes no reference of the caller's.
void router_rtp(struct pc_transport *t, struct packet *p);

// One decrypted RTCP compound.
void router_rtcp(struct pc_transport *t, struct bytes compound);

// Packets that came before their section was known: route them now.
void router_release_held(struct pc_transport *t);

// Fans out what was gathered. Called by the worker after each batch of datagrams.
void router_flush(struct room_env *env);

// Drops what is gathered of a codec that ends.
void router_forget(struct room_env *env, struct track_media *media);

// The transport's RTCP duties that are due; sets the next deadline.
void router_media_timeout(struct pc_transport *t);

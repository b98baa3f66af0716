// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParticipantInfo as bytes: encoded once per change and kept, since a room of n people tells it n
// times, and all of them again to each who comes. Messages that hold many are put together from
// these bytes: a repeated field is its elements one behind the other, wherever they come from.
//
// Owner thread: the room's worker.

#include "common/base/dynbuf.h"
#include "sfu/room/participant.h"

struct ProtobufCMessage;
struct shared_buf;

// livekit splits participant updates around this size.
#define INFO_BATCH_SPLIT ((size_t)128 << 10)

// ParticipantInfo of p as it is now; p keeps it. NULL without memory, which is counted
// (env->no_memory). Not for one in state JOINING: its version does not tell its changes.
const struct shared_buf *participant_info(struct participant *p);

// Forgets the bytes (they come again when they are needed).
void participant_info_drop(struct participant *p);

// ParticipantUpdates in the making. A message goes out when it is full, the rest with
// info_batch_send; nothing is sent for an empty one.
struct info_batch {
    struct room *room;
    struct participant *to; // NULL: everybody whose join was answered
    struct dynbuf body;
    bool failed; // something was lost for lack of memory
};
void info_batch_init(struct info_batch *b, struct room *r, struct participant *to);
void info_batch_add(struct info_batch *b, struct participant *p);
// Sends what is left and frees the batch's memory. -ENOMEM: something of it was lost (counted). One
// that is for somebody ends that session then (signal_post.h); one for everybody may be sent again.
int info_batch_send(struct info_batch *b);

// JoinResponse: `join` (a Livekit__JoinResponse) with everybody else in the room as
// other_participants. Who does not fit into one message (SIGNAL_MESSAGE_MAX) follows in updates at
// once.
void participant_info_send_join(struct participant *p, const struct ProtobufCMessage *join);

// ParticipantUpdates of everybody including p: what a resumed client needs (livekit-protocol 4.10).
void participant_info_send_snapshot(struct participant *p);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// When people are told of each other: changes are gathered and go out as ParticipantUpdates, each
// encoded once for everybody (livekit-protocol 4.12). room.h has what other modules call
// (room_update_soon, room_flush_updates); participant_changed is the way in.
//
// - A change of somebody goes out at once; who joins or leaves without publishing within
//   ROOM_UPDATE_DELAY_MS (livekit: on a tick of 3 s). In large rooms there are at most 20 updates a
//   second, so that a crowd that comes in together costs one message to everybody instead of one
//   for each: nobody waits more than ROOM_UPDATE_DELAY_MAX_MS.
// - The participant itself is told of its own changes at once in any case. If it changes itself more
//   often than it may (effort.h), others are told the state that it has in the end.
// - Who gets a description is told before of the publishers that are still to be told.
// - Versions never go back: a receiver may get the same one twice.
//
// Owner thread: the room's worker.

#include "sfu/room/room.h"

// At least this many people in a room for each millisecond that its updates wait.
#define ROOM_NEWS_PEOPLE_PER_MS 20

// p has changed; it is told with the next update of the room.
void room_news_add(struct participant *p);
// It is not to be told any more (it is gone, or its room).
void room_news_forget(struct participant *p);

// Tells p what it has changed itself, if the room's update waits.
void room_news_tell_self(struct participant *p);

// Tells p of those publishers of whom it has not been told yet: before each description.
void room_news_tell_publishers(struct participant *p);

// An identity comes (again): what is still to be told of its earlier sessions is told now, while
// the new session is JOINING. Nobody may be told the end of the old one later, least of all the new
// one: clients remove by identity.
void room_news_identity_comes(struct room *r, const char *identity);

// Others see p leave although it stays: it became hidden.
void room_news_hide(struct participant *p);

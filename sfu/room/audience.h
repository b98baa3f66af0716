// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whom news of a participant concern that are not for the whole room (who speaks, how good the
// connection is): itself, and everybody who receives one of its tracks (livekit-protocol 4.14).
//
//   audience_add(p, 0); audience_add(q, 1); ...            gathers: O(receivers of p, q, ...)
//   while ((l = audience_next(room, l, &mask)) != NULL)    one message for each listener, with the
//                                                          news of the bits in mask
//
// Listeners with equal masks get equal bytes: encode once. Nothing may stay gathered when another
// module begins.
//
// Owner thread: the room's worker.

#include "sfu/room/room.h"

struct subscription;

// News that one batch holds: bits of a mask.
#define AUDIENCE_NEWS_MAX 64

// News `index` is about p.
void audience_add(struct participant *p, unsigned index);

// The next listener after `after` (NULL: the first) and its news, which are taken; NULL at the end.
// Those without a WebSocket are passed over.
struct participant *audience_next(struct room *r, struct participant *after, uint64_t *ret_mask);

// True if listener receives a track of p.
bool audience_hears(struct participant *listener, const struct participant *p);

// A subscription began: if it is the first to that publisher, the subscriber is told how the
// publisher is and whether it speaks.
void audience_joined(struct subscription *s);

// A subscription to a track of p ended: if it was the last, the subscriber is told that p speaks no
// more.
void audience_left(struct participant *subscriber, const struct participant *p);

// p has a new WebSocket and may have missed news: tells all that concern it.
void audience_resumed(struct participant *p);

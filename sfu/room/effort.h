// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a participant makes the server do, and what it may: its requests are handled as long as it has
// an allowance. Beyond that they wait, in their order, and its socket is not read while many wait
// (sfu/signal/request_gate.h): nothing is lost and nothing is told, only the one that floods is slow.
// The number of requests alone bounds nothing: in a room of a thousand one toggled permission is a
// thousand messages and a thousand negotiations (livekit has no such limit).
//
// Effort is counted in microseconds of a core, by what is done and not by a clock: messages, bytes,
// tracks looked at, subscriptions made, descriptions read. Allowances (sfu_limits.h): for what is done
// in one turn, so that others' packets do not wait; for everything that follows, at other places of
// the server too; and for telling others what has changed of the participant itself. That last one
// holds no request up: the changes are gathered, and others are told the latest state when it is their
// time (room_news.c), as always before a description with its media.
//
// An answer, a candidate or a leave is always heard: they cost others nothing, and waiting for them
// would end the session. Pings do not come here (sfu/signal/pong.h).
//
// Owner thread: the room's worker.

#include "common/base/timer_heap.h"
#include "sfu/base/channel_msg.h"

struct participant;
struct room_env;

// What things cost, about, on a core that signs 3,000 times a second (P-256). Message: a reference, the
// way to the signalling thread, a frame, a system call; for each KiB what it costs as text.
#define EFFORT_REQUEST_US 10
#define EFFORT_MESSAGE_US 8
#define EFFORT_KIB_US 5
// An offer and its answer, the same for each KiB of the offer; a new subscription of somebody with its end; a negotiation
// that begins for it.
#define EFFORT_OFFER_US 50
#define EFFORT_SDP_KIB_US 5
#define EFFORT_SUBSCRIPTION_US 50
#define EFFORT_NEGOTIATION_US 500
// The token that tells a client its new claims, and for each KiB of them.
#define EFFORT_TOKEN_US 30
#define EFFORT_TOKEN_KIB_US 5
// Tracks or people that are looked at in a microsecond.
#define EFFORT_LOOKS_PER_US 8

// Embedded in the participant; begin with zeros and effort_begin. `timer` is ROOM_TIMER_REQUESTS.
struct effort {
    mono_t turn_full, work_full, news_full, told_full; // when the allowances are full again
    struct channel_msg *held, *held_last;              // requests that wait
    struct timer timer;                                // the next of them
    bool news;                                         // a request of it changed what others see
};

// A new participant has an EFFORT_START_SHAREth of its allowances; the rest comes with time, or joining
// again would renew them.
void effort_begin(struct participant *p);

// A request of the session m->handle: handled at once, or it waits. True: m was taken. An unknown
// session's is passed over.
bool effort_request(struct room_env *env, struct channel_msg *m) NODISCARD;

// ROOM_TIMER_REQUESTS fired: handles what may be handled now. p may be gone afterwards.
void effort_timeout(struct participant *p);

// What waits is dropped and counted (ROOM_DROP_REQUEST_STALE): the socket that it came by is gone, and
// with it the client expects it to be (SyncState repeats what matters). Cancels the timer.
void effort_drop(struct participant *p);

// p makes work in this turn; work that follows from it, later or elsewhere. Only while a request of p
// is handled: what others do with p is not its effort.
void effort_turn(struct participant *p, int64_t us);
void effort_work(struct participant *p, int64_t us);

// Something that others see of p has changed (participant_changed).
void effort_news(struct participant *p);
// When others may be told: now or earlier, unless p changes itself too often.
mono_t effort_news_at(const struct participant *p);
// They are told: it is paid once, however often it changed between.
void effort_news_told(struct participant *p);

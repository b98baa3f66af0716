// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whose turn it is to call a homeserver: a bounded number at once altogether and for each, urgent
// calls first, then the soonest deadline first, each homeserver at the pace it bears, the
// homeservers in turn (authorization-service 7.5, 7.12). Pure.
//
// The structs are embedded in those of the owner, who keeps them in place while they are in use.

#include "common/base/timer_heap.h"
#include "jwt-service/leave/call_pace.h"

// One homeserver. Zero-initialised.
struct turn_server {
    struct timer_heap urgent; // those that wait
    struct timer_heap others; // those that wait
    struct call_pace pace;
    unsigned in_flight;
    bool waits; // in the list of turns
    struct turn_server *prev;
    struct turn_server *next;
};

// One call. Zero-initialised: neither waiting nor begun.
struct turn {
    struct turn_server *server;
    struct timer by_deadline;
    mono_t deadline;
    bool urgent;
    bool begun;
};

struct turns {
    struct turn_server *waiting; // homeservers where somebody waits; taken from in turn
    unsigned max;                // at once
    unsigned max_per_server;
    unsigned in_flight;
    uint64_t wait_count;
};

// Nobody may wait there any more.
void turn_server_done(struct turn_server *s);

// Queues a call. -ENOMEM.
int turns_wait(struct turns *t, struct turn *turn, struct turn_server *s, bool urgent,
               mono_t deadline) NODISCARD;

// The call is over or given up, whether it waits, was begun, or neither.
void turns_leave(struct turns *t, struct turn *turn);

enum turns_step {
    TURNS_BEGIN,   // this one is to begin and counts as begun
    TURNS_EXPIRED, // this one's deadline passed before its turn came; it waits no more
    TURNS_NONE,
};

// What is to be done now: repeat until TURNS_NONE, which says in *ret_next when to ask again.
// Otherwise *ret is the call.
enum turns_step turns_next(struct turns *t, mono_t now, struct turn **ret, mono_t *ret_next);

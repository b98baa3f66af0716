// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the two halves of delayed_leave.h share: delayed_leave.c (states, webhooks, lookups) and
// delayed_leave_call.c (restarts, sends, their repetition). Pure.

#include "jwt-service/leave/delayed_leave.h"

// struct delayed_leave.flags
enum {
    // A leave was seen while waiting: the "joined" that belongs to it may come after it.
    LEAVE_FLAG_LEFT_SEEN = 1 << 0,
    // What is being looked up has changed meanwhile: the answer says nothing.
    LEAVE_FLAG_LOOKUP_VOID = 1 << 1,
    // The planned lookup answers a question, so that it is repeated until there is an answer.
    LEAVE_FLAG_DOUBT = 1 << 2,
    // Connected by what an earlier process knew.
    LEAVE_FLAG_RESTORED = 1 << 3,
    // Connected by what the job before knew.
    LEAVE_FLAG_INHERITED = 1 << 4,
    // The last attempt before the deadline is planned or was made.
    LEAVE_FLAG_LAST_CALL = 1 << 5,
    // The last call failed for want of the homeserver's address.
    LEAVE_FLAG_NO_URL = 1 << 6,
    LEAVE_FLAG_CLOSING = 1 << 7,
    LEAVE_FLAG_DONE = 1 << 8,
};

// authorization-service 7.2, 7.4: life of a sticky event.
#define LEAVE_HOUR_MS INT64_C(3600000)

// 7.4: restarts of one job are never closer together than this; the shortest delay that is taken
// seriously follows from it (80 % of it).
#define LEAVE_RESTART_SPACING_MS INT64_C(250)
#define LEAVE_DELAY_FLOOR_MS 320u

// 9.20: while waiting, one restart at 60 % of delays from 5 s on, and what is gained by it ends a
// minute after the request.
#define LEAVE_WAITING_RESTART_MIN_MS 5000u
#define LEAVE_WAITING_RESTART_UNTIL_MS INT64_C(60000)

// Back-off of 7.4: each wait is the one before times a factor, up to a minute, with jitter.
struct leave_backoff {
    uint32_t first_ms;
    uint32_t factor_percent;
    uint32_t jitter_percent; // either way
};

// The next wait of a sequence; *wait_ms is its memory, 0 before the first.
int64_t leave_backoff_next(const struct leave_backoff *b, uint32_t *wait_ms, struct rng *rng);

static inline bool leave_flag(const struct delayed_leave *j, unsigned f)
{
    return (j->flags & f) != 0;
}

static inline void leave_flag_set(struct delayed_leave *j, unsigned f)
{
    j->flags = (uint16_t)(j->flags | f);
}

static inline void leave_flag_clear(struct delayed_leave *j, unsigned f)
{
    j->flags = (uint16_t)(j->flags & ~f);
}

// The delay as the restarts go by it.
static inline int64_t leave_restart_delay_ms(const struct delayed_leave *j)
{
    return MAX(j->delay_ms, LEAVE_DELAY_FLOOR_MS);
}

// Start an attempt; the state must be right for it.
void leave_call_restart(struct delayed_leave *j, mono_t now, struct leave_todo *todo);
void leave_call_send(struct delayed_leave *j, mono_t now, struct leave_todo *todo);

// The answer to the attempt: plans the next, or ends the job.
void leave_call_answer(struct delayed_leave *j, const struct leave_input *in,
                       const struct leave_rules *rules, mono_t now, struct rng *rng,
                       struct leave_todo *todo);

// Ends the job; what is under way is cancelled.
void leave_finish(struct delayed_leave *j, enum leave_outcome outcome, struct leave_todo *todo);
void leave_abort(struct delayed_leave *j, enum leave_outcome outcome, struct leave_todo *todo);

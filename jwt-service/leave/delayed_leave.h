// SPDX-License-Identifier: Apache-2.0
#pragma once
// One delegated leave (MSC4140, MSC4195): while the SFU sees the participant, the homeserver's
// delayed "leave" event is restarted again and again; when the participant is gone it is sent.
// authorization-service 7.1 to 7.8, 7.10, 7.11, 9.12 to 9.25. Pure: `now` and the randomness come
// in, what is to be done goes out.
//
//              ┌───────── joined, found ─────────┐
//              │                                 ▼            restart: 404, or none until the
//         ┌─ WAITING ◄── inherited, not found ── CONNECTED ──── event's deadline ─────────► ABORTED
//   begin─┘    │  │                              │                                            ▲
//              │  └──── waited long enough ───┐  ├─ left, aborted, no longer found            │
//              │                              ▼  ▼                                            │
//              │                          DISCONNECTED: sends, with retries, then done        │
//              └──────────── connection aborted; restart: 404 ────────────────────────────────┘
//   REPLACED from WAITING, CONNECTED and ABORTED; a send that is under way is finished.
//
// At most one call to the homeserver and one lookup are under way at a time. Nothing happens after
// "done".

#include "common/base/mono.h"
#include "common/base/rng.h"
#include "jwt-service/leave/delayed_event_answer.h"

enum leave_state {
    LEAVE_WAITING,      // the participant was not seen yet
    LEAVE_CONNECTED,    // is on the SFU
    LEAVE_DISCONNECTED, // is gone; the event is being sent
    LEAVE_ABORTED,      // nothing more to do, the event was not sent by us
    LEAVE_REPLACED,     // another event took its place
    LEAVE_STATE_COUNT,
};

enum leave_event {
    LEAVE_EVENT_JOINED,        // webhook: identity `who` is connected
    LEAVE_EVENT_LEFT,          // webhook: `who` left by its own will
    LEAVE_EVENT_CUT,           // webhook: `who`'s connection is gone
    LEAVE_EVENT_LEFT_DOUBTFUL, // webhook: `who`'s session ended, but another may go on (duplicate
                               // identity, migration, state mismatch)
    LEAVE_EVENT_ROOM_FINISHED, // webhook: nobody is in the room
    LEAVE_EVENT_FOUND,         // lookup: the identities of `present` are in the room
    LEAVE_EVENT_NOT_FOUND,     // lookup: none is
    LEAVE_EVENT_LOOKUP_FAILED, // lookup: nobody knows
    LEAVE_EVENT_ANSWER,        // the call that was asked for has ended: `verdict`, `wait_ms`
    LEAVE_EVENT_TIME,          // delayed_leave_next was reached
    LEAVE_EVENT_REPLACED,      // there is a newer delegation for the same participant
    LEAVE_EVENT_SHUTDOWN,      // the service ends: one last call, nothing new
    LEAVE_EVENT_COUNT,
};

// What to do, a set of bits.
enum {
    LEAVE_DO_CANCEL = 1 << 0, // cancel the call that is under way: it does not count any more
    LEAVE_DO_CALL = 1 << 1,   // call the homeserver as `call` says, after the above
    LEAVE_DO_LOOKUP = 1 << 2, // find out which identities are in the room
    LEAVE_DO_SAVE = 1 << 3,   // write state, restart time and session to the store
    LEAVE_DO_DONE = 1 << 4,   // nothing comes any more: remove, `outcome` says why
};

enum leave_outcome {
    LEAVE_OUTCOME_SENT,        // the event was sent, or had been by somebody else
    LEAVE_OUTCOME_SEND_FAILED, // it could not be sent; the homeserver's own timer will
    LEAVE_OUTCOME_CUT,         // the connection was aborted before it was up
    LEAVE_OUTCOME_GONE,        // the homeserver does not know the event any more
    LEAVE_OUTCOME_TIMED_OUT,   // no restart succeeded in time
    LEAVE_OUTCOME_NO_URL,      // the same, and the homeserver could not even be found
    LEAVE_OUTCOME_REPLACED,
    LEAVE_OUTCOME_COUNT,
};

struct leave_todo {
    unsigned bits;
    enum delayed_event_action call; // LEAVE_DO_CALL
    int64_t timeout_ms;             // LEAVE_DO_CALL: of this attempt
    mono_t deadline;                // LEAVE_DO_CALL: later it is of no use
    enum leave_outcome outcome;     // LEAVE_DO_DONE
};

#define LEAVE_WHO_MAX 2   // the job's own identity, and the other one it may join with
#define LEAVE_SID_SIZE 24 // LiveKit's "PA_" and 12 characters; longer ones are cut
#define LEAVE_DELAY_MAX_MS (INT64_C(7) * 24 * 3600 * 1000) // authorization-service 7.12

struct leave_input {
    enum leave_event type;
    unsigned who;                       // webhooks: 0 or 1
    unsigned present;                   // FOUND: bit 1 << who
    const char *sid[LEAVE_WHO_MAX];     // webhooks: sid[who], FOUND: of each; NULL or "" unknown
    int64_t created_at_s;               // webhooks: the SFU's time, 0 unknown
    bool old;                           // webhooks: of before the delegation, by created_at_s
    enum delayed_event_verdict verdict; // ANSWER
    int64_t wait_ms;                    // ANSWER: see delayed_event_class
};

// What is the same for many jobs.
struct leave_rules {
    int64_t sanity_ms; // how often a connected participant is looked up, 0: never
    bool limited;      // the homeserver limits us: restart as late as is safe
};

struct leave_session {
    char sid[LEAVE_SID_SIZE]; // "" unknown
    int64_t joined_at_s;      // the SFU's time, 0 unknown
};

// Read the first four; the others are the module's own.
struct delayed_leave {
    uint8_t state;    // enum leave_state
    uint8_t present;  // identities that are in the room
    bool calling;     // a call is under way
    bool looking;     // a lookup is under way
    uint8_t action;   // enum delayed_event_action of the call
    uint8_t absences; // confirmed in a row
    uint8_t absences_needed;
    uint16_t flags;
    uint32_t delay_ms;
    uint32_t call_wait_ms;   // back-off: next wait before jitter, 0: the sequence begins
    uint32_t lookup_wait_ms; // same for lookups
    mono_t started;
    mono_t deadline;   // the homeserver fires then, as far as we know; 0: never heard
    mono_t wait_until; // WAITING
    mono_t call_at;    // next call, MONO_NEVER: none planned
    mono_t called_at;  // begin of the last call
    mono_t call_limit; // DISCONNECTED: end of the attempts
    mono_t lookup_at;  // MONO_NEVER: none planned
    struct leave_session session[LEAVE_WHO_MAX];
};

// What outlives the process.
struct leave_saved {
    enum leave_state state; // WAITING, CONNECTED or DISCONNECTED; others count as WAITING
    int64_t left_ms;        // until the homeserver fires; > 0
    const char *sid;        // of the participant, NULL or "" unknown
};

// Begins a delegation. delay_ms > 0; more than LEAVE_DELAY_MAX_MS is clamped.
struct leave_todo delayed_leave_begin(struct delayed_leave *j, int64_t delay_ms, mono_t now);

// Begins a delegation that takes the place of `old`, which must not have got LEAVE_EVENT_REPLACED
// yet: what is known of the participant is kept, and verified.
struct leave_todo delayed_leave_inherit(struct delayed_leave *j, int64_t delay_ms,
                                        const struct delayed_leave *old, mono_t now);

// Goes on with a delegation of an earlier process (7.10).
struct leave_todo delayed_leave_restore(struct delayed_leave *j, int64_t delay_ms,
                                        const struct leave_saved *saved, mono_t now);

// Takes one event. After LEAVE_DO_DONE nothing may be fed any more except by tests: it has no
// effect.
struct leave_todo delayed_leave_handle(struct delayed_leave *j, const struct leave_input *in,
                                       const struct leave_rules *rules, mono_t now,
                                       struct rng *rng);

// When LEAVE_EVENT_TIME is due; MONO_NEVER: at no time. Always later than the `now` of the last
// event.
mono_t delayed_leave_next(const struct delayed_leave *j);

// True after LEAVE_DO_DONE.
bool delayed_leave_is_done(const struct delayed_leave *j);

// The session to be saved: "" if none is known.
const char *delayed_leave_sid(const struct delayed_leave *j);

// For logs and metrics: "waiting", "connected", ... and "sent", "gone", ...
const char *leave_state_name(enum leave_state s);
const char *leave_outcome_name(enum leave_outcome o);

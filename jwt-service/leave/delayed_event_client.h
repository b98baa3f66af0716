// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls to homeservers that restart or send a delayed event: one attempt each
// (authorization-service 7.5, 7.12; 11.3 for calls as a user). Owner thread: the loop's. Never
// blocks.
//
// Finds the client-server API (cs_discovery), waits for its turn, asks once. At most 64 calls are
// under way, 8 for one homeserver; of those that wait, sends go before restarts, and then the
// soonest deadline first. A homeserver that answers 429 is asked at the pace it bears from then on.
// Back-off and the number of attempts are the caller's.

#include "jwt-service/leave/cs_discovery.h"
#include "jwt-service/leave/delayed_event_answer.h"

#define DELAYED_EVENT_IN_FLIGHT_MAX 64 // authorization-service 7.12
#define DELAYED_EVENT_PER_SERVER_MAX 8 // same
#define DELAYED_EVENT_TIMEOUT_MS 5000  // 7.4
#define DELAYED_EVENT_AUTH_DEMANDS 3   // 7.5: so many in a row, and it is believed

struct delayed_event_client;
struct delayed_event_call;

struct delayed_event_conf {
    struct loop *loop;
    struct httpc *http;
    struct cs_discovery *discovery;
    const char *as_token; // for calls as a user; borrowed, NULL: there are none
};

// One attempt. All strings are copied.
struct delayed_event_ask {
    const char *server_name;
    const char *delay_id;
    enum delayed_event_action action;
    const char *as_user; // NULL: without authentication, by the bare id
    int64_t timeout_ms;  // of the exchange, without waiting for its turn; 0: 5 s
    mono_t deadline;     // later it is of no use: it is not begun any more. 0, MONO_NEVER: none
};

struct delayed_event_result {
    enum delayed_event_verdict verdict;
    int64_t wait_ms;    // see delayed_event_class
    unsigned status;    // of the HTTP answer, 0: none came
    const char *step;   // not OK: "dns", "connect", "timeout", "status", "turn", ...
    const char *text;   // not OK: one line for the operator, without ids and tokens
    const char *room;   // LOOKUP and OK: the event's room
    int64_t delay_ms;   // LOOKUP and OK: its delay (delayed_event_delay_ms)
    int64_t elapsed_ms; // since delayed_event_call
};

// Since the start, for metrics.
struct delayed_event_counts {
    uint64_t restarts_ok; // OK
    uint64_t restarts_gone;
    uint64_t restarts_failed;
    uint64_t sends_ok;
    uint64_t sends_failed;
    uint64_t limited;         // 429
    uint64_t unauthenticated; // answers that demand a token
    uint64_t in_flight;       // now
    uint64_t waiting;         // now: for their turn
};

// NULL without memory. conf's objects must outlive it.
struct delayed_event_client *
delayed_event_client_new(const struct delayed_event_conf *conf) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void delayed_event_client_free(struct delayed_event_client *c);
DEFINE_CLEANUP(struct delayed_event_client *, delayed_event_client_free)

// True if calls as a user can be made: there is an as_token.
bool delayed_event_client_authenticates(const struct delayed_event_client *c);

// Starts an attempt. fn is called once from the loop, never from inside this call; *ret is valid
// until then, fn may start the next one. -EINVAL: !delayed_event_id_ok, no server name, or as_user
// without as_token. -ENOMEM.
int delayed_event_call(struct delayed_event_client *c, const struct delayed_event_ask *ask,
                       void (*fn)(void *user, const struct delayed_event_result *result),
                       void *user, struct delayed_event_call **ret) NODISCARD;

// fn will not be called. A request that is under way is cut off (the homeserver may have taken it).
void delayed_event_cancel(struct delayed_event_call *call);

// False once this homeserver demanded a token DELAYED_EVENT_AUTH_DEMANDS times in a row for calls
// without one: delegation by the bare id is not possible there. A call that succeeds, or an hour
// without asking, makes it true again.
bool delayed_event_allowed(struct delayed_event_client *c, const char *server_name);

// True while the homeserver is asked more slowly because it answered 429: restarts should come as
// late as they may.
bool delayed_event_limited(struct delayed_event_client *c, const char *server_name);

void delayed_event_counts(const struct delayed_event_client *c, struct delayed_event_counts *ret);

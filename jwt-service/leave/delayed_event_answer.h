// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a homeserver's answer to a delayed event call (MSC4140) means, and how such a call is
// written: authorization-service 7.5. Pure.

#include "common/base/dynbuf.h"
#include "common/base/mono.h"

enum delayed_event_action {
    DELAYED_EVENT_RESTART, // POST .../restart: its delay begins anew
    DELAYED_EVENT_SEND,    // POST .../send: now instead of later
    DELAYED_EVENT_LOOKUP,  // GET: which room it is of (authenticated calls, 11.3)
};

enum delayed_event_verdict {
    // 200, 204. For send also 404 and 409: it was sent or cancelled before, nothing is left to do.
    DELAYED_EVENT_OK,
    DELAYED_EVENT_GONE,  // restart, look-up: 404, restart: 409. There is no such event any more
    DELAYED_EVENT_RETRY, // failed in a way that may pass: ordinary back-off
    DELAYED_EVENT_RETRY_AFTER,     // 429 with a hint: wait_ms is the next wait
    DELAYED_EVENT_REFUSED,         // 401, 403: as RETRY, but wait at least wait_ms
    DELAYED_EVENT_UNAUTHENTICATED, // the same, and the homeserver demands a token
    DELAYED_EVENT_NO_ENDPOINT,     // it does not know delayed events here: as RETRY
    DELAYED_EVENT_NO_URL,          // its client-server API cannot be found
    DELAYED_EVENT_VERDICT_COUNT,
};

#define DELAYED_EVENT_ID_MAX 255           // authorization-service 1.5
#define DELAYED_EVENT_BODY_MAX (64u << 10) // 7.5: drained so that the connection can be kept
#define DELAYED_EVENT_WAIT_MIN_MS 250      // 7.5: floor under Retry-After: 0
#define DELAYED_EVENT_REFUSED_WAIT_MS 5000 // 7.5: 401 and 403
// A hint of days would be a mistake or an attack; no budget is longer (7.4).
#define DELAYED_EVENT_WAIT_MAX_MS INT64_C(3600000)

// What came back over HTTP. Borrowed.
struct delayed_event_http {
    unsigned status;
    struct bytes body;
    const char *retry_after; // header, NULL: none
};

struct delayed_event_class {
    enum delayed_event_verdict verdict;
    int64_t wait_ms; // RETRY_AFTER, REFUSED, UNAUTHENTICATED; else 0
    bool limited;    // it was a 429, with a hint or without
};

// Classifies an HTTP answer. `now` is for dates in Retry-After.
struct delayed_event_class delayed_event_classify(enum delayed_event_action action, wall_t now,
                                                  const struct delayed_event_http *answer);

// True if the body of an error says M_NOT_FOUND: a homeserver that knows the endpoint. (Any other
// 404 at a path that is only tried may be a proxy's.)
bool delayed_event_says_not_found(struct bytes body);

// The room in the answer to a look-up, zero-terminated. -EINVAL: there is none.
#define DELAYED_EVENT_ROOM_MAX 255 // matrix-spec appendices: room ids
int delayed_event_room(struct bytes body, char ret[static DELAYED_EVENT_ROOM_MAX + 1]) NODISCARD;

// The delay in the same answer, in milliseconds: `delay_ms` (MSC4140 and Synapse since 2026-07) or
// `delay` (before). 0 if there is none that is positive.
int64_t delayed_event_delay_ms(struct bytes body);

// True if the id may stand in a path: not empty, not "." or "..", at most DELAYED_EVENT_ID_MAX
// bytes, no control characters. What fails is a client's mistake or worse: 400 at request time.
bool delayed_event_id_ok(const char *delay_id);

// Appends the URL of a call: base_url, the path (stable: /_matrix/client/v1/, else MSC4140's
// unstable one), delay_id as one segment with every byte outside unreserved escaped, and user_id as
// query if as_user is not NULL. -EINVAL: !delayed_event_id_ok.
int delayed_event_url(const char *base_url, const char *delay_id, enum delayed_event_action action,
                      bool stable, const char *as_user, struct dynbuf *out) NODISCARD;

// Names for logs and metrics: "restart", "send", "lookup"; "ok", "gone", "retry", ...
const char *delayed_event_action_name(enum delayed_event_action a);
const char *delayed_event_verdict_name(enum delayed_event_verdict v);

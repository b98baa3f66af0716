// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells the outside what happens in rooms: signed POSTs of WebhookEvent in JSON. livekit-protocol 7.
//
// Each target has one queue for each room with something to tell: strictly in order, one request at a
// time, repeated after 1, 2, 4 and 8 s when the target cannot be reached or answers 429 or 5xx (but
// not 501); meanwhile what follows waits. A request has its token from its first attempt and is
// repeated byte by byte. Nobody waits for any of it.
//
//   event ──► queue (target, room) ──► at most ACTIVE_MAX requests at once ──► 2xx: next one
//                  │ older than 30 s when its turn comes: dropped     └─► failure: back-off or given up
//
// Signalling thread. Upstream: livekit/protocol webhook/{resource_url_notifier,resource_queue}.go.
// Deviations: a full queue drops its oldest event of a track first (there the newest event goes, and
// a large room that closes loses who left), and one request takes 10 s at most.

#include "common/lk/keys.h"
#include "common/sys/loop.h"
#include "sfu/base/sfu_limits.h"

struct shared_buf;
struct webhook_notifier;

// An event that waited longer is not news (livekit/protocol webhook: maxAge).
#define WEBHOOK_QUEUE_AGE_MS 30000

struct webhook_target {
    const char *url; // http or https
    bool no_tracks;  // track_* events do not interest there
    // Names of events, borrowed while the notifier lives. Only those in `include` are told; without
    // it all but those in `exclude`.
    const char *const *include, *const *exclude;
    size_t include_count, exclude_count;
};

struct webhook_notifier_conf {
    struct loop *loop;
    const struct api_keys *keys;          // borrowed
    const char *key;                      // name of the one that signs; NULL or "": api_keys_signer
    const struct webhook_target *targets; // copied
    size_t target_count;
    const char *user_agent;
    int64_t backoff_ms; // before the first repetition, doubled each time; 0: 1 s
    int64_t age_ms;     // 0: WEBHOOK_QUEUE_AGE_MS
};

struct webhook_counts {
    uint64_t delivered;
    uint64_t refused; // by the target: an answer that is not repeated
    uint64_t failed;  // given up after the last attempt
    uint64_t dropped; // queue full, or too old when the turn came
};

// -ENOMEM.
int webhook_notifier_new(const struct webhook_notifier_conf *conf,
                         struct webhook_notifier **ret) NODISCARD;
// What is not delivered is lost, and counted in one line of the log. Accepts NULL.
void webhook_notifier_free(struct webhook_notifier *n);

// Takes note of an event: the encoded WebhookEvent of a worker (borrowed).
void webhook_notifier_event(struct webhook_notifier *n, const struct shared_buf *event);

// Events that wait or are on their way, each once for each target. 0: everything is told.
size_t webhook_notifier_pending(const struct webhook_notifier *n);

struct webhook_counts webhook_notifier_counts(const struct webhook_notifier *n);

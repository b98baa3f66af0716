// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics of foci-jwt (authorization-service 9.29, operators section 8), by what happens and not
// by family. Names and labels stand in the table of auth_metrics.c. Owner thread: the loop's.
//
// Functions accept a NULL registry. Causes, outcomes and the like must be constants of few values,
// never text of clients or homeservers.

#include "common/lk/keys.h"
#include "common/svc/metrics.h"
#include "jwt-service/base/request_log.h"
#include "jwt-service/leave/delayed_leave_manager.h"

// Registry with all families; series whose labels we know exist from the start. `started`: of the
// process. NULL without memory.
struct metrics *auth_metrics_new(const char *version, wall_t started) NODISCARD;

// A request was answered (status 0: its client left): counts it by endpoint and result, by status,
// its failed step and cause, and the time of each step.
void auth_metrics_request(struct metrics *m, const struct request_log *l, mono_t now,
                          unsigned status);
// Requests under way now.
void auth_metrics_in_flight(struct metrics *m, size_t n);

// An OpenID lookup ended. full_access: class of the homeserver. outcome: "ok" or the cause of
// struct openid_result.
void auth_metrics_openid(struct metrics *m, bool full_access, const char *outcome, int64_t us);

// A call of the SFU's API ended. call: "CreateRoom"; outcome: "ok" or the cause.
void auth_metrics_sfu(struct metrics *m, const char *call, const char *outcome, int64_t us);

// What the modules of delegated leaves count themselves, as it is now: to be called before each
// metrics_write. Jobs by state and by how they ended, lookups, webhooks that were missed; attempts
// on delayed events by action and outcome, answers 429 and those that demand a token; writes of the
// store.
void auth_metrics_leaves(struct metrics *m, const struct leave_counts *c);
void auth_metrics_delayed_events(struct metrics *m, const struct delayed_event_counts *c);
void auth_metrics_store(struct metrics *m, enum job_store_kind kind,
                        const struct job_store_stats *s);

// A webhook: "accepted", or why it was refused.
void auth_metrics_webhook(struct metrics *m, const char *result);

// The key set as it is now: to be called before each metrics_write, since
// ages grow and keys retire by themselves. The name of a key is no secret: every token carries it.
void auth_metrics_keys(struct metrics *m, const struct api_keys *keys, wall_t now);

// A file was read again: what "keys", "policy" or "certificates".
void auth_metrics_reload(struct metrics *m, const char *what, bool ok);
// Rules in force.
void auth_metrics_policy_rules(struct metrics *m, size_t n);

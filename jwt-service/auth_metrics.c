// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/auth_metrics.h"

#include <stdio.h>

enum auth_family {
    BUILD_INFO,
    STARTED,
    REQUESTS,
    RESPONSES,
    FAILURES,
    IN_FLIGHT,
    REQUEST_SECONDS,
    STEP_SECONDS,
    OPENID,
    OPENID_SECONDS,
    SFU_CALLS,
    SFU_SECONDS,
    JOBS,
    LEAVES_BEGUN,
    LEAVES_ENDED,
    LOOKUPS,
    LOOKUPS_FAILED,
    EVENTS_OF_SFU,
    HOOKS_MISSING,
    EVENT_CALLS,
    EVENT_LIMITED,
    EVENT_UNAUTHENTICATED,
    STORE,
    STORE_PENDING,
    STORE_UP,
    WEBHOOKS,
    KEY_AGE,
    KEY_RETIRES,
    KEY_SIGNS,
    RELOADS,
    POLICY_RULES,
    AUTH_FAMILY_COUNT,
};

// A token request is under a millisecond besides the homeserver, which may take
// OPENID_TOTAL_MS (10 s).
static const double seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                 0.25,  0.5,    1,     2.5,  5,     10};
#define SECONDS .buckets = seconds, .bucket_count = ARRAY_LEN(seconds)

// Combinations of endpoint, result, status, step and cause that can happen are fewer than these.
#define SERIES_MANY 256

static const struct metric_desc table[AUTH_FAMILY_COUNT] = {
    [BUILD_INFO] = {"foci_jwt_build_info", "Always 1; the version is the label.", METRIC_GAUGE,
                    .labels = {"version"}},
    [STARTED] = {"process_start_time_seconds", "When the process started, in unix seconds.",
                 METRIC_GAUGE},
    [REQUESTS] = {"auth_requests_total", "Requests answered, by endpoint and result.",
                  METRIC_COUNTER, .labels = {"endpoint", "result"}, .max_series = SERIES_MANY},
    [RESPONSES] = {"auth_responses_total", "Answers by endpoint and HTTP status; 0: client left.",
                   METRIC_COUNTER, .labels = {"endpoint", "status"}, .max_series = SERIES_MANY},
    [FAILURES] = {"auth_failures_total", "Requests refused or failed, by step and cause.",
                  METRIC_COUNTER, .labels = {"step", "cause"}, .max_series = SERIES_MANY},
    [IN_FLIGHT] = {"auth_requests_in_flight", "Requests under way.", METRIC_GAUGE},
    [REQUEST_SECONDS] = {"auth_request_seconds", "From request to answer.", METRIC_HISTOGRAM,
                         .labels = {"endpoint"}, SECONDS},
    [STEP_SECONDS] = {"auth_step_seconds", "How long each step of a request took.",
                      METRIC_HISTOGRAM, .labels = {"step"}, SECONDS},
    [OPENID] = {"auth_openid_lookups_total", "OpenID lookups at homeservers, by outcome.",
                METRIC_COUNTER, .labels = {"server_class", "outcome"}},
    [OPENID_SECONDS] = {"auth_openid_seconds", "How long OpenID lookups took.", METRIC_HISTOGRAM,
                        .labels = {"server_class"}, SECONDS},
    [SFU_CALLS] = {"auth_sfu_calls_total", "Calls of the SFU's API, by outcome.", METRIC_COUNTER,
                   .labels = {"call", "outcome"}, .max_series = SERIES_MANY},
    [SFU_SECONDS] = {"auth_sfu_seconds", "How long calls of the SFU's API took.", METRIC_HISTOGRAM,
                     .labels = {"call"}, SECONDS},
    [JOBS] = {"delegated_jobs", "Delegated leaves, by state.", METRIC_GAUGE, .labels = {"state"}},
    [LEAVES_BEGUN] =
        {"delegated_begun_total",
         "Delegated leaves taken over (new), taken up from the store (restored), found "
         "there too late (expired) and refused for their number (limited).",
         METRIC_COUNTER, .labels = {"how"}},
    [LEAVES_ENDED] = {"delegated_ended_total", "Delegated leaves that ended, by how.",
                      METRIC_COUNTER, .labels = {"how"}},
    [LOOKUPS] = {"delegated_lookups_total", "Questions to the SFU for participants.",
                 METRIC_COUNTER},
    [LOOKUPS_FAILED] = {"delegated_lookup_failures_total", "Those that it did not answer.",
                        METRIC_COUNTER},
    [EVENTS_OF_SFU] = {"delegated_webhooks_total",
                       "Webhooks that a delegated leave waited for, and others.", METRIC_COUNTER,
                       .labels = {"of"}},
    [HOOKS_MISSING] = {"delegated_webhooks_missing",
                       "1 if participants were on the SFU for minutes and it sent no webhook.",
                       METRIC_GAUGE},
    [EVENT_CALLS] = {"delegated_calls_total",
                     "Attempts on delayed events at homeservers, by action and outcome.",
                     METRIC_COUNTER, .labels = {"action", "outcome"}},
    [EVENT_LIMITED] = {"delegated_limited_total", "Answers 429 of homeservers to such attempts.",
                       METRIC_COUNTER},
    [EVENT_UNAUTHENTICATED] = {"delegated_unauthenticated_total",
                               "Answers of homeservers that demand a token for such attempts.",
                               METRIC_COUNTER},
    [STORE] = {"auth_store_writes_total", "Writes of delegated leaves, by outcome.", METRIC_COUNTER,
               .labels = {"backend", "outcome"}},
    [STORE_PENDING] = {"auth_store_pending", "Delegated leaves that are not safe in the store yet.",
                       METRIC_GAUGE},
    [STORE_UP] = {"auth_store_up", "0 while the store of delegated leaves cannot be written.",
                  METRIC_GAUGE},
    [WEBHOOKS] = {"auth_webhooks_total", "Webhooks of the SFU, accepted or why they were refused.",
                  METRIC_COUNTER, .labels = {"result"}},
    [KEY_AGE] = {"auth_key_age_seconds", "Since the API key was added.", METRIC_GAUGE,
                 .labels = {"key"}},
    [KEY_RETIRES] = {"auth_key_retires_time_seconds", "When the API key retires, in unix seconds.",
                     METRIC_GAUGE, .labels = {"key"}},
    [KEY_SIGNS] = {"auth_key_signs", "1 for the API key that signs, 0 for those that only verify.",
                   METRIC_GAUGE, .labels = {"key"}},
    [RELOADS] = {"auth_reloads_total", "Files that were read again.", METRIC_COUNTER,
                 .labels = {"what", "result"}},
    [POLICY_RULES] = {"auth_policy_rules", "Rules of the access policy in force.", METRIC_GAUGE},
};

#define LABELS(...) ((const char *const[]){__VA_ARGS__})

static double in_seconds(int64_t us)
{
    return us > 0 ? (double)us / (double)US_PER_S : 0;
}

static const char *class_of(bool full_access)
{
    return full_access ? "full_access" : "restricted";
}

// What an alert is made of exists before it first happens: Prometheus sees no rise from nothing.
static void touch_known(struct metrics *m)
{
    static const enum request_endpoint endpoints[] = {REQUEST_SFU_GET, REQUEST_GET_TOKEN,
                                                      REQUEST_DELEGATE};
    static const enum request_result results[] = {REQUEST_OK, REQUEST_UNAUTHORIZED,
                                                  REQUEST_SFU_FAILED, REQUEST_INTERNAL};
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        for (size_t k = 0; k < ARRAY_LEN(results); k++) {
            metrics_touch(
                m, REQUESTS,
                LABELS(request_endpoint_name(endpoints[i]), request_result_name(results[k])));
        }
    }
    metrics_touch(m, OPENID, LABELS("full_access", "ok"));
    metrics_touch(m, OPENID, LABELS("restricted", "ok"));
    metrics_touch(m, SFU_CALLS, LABELS("CreateRoom", "ok"));
    metrics_touch(m, EVENT_CALLS, LABELS("restart", "ok"));
    metrics_touch(m, EVENT_CALLS, LABELS("send", "ok"));
    metrics_touch(m, WEBHOOKS, LABELS("accepted"));
}

struct metrics *auth_metrics_new(const char *version, wall_t started)
{
    struct metrics *const m = metrics_new(table, ARRAY_LEN(table));
    if (m != NULL) {
        metrics_set(m, BUILD_INFO, LABELS(version), 1);
        metrics_set(m, STARTED, NULL, (double)started.us / (double)US_PER_S);
        metrics_set(m, STORE_UP, NULL, 1); // also where nothing is stored
        touch_known(m);
    }
    return m;
}

void auth_metrics_request(struct metrics *m, const struct request_log *l, mono_t now,
                          unsigned status)
{
    const char *const endpoint = request_endpoint_name(l->endpoint);
    char status_text[16];
    (void)snprintf(status_text, sizeof(status_text), "%u", status);
    metrics_add(m, REQUESTS, LABELS(endpoint, request_result_name(request_log_result(l, status))),
                1);
    metrics_add(m, RESPONSES, LABELS(endpoint, status_text), 1);
    metrics_observe(m, REQUEST_SECONDS, LABELS(endpoint),
                    in_seconds(mono_diff_us(now, l->started)));
    if (l->failed < REQUEST_STEP_COUNT) {
        metrics_add(m, FAILURES, LABELS(request_step_name(l->failed), l->cause), 1);
    }
    for (size_t i = 0; i < REQUEST_STEP_COUNT; i++) {
        if (l->took_us[i] >= 0) {
            metrics_observe(m, STEP_SECONDS, LABELS(request_step_name((enum request_step)i)),
                            in_seconds(l->took_us[i]));
        }
    }
}

void auth_metrics_in_flight(struct metrics *m, size_t n)
{
    metrics_set(m, IN_FLIGHT, NULL, (double)n);
}

void auth_metrics_openid(struct metrics *m, bool full_access, const char *outcome, int64_t us)
{
    metrics_add(m, OPENID, LABELS(class_of(full_access), outcome), 1);
    metrics_observe(m, OPENID_SECONDS, LABELS(class_of(full_access)), in_seconds(us));
}

void auth_metrics_sfu(struct metrics *m, const char *call, const char *outcome, int64_t us)
{
    metrics_add(m, SFU_CALLS, LABELS(call, outcome), 1);
    metrics_observe(m, SFU_SECONDS, LABELS(call), in_seconds(us));
}

void auth_metrics_leaves(struct metrics *m, const struct leave_counts *c)
{
    for (size_t i = 0; i < LEAVE_STATE_COUNT; i++) {
        metrics_set(m, JOBS, LABELS(leave_state_name((enum leave_state)i)), (double)c->jobs[i]);
    }
    for (size_t i = 0; i < LEAVE_OUTCOME_COUNT; i++) {
        metrics_raise(m, LEAVES_ENDED, LABELS(leave_outcome_name((enum leave_outcome)i)),
                      (double)c->ended[i]);
    }
    metrics_raise(m, LEAVES_BEGUN, LABELS("new"), (double)c->begun);
    metrics_raise(m, LEAVES_BEGUN, LABELS("restored"), (double)c->restored);
    metrics_raise(m, LEAVES_BEGUN, LABELS("expired"), (double)c->expired);
    metrics_raise(m, LEAVES_BEGUN, LABELS("limited"), (double)c->limited);
    metrics_raise(m, LOOKUPS, NULL, (double)c->lookups);
    metrics_raise(m, LOOKUPS_FAILED, NULL, (double)c->lookup_failures);
    metrics_raise(m, EVENTS_OF_SFU, LABELS("leave"), (double)c->webhooks);
    metrics_raise(m, EVENTS_OF_SFU, LABELS("other"), (double)c->webhooks_other);
    metrics_set(m, HOOKS_MISSING, NULL, c->webhooks_missing);
}

void auth_metrics_delayed_events(struct metrics *m, const struct delayed_event_counts *c)
{
    metrics_raise(m, EVENT_CALLS, LABELS("restart", "ok"), (double)c->restarts_ok);
    metrics_raise(m, EVENT_CALLS, LABELS("restart", "gone"), (double)c->restarts_gone);
    metrics_raise(m, EVENT_CALLS, LABELS("restart", "failed"), (double)c->restarts_failed);
    metrics_raise(m, EVENT_CALLS, LABELS("send", "ok"), (double)c->sends_ok);
    metrics_raise(m, EVENT_CALLS, LABELS("send", "failed"), (double)c->sends_failed);
    metrics_raise(m, EVENT_LIMITED, NULL, (double)c->limited);
    metrics_raise(m, EVENT_UNAUTHENTICATED, NULL, (double)c->unauthenticated);
}

void auth_metrics_store(struct metrics *m, enum job_store_kind kind,
                        const struct job_store_stats *s)
{
    static const char *const names[] = {[JOB_STORE_MEMORY] = "memory",
                                        [JOB_STORE_JOURNAL] = "journal",
                                        [JOB_STORE_REDIS] = "redis"};
    metrics_raise(m, STORE, LABELS(names[kind], "ok"), (double)s->writes);
    metrics_raise(m, STORE, LABELS(names[kind], "failed"), (double)s->failures);
    metrics_set(m, STORE_PENDING, NULL, (double)s->pending);
    metrics_set(m, STORE_UP, NULL, s->up);
}

void auth_metrics_webhook(struct metrics *m, const char *result)
{
    metrics_add(m, WEBHOOKS, LABELS(result), 1);
}

void auth_metrics_keys(struct metrics *m, const struct api_keys *keys, wall_t now)
{
    const struct api_key *const signer = api_keys_signer(keys, now);
    metrics_clear(m, KEY_AGE);
    metrics_clear(m, KEY_RETIRES);
    metrics_clear(m, KEY_SIGNS);
    for (size_t i = 0; i < api_keys_count(keys); i++) {
        const struct api_key *const k = api_keys_at(keys, i);
        if (api_key_is_retired(k, now)) {
            continue;
        }
        metrics_set(m, KEY_SIGNS, LABELS(k->key), k == signer);
        if (k->added.us > 0) {
            metrics_set(m, KEY_AGE, LABELS(k->key), in_seconds(now.us - k->added.us));
        }
        if (k->retires.us != API_KEY_NEVER.us) {
            metrics_set(m, KEY_RETIRES, LABELS(k->key), in_seconds(k->retires.us));
        }
    }
}

void auth_metrics_reload(struct metrics *m, const char *what, bool ok)
{
    metrics_add(m, RELOADS, LABELS(what, ok ? "ok" : "failed"), 1);
}

void auth_metrics_policy_rules(struct metrics *m, size_t n)
{
    metrics_set(m, POLICY_RULES, NULL, (double)n);
}

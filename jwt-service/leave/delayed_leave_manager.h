// SPDX-License-Identifier: Apache-2.0
#pragma once
// All delegated leaves of this process: feeds delayed_leave.h with webhooks, lookups, answers and
// time, and does what it says. authorization-service 7, 7.12, 9.15, 9.16. Owner thread: the loop's.
//
// One loop timer for all jobs, so that nothing wakes up before something is due. Nothing is queued
// per job: what a webhook changes is changed at once, and a job that needs a lookup or a turn at its
// homeserver is marked. A lookup asks for all jobs of the room that need one.

#include "jwt-service/base/sfu_client.h"
#include "jwt-service/base/webhook_receiver.h"
#include "jwt-service/leave/delayed_event_client.h"
#include "jwt-service/leave/delayed_leave.h"
#include "jwt-service/leave/job_store.h"

// authorization-service 7.12
#define LEAVE_JOBS_PER_USER 20
#define LEAVE_JOBS_PER_SERVER 10000
#define LEAVE_JOBS_MAX 100000

#define LEAVE_SHUTDOWN_MS 5000    // 7.11: last calls
#define LEAVE_FLUSH_MS 3000       // ours: then the store's part of the shutdown
#define LEAVE_WEBHOOK_GRACE_S 300 // 8.6: participants for so long and no webhook: it is not wired

struct leave_manager;
struct leave_call;

struct leave_manager_conf {
    struct loop *loop;
    struct delayed_event_client *client;
    struct sfu_client *sfu;
    struct job_store *store;
    int64_t sanity_ms; // how often participants are looked up; 0: never
    // The servers whose users may delegate, for leave_manager_supported; borrowed. None: any may.
    const char *const *servers;
    size_t server_count;
};

struct leave_request {
    const char *delay_id; // delayed_event_id_ok
    int64_t delay_ms;     // > 0
    const char *server_name;
    const char *room;     // alias on the SFU
    const char *identity; // on the SFU
    // The identity the participant has when it joins through the other endpoint, NULL: none (7.1).
    const char *other_identity;
    const char *user_id; // owner, for the limits
    bool as_user;        // calls are made as user_id with the application service's token (11.3)
};

enum leave_verdict {
    LEAVE_ACCEPTED,          // stored, or accepted without: the log says so
    LEAVE_SHUTTING_DOWN,     // 503
    LEAVE_LIMIT,             // 429: too many of this user, this server or all
    LEAVE_REFUSED_BY_SERVER, // its homeserver demands authentication: no delegation (11.4)
    LEAVE_VERDICT_COUNT,
};

// Since the start, and now. For metrics.
struct leave_counts {
    uint64_t jobs[LEAVE_STATE_COUNT]; // now, by state
    uint64_t begun;
    uint64_t restored;
    uint64_t expired; // found in the store past their time
    uint64_t ended[LEAVE_OUTCOME_COUNT];
    uint64_t limited;          // LEAVE_LIMIT
    uint64_t restarts;         // successful
    uint64_t restart_failures; // attempts
    uint64_t send_failures;    // attempts
    uint64_t lookups;          // calls to the SFU
    uint64_t lookup_failures;
    uint64_t webhooks;       // events for a job
    uint64_t webhooks_other; // events without one
    bool webhooks_missing;   // participants but never a webhook
};

// NULL without memory. conf's objects must outlive it.
struct leave_manager *leave_manager_new(const struct leave_manager_conf *conf) NODISCARD;
// Drops all jobs from memory (not from the store) and what is under way. Calls of
// leave_manager_delegate must have ended or been cancelled. Accepts NULL.
void leave_manager_free(struct leave_manager *m);
DEFINE_CLEANUP(struct leave_manager *, leave_manager_free)

// Reads the store and goes on with what is in it; call it once, before the service listens. done is
// called once from the loop, never from inside this call, with what job_store_load said, valid until
// then. If it could not be read there are no old jobs, new ones work.
void leave_manager_recover(struct leave_manager *m,
                           void (*done)(void *user, const struct job_load *load), void *user);

// Goes on with one job of the store: for job_store_conf.on_takeover, when another instance has died.
// One that is known already is left alone, one past its time removed.
void leave_manager_adopt(struct leave_manager *m, const struct job_record *r);

// The record of a job that is in the store, or should be: for job_store_conf.record. Texts are
// borrowed from the job. false: there is none of this key.
bool leave_manager_record(const struct leave_manager *m, const char *room, const char *identity,
                          struct job_record *ret);

// Takes a delegation over; strings are copied. fn is called once from the loop, never from inside
// this call, when the job is in the store (or JOB_STORE_WAIT_MS later); *ret is valid until then.
// A job of the same room and identity is replaced. -ENOMEM.
int leave_manager_delegate(struct leave_manager *m, const struct leave_request *q,
                           void (*fn)(void *user, enum leave_verdict verdict), void *user,
                           struct leave_call **ret) NODISCARD;
// fn will not be called; a job that was taken over stays.
void leave_manager_cancel(struct leave_call *call);

// A webhook of the SFU.
void leave_manager_event(struct leave_manager *m, const struct sfu_event *e);

// False once every server whose users may delegate demands authentication: the endpoint should not
// exist any more then (8.6, 11.4).
bool leave_manager_supported(struct leave_manager *m);

// Nothing new is taken over; sends that are under way are finished, connected participants' events
// restarted once more, the store flushed. done is called once from the loop, never from inside this
// call, LEAVE_SHUTDOWN_MS + LEAVE_FLUSH_MS later at most.
void leave_manager_shutdown(struct leave_manager *m, void (*done)(void *user), void *user);

void leave_manager_counts(const struct leave_manager *m, struct leave_counts *ret);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Redis backend of job_store: the hash of the original service (authorization-service 7.9), and
// leases for more than one instance on it.
//
// Commands: HGETALL once at the start, HSET and HDEL, HLEN after each reconnection (a server that
// came back without its data gets everything again).
//
// Leases, only with job_store_conf.instance: each record names its owner, and each owner keeps the
// key lk-jwt:lease:<owner> alive (SET PX). Records whose owner lives are left alone; when the lease
// is gone, or a connected job was evidently not restarted, one of the others takes them over (SET NX
// on lk-jwt:takeover:<owner>). The server's clock decides, not those of the hosts. A server that
// does not know or allow SET works without leases.

#include "common/svc/redis.h"
#include "jwt-service/leave/job_store_internal.h"

#define JOB_REDIS_KEY "lk-jwt:jobs"

// Length of a lease and how often it is renewed: two renewals may be lost. While the jobs of another
// instance are there, its lease is looked at more often, because a delayed event of 10 s runs out
// soon.
#define JOB_REDIS_LEASE_MS 15000
#define JOB_REDIS_RENEW_MS 5000
#define JOB_REDIS_WATCH_MS 2000

// The original gives up after 1.7 s (recording 06); an address that swallows packets gets longer.
#define JOB_REDIS_START_MS 1700
#define JOB_REDIS_START_MAX_MS 10000

#define JOB_REDIS_OWNER_MAX 200 // of a name, terminating zero included
#define JOB_REDIS_OWNERS 16     // at once on one hash

// A bad entry is deleted when it is as old as this (authorization-service 7.9: "a day").
#define JOB_REDIS_BAD_AGE_US (INT64_C(86400) * US_PER_S)

// Commands on their way at once.
#define JOB_REDIS_IN_FLIGHT 256

struct job_redis;

// Another instance that is named in the hash.
struct job_owner {
    struct job_redis *of;
    char name[JOB_REDIS_OWNER_MAX];
    bool alive;
    bool ours; // we took over what it had
};

// One look at the whole hash.
struct job_scan_state {
    bool running;
    bool again;          // a second pass for the owners that are ours now
    bool taking;         // after the start: records go to on_takeover
    unsigned awaited;    // answers about owners
    struct dynbuf field; // the last item with an even number
    size_t broken;
    size_t foreign;
    struct dynbuf bad; // fields to be deleted, each with a zero behind
    bool no_memory;
};

// A write on its way. Free ones are a list.
struct job_writing {
    struct job_redis *of;
    struct job_entry *entry;
    struct job_writing *next;
};

enum job_redis_phase {
    JOB_REDIS_STARTING, // load was not called
    JOB_REDIS_LOADING,
    JOB_REDIS_READY,
    JOB_REDIS_DEAD, // could not be reached at the start
};

struct job_redis {
    struct job_backend backend;
    struct job_store *store;
    struct loop *loop;
    struct redis *redis;
    enum job_redis_phase phase;
    struct loop_timer *timer; // loading: limits and retries; later: the pause after a refusal
    struct loop_timer *lease_timer;
    mono_t load_start;
    size_t given;                  // records, while loading
    char why[JOB_STORE_ERROR_MAX]; // the last trouble
    bool was_up;
    unsigned downs;   // since it was up: with the second it is known to be gone
    bool refused;     // the server answers writes with errors
    bool count_due;   // it may have lost what it had
    int64_t pause_ms; // after a refusal
    struct job_writing writing[JOB_REDIS_IN_FLIGHT];
    struct job_writing *writing_free;
    uint64_t connections;
    char instance[JOB_REDIS_OWNER_MAX];
    bool leases;
    bool lease_told; // that there are none
    size_t foreign;  // fields that are not ours, at the last look
    mono_t next_scan;
    struct job_owner owners[JOB_REDIS_OWNERS];
    size_t owner_count;
    struct job_scan_state scan;
    struct dynbuf field_text; // scratch
    struct dynbuf value_text;
};

// ---- job_redis_scan.c: reading and leases ---------------------------------------------------

// Looks at the whole hash; ends with job_redis_scanned_. false: cannot be asked now.
bool job_redis_scan_(struct job_redis *j, bool taking);
// The look is over; error: nothing of it counts.
void job_redis_scanned_(struct job_redis *j, int error);
// The connection is up: begins to renew.
void job_redis_lease_(struct job_redis *j);
void job_redis_lease_timer_(struct job_redis *j);
// Gives the lease back, as far as the socket takes it.
void job_redis_lease_end_(struct job_redis *j);
// Asks how many fields there are.
void job_redis_count_(struct job_redis *j);
// HSET and the like with up to 5 words.
int job_redis_ask_(struct job_redis *j, const struct redis_ask *how, const char *const *words,
                   size_t n) NODISCARD;

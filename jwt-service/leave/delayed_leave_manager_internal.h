// SPDX-License-Identifier: Apache-2.0
#pragma once
// What delayed_leave_manager.c (delegation, webhooks, recovery, shutdown), delayed_leave_jobs.c (what
// a job asks for) and delayed_leave_lookup.c (questions to the SFU) share. Owner thread: the loop's.

#include "jwt-service/leave/delayed_leave_manager.h"
#include "jwt-service/leave/leave_table.h"

struct leave_manager {
    struct leave_manager_conf conf;
    struct leave_table table;
    struct timer_heap timers; // of all jobs and of what waits in the manager itself
    struct loop_timer *timer;
    mono_t armed; // what the loop timer is set to
    struct rng rng;
    struct leave_counts counts;
    uint32_t calls;   // calls to the manager that have not ended
    uint32_t calling; // jobs with a call, handed out or waiting for its turn

    struct leave_server *servers; // have a free place, and restarts that wait for one; held

    // delayed_leave_lookup.c
    struct leave_room *queue;     // rooms that are to be looked up
    struct leave_lookup *lookups; // under way
    uint32_t lookup_count;
    mono_t no_list_until; // the SFU does not tell lists

    // recovery
    bool recovering; // restarts wait until all jobs are there
    void (*recovered)(void *user, const struct job_load *load);
    void *recovered_user;

    // shutdown
    bool closing;
    bool flushing;
    struct timer closing_timer;
    void (*closed)(void *user);
    void *closed_user;

    // 8.6: are webhooks wired?
    bool webhook_seen;
    bool webhook_reported;
    mono_t found_first; // a participant was found by a lookup, no webhook had come; 0: never
};

struct leave_call {
    struct leave_manager *manager;
    void (*fn)(void *user, enum leave_verdict verdict);
    void *user;
    struct job_wait *wait;
    struct timer timer; // set: the verdict comes in the next turn
    enum leave_verdict verdict;
};

// Feeds a job with an event and does what it says. The job may be gone afterwards, and its room and
// server with it, unless they are held.
void leave_manager_feed(struct leave_manager *m, struct leave_job *j, const struct leave_input *in);

// Ends a turn: starts lookups, sets the loop timer. Every callback of the loop ends with it.
void leave_manager_turn(struct leave_manager *m);

// Does what a machine says. The job may be gone afterwards.
void leave_job_apply(struct leave_manager *m, struct leave_job *j, const struct leave_todo *todo);
// Counts a change of the machine; NULL: there was, or is, none.
void leave_job_track(struct leave_manager *m, const struct delayed_leave *before,
                     const struct delayed_leave *after);
// What of the job outlives the process; texts are the job's.
void leave_job_record(const struct leave_job *j, struct job_record *ret);
// Writes the job to the store. fn and call may be NULL; without success at once the call's timer is
// set instead.
void leave_job_save(struct leave_job *j, void (*fn)(void *user, int error),
                    struct leave_call *call);
void leave_job_cancel_call(struct leave_job *j);
// Takes a job out of memory.
void leave_job_drop(struct leave_manager *m, struct leave_job *j);

// Hands out restarts whose turn has come; lets those go that waited for the recovery; forgets about
// them.
void leave_servers_pump(struct leave_manager *m);
void leave_servers_release(struct leave_manager *m);
void leave_servers_stop(struct leave_manager *m);

// The room has a job that needs a lookup; `urgent`: somebody has just come.
void leave_lookup_want(struct leave_manager *m, struct leave_room *r, bool urgent);
// Starts as many lookups as may be under way.
void leave_lookup_pump(struct leave_manager *m);
// The job ends: no answer for it.
void leave_lookup_forget(struct leave_manager *m, const struct leave_job *j);
// Cancels all and empties the queue.
void leave_lookup_stop(struct leave_manager *m);

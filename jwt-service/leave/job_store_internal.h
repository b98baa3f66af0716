// SPDX-License-Identifier: Apache-2.0
#pragma once
// What job_store and its two backends share. For them and their tests only. Owner thread: the
// loop's.

#include "jwt-service/leave/job_store.h"
#include "jwt-service/leave/job_table.h"

struct job_backend;

struct job_backend_ops {
    // Reads everything into the table, calls job_store_give_ for each record and job_store_loaded_
    // once, from the loop.
    void (*load)(struct job_backend *b);
    // Something became dirty, or (urgent) a flush waits: what is pausing after an error tries again.
    void (*kick)(struct job_backend *b, bool urgent);
    void (*stats)(const struct job_backend *b, struct job_store_stats *ret);
    void (*free)(struct job_backend *b);
};

// First member of each backend.
struct job_backend {
    const struct job_backend_ops *ops;
};

struct job_store {
    struct job_store_conf conf; // its texts are only there while it is made
    enum job_store_kind kind;
    struct job_backend *backend; // NULL: memory
    struct job_table table;
    struct loop_timer *timer;
    struct job_wait *waits; // by deadline: all take equally long
    struct job_wait *ended; // to be told in the next turn
    void (*each)(void *user, const struct job_record *r);
    void (*loaded)(void *user, const struct job_load *load);
    void *load_user;
    mono_t load_start;
    bool loading;
    void (*flush_fn)(void *user, int error);
    void *flush_user;
    mono_t flush_deadline;
    bool flush_claims; // it waits for claims as well
};

// A record that was read, to the one who asked.
void job_store_give_(struct job_store *s, const struct job_record *r);
// A record taken over from an instance that died.
void job_store_give_late_(struct job_store *s, const struct job_record *r);
// Loading is over; elapsed_ms is filled in here.
void job_store_loaded_(struct job_store *s, const struct job_load *load);
// After writes were finished: tells waits and flushes in the next turn.
void job_store_progress_(struct job_store *s);

// The backends. conf's texts are borrowed for the call. Errors as job_store_new.
int job_journal_new(struct job_store *s, const struct job_store_conf *conf,
                    struct job_backend **ret, char err[static JOB_STORE_ERROR_MAX]) NODISCARD;
int job_redis_new(struct job_store *s, const struct job_store_conf *conf, struct job_backend **ret,
                  char err[static JOB_STORE_ERROR_MAX]) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where delegated leaves survive a restart (authorization-service 7.9 to 7.11): an fsync'd journal
// in the state directory, or the Redis hash of the original service, or nothing.
// Owner thread: the loop's. No function waits for a disk or a network, and no callback but `record`
// runs inside a call of this module.
//
//   job_store_new -> job_store_load (once, before the service listens) -> put, remove ... ->
//   job_store_flush -> job_store_free
//
// Writes are coalesced: of several puts of one key only the last need reach the store. What cannot be
// written now (disk full, Redis gone) is kept and tried again for as long as the store lives; only
// the newest record of each key is kept.

#include "common/svc/dns.h"
#include "jwt-service/leave/job_codec.h"

struct job_store;
struct job_wait;

enum job_store_kind {
    JOB_STORE_MEMORY, // jobs die with the process
    JOB_STORE_JOURNAL,
    JOB_STORE_REDIS,
};

struct job_store_conf {
    struct loop *loop;
    struct dns *dns;            // Redis by name needs it, else NULL
    const char *redis_url;      // NULL or "": no Redis
    const char *redis_password; // instead of the URL's, NULL or "": none
    const char *ca_file;        // rediss: beside the system's authorities, NULL or ""
    const char *state_dir;      // of the journal, used without Redis; NULL or "": memory
    const char *instance;       // Redis: name of this instance, the same after a restart, different
                                // from that of any other on the same hash; NULL or "": no leases
    // Jobs whose instance has died and which are now ours (Redis with leases), one call each, any
    // time after loading. As `each` of job_store_load. May be NULL: then leases are only respected
    // at loading.
    void (*on_takeover)(void *user, const struct job_record *r);
    // Redis: the record of a key as it should be stored, when it is to be written once more though
    // it was not put (the server lost what it had, or names another owner). Its texts stay valid
    // until the owner's next call. Comes at any time after loading, also inside a call of this
    // module: it must not call back. false: there is no such job. NULL: the store keeps a copy of
    // each record instead, which 100,000 jobs feel.
    bool (*record)(void *user, const char *room, const char *identity, struct job_record *ret);
    void *user;
};

#define JOB_STORE_ERROR_MAX 512

// Redis wins over the journal. -EINVAL bad URL or directory, -EBUSY another process has the journal,
// -EACCES, -ENOMEM...: err is one line for the operator, without secrets.
int job_store_new(const struct job_store_conf *conf, struct job_store **ret,
                  char err[static JOB_STORE_ERROR_MAX]) NODISCARD;

// Drops what is not written yet (flush first) and the waits, whose functions are not called. The
// lease is given back. Not inside a callback of this module. Accepts NULL.
void job_store_free(struct job_store *s);
DEFINE_CLEANUP(struct job_store *, job_store_free)

enum job_store_kind job_store_kind(const struct job_store *s);

enum job_load_result {
    JOB_LOAD_OK,
    JOB_LOAD_UNREACHABLE, // Redis did not answer at all: the service must not start (2.4)
    JOB_LOAD_FAILED,      // it could not be read to its end for JOB_STORE_LOAD_MS: go on without it
};

struct job_load {
    enum job_load_result result;
    const char *text; // not OK: one line for the operator, "Could not connect Redis store: ..."
    size_t records;   // given to `each`
    size_t broken;    // could not be read; logged as well
    size_t foreign;   // belong to another instance that lives
    int64_t elapsed_ms;
};

#define JOB_STORE_LOAD_MS 30000 // authorization-service 7.9: "retry up to 30 s before listening"

// Reads everything. each(user, r) for every record, also expired ones (remove them); r is borrowed
// for the call. done once at the end. Both come from the loop. put and remove may be called in
// either.
void job_store_load(struct job_store *s, void (*each)(void *user, const struct job_record *r),
                    void (*done)(void *user, const struct job_load *load), void *user);

// Longest time a wait takes: authorization-service 7.9, "creation waits for its own write, at most
// 2 s".
#define JOB_STORE_WAIT_MS 2000

// Stores r under its room and identity, in place of what was there. The texts are copied.
// fn (may be NULL) is called once from the loop, with 0 when r or something newer of its key is safe
// (fsync'd, or acknowledged by Redis), within JOB_STORE_WAIT_MS; with a negative errno when it is
// not: -ETIMEDOUT, -ENOSPC, -ENOTCONN (Redis is known to be gone), -EIO ... and then the store goes
// on trying; -ECANCELED: the key was removed meanwhile. *ret (may be NULL) is valid until fn.
// Errors of the call itself, nothing is stored and fn will not be called: -EINVAL, -E2BIG
// (job_record_check), -ENOMEM.
int job_store_put(struct job_store *s, const struct job_record *r,
                  void (*fn)(void *user, int error), void *user, struct job_wait **ret) NODISCARD;

// fn will not be called; the record is written all the same.
void job_store_cancel(struct job_wait *w);

// Forgets the key; it need not be there.
void job_store_remove(struct job_store *s, const char *room, const char *identity);

// fn(user, 0) once from the loop when everything that was put or removed before is safe,
// fn(user, -ETIMEDOUT) after timeout_ms if it is not. One flush at a time: a second one replaces the
// first, whose fn is not called.
void job_store_flush(struct job_store *s, int64_t timeout_ms, void (*fn)(void *user, int error),
                     void *user);
// The same, but not for our name in records that were read or taken over: they are safe, and it gets
// there later.
void job_store_flush_changes(struct job_store *s, int64_t timeout_ms,
                             void (*fn)(void *user, int error), void *user);

struct job_store_stats {
    uint64_t writes;     // records written (puts and removals)
    uint64_t coalesced;  // puts and removals that a newer one made unnecessary
    uint64_t failures;   // writes that failed and were or will be tried again
    uint64_t pending;    // keys not safe at present
    uint64_t syncs;      // fsyncs (journal) or connections (Redis)
    uint64_t file_bytes; // journal: size of the file
    bool up;             // false while writing does not work
};
void job_store_stats(const struct job_store *s, struct job_store_stats *ret);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The keys of a job store and what of them is still to be written. Pure; for job_store and its
// backends only.
//
//            put, remove                take                 finish(0)
//   (clean) ------------> dirty (queue) ----> writing (backend) -----> clean, or gone if removed
//                           ^                    | finish(error)
//                           +--------------------+
//
// A key that changes while it is being written is dirty again and goes round once more. Waits join
// the state in which their record is; each is told once, through on_wait.
//
// A clean key may have to be written once more although nobody changed it (job_table_rewrite): it is
// stale, and taken when nothing is dirty. There may be 100,000 of these at once, so that being stale
// costs no memory.

#include "common/base/mono.h"
#include "jwt-service/leave/job_codec.h"

struct job_entry;
struct job_write;
struct job_store;

// Why a clean entry is to be written once more.
enum job_stale {
    JOB_STALE_NOT,
    JOB_STALE_CLAIM, // the store has it, under another owner's name
    JOB_STALE_LOST,  // the store has lost it
    JOB_STALE_COUNT,
};

// One caller that wants to know. Made and freed by job_store; linked here by the table.
struct job_wait {
    struct job_wait *prev; // job_store's list
    struct job_wait *next;
    struct job_wait *prev_peer; // of the same write
    struct job_wait *next_peer;
    struct job_write *write; // NULL when told
    bool in_flight;          // its record is in the write under way
    bool ended;
    int error;
    mono_t deadline;
    void (*fn)(void *user, int error);
    void *user;
    struct job_store *store;
};

struct job_table {
    struct job_entry *entries;
    struct job_write *dirty; // first come, first written
    size_t count;            // entries, removed ones that are not written yet among them
    size_t dirty_count;
    size_t writing_count;          // the stale ones among them
    size_t stale[JOB_STALE_COUNT]; // not being written
    size_t claims_writing;         // JOB_STALE_CLAIM when they were taken
    struct job_entry *stale_next;  // where to look for the next stale one, NULL: at the first
    uint64_t writes;
    uint64_t coalesced;
    uint64_t failures;
    bool keep_frames; // what is written is kept, for a store that loses its data
    void (*on_wait)(void *user, struct job_wait *w, int error);
    void *user;
};

void job_table_init(struct job_table *t, bool keep_frames,
                    void (*on_wait)(void *user, struct job_wait *w, int error), void *user);
// Frees all; waits are not told.
void job_table_done(struct job_table *t);

// r has passed job_record_check. w may be NULL. -ENOMEM: nothing has changed.
int job_table_put(struct job_table *t, const struct job_record *r, struct job_wait *w) NODISCARD;

// The key's waits get -ECANCELED. What never got to the store is dropped without a write. No memory
// for the removal: it stays stored, which a later start finds expired.
void job_table_remove(struct job_table *t, const char *room, const char *identity);

// The wait is not told any more.
void job_table_forget_wait(struct job_wait *w);

// An entry that the store holds already, as found when loading. Its frame is copied if keep_frames.
// Existing ones are kept as they are. NULL without memory.
struct job_entry *job_table_loaded(struct job_table *t, const struct job_record *r) NODISCARD;

// The entry of a key, NULL if there is none.
struct job_entry *job_table_find(const struct job_table *t, const char *room, const char *identity);
// Forgets an entry that the store does not hold any more. It is neither dirty nor being written.
void job_table_drop(struct job_table *t, struct job_entry *e);

// Walks all; start with NULL. The present one may be dropped after its successor was asked for.
struct job_entry *job_table_next(const struct job_table *t, const struct job_entry *e);

// Takes the first dirty one to be written, without one a stale one; NULL: none. Every one that is
// taken must be finished. A stale one has no frame unless keep_frames.
struct job_entry *job_table_take(struct job_table *t);
// error 0: it is safe. Else it is dirty (or stale) again, behind the others, and its waits are told;
// with -EAGAIN they wait on. -ENOENT: it was stale and nobody has its record any more; it is
// forgotten, and may be gone.
void job_table_finish(struct job_table *t, struct job_entry *e, int error);

// Tells all waits of what is still dirty that it will take longer; it stays dirty.
void job_table_fail_waits(struct job_table *t, int error);

// Makes a clean entry stale. Others are left as they are: they are written anyway.
void job_table_rewrite(struct job_table *t, struct job_entry *e, enum job_stale why);

// Entries that are not in the store as they should be.
size_t job_table_pending(const struct job_table *t);
// The same without claims.
size_t job_table_unsafe(const struct job_table *t);

// ---- an entry -------------------------------------------------------------------------------

const char *job_entry_room(const struct job_entry *e);
const char *job_entry_identity(const struct job_entry *e);
// The newest record as a frame of job_frame; empty: removed, or written and not kept.
struct bytes job_entry_frame(const struct job_entry *e);
// True if it is to be removed from the store.
bool job_entry_is_removed(const struct job_entry *e);

// Two numbers and a text of the backend (journal: where the frame stands; Redis: another spelling
// of the field that the store holds as well). The text is owned by the entry.
struct job_place {
    uint64_t offset;
    uint32_t len;
    char *text;
};
struct job_place *job_entry_place(struct job_entry *e);

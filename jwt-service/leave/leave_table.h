// SPDX-License-Identifier: Apache-2.0
#pragma once
// The jobs of delayed_leave_manager and what they have in common: room, homeserver, owner, each
// kept once and for as long as a job needs it. A hundred thousand jobs must fit into 100 MB with all
// that belongs to them. Pure.

#include "common/base/hash.h"
#include "common/base/timer_heap.h"
#include "jwt-service/leave/delayed_leave.h"
#include "jwt-service/leave/leave_index.h"

struct leave_table;
struct leave_lookup;
struct leave_manager;
struct delayed_event_call;

struct leave_room {
    struct leave_node node;
    struct leave_job *jobs;      // list by room_prev, room_next
    struct leave_lookup *lookup; // under way
    struct leave_room *prev;     // in the manager's queue of rooms to be looked up
    struct leave_room *next;
    uint32_t refs; // jobs, and whoever needs it to stay
    bool queued;
    char name[];
};

struct leave_server {
    struct leave_node node;
    struct leave_server *prev; // in the manager's list of servers with a free place
    struct leave_server *next;
    bool queued;
    struct timer_heap waiting; // restarts that wait for their turn, by deadline
    uint32_t jobs;
    uint32_t refs;         // jobs, and whoever needs it to stay
    uint32_t restarts_out; // handed to delayed_event_client
    char name[];
};

struct leave_user {
    struct leave_node node;
    uint32_t jobs;
    char id[];
};

// timer.kind in the manager's heap.
enum leave_timer { LEAVE_TIMER_JOB, LEAVE_TIMER_CALL, LEAVE_TIMER_SHUTDOWN };

struct leave_job {
    struct delayed_leave machine;
    struct leave_manager *manager;
    struct timer timer;      // delayed_leave_next
    struct timer turn;       // in server->waiting
    struct leave_node own;   // by room and identity
    struct leave_node other; // by room and other identity, if there is one
    struct leave_room *room;
    struct leave_server *server;
    struct leave_user *user; // NULL: nobody's
    struct leave_job *room_prev;
    struct leave_job *room_next;
    struct leave_job *prev; // all jobs
    struct leave_job *next;
    struct delayed_event_call *call; // handed out
    wall_t restarted_at;
    int64_t created_at_s; // unix seconds of the delegation, 0: of an earlier process
    uint32_t timeout_ms;  // of the call that waits for its turn
    uint32_t identity_at; // in text; the delay id is at 0
    uint32_t other_at;    // 0: none
    bool current;         // the job of its key; false: only finishes its send
    bool as_user;
    bool asked;       // by the lookup that is under way
    bool restart_out; // `call` is a restart, and counts for server->restarts_out
    char text[];
};

struct leave_table {
    struct leave_index watched; // jobs by room and identity; tag 0: own, 1: other
    struct leave_index rooms;
    struct leave_index servers;
    struct leave_index users;
    struct leave_job *jobs; // all, oldest first
    uint32_t count;
};

struct leave_job_conf {
    const char *delay_id;
    const char *server_name;
    const char *room;
    const char *identity;
    const char *other_identity; // NULL or "": none
    const char *user_id;        // NULL or "": nobody's
    bool as_user;
};

// An empty table is zeroed; every job must be gone before this.
void leave_table_done(struct leave_table *t);

// A new job that nobody finds yet; its machine and times are the caller's to begin. NULL without
// memory.
struct leave_job *leave_table_add(struct leave_table *t,
                                  const struct leave_job_conf *conf) NODISCARD;

// Makes it the job of its key, which must be free. -ENOMEM.
int leave_table_publish(struct leave_table *t, struct leave_job *j) NODISCARD;
// Its key is free again.
void leave_table_unpublish(struct leave_table *t, struct leave_job *j);

// Frees a job, and its room, server and user with the last that needs them.
void leave_table_remove(struct leave_table *t, struct leave_job *j);

// Keep them while jobs may end.
void leave_room_ref(struct leave_room *r);
void leave_room_unref(struct leave_table *t, struct leave_room *r);
void leave_server_ref(struct leave_server *s);
void leave_server_unref(struct leave_table *t, struct leave_server *s);

struct leave_room *leave_table_room(const struct leave_table *t, const char *name);
const struct leave_server *leave_table_server(const struct leave_table *t, const char *name);
const struct leave_user *leave_table_user(const struct leave_table *t, const char *id);

// The job of a key.
struct leave_job *leave_table_find(const struct leave_table *t, const char *room,
                                   const char *identity);

// The jobs that watch an identity, at most `max`; ret_who[i] says which of its identities it is.
size_t leave_table_watching(const struct leave_table *t, const struct leave_room *room,
                            const char *identity, struct leave_job **ret_jobs, uint8_t *ret_who,
                            size_t max);

static inline const char *leave_job_delay_id(const struct leave_job *j)
{
    return j->text;
}

static inline const char *leave_job_identity(const struct leave_job *j)
{
    return j->text + j->identity_at;
}

// "" if there is none.
static inline const char *leave_job_other(const struct leave_job *j)
{
    return j->other_at ? j->text + j->other_at : "";
}

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/leave_table.h"

#include <string.h>

enum { OWN, OTHER };

static uint32_t hash_text(const char *s)
{
    return (uint32_t)hash_bytes(s, strlen(s));
}

// Of an identity within its room. The factor keeps one identity in many rooms apart.
static uint32_t hash_watch(const struct leave_room *room, const char *identity)
{
    return hash_text(identity) ^ room->node.hash * UINT32_C(0x9e3779b1);
}

// ---- what jobs have in common ----------------------------------------------------------------

struct leave_room *leave_table_room(const struct leave_table *t, const char *name)
{
    struct leave_node *n = leave_index_first(&t->rooms, hash_text(name));
    for (; n; n = leave_index_next(n)) {
        struct leave_room *const r = CONTAINER_OF(n, struct leave_room, node);
        if (strcmp(r->name, name) == 0) {
            return r;
        }
    }
    return NULL;
}

static struct leave_server *find_server(const struct leave_table *t, const char *name)
{
    struct leave_node *n = leave_index_first(&t->servers, hash_text(name));
    for (; n; n = leave_index_next(n)) {
        struct leave_server *const s = CONTAINER_OF(n, struct leave_server, node);
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct leave_user *find_user(const struct leave_table *t, const char *id)
{
    struct leave_node *n = leave_index_first(&t->users, hash_text(id));
    for (; n; n = leave_index_next(n)) {
        struct leave_user *const u = CONTAINER_OF(n, struct leave_user, node);
        if (strcmp(u->id, id) == 0) {
            return u;
        }
    }
    return NULL;
}

const struct leave_server *leave_table_server(const struct leave_table *t, const char *name)
{
    return find_server(t, name);
}

const struct leave_user *leave_table_user(const struct leave_table *t, const char *id)
{
    return find_user(t, id);
}

static struct leave_room *get_room(struct leave_table *t, const char *name)
{
    struct leave_room *r = leave_table_room(t, name);
    size_t const n = strlen(name) + 1;
    if (r) {
        return r;
    }
    r = mem_alloc(sizeof(*r) + n);
    if (!r) {
        return NULL;
    }
    memcpy(r->name, name, n);
    r->node.hash = hash_text(name);
    if (leave_index_add(&t->rooms, &r->node) < 0) {
        mem_free(r);
        return NULL;
    }
    return r;
}

static struct leave_server *get_server(struct leave_table *t, const char *name)
{
    struct leave_server *s = find_server(t, name);
    size_t const n = strlen(name) + 1;
    if (s) {
        return s;
    }
    s = mem_alloc(sizeof(*s) + n);
    if (!s) {
        return NULL;
    }
    memcpy(s->name, name, n);
    s->node.hash = hash_text(name);
    timer_heap_init(&s->waiting);
    if (leave_index_add(&t->servers, &s->node) < 0) {
        mem_free(s);
        return NULL;
    }
    return s;
}

static struct leave_user *get_user(struct leave_table *t, const char *id)
{
    struct leave_user *u = find_user(t, id);
    size_t const n = strlen(id) + 1;
    if (u) {
        return u;
    }
    u = mem_alloc(sizeof(*u) + n);
    if (!u) {
        return NULL;
    }
    memcpy(u->id, id, n);
    u->node.hash = hash_text(id);
    if (leave_index_add(&t->users, &u->node) < 0) {
        mem_free(u);
        return NULL;
    }
    return u;
}

void leave_room_ref(struct leave_room *r)
{
    r->refs++;
}

// Frees it if nobody needs it.
static void room_check(struct leave_table *t, struct leave_room *r)
{
    if (r && r->refs == 0) {
        assert(!r->jobs && !r->lookup && !r->queued);
        leave_index_remove(&t->rooms, &r->node);
        mem_free(r);
    }
}

void leave_room_unref(struct leave_table *t, struct leave_room *r)
{
    r->refs--;
    room_check(t, r);
}

static void server_check(struct leave_table *t, struct leave_server *s)
{
    if (s && s->refs == 0) {
        assert(s->restarts_out == 0 && !s->queued);
        timer_heap_done(&s->waiting);
        leave_index_remove(&t->servers, &s->node);
        mem_free(s);
    }
}

void leave_server_ref(struct leave_server *s)
{
    s->refs++;
}

void leave_server_unref(struct leave_table *t, struct leave_server *s)
{
    s->refs--;
    server_check(t, s);
}

static void user_check(struct leave_table *t, struct leave_user *u)
{
    if (u && u->jobs == 0) {
        leave_index_remove(&t->users, &u->node);
        mem_free(u);
    }
}

// ---- jobs -----------------------------------------------------------------------------------

// The texts of a job, one behind the other.
static struct leave_job *job_alloc(const struct leave_job_conf *conf, const char *other)
{
    size_t const delay_id_n = strlen(conf->delay_id) + 1;
    size_t const identity_n = strlen(conf->identity) + 1;
    size_t const other_n = other ? strlen(other) + 1 : 0;
    struct leave_job *const j = mem_alloc(sizeof(*j) + delay_id_n + identity_n + other_n);
    if (!j) {
        return NULL;
    }
    j->identity_at = (uint32_t)delay_id_n;
    memcpy(j->text, conf->delay_id, delay_id_n);
    memcpy(j->text + j->identity_at, conf->identity, identity_n);
    if (other) {
        j->other_at = (uint32_t)(delay_id_n + identity_n);
        memcpy(j->text + j->other_at, other, other_n);
    }
    return j;
}

struct leave_job *leave_table_add(struct leave_table *t, const struct leave_job_conf *conf)
{
    bool const has_other = conf->other_identity && conf->other_identity[0] &&
                           strcmp(conf->other_identity, conf->identity) != 0;
    bool const has_user = conf->user_id && conf->user_id[0];
    struct leave_room *const room = get_room(t, conf->room);
    struct leave_server *const server = get_server(t, conf->server_name);
    struct leave_user *const user = has_user ? get_user(t, conf->user_id) : NULL;
    struct leave_job *const j = job_alloc(conf, has_other ? conf->other_identity : NULL);
    if (!j || !room || !server || (has_user && !user) ||
        timer_heap_reserve(&server->waiting, server->jobs + 1) < 0) {
        mem_free(j);
        room_check(t, room);
        server_check(t, server);
        user_check(t, user);
        return NULL;
    }
    j->as_user = conf->as_user;
    j->room = room;
    j->server = server;
    j->user = user;
    room->refs++;
    server->jobs++;
    server->refs++;
    if (user) {
        user->jobs++;
    }
    DL_APPEND2(room->jobs, j, room_prev, room_next);
    DL_APPEND(t->jobs, j);
    t->count++;
    return j;
}

int leave_table_publish(struct leave_table *t, struct leave_job *j)
{
    j->own = (struct leave_node){.hash = hash_watch(j->room, leave_job_identity(j)), .tag = OWN};
    if (leave_index_add(&t->watched, &j->own) < 0) {
        return -ENOMEM;
    }
    if (j->other_at) {
        j->other =
            (struct leave_node){.hash = hash_watch(j->room, leave_job_other(j)), .tag = OTHER};
        if (leave_index_add(&t->watched, &j->other) < 0) {
            leave_index_remove(&t->watched, &j->own);
            return -ENOMEM;
        }
    }
    j->current = true;
    return 0;
}

void leave_table_unpublish(struct leave_table *t, struct leave_job *j)
{
    if (j->current) {
        leave_index_remove(&t->watched, &j->own);
        if (j->other_at) {
            leave_index_remove(&t->watched, &j->other);
        }
        j->current = false;
    }
}

void leave_table_remove(struct leave_table *t, struct leave_job *j)
{
    leave_table_unpublish(t, j);
    timer_heap_cancel(&j->server->waiting, &j->turn);
    DL_DELETE2(j->room->jobs, j, room_prev, room_next);
    DL_DELETE(t->jobs, j);
    t->count--;
    j->server->jobs--;
    leave_server_unref(t, j->server);
    if (j->user) {
        j->user->jobs--;
        user_check(t, j->user);
    }
    leave_room_unref(t, j->room);
    mem_free(j);
}

static struct leave_job *job_of(struct leave_node *n)
{
    return n->tag == OWN ? CONTAINER_OF(n, struct leave_job, own)
                         : CONTAINER_OF(n, struct leave_job, other);
}

static const char *watched_identity(struct leave_node *n)
{
    return n->tag == OWN ? leave_job_identity(job_of(n)) : leave_job_other(job_of(n));
}

size_t leave_table_watching(const struct leave_table *t, const struct leave_room *room,
                            const char *identity, struct leave_job **ret_jobs, uint8_t *ret_who,
                            size_t max)
{
    size_t n = 0;
    struct leave_node *w = leave_index_first(&t->watched, hash_watch(room, identity));
    for (; w && n < max; w = leave_index_next(w)) {
        if (job_of(w)->room == room && strcmp(watched_identity(w), identity) == 0) {
            ret_jobs[n] = job_of(w);
            ret_who[n] = (uint8_t)w->tag;
            n++;
        }
    }
    return n;
}

struct leave_job *leave_table_find(const struct leave_table *t, const char *room,
                                   const char *identity)
{
    struct leave_room *const r = leave_table_room(t, room);
    struct leave_node *w = r ? leave_index_first(&t->watched, hash_watch(r, identity)) : NULL;
    for (; w; w = leave_index_next(w)) {
        if (w->tag == OWN && job_of(w)->room == r &&
            strcmp(leave_job_identity(job_of(w)), identity) == 0) {
            return job_of(w);
        }
    }
    return NULL;
}

void leave_table_done(struct leave_table *t)
{
    assert(!t->jobs);
    leave_index_done(&t->watched);
    leave_index_done(&t->rooms);
    leave_index_done(&t->servers);
    leave_index_done(&t->users);
}

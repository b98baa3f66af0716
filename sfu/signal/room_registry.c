// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/room_registry.h"

#include <string.h>

void room_registry_init(struct room_registry *r, uint32_t worker_count)
{
    *r = (struct room_registry){.worker_count = MIN(worker_count, WORKERS_MAX)};
}

static void info_done(struct channel_room_info *i)
{
    mem_free(i->name);
    shared_buf_unref(i->room);
    shared_buf_unref(i->agents);
    *i = (struct channel_room_info){0};
}

static void entry_free(struct room_registry *r, struct room_entry *e)
{
    HASH_DEL(r->rooms, e);
    info_done(&e->info);
    agent_dispatches_done(&e->dispatches);
    mem_free(e->name);
    mem_free(e);
}

void room_registry_done(struct room_registry *r)
{
    while (r->rooms != NULL) {
        entry_free(r, r->rooms);
    }
}

struct room_entry *room_registry_find(struct room_registry *r, const char *name)
{
    struct room_entry *e = NULL;
    HASH_FIND(hh, r->rooms, name, strlen(name), e);
    return e;
}

static uint32_t least_loaded(const struct room_registry *r)
{
    uint32_t rooms[WORKERS_MAX] = {0};
    for (const struct room_entry *e = r->rooms; e != NULL; e = e->hh.next) {
        rooms[e->worker]++;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < r->worker_count; i++) {
        // Rooms that nobody has joined yet count as well, or a burst of new ones would land on one
        // worker.
        if (r->load[i] < r->load[best] || (r->load[i] == r->load[best] && rooms[i] < rooms[best])) {
            best = i;
        }
    }
    return best;
}

static struct room_entry *place(struct room_registry *r, const char *name, uint32_t worker)
{
    struct room_entry *const e = NEW(struct room_entry);
    if (e == NULL) {
        return NULL;
    }
    e->name = mem_strdup(name);
    e->worker = worker;
    if (e->name != NULL) {
        HASH_ADD_KEYPTR(hh, r->rooms, e->name, strlen(e->name), e);
    }
    if (e->name == NULL || room_registry_find(r, name) != e) {
        mem_free(e->name);
        mem_free(e);
        return NULL;
    }
    return e;
}

struct room_entry *room_registry_hold(struct room_registry *r, const char *name)
{
    struct room_entry *e = room_registry_find(r, name);
    if (e == NULL) {
        e = place(r, name, least_loaded(r));
    }
    if (e != NULL) {
        e->holders++;
    }
    return e;
}

void room_registry_release(struct room_registry *r, const char *name)
{
    struct room_entry *const e = room_registry_find(r, name);
    if (e == NULL || e->holders == 0) {
        return;
    }
    e->holders--;
    if (e->holders == 0 && !e->known) {
        entry_free(r, e);
    }
}

void room_registry_update(struct room_registry *r, uint32_t worker, struct channel_room_info *info)
{
    struct room_entry *e = room_registry_find(r, info->name);
    if (e == NULL) {
        // The session that made the room is gone again already.
        e = place(r, info->name, worker);
    }
    if (e == NULL || e->worker != worker) {
        return;
    }
    r->load[worker] += info->num_participants - e->info.num_participants;
    info_done(&e->info);
    e->info = *info;
    e->known = true;
    *info = (struct channel_room_info){0};
}

void room_registry_ended(struct room_registry *r, uint32_t worker, const char *name)
{
    struct room_entry *const e = room_registry_find(r, name);
    if (e == NULL || e->worker != worker) {
        return;
    }
    r->load[worker] -= e->info.num_participants;
    info_done(&e->info);
    agent_dispatches_done(&e->dispatches);
    e->known = false;
    if (e->holders == 0) {
        entry_free(r, e);
    }
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which worker has which room, and the numbers that ListRooms shows. The workers own the rooms;
// this is the signalling thread's picture of them, kept up to date by their messages.
//
// A room is placed when it is first asked for and stays there until its worker says that it has
// ended and nobody here holds it any more. Sessions and calls hold it while they live: a join may
// be on its way when the room ends, and makes it anew on the same worker; were the entry gone, the
// next join could go to another one and the room would be two.
//
// Signalling thread.

#include "common/base/hash.h"
#include "sfu/base/channel_msg.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/signal/agent_dispatch.h"

struct room_entry {
    UT_hash_handle hh;
    char *name;
    uint32_t worker;
    uint32_t holders;              // sessions and calls
    bool known;                    // the worker has the room, info is from it
    struct channel_room_info info; // owned
    struct agent_dispatches dispatches;
};

struct room_registry {
    struct room_entry *rooms; // hash by name
    uint32_t worker_count;
    uint32_t load[WORKERS_MAX]; // participants of each worker, as far as known
};

void room_registry_init(struct room_registry *r, uint32_t worker_count);
void room_registry_done(struct room_registry *r);

// NULL if there is none.
struct room_entry *room_registry_find(struct room_registry *r, const char *name);

// Finds or places a room (on the worker with the fewest participants) and holds it. NULL without
// memory.
struct room_entry *room_registry_hold(struct room_registry *r, const char *name);

// Ends one hold. The entry goes with the last one if its worker does not have the room.
void room_registry_release(struct room_registry *r, const char *name);

// CHANNEL_ROOM_INFO and CHANNEL_ROOM_ENDED; update takes what info owns.
void room_registry_update(struct room_registry *r, uint32_t worker, struct channel_room_info *info);
void room_registry_ended(struct room_registry *r, uint32_t worker, const char *name);

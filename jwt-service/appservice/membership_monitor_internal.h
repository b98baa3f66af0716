// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of membership_monitor: who is known, in tables, and kept over a restart
// (membership_table.c); what is done about them is membership_monitor.c.

#include "common/base/hash.h"
#include "jwt-service/appservice/membership_monitor.h"

// A token is issued after the user's membership was seen; a join that follows needs no second look.
#define MEMBER_VERIFIED_MS 60000
// The SFU hands fresh tokens to who is connected, valid for 10 minutes (livekit-server 1.13,
// tokenDefaultTTL), so somebody seen may come back that long, and a minute for clocks.
#define MEMBER_REFRESHED_MS (11 * 60000)
// A room is not deleted so soon after a token for it: its holder is about to join.
#define MEMBER_JOINING_MS 60000

// An identity with a token of ours.
struct member {
    struct member_room *room;
    char *identity;
    char *user_id;
    mono_t expires;    // the token; later it opens nothing any more
    mono_t verified;   // when the user was last known to be joined
    bool due;          // membership is to be asked for
    bool gone;         // certainly not joined: to be removed
    UT_hash_handle hh; // in room->members, by identity
};

// A room on the SFU, which is one slot of one Matrix room.
struct member_room {
    struct membership_monitor *m;
    char *name;
    char *room_id;
    struct member *members;
    mono_t issued;  // last token
    bool list;      // ask the SFU who is there
    bool list_all;  // and then the homeserver about everybody
    bool removed;   // somebody was: look whether anybody is left
    bool queued;    // in the queue, or at work
    bool retry;     // something is due that could not be done
    char *asking;   // the user whose membership is asked for
    char *removing; // the identity that is removed
    // At most one of these is set.
    struct membership_call *call;
    struct sfu_call *sfu;
    struct member_room *prev, *next; // in the queue
    UT_hash_handle hh;               // in rooms, by name
};

struct membership_monitor {
    struct membership_monitor_conf conf;
    struct membership_monitor_counts counts;
    struct member_room *rooms;
    struct member_room *queue;
    unsigned working; // rooms with a call under way
    bool in_work;
    bool dirty;   // something new is not in the file
    mono_t saved; // when it was written
    bool paused;  // the homeserver or the SFU does not answer: until the retry
    struct loop_timer *round;
    struct loop_timer *retry;
};

// NULL if it is not known.
struct member_room *membership_table_room(struct membership_monitor *m, const char *name);
struct member *membership_table_member(struct member_room *r, const char *identity);

// The member of a token, which becomes known if it was not. -ENOBUFS, -ENOMEM.
int membership_table_add(struct membership_monitor *m, const struct membership_watch *q,
                         struct member **ret) NODISCARD;

void membership_table_forget(struct member *w);
// With all its members and what is under way for it.
void membership_table_drop(struct member_room *r);

// Writes the file if that is due (always: whenever anybody is known).
void membership_table_save(struct membership_monitor *m, bool always);
// Fills the empty tables from the file.
void membership_table_restore(struct membership_monitor *m);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Takes users out of calls whose Matrix rooms they have left (authorization-service 11.3; MSC4195,
// kicking users on leave or ban). Owner thread: the loop's.
//
// Known are the identities that tokens were issued for in application-service mode: an identity is a
// hash, so nothing else tells whose it is. While there are any, each interval everybody who is on the
// SFU is looked at:
//
//   ListParticipants ─► is_joined for each user ─► certainly not: RemoveParticipant
//                                                  ─► nobody left: DeleteRoom (old tokens then open
//                                                     nothing, where the SFU makes no rooms itself)
//
// and at once when somebody joins, because an old token lets those come back who were removed. On
// doubt (no answer, an error, a room list that cannot be had) nobody is removed.

#include "jwt-service/appservice/membership.h"
#include "jwt-service/base/sfu_client.h"
#include "jwt-service/base/webhook_receiver.h"

#define MEMBERSHIP_MONITOR_MAX 100000   // as many as delegated leaves (authorization-service 7.12)
#define MEMBERSHIP_MONITOR_IN_FLIGHT 16 // questions to the homeserver at once

struct membership_monitor;

struct membership_monitor_conf {
    struct loop *loop;
    struct membership *membership;
    struct sfu_client *sfu;
    int64_t interval_ms; // 0: only when somebody joins
    // Where what is known outlives the process (membership_file.h); written when it changed, at most
    // once an interval, and by membership_monitor_free. Borrowed; NULL: nowhere.
    const char *path;
};

// A token that was issued. Everything is copied.
struct membership_watch {
    const char *room_id; // Matrix
    const char *user_id;
    const char *room; // on the SFU
    const char *identity;
    int64_t lifetime_ms; // of the token: as long it can be used to join
};

struct membership_monitor_counts {
    size_t watched;
    uint64_t checks;
    uint64_t unknown; // checks without a certain answer
    uint64_t removed; // participants
    uint64_t rooms_deleted;
    uint64_t failed; // removals and deletions that the SFU did not do
};

// Reads conf->path too; what cannot be read is told to the log. NULL without memory. conf's objects
// must outlive it.
struct membership_monitor *
membership_monitor_new(const struct membership_monitor_conf *conf) NODISCARD;
// Drops what is under way. Accepts NULL.
void membership_monitor_free(struct membership_monitor *m);
DEFINE_CLEANUP(struct membership_monitor *, membership_monitor_free)

// From now on, or again: the token is new. -ENOBUFS: MEMBERSHIP_MONITOR_MAX are watched. -ENOMEM.
int membership_monitor_watch(struct membership_monitor *m,
                             const struct membership_watch *w) NODISCARD;

// What the SFU reported.
void membership_monitor_event(struct membership_monitor *m, const struct sfu_event *e);

void membership_monitor_counts(const struct membership_monitor *m,
                               struct membership_monitor_counts *ret);

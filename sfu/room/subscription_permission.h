// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may subscribe to a participant's tracks (SubscriptionPermission, livekit-protocol 4.8.4).
// Everybody, until the publisher says otherwise; then those it names, by identity, for all of its
// tracks or for some. Recorders are exempt.
//
// Differs from livekit-server: a withdrawn permission is told at once and not 200 ms later, and the
// media has stopped before.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/uptrackmanager.go.

#include "common/base/hash.h"
#include "common/lk/sid.h"
#include "sfu/base/sfu_limits.h"

typedef struct Livekit__SubscriptionPermission Livekit__SubscriptionPermission;

struct participant;
struct published_track;
struct subscription_permit;

// Embedded in the publisher; all zero: everybody may.
struct subscription_permission {
    bool restricted;
    struct subscription_permit *permits; // hash by identity; only while restricted
};

// The publisher's request, which replaces what it said before. Subscriptions of others begin and
// end accordingly, and they are told. An entry that names nobody, or a sid and an identity that are
// not the same participant, makes the request invalid: it changes nothing (as in livekit). Without
// memory what could not be stored is not permitted.
void subscription_permission_request(struct participant *publisher,
                                     const Livekit__SubscriptionPermission *req);

// Whether somebody may have a track of the publisher.
bool subscription_permission_allows(const struct published_track *t,
                                    const struct participant *subscriber);

// The same for a track of any kind (data tracks).
bool subscription_permission_allows_sid(const struct participant *publisher, const char *track_sid,
                                        const struct participant *subscriber);

// SubscriptionPermissionUpdate: with every subscription, before the description that carries it, and
// when it is withheld or withdrawn.
void subscription_permission_tell(struct participant *subscriber, const struct published_track *t,
                                  bool allowed);

void subscription_permission_tell_sid(struct participant *subscriber,
                                      const struct participant *publisher, const char *track_sid,
                                      bool allowed);

// Frees what is stored; everybody may again.
void subscription_permission_clear(struct subscription_permission *s);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Subscriptions to data tracks: who wants which, and the handle by which each subscriber knows it
// (livekit-protocol 3.9).
//
//   (none) ──wanted──► inactive ◄──permission──► active: has a handle
//
// A subscriber is told subscription_permission_update when one becomes active or may not be any
// more, and the complete map of its handles after each change. It stays wanted, or unwanted under
// auto_subscribe_data_track, as long as the track lives.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/subscriptionmanager.go. Deviations: a
// track that is not there is not waited for, since its sid is only known from its publisher's
// ParticipantInfo; hidden participants have no subscribers.

#include "sfu/room/data_track.h"

typedef struct Livekit__UpdateDataSubscription Livekit__UpdateDataSubscription;

struct data_subscription {
    UT_hash_handle hh; // subscriber->data_subscriptions by track->sid
    struct participant *subscriber;
    struct data_track *track;
    uint32_t index;  // in track->subscriptions
    uint16_t handle; // 0: inactive
    bool wanted;
};

// UpdateDataSubscription, also out of a SyncState. target_fps has no effect, as in livekit.
void data_subscription_request(struct participant *p, const Livekit__UpdateDataSubscription *req);

// A track was published: those who subscribe by themselves get it.
void data_subscription_reconcile_track(struct data_track *t);

// p became ACTIVE, or its permission has changed: brings its subscriptions in line.
void data_subscription_reconcile(struct participant *p);

// The publisher may be heard by others than before (its SubscriptionPermission, hidden): brings the
// subscriptions to its tracks in line.
void data_subscription_review(struct participant *publisher);

// A track ends: its subscriptions go. The subscribers are told by data_subscription_flush.
void data_subscription_drop_track(struct data_track *t);
void data_subscription_flush(struct room *r);

// p leaves.
void data_subscription_close_all(struct participant *p);

// p has a new WebSocket: tells the handles if they have changed meanwhile.
void data_subscription_resumed(struct participant *p);

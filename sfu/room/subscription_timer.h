// SPDX-License-Identifier: Apache-2.0
#pragma once
// What becomes of a participant's subscriptions as time passes: settings that settle, tracks that
// never come (track_preference), and subscriptions that do not get a section: the client is reminded
// to offer, and told when it takes too long (livekit-protocol 4.8.2). One timer a participant, which
// runs only while something of that is open.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/subscriptionmanager.go.

#include "sfu/room/participant.h"

// livekit pkg/rtc/subscriptionmanager.go: reconcileInterval, subscriptionTimeout.
#define SUBSCRIPTION_RETRY_MS 3000
#define SUBSCRIPTION_BIND_MS 15000

// It runs at `at` or sooner.
void subscription_timer_by(struct participant *p, mono_t at);

// p has become ACTIVE: from now on subscriptions have SUBSCRIPTION_BIND_MS to be bound.
void subscription_timer_active(struct participant *p);

// ROOM_TIMER_SUBSCRIBE fired.
void subscription_timer_expired(struct participant *p);

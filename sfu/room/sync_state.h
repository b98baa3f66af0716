// SPDX-License-Identifier: Apache-2.0
#pragma once
// SyncState: what a client believes of its session after a resume (livekit-protocol 4.10).
//
//   published tracks that are unknown here   the session is worth nothing: Leave{RECONNECT}
//   tracks of ours that it does not name     it may have missed the answer: track_published again
//   subscriptions, disabled tracks           are taken over
//
// Offer, answer and states of data channels serve migration between nodes and are not looked at.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go (HandleSyncState),
// pkg/rtc/room.go (SyncState).

#include "sfu/room/participant.h"

typedef struct Livekit__SyncState Livekit__SyncState;

// p may be gone when this returns.
void sync_state_apply(struct participant *p, const Livekit__SyncState *req);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a client asks for: one function per SignalRequest member (livekit-protocol 3.2). Wrong
// requests get the answer of the specification or none, and have no effect on anyone else.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/signalling/signalhandler.go.

#include "sfu/room/participant.h"

typedef struct Livekit__SignalRequest Livekit__SignalRequest;
typedef struct Livekit__UpdateSubscription Livekit__UpdateSubscription;

// p may be gone when this returns.
void signal_dispatch(struct participant *p, Livekit__SignalRequest *req);

// UpdateSubscription, also out of a SyncState or by the server API: a union of both its lists.
void signal_dispatch_subscription(struct participant *p, const Livekit__UpdateSubscription *req);

// What is handled even if p is over its allowance (effort.h).
bool signal_dispatch_is_exempt(const struct participant *p, const struct pbuf *req);

// The same as signal_dispatch for a decoded message as it comes through the mailbox (pbuf->msg is a
// Livekit__SignalRequest). Borrowed.
void signal_dispatch_pbuf(struct participant *p, struct pbuf *req);

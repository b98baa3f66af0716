// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a client asks for: one function per SignalRequest member (livekit-protocol 3.2). Wrong
// requests get the answer of the specification or none, and have no effect on anyone else.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/signalling/signalhandler.go.

#include "sfu/room/participant.h"

typedef struct Livekit__SignalRequest Livekit__SignalRequest;

// p may be gone when this returns.
void signal_dispatch(struct participant *p, Livekit__SignalRequest *req);

// The same for a decoded message as it comes through the mailbox (pbuf->msg is a
// Livekit__SignalRequest). Borrowed.
void signal_dispatch_pbuf(struct participant *p, struct pbuf *req);

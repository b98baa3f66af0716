// SPDX-License-Identifier: Apache-2.0
#pragma once
// PerformRpc of the server API: the server calls a method of a participant (livekit-protocol 6.2,
// 3.8.4). The request is a reliable data packet whose sender identity is the call's id; the
// participant addresses its ack and its response to that identity.
//
//   request sent ──ack──► acked ──response──► answered
//        │ 2 s: 1501        │ response time-out: 1502
//        └── participant gone: 1503 ──┘
//
// Errors are `RpcError <code>: <message>[: <data>]` with the Twirp code that fits the number.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go (PerformRpc).

#include "sfu/room/room.h"

typedef struct Livekit__DataPacket Livekit__DataPacket;
typedef struct Livekit__PerformRpcRequest Livekit__PerformRpcRequest;

struct rpc_call;

// Starts a call and answers `handle` when it ends, also when it ends at once.
void rpc_call_start(struct participant *p, handle_t handle, const Livekit__PerformRpcRequest *req);

// A packet that `sender` sent: true if it is the ack or the response to a call of the server API,
// which is then nobody else's business.
bool room_rpc_take(struct room *r, const Livekit__DataPacket *packet,
                   const struct participant *sender);

// p is leaving: its calls end with `unavailable` (1503).
void rpc_calls_participant_gone(const struct participant *p);

// ROOM_TIMER_RPC fired.
void rpc_call_timeout(struct timer *t);

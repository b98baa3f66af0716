// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimulateScenario: test tools of the clients make the server misbehave towards their own session
// (livekit-protocol 4.15). Whatever is asked for touches nobody else's session.
//
//   speaker_update N                 speaks with level 0.9 for N seconds
//   node_failure, migration          its end without a word; others learn SERVER_SHUTDOWN, MIGRATION
//   server_leave                     Leave{DISCONNECT, SERVER_SHUTDOWN}
//   leave_request_full_reconnect     Leave{RECONNECT}; the original ignores it, and the scenario of
//                                    livekit-client waits for nothing else
//   switch_candidate_protocol        ICE restart from our side where there is one (v0 subscriber).
//                                    There are only UDP candidates to prefer; clients that want
//                                    another one join anew by themselves
//   subscriber_bandwidth             its videos get no more layers than fit; 0 ends it
//   disconnect_signal_on_resume      the next resumed socket within 5 s is closed after the first
//                                    messages
//   ..._no_messages                  the next resume within 5 s is answered 500
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/room.go (SimulateScenario),
// pkg/service/roommanager.go.

#include "sfu/room/participant.h"

typedef struct Livekit__SimulateScenario Livekit__SimulateScenario;

struct simulation;

// The resume that a scenario spoils comes within this (livekit pkg/rtc/room.go).
#define SIMULATE_RESUME_MS 5000

// How often layers are fitted into the simulated bandwidth: bitrates are measured over 1 s.
#define SIMULATE_FIT_MS 1000

// p may be gone when this returns.
void simulate_scenario(struct participant *p, const Livekit__SimulateScenario *req);

// The socket of this resume was refused as the client wished.
bool simulate_refuses_resume(struct participant *p, handle_t session);

// After the first messages of a resume: whether the socket was closed again as the client wished.
bool simulate_resumed(struct participant *p);

// ROOM_TIMER_SIMULATE fired.
void simulate_timeout(struct timer *t);

// The participant ends. Accepts one that never simulated.
void simulate_done(struct participant *p);

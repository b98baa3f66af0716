// SPDX-License-Identifier: Apache-2.0
#pragma once
// Offers and answers of a participant's transports: which section carries what.
//
//   v1: the client offers, we answer; to get more sections we ask for another offer
//       (livekit-protocol 4.3, 4.4)
//   v0: the client offers on the publisher transport, we on the subscriber transport (4.2)
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/transport.go,
// pkg/rtc/transportmanager.go.

#include "sfu/room/participant.h"

// Renegotiation starts this long after a subscribe, so that tracks that come together cost one
// round (livekit: 10 ms).
#define NEGOTIATION_DELAY_MS 10

// After the end of a subscription there is more time: often another one follows (livekit's recordings:
// 200 ms).
#define NEGOTIATION_END_DELAY_MS 200

// Rounds of one client are at least this far apart, whatever comes and goes (livekit
// pkg/rtc/transport.go: negotiationFrequency): hundreds of tracks that appear one by one cost a few
// rounds a second.
#define NEGOTIATION_INTERVAL_MS 150

// An offer of ours that is not answered for this long ends the session (livekit: 15 s).
#define NEGOTIATION_TIMEOUT_MS 15000

// Something must be told by a new description. Coalesced.
void negotiation_request(struct participant *p);

// A section has fallen silent: the same, without hurry.
void negotiation_request_after_end(struct participant *p);

// Subscriptions of p still have no section: the client is reminded, if that may help.
void negotiation_retry(struct participant *p);

// The client's offer on the publisher transport; answered before this returns. Unusable text is
// ignored, as the original does.
void negotiation_offer(struct participant *p, const char *sdp, uint32_t id);

// The client's answer on the subscriber transport (v0). Unusable: the session must start anew
// (STATE_MISMATCH).
void negotiation_answer(struct participant *p, const char *sdp, uint32_t id);

// A track was added by add_track: a section that waited for it is served.
void negotiation_track_added(struct participant *p);

// v0: our side restarts ICE on the subscriber transport (resume).
void negotiation_restart_subscriber(struct participant *p);

// v0: creates the subscriber transport with its data channels and sends the first offer.
int negotiation_start_subscriber(struct participant *p) NODISCARD;

// v0 with the publisher as primary: makes the subscriber transport as soon as there may be something
// to send on it, that is once p is ACTIVE and may subscribe, and offers it a little later. Does nothing
// if it is there, or not needed. Without memory it is tried with the next change of permission.
void negotiation_open_subscriber(struct participant *p);

// ROOM_TIMER_NEGOTIATE fired.
void negotiation_timeout(struct participant *p);

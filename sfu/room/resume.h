// SPDX-License-Identifier: Apache-2.0
#pragma once
// Coming back after a WebSocket was lost (livekit-protocol 4.10): the new socket takes the place of
// the old one, and the client is told everything that it may have missed.
//
//   reconnect ─► those who left meanwhile ─► everybody ─► room ─► fresh token ─► (v0) our offer
//
// The media goes on meanwhile, or comes back by an ICE restart: in v1 the client offers it, in v0
// the client for the publisher connection and we for the subscriber connection.
//
// Owner thread: the room's worker. Upstream: livekit pkg/service/roommanager.go (StartSession),
// pkg/rtc/participant.go (HandleReconnectAndSendResponse).

#include "sfu/room/participant.h"

// After a resume clients restart ICE on all their connections: what fails meanwhile was lost before.
// livekit-client settles for at least 2 s, and offers within the first of them.
#define RESUME_SETTLE_MS 5000

// A client that never pings (Go) was last heard long before its socket was lost: it has missed what
// was written to a dead one. TCP ends by itself or the media fails long before this.
#define RESUME_MISSED_MS 60000

// Handles a CHANNEL_JOIN with reconnect set. p: who the token names, NULL if the room or the
// participant is unknown (then the client is told to join anew: STATE_MISMATCH, RECONNECT). The same
// is told to whom means another session: by its sid where it gives one, or by the kind of its
// connections. The original looks at neither, and an older session of the same identity then takes
// the signalling of the newer one, whose media it cannot have. A refusal ends with CHANNEL_CLOSE.
void resume_session(struct room_env *env, struct participant *p, handle_t session,
                    const struct channel_join *join);

// A message of the client arrived: everything sent before it was alive has reached it.
void resume_note_heard(struct participant *p);

// Its transport t has failed: Leave{RESUME}, and so many seconds to come back (livekit-protocol 4.13).
// If only a new session helps (DTLS), Leave{RECONNECT} follows at once, with the next timer: t is
// in use by the caller. A second transport that fails while the client is coming back already does
// not send it away again.
void resume_transport_failed(struct participant *p, const struct pc_transport *t);

// Closes the client's socket after what was sent before; the session waits for another one.
void resume_detach(struct participant *p);

// The client is to join anew: Leave{RECONNECT} with a reason, and its end. p may be gone when this
// returns.
void resume_end(struct participant *p, enum disconnect_reason reason);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// AddTrackRequest: checks, the answer, and what has to wait (livekit-protocol 4.5).
//
//   may not publish this source               RequestResponse NOT_ALLOWED
//   neither audio nor video                   RequestResponse UNSUPPORTED_TYPE
//   too many pending or too many tracks       RequestResponse LIMIT_EXCEEDED
//   sid of a track: another codec of it       track_published with the same sid, or NOT_FOUND,
//                                             UNSUPPORTED_TYPE
//   cid of a track that is not gone yet       RequestResponse QUEUED, track_published when it is
//   else                                      track_published, then the section is looked for
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go (AddTrack,
// addPendingTrack).

typedef struct Livekit__AddTrackRequest Livekit__AddTrackRequest;
struct participant;

void add_track(struct participant *p, Livekit__AddTrackRequest *req);

// A track of p is gone: answers the request that waited for its cid, if there is one.
void add_track_queue_next(struct participant *p);

// Forgets what waits. For participant_close.
void add_track_queue_clear(struct participant *p);

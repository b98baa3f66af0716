// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a participant may do, and what happens when that changes while it is in the room
// (livekit-protocol 2.3, 4.13).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go (SetPermission),
// protocol auth/grants.go. Deviations: is_publisher stays what it is (upstream sets it to
// can_publish); publications that are announced but carry no media yet go as well; a participant
// that becomes hidden leaves the others' lists (upstream keeps a ghost there), and one that becomes
// visible appears.

#include "sfu/room/participant.h"

// Replaces the permission. In this order: publications whose source is no longer allowed end
// (everybody: update without the track; the publisher: track_unpublished), subscriptions end or are
// found again, data tracks end, everybody incl. the participant gets its ParticipantInfo, it gets a
// fresh token. False: it had that permission already, nothing was done.
bool participant_set_permission(struct participant *p, const struct participant_permission *perm);

// source: TrackSource. Unknown sources (over 31) count as UNKNOWN.
bool participant_may_publish_source(const struct participant *p, unsigned source);

// Agents, recorders and the like: they take no seat of max_participants, are not counted, and keep
// no room alive (livekit IsDependent).
bool participant_is_dependent(const struct participant *p);
// The same for somebody who is not in yet. kind: ParticipantInfo.Kind.
bool participant_permission_is_dependent(const struct participant_permission *perm, uint8_t kind);
// Room.active_recording while one is inside.
bool participant_is_recorder(const struct participant *p);

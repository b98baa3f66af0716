// SPDX-License-Identifier: Apache-2.0
#pragma once
// What webhooks tell of a room, as messages for the signalling thread. livekit-protocol 7.3. Nothing
// is made unless somebody wants events (room_conf.events).
//
// Owner thread: the room's worker. Upstream: livekit pkg/telemetry/events.go. Deviations: the numbers
// of participants and publishers are those of the moment (there they lag behind); room_finished has
// its roomEndReason (there nobody sets it, the field is in the protocol).

#include "sfu/room/published_track.h"
#include "sfu/room/room.h"

// room_started. The whole room.
void room_event_started(struct room *r);

// room_finished. The whole room, and why it ended: reason as given to room_close.
void room_event_finished(struct room *r, enum disconnect_reason reason);

// participant_joined for an ACTIVE participant. For a DISCONNECTED one participant_left, or
// participant_connection_aborted if it never was ACTIVE. Room and participant in full.
void room_event_participant(const struct participant *p, bool was_active);

// track_published or track_unpublished; room (unless conf->full_room_in_events) and participant only
// by name.
void room_event_track(const struct published_track *t, bool published);

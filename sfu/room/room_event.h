// SPDX-License-Identifier: Apache-2.0
#pragma once
// What webhooks tell of a room, as messages for the signalling thread. livekit-protocol 7.3. Nothing
// is made unless somebody wants events (room_conf.events).
//
// Owner thread: the room's worker. Upstream: livekit pkg/telemetry/events.go. Deviation: the numbers
// of participants and publishers are those of the moment (there they lag behind).

#include "sfu/room/published_track.h"
#include "sfu/room/room.h"

enum room_event {
    ROOM_EVENT_STARTED,
    ROOM_EVENT_FINISHED,
};

// The whole room.
void room_event_room(struct room *r, enum room_event e);

// participant_joined for an ACTIVE participant. For a DISCONNECTED one participant_left, or
// participant_connection_aborted if it never was ACTIVE. Room and participant in full.
void room_event_participant(const struct participant *p, bool was_active);

// track_published or track_unpublished; room (unless conf->full_room_in_events) and participant only
// by name.
void room_event_track(const struct published_track *t, bool published);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What everybody is told of the room itself (RoomUpdate, livekit-protocol 4.12), and the numbers in
// it. Metadata and active_recording go out at once; counters at most every ROOM_UPDATE_INTERVAL_MS,
// at once when the last update is older.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/room.go (protoProxy, updateProto,
// SetMetadata). Deviation: counters are right when they are sent; upstream's lag.

#include "sfu/room/room.h"

// livekit roomUpdateInterval.
#define ROOM_UPDATE_INTERVAL_MS 5000

// One that could not be sent for lack of memory is sent after this.
#define ROOM_UPDATE_RETRY_MS 100

// Replaces the metadata ("" or NULL: none); everybody and the registry learn it at once. Upstream
// tells also when it is the same, and so do we: the caller of the API may wait for it.
// -E2BIG, -ENOMEM; nothing changes then.
int room_set_metadata(struct room *r, const char *metadata) NODISCARD;

// Takes p into the room's numbers, or out of them; call when it came, before it goes, and around a
// change of its permission.
void room_count_in(struct room *r, const struct participant *p);
void room_count_out(struct room *r, const struct participant *p);

// p published something, media or data: it is a publisher from now on, also when all of it ends.
// The caller tells everybody (participant_changed).
void room_count_publisher(struct participant *p);

// A number may have changed: tells now or later.
void room_counters_changed(struct room *r);

// ROOM_TIMER_COUNTERS fired.
void room_counters_timeout(struct room *r);

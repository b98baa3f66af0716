// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who left a room lately: what a client that comes back has to be told, because the update was
// written to a socket that was dead already (livekit-protocol 4.10). A ring of the latest
// departures of one room.
//
// Pure. Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go
// (sendDisconnectUpdatesForReconnect: the newest 128 states a participant was told of).

#include "common/base/mono.h"
#include "common/lk/sid.h"
#include "sfu/base/sfu_limits.h"

struct departure {
    char sid[SID_SIZE];
    char *identity;
    uint32_t version; // of its last ParticipantInfo
    uint8_t reason;   // DisconnectReason
    mono_t at;
};

struct departures {
    struct departure *ring; // NULL until somebody left
    uint32_t cap, first, count;
    bool forgot;      // one is not in the ring any more
    mono_t forgot_at; // when the newest of them left
};

// Zeroed memory is an empty one.
void departures_done(struct departures *d);

// Notes one; the strings are copied. Without memory it is forgotten at once.
void departures_add(struct departures *d, mono_t now, const char *sid, const char *identity,
                    uint32_t version, uint8_t reason);

// Everybody who left at `since` or later is still in the ring.
bool departures_complete(const struct departures *d, mono_t since);

// The i-th, oldest first; i < d->count.
const struct departure *departures_at(const struct departures *d, uint32_t i);

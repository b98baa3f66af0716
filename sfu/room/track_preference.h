// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a client said about tracks it may receive: whether it wants them (UpdateSubscription) and how
// (UpdateTrackSettings). Kept by track sid, so that it may be said before there is a subscription
// and stays when there is none for a while (livekit-protocol 4.8.2, 4.9.1).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/subscriptionmanager.go
// (trackSubscription).

#include "sfu/room/participant.h"

// What is said about a track that nobody publishes is kept this long; who wanted it is then told
// that it was not found (livekit pkg/rtc/subscriptionmanager.go: notFoundTimeout).
#define TRACK_PREFERENCE_UNKNOWN_MS 60000

// Settings take effect this long after the first of several (livekit: subscriptionDebounceInterval):
// a client that attaches an element sends three within 100 ms.
#define TRACK_PREFERENCE_SETTLE_MS 100

struct track_preference {
    UT_hash_handle hh; // participant->preferences by sid
    char sid[SID_SIZE];
    bool has_desired, desired; // UpdateSubscription
    bool has_settings;         // UpdateTrackSettings
    bool disabled;
    bool denied; // was told that it may not have the track
    uint8_t quality;
    uint32_t width, height, fps;
    mono_t apply_at;   // the settings above take effect then; MONO_NEVER: they did
    mono_t key_full;   // allowance of key frames of the last subscription (down_track.h)
    mono_t unknown_at; // given up then if the track is not published by then; MONO_NEVER: it is
};

// NULL if nothing was said.
struct track_preference *track_preference_find(const struct participant *p, const char *sid);

// Finds or makes one; NULL if the client has spoken about too many, the sid is none of a track, or
// without memory.
struct track_preference *track_preference_need(struct participant *p, const char *sid);

// The track has ended: its sid never comes again.
void track_preference_forget(struct participant *p, const char *sid);

// All of them, when the participant is freed.
void track_preference_free_all(struct participant *p);

// What is due: settings that have settled are applied, tracks that never came are given up. Returns
// when to call again.
mono_t track_preference_timeout(struct participant *p);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is speaking: measured from the audio level extension of microphone tracks, told every 400 ms
// as differences (livekit-protocol 4.14, media-plane 4.12).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/room.go (audioUpdateWorker).

#include "sfu/room/room.h"

struct subscription;

// ROOM_TIMER_SPEAKERS fired.
void active_speaker_tick(struct room *r);

// Somebody publishes audio: the tick must run.
void active_speaker_start(struct room *r);

// A participant left; its entry needs no goodbye (the participant update says it).
void active_speaker_gone(struct participant *p);

// A new subscriber learns that the publisher is speaking.
void active_speaker_tell_subscriber(struct subscription *s);

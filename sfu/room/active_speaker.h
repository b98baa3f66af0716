// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is speaking: measured from the audio level extension of microphone tracks, told every 400 ms
// as differences (livekit-protocol 4.14, media-plane 4.12).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/room.go (audioUpdateWorker).

#include "sfu/room/room.h"

// ROOM_TIMER_SPEAKERS fired.
void active_speaker_tick(struct room *r);

// Somebody publishes audio: the tick must run.
void active_speaker_start(struct room *r);

// A participant left; its entry needs no goodbye (the participant update says it).
void active_speaker_gone(struct participant *p);

// Tells listener that p speaks, if it does.
void active_speaker_tell(struct participant *listener, const struct participant *p);

// Listener receives nothing of p any more: p falls silent for it.
void active_speaker_tell_lost(struct participant *listener, const struct participant *p);

// After a resume: tells p of all it receives who speaks and who does not; a change may have been
// missed.
void active_speaker_resumed(struct participant *p);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// How good the connection of each participant is: every 5 s, counted from the creation of the room,
// the worst of its published and subscribed tracks, told to itself and to those who receive its
// tracks when the level has changed (livekit-protocol 4.14, media-plane 8.1).
//
// LOST makes clients start over after ten seconds, so it is never said of somebody of whom anything
// was heard lately: a silent microphone is POOR, a silent transport is LOST. Who has no media is
// EXCELLENT.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/room.go (connectionQualityWorker),
// pkg/rtc/participant.go (GetConnectionQuality). Deviations: an update holds only what changed, and
// goes only to those whom it concerns (livekit sends everything to everybody once anything has
// changed).

#include "sfu/room/room.h"

struct published_track;
struct subscription;

// A room begins: the tick runs as long as it lives.
void connection_quality_start(struct room *r);

// ROOM_TIMER_QUALITY fired: measures the room, or a part of it, and what is left in turns of their own
// soon after.
void connection_quality_tick(struct room *r);

// p is about to leave the room's list.
void connection_quality_leave(struct participant *p);

// A track is published, a subscription is live: measuring begins.
void connection_quality_publish(struct published_track *t);
void connection_quality_subscribe(struct subscription *s);

// Tells listener how p is, if it is known.
void connection_quality_tell(struct participant *listener, const struct participant *p);

// After a resume: tells p of itself and of all it receives.
void connection_quality_resumed(struct participant *p);

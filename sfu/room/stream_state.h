// SPDX-License-Identifier: Apache-2.0
#pragma once
// StreamStateUpdate: a video that a subscriber receives has started, or has started again
// (livekit-protocol 3.3, 4.9.2). Old clients (two peer connections) are told ACTIVE each time; those
// with one connection never, as livekit does. PAUSED is for congestion control.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant_signal.go.

struct subscription;
struct track_media;

// s has begun to receive: bound, or no longer disabled. Does nothing for audio, v1, and while the
// publisher is muted.
void stream_state_started(struct subscription *s);

// The publisher is no longer muted: all who receive this codec of its track.
void stream_state_unmuted(struct track_media *m);

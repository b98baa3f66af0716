// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dynacast: the publisher of a video is told which layers of which codec somebody wants, so that it
// encodes and sends no others, and starts a backup codec when somebody needs it (livekit-protocol
// 4.9.3).
//
// For each codec of a track the subscriptions are counted by the quality they want; what is told is
// the highest. The first message goes out when the first subscription has said what it wants, or
// after DYNACAST_FIRST_MS if nobody came. More is told at once, less after DYNACAST_LESS_MS, because
// people come back to what they just left. Nothing is told of a muted track; its state is told when
// it is unmuted.
//
// Other than livekit-server (pkg/rtc/dynacast): the primary codec stands first and is always in the
// list, also if nobody wants it; it keeps the name that the client gave it, even if the client then
// sends another codec under it (livekit tells the codec that comes, and livekit-client takes that
// for a backup codec and sends the video twice: recording 03-h265); what could not be told while the
// client had no connection is told as soon as it is back, not only after DYNACAST_REPEAT_MS.
//
// Owner thread: the room's worker.

#include "common/base/timer_heap.h"
#include "sfu/room/track_info.h"

struct participant;
struct published_track;
struct subscription;

#define DYNACAST_FIRST_MS 10000
#define DYNACAST_LESS_MS 5000
#define DYNACAST_REPEAT_MS 10000 // after a resume

#define DYNACAST_QUALITIES 3 // VideoQuality LOW, MEDIUM, HIGH
#define DYNACAST_NOTHING (-1)

// Of one track; zero it, then dynacast_init.
struct dynacast {
    struct timer timer;                                         // ROOM_TIMER_DYNACAST
    uint32_t wanted[TRACK_INFO_CODECS_MAX][DYNACAST_QUALITIES]; // subscriptions, by quality
    int8_t told[TRACK_INFO_CODECS_MAX];                         // quality or DYNACAST_NOTHING
    bool named[TRACK_INFO_CODECS_MAX];                          // was in a message
    bool begun;                          // somebody wanted it, or 10 s passed
    bool missed;                         // told while there was no session
    mono_t first_at, less_at, repeat_at; // MONO_NEVER: nothing to come
};

// What one subscription counts for.
struct dynacast_need {
    bool set;
    uint8_t codec;   // index
    uint8_t quality; // VideoQuality
};

void dynacast_init(struct dynacast *d);

// The video was published: from now on its publisher is told.
void dynacast_start(struct published_track *t);

// What s wants from now on: a quality (VideoQuality; higher ones mean HIGH) of codec `codec` (index
// of TrackInfo.codecs), or DYNACAST_NOTHING. Call with DYNACAST_NOTHING before it ends.
void dynacast_set_need(struct subscription *s, uint8_t codec, int quality);

// Less is told now as well: another codec has taken the place of the one that is not wanted any
// more.
void dynacast_replaced(struct published_track *t);

// The track was muted or unmuted (info.muted has the new value).
void dynacast_muted(struct published_track *t);

// The publisher p is back on a new WebSocket.
void dynacast_resumed(struct participant *p);

// ROOM_TIMER_DYNACAST fired.
void dynacast_timeout(struct published_track *t);

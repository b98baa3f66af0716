// SPDX-License-Identifier: Apache-2.0
#pragma once
// LiveKit object ids: a prefix that clients look at and 12 characters of a 57 letter alphabet.
// Pure: the caller brings the randomness.
//
// Upstream: livekit/protocol utils/guid/id.go (alphabet, lengths), livekit pkg/rtc/participant.go
// (track ids).

#include "common/base/bytes.h"

#define SID_ROOM "RM_"
#define SID_PARTICIPANT "PA_"
#define SID_TRACK "TR_"
#define SID_DATA_TRACK "DTR_"
#define SID_NODE "ND_"
#define SID_CONNECTION "CO_"
#define SID_EVENT "EV_"
#define SID_DISPATCH "AD_"

#define SID_RANDOM_LEN 16 // 57^12 is 70 bits; the rest makes the modulo bias vanish
#define SID_CHARS 12
#define SID_SIZE 24 // longest: "TR_" + two letters + 12 + zero

// Writes prefix (one of the above, at most 5 characters) + 12 characters + zero. Returns ret.
const char *sid_make(const char *prefix, const uint8_t random[static SID_RANDOM_LEN],
                     char ret[static SID_SIZE]);

// The id of an audio or video track: `type` is a Livekit__TrackType, `source` a
// Livekit__TrackSource (both as int so that callers need no generated code). Unknown sources get no
// letter.
const char *sid_make_track(int type, int source, const uint8_t random[static SID_RANDOM_LEN],
                           char ret[static SID_SIZE]);

// True for prefix + at least one more character.
bool sid_has_prefix(const char *sid, const char *prefix);

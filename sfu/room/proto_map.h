// SPDX-License-Identifier: Apache-2.0
#pragma once
// From rooms, participants and transports to LiveKit's messages. Messages live in the caller's
// arena and borrow text from the objects: encode them before anything changes. All functions return
// NULL when memory or the arena's cap is used up.
//
// Owner thread: the room's worker.

#include "common/base/arena.h"
#include "sfu/room/room.h"

typedef struct Livekit__Codec Livekit__Codec;
typedef struct Livekit__ParticipantInfo Livekit__ParticipantInfo;
typedef struct Livekit__Room Livekit__Room;
typedef struct Livekit__ServerInfo Livekit__ServerInfo;
typedef struct Livekit__SessionDescription Livekit__SessionDescription;

struct jsep;

// With the complete list of published tracks (none when DISCONNECTED).
Livekit__ParticipantInfo *proto_map_participant(const struct participant *p,
                                                struct arena *a) NODISCARD;
Livekit__Room *proto_map_room(const struct room *r, struct arena *a) NODISCARD;
// The same, encoded; NULL without memory.
struct shared_buf *proto_map_pack_room(const struct room *r);
Livekit__ServerInfo *proto_map_server(const struct room_env *env, struct arena *a) NODISCARD;
// enabled_publish_codecs: VP8 first, then H264, other video, then audio (livekit-protocol 5.4).
Livekit__Codec **proto_map_codecs(uint32_t enabled, struct arena *a, size_t *ret_n) NODISCARD;
// With mid_to_track_id of the sections the last description of j sends on.
Livekit__SessionDescription *proto_map_description(const char *type, const char *sdp, uint32_t id,
                                                   const struct jsep *j, struct arena *a) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a participant says of itself, or an operator of it: name, metadata, attributes; and the
// claims that its next token shall have (livekit-protocol 4.11, 2.4).
//
//   change ─► ParticipantUpdate (its own first) ─► refresh_token ─► RequestResponse (late_response.h)
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go (SetName, SetMetadata,
// SetAttributes, CheckMetadataLimits), pkg/rtc/signalling. Deviations: one update and one token for
// all that changes together; attributes are limited by what they are after the change, not by the
// request alone, so that many requests cannot add up; attribute keys are limited in number.

#include "sfu/room/participant.h"

typedef struct Livekit__UpdateLocalAudioTrack Livekit__UpdateLocalAudioTrack;
typedef struct Livekit__UpdateLocalVideoTrack Livekit__UpdateLocalVideoTrack;
typedef struct Livekit__UpdateParticipantMetadata Livekit__UpdateParticipantMetadata;

// Replaces name and metadata (NULL = keep, "" = none) and merges attributes (an empty value
// deletes the key). If anything is another thing then: everybody is told at once, and the
// participant gets a token with the new claims. Equal values change nothing and tell nobody.
// Text is copied. Nothing changes on failure:
// -ENAMETOOLONG name, -EFBIG metadata, -E2BIG attributes over LiveKit's limits (or more than
// PARTICIPANT_ATTRIBUTES_MAX of them), -ENOMEM.
int participant_update(struct participant *p, const char *name, const char *metadata,
                       const struct access_attribute *attributes, size_t attribute_count) NODISCARD;

// Sends the participant a token with its claims as they are now, behind what it was sent before.
// One whose WebSocket is gone gets it with the resume. Without memory the token stays the old one
// (env->no_memory).
void participant_post_claims(struct participant *p);

// The same with claims for another room. False: it was not sent.
bool participant_post_claims_of(struct participant *p, const char *room);

// A resume came with this token: lifetime, key and room configuration are taken from it, the rest
// stays as it is here. Refers to token; the new socket's first token has the claims of now.
void participant_renew_token(struct participant *p, struct access_token *token);

// SignalRequest.update_metadata, update_audio_track, update_video_track, with their answers.
void participant_update_request(struct participant *p, Livekit__UpdateParticipantMetadata *req);
void participant_update_audio_track(struct participant *p, Livekit__UpdateLocalAudioTrack *req);
void participant_update_video_track(struct participant *p, Livekit__UpdateLocalVideoTrack *req);

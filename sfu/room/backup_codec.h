// SPDX-License-Identifier: Apache-2.0
#pragma once
// A second codec of a video for those who cannot receive the first (livekit-protocol 4.5, 4.9.3).
//
// add_track names it without a cid. The first subscriber that can only receive it waits, and
// dynacast tells the publisher that the codec is wanted. The client then asks for it with another
// add_track (sid, the codec, a cid) and offers a second section. When its media may come, those who
// wait get it; and if the track's policy says so, everybody changes to it and the primary codec is
// no longer wanted by anybody ("regression"), so that the publisher encodes once.
//
//   PREFER_REGRESSION   regression in rooms of fewer than BACKUP_CODEC_REGRESSION_BELOW people
//   REGRESSION          always
//   SIMULCAST           never: both codecs are sent
//
// A subscription changes codecs in its section, under its SSRC, without negotiation; Go clients and
// those that do not say what they are do not bear that (livekit-protocol 5.9), they get a new
// section.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/mediatrack.go,
// mediatrackreceiver.go, dynacast; deviation: when the backup ends, those who can receive the
// primary codec go back to it.

#include "common/base/macros.h"

typedef struct Livekit__AddTrackRequest Livekit__AddTrackRequest;
struct participant;
struct published_track;
struct track_media;

// livekit video.codec_regression_threshold.
#define BACKUP_CODEC_REGRESSION_BELOW 5

// The client is about to publish the track in another codec: TrackInfo knows its cid and layers.
// -ENOTSUP: a codec that may not be published, or one more than a track may have.
int backup_codec_request(struct published_track *t, const Livekit__AddTrackRequest *req);

// The media of a codec may come: subscriptions that wait get it, others by policy; everybody is
// told.
void backup_codec_started(struct track_media *m);

// The section of one codec is gone and another one lives: its subscriptions go there.
void backup_codec_ended(struct track_media *m);

// True if a down track of this subscriber may change its codec while it runs.
bool backup_codec_may_change(const struct participant *subscriber);

// True if the client named this codec but does not send it (yet): a subscriber may wait for it.
bool backup_codec_is_promised(const struct track_media *m);

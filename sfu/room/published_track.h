// SPDX-License-Identifier: Apache-2.0
#pragma once
// A track that a participant publishes: from add_track to its end.
//
//   PENDING ──section of an offer matches──► MATCHED ──transport connected──► PUBLISHED
//   PUBLISHED ──section inactive──► 200 ms later ──► (gone)
//   any ──participant gone──► (gone)
//
// PENDING: only the add_track is known. PUBLISHED: everybody knows it, and packets have a receiver.
// A track with a backup codec ends with the last of its sections.
//
// Published at the description, also simulcast, for which livekit-server waits for the first packet:
// so a camera that is muted appears as well (livekit-protocol 4.5).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/mediatrack.go, pkg/rtc/participant.go
// (addPendingTrack).

#include "sfu/media/audio_level.h"
#include "sfu/media/quality_score.h"
#include "sfu/room/dynacast.h"
#include "sfu/room/room_env.h"
#include "sfu/room/track_info.h"
#include "sfu/room/track_media.h"

struct jsep_transceiver;
struct participant;

enum published_track_state {
    TRACK_PENDING,
    TRACK_MATCHED,
    TRACK_PUBLISHED,
};

struct published_track {
    struct published_track *prev, *next; // participant->tracks
    UT_hash_handle hh_sid;               // room->tracks by sid
    handle_t handle;
    struct participant *publisher;
    enum published_track_state state;
    struct track_info info;
    struct track_media media[TRACK_INFO_CODECS_MAX]; // by codec: primary, backup
    struct audio_level level;                        // audio
    struct quality_meter quality;                    // connection_quality.c
    struct dynacast dynacast;                        // video
    struct timer end;                                // ROOM_TIMER_TRACK: media[].ending
    bool subscribed_told;                            // track_subscribed was sent
    bool regressed; // the backup codec replaces the primary one for all who can receive it
    bool ending;    // all its sections are silent: it is gone when `end` fires
    bool closing;
};

// Enters a pending track (info complete but for the sid). -ENOBUFS over the participant's limit,
// -ENOMEM.
int published_track_new(struct participant *p, const struct track_info *info,
                        struct published_track **ret) NODISCARD;

// Ends it: subscribers lose it, everybody is told. Accepts NULL.
void published_track_close(struct published_track *t);

struct published_track *published_track_by_sid(struct participant *p, const char *sid);

// The track of p, in any state, one of whose codecs has that cid, or was found under it in a
// description.
struct published_track *published_track_by_cid(struct participant *p, const char *cid);

// Which codec of which track a section with that msid track id carries, among those that wait for
// one: the one with that cid. NULL: none.
struct track_media *published_track_match(struct participant *p, enum track_type type,
                                          const char *track_id);

// The same for sections whose id nobody has: the first of the kind, because Firefox has other ids in
// its descriptions than in add_track. The id is noted (sdp_cid). Ask only when all sections of a
// description that published_track_match knows are served.
struct track_media *published_track_match_any(struct participant *p, enum track_type type,
                                              const char *track_id);

// Attaches the section of an offer; PENDING becomes MATCHED.
void published_track_set_section(struct track_media *m, struct jsep_transceiver *section);

// The section of one codec carries nothing any more, and may carry another one at once. What it
// carried ends PUBLISHED_TRACK_END_MS later, as with livekit-server: packets that are on their way
// still find their subscribers. Codecs of one track share the timer: one that falls silent while
// another is on its way out ends with it. A codec that receives nothing ends now, and so does, with
// its primary codec, a track that nobody knows yet.
void published_track_section_silent(struct track_media *m);

// From the answer that takes a codec's section away to the end of the codec; the track ends with
// the last one. livekit-protocol 4.5.
#define PUBLISHED_TRACK_END_MS 200

// ROOM_TIMER_TRACK fired.
void published_track_timeout(struct published_track *t);

// Publishes what got its section and is not published yet: makes the receivers from what was
// negotiated, announces the tracks, subscribes others. The publisher's transport is connected. What
// has no usable codec ends.
void published_track_publish_matched(struct participant *p);

void published_track_set_muted(struct published_track *t, bool muted);

// A subscription began to receive: the publisher is told once (hidden subscribers do not count).
void published_track_subscribed(struct published_track *t, const struct participant *subscriber);

// The codec whose section this is; NULL if none.
struct track_media *published_track_media_of(struct published_track *t,
                                             const struct jsep_transceiver *section);

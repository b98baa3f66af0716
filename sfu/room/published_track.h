// SPDX-License-Identifier: Apache-2.0
#pragma once
// A track that a participant publishes: from add_track to its end.
//
//   PENDING ──section of an offer matches──► MATCHED ──transport connected──► PUBLISHED
//   any ──section inactive, participant gone──► (gone)
//
// PENDING: only the add_track is known. PUBLISHED: everybody knows it, and packets have a receiver.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/mediatrack.go, pkg/rtc/participant.go
// (addPendingTrack).

#include "sfu/media/audio_level.h"
#include "sfu/media/quality_score.h"
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
    bool subscribed_told;                            // track_subscribed was sent
};

// Enters a pending track (info complete but for the sid). -ENOBUFS over the participant's limit,
// -ENOMEM.
int published_track_new(struct participant *p, const struct track_info *info,
                        struct published_track **ret) NODISCARD;

// Ends it: subscribers lose it, everybody is told. Accepts NULL.
void published_track_close(struct published_track *t);

// The track of an msid track id among those without a section: by cid, else the first pending one
// of the kind.
struct published_track *published_track_match(struct participant *p, enum track_type type,
                                              const char *track_id);

struct published_track *published_track_by_sid(struct participant *p, const char *sid);

// Attaches the section of an offer; PENDING becomes MATCHED.
void published_track_set_section(struct published_track *t, struct jsep_transceiver *section);

// Makes a receiver from what the section negotiated, announces the track and subscribes others.
// Does nothing unless MATCHED. -ENOTSUP: no usable codec; -ENOMEM.
int published_track_publish(struct published_track *t) NODISCARD;

void published_track_set_muted(struct published_track *t, bool muted);

// A subscription began to receive: the publisher is told once (hidden subscribers do not count).
void published_track_subscribed(struct published_track *t, const struct participant *subscriber);

// The codec whose section this is; NULL if none.
struct track_media *published_track_media_of(struct published_track *t,
                                             const struct jsep_transceiver *section);

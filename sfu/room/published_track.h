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
#include "sfu/media/receiver.h"
#include "sfu/room/room_env.h"
#include "sfu/room/track_info.h"

struct down_track;
struct jsep_transceiver;
struct participant;
struct pc_transport;
struct subscription;

enum published_track_state {
    TRACK_PENDING,
    TRACK_MATCHED,
    TRACK_PUBLISHED,
};

// Packets of one track that are gathered before they are fanned out: two frames of a video at once;
// what is over goes out first (router_flush).
#define PUBLISHED_TRACK_BATCH 32

// One subscriber in the fan-out: everything the router touches for it, in one cache line.
struct track_output {
    struct down_track *down_track;
    struct pc_transport *transport;
    struct subscription *subscription;
};

struct published_track {
    struct published_track *prev, *next; // participant->tracks
    UT_hash_handle hh_sid;               // room->tracks by sid
    struct published_track *dirty_next;  // env->dirty
    handle_t handle;
    struct participant *publisher;
    enum published_track_state state;
    struct track_info info;
    enum codec codec;
    uint32_t section_id; // of the transport's demultiplexer
    struct jsep_transceiver *section;
    struct receiver *receiver; // PUBLISHED
    struct audio_level level;  // audio
    bool subscribed_told;      // track_subscribed was sent

    struct track_output *outputs; // live subscriptions
    uint32_t output_count, output_cap;

    bool dirty;
    uint8_t batch_count;
    struct packet *batch[PUBLISHED_TRACK_BATCH];
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

// The demultiplexer learned the SSRC of an encoding: TrackInfo shows it.
void published_track_layer_bound(struct published_track *t, uint8_t encoding, bool rtx,
                                 uint32_t ssrc);

void published_track_set_muted(struct published_track *t, bool muted);

// Adds or removes a subscription from the fan-out. -ENOMEM.
int published_track_add_output(struct published_track *t, struct subscription *s) NODISCARD;
void published_track_remove_output(struct published_track *t, struct subscription *s);

// Which encodings subscribers need; call after a change of a subscription's layers.
void published_track_update_needed(struct published_track *t);

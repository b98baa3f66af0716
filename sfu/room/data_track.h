// SPDX-License-Identifier: Apache-2.0
#pragma once
// Data tracks: named streams of packets that participants publish over the channel `_data_track`
// and others subscribe to one by one (livekit-protocol 3.9).
//
//   publish_data_track_request ─► data_track ─► ParticipantInfo.data_tracks, to everybody
//   packet with the publisher's handle ─► data_track_input ─► for each subscription: the same packet
//                                         with the handle this subscriber knows it by
//
// Packets are lost like those of media: who does not keep up gets fewer, nobody waits. Nothing here
// is kept for late joiners.
//
// The store of data blobs that came with data tracks is answered as switched off, which it is in
// livekit by default.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant_data_track.go,
// pkg/rtc/datatrack.go. Deviations: at most DATA_TRACKS_MAX of one participant; handles are told at
// once after a track has ended (there: with the next round of its reconciler, about a second later).

#include "common/lk/sid.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/room_env.h"

typedef struct Livekit__GetDataBlobRequest Livekit__GetDataBlobRequest;
typedef struct Livekit__ParticipantInfo Livekit__ParticipantInfo;
typedef struct Livekit__PublishDataTrackRequest Livekit__PublishDataTrackRequest;
typedef struct Livekit__StoreDataBlobRequest Livekit__StoreDataBlobRequest;
typedef struct Livekit__SyncState Livekit__SyncState;
typedef struct Livekit__UnpublishDataTrackRequest Livekit__UnpublishDataTrackRequest;

struct arena;
struct data_subscription;
struct participant;
struct pbuf;
struct room;

struct data_track {
    struct data_track *prev, *next; // publisher->data_tracks
    UT_hash_handle hh_sid;          // room->data_tracks by sid
    struct participant *publisher;
    uint16_t pub_handle; // the publisher's name for it on the wire
    char sid[SID_SIZE];
    struct pbuf *info;                        // DataTrackInfo
    struct data_subscription **subscriptions; // wanted or not, allowed or not
    uint32_t subscription_count, subscription_cap;
};

// Requests; each is answered as livekit does it.
void data_track_publish_request(struct participant *p, Livekit__PublishDataTrackRequest *req);
void data_track_unpublish_request(struct participant *p, Livekit__UnpublishDataTrackRequest *req);
void data_track_store_blob_request(struct participant *p, const Livekit__StoreDataBlobRequest *req);
void data_track_get_blob_request(struct participant *p, const Livekit__GetDataBlobRequest *req);

// One message of the channel `_data_track` of p: goes to the subscribers of its track, or is
// counted.
void data_track_input(struct participant *p, struct bytes message);

// A track of anybody in the room; NULL if there is none.
struct data_track *data_track_by_sid(const struct room *r, const char *sid);

// Fills m->data_tracks with what p publishes; valid as long as the tracks are. False without memory.
bool data_track_map(const struct participant *p, Livekit__ParticipantInfo *m, struct arena *a);

// After a resume (SyncState.publish_data_tracks): false if the client publishes one that is not
// known. What it does not name although it is published was told to the socket that is gone: the
// response is repeated, it waits for it.
bool data_track_knows_all(const struct participant *p, const Livekit__SyncState *req);
void data_track_repeat_published(struct participant *p, const Livekit__SyncState *req);

// What p may do has changed, or whether it is hidden: ends its tracks or its subscriptions, or finds
// them again. The caller tells everybody of p afterwards.
void data_track_permission_changed(struct participant *p);

// p leaves: its tracks and subscriptions end.
void data_track_close_all(struct participant *p);

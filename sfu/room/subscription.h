// SPDX-License-Identifier: Apache-2.0
#pragma once
// A subscription: one participant receives one published track.
//
//   WAITING ──section assigned──► ASSIGNED ──description finished──► LIVE ──► (gone)
//
// v1 needs a free section of the client's offer (livekit-protocol 4.4), v0 adds one to the server's
// offer.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/subscriptionmanager.go,
// pkg/rtc/subscribedtrack.go.

#include "sfu/media/down_track.h"
#include "sfu/room/published_track.h"

struct jsep_transceiver;
struct track_preference;

enum subscription_state {
    SUBSCRIPTION_WAITING,
    SUBSCRIPTION_ASSIGNED,
    SUBSCRIPTION_LIVE,
};

struct subscription {
    UT_hash_handle hh;      // subscriber->subscriptions by track
    handle_t track_key;     // key of hh
    UT_hash_handle hh_ssrc; // transport->outputs by ssrc
    UT_hash_handle hh_rtx;  // transport->outputs_rtx by rtx_ssrc
    handle_t handle;
    struct participant *subscriber;
    struct published_track *track;
    enum subscription_state state;
    struct jsep_transceiver *section;
    uint32_t ssrc, rtx_ssrc;
    struct down_track *down_track; // LIVE
    struct track_media *media;     // LIVE: the codec of the track that it receives
    uint32_t output;               // index in media->outputs
    mono_t key_full;               // of its last down track
    struct quality_meter quality;  // connection_quality.c
    bool codec_refused; // the client cannot take the track, and was told; WAITING for nothing
    bool disabled;      // as the down track knows it
    mono_t bind_by;     // the client is told if it is not LIVE by then; MONO_NEVER: was told
    bool promised;      // ASSIGNED, and waits for a codec that the publisher was asked for
    struct dynacast_need need; // what the publisher is told that it wants
};

// ---- what is wanted -------------------------------------------------------------------------

// Brings the subscriptions of p in line with what it wants and may have: creates missing ones, ends
// others, tells what is not permitted, and asks for the negotiation. True if one began.
bool subscription_reconcile(struct participant *p);

// The same for one track and one participant.
void subscription_reconcile_sid(struct participant *p, const char *track_sid);

// The same for one track and all participants of the room, e.g. after it was published.
void subscription_reconcile_track(struct published_track *t);

// The same for all tracks of a publisher, after its permissions changed.
void subscription_reconcile_publisher(struct participant *p);

// UpdateSubscription for one track sid; subscription_reconcile_sid makes it so. Wanting a track that was
// refused for its codec tries again.
void subscription_set_desired(struct participant *p, const char *track_sid, bool desired);

// UpdateTrackSettings for one track sid. Numbers as in the message; applied to the present
// subscription once they have settled (TRACK_PREFERENCE_SETTLE_MS; at once when the track is no
// longer disabled), and to a later one.
void subscription_set_settings(struct participant *p, const char *track_sid, bool disabled,
                               uint8_t quality, uint32_t width, uint32_t height, uint32_t fps);

// SyncState.track_sids_disabled: the other settings stay.
void subscription_set_disabled(struct participant *p, const char *track_sid);

// The settings of a track take effect now.
void subscription_settings_settled(struct participant *p, struct track_preference *pref);

// Takes it out of its section, back to WAITING: the client gave the section up.
void subscription_detach(struct subscription *s);

// Ends one; its section becomes free with the next description. Accepts NULL.
void subscription_close(struct subscription *s);

struct subscription *subscription_find(struct participant *p, const struct published_track *t);

// ---- negotiation (negotiation.c) ------------------------------------------------------------

// Puts the sender into a section. -ENOTSUP: the section's codecs cannot carry the track; -ENOMEM.
int subscription_assign(struct subscription *s, struct jsep_transceiver *section) NODISCARD;

// The description that carries it is finished: makes the down track from what was negotiated.
// Stays ASSIGNED if it can only receive a codec that is not sent yet (backup_codec.h). -ENOTSUP,
// -ENOMEM.
int subscription_start(struct subscription *s) NODISCARD;

// Applies preferences to the down track, and tells dynacast.
void subscription_apply_settings(struct subscription *s);

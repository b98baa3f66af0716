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

enum subscription_state {
    SUBSCRIPTION_WAITING,
    SUBSCRIPTION_ASSIGNED,
    SUBSCRIPTION_LIVE,
};

// What a client said about a track, kept also before and after there is a subscription.
struct track_preference {
    UT_hash_handle hh;
    char sid[SID_SIZE];
    bool has_desired, desired; // UpdateSubscription
    bool has_settings;         // UpdateTrackSettings
    bool disabled;
    uint8_t quality;
    uint32_t width, height, fps;
};

// Tracks one client may have spoken about; more are ignored.
#define TRACK_PREFERENCES_MAX 1024

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
    struct quality_meter quality;  // connection_quality.c
    bool codec_refused;            // subscription_response was sent
};

// ---- what is wanted -------------------------------------------------------------------------

// Brings the subscriptions of p in line with what it wants and may have: creates missing ones, ends
// others. The caller starts the negotiation (negotiation_request) if this returns true.
bool subscription_reconcile(struct participant *p);

// The same for one track and all participants of the room, e.g. after it was published.
void subscription_reconcile_track(struct published_track *t);

// UpdateSubscription for one track sid.
void subscription_set_desired(struct participant *p, const char *track_sid, bool desired);

// UpdateTrackSettings for one track sid. Numbers as in the message; applied now and to a later
// subscription.
void subscription_set_settings(struct participant *p, const char *track_sid, bool disabled,
                               uint8_t quality, uint32_t width, uint32_t height, uint32_t fps);

// Ends one; its section becomes free with the next description. Accepts NULL.
void subscription_close(struct subscription *s);

struct subscription *subscription_find(struct participant *p, const struct published_track *t);

// ---- negotiation (negotiation.c) ------------------------------------------------------------

// Puts the sender into a section. -ENOTSUP: the section's codecs cannot carry the track; -ENOMEM.
int subscription_assign(struct subscription *s, struct jsep_transceiver *section) NODISCARD;

// The description that carries it is finished: makes the down track from what was negotiated.
// -ENOTSUP, -ENOMEM.
int subscription_start(struct subscription *s) NODISCARD;

// Applies preferences to the down track.
void subscription_apply_settings(struct subscription *s);

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/sync_state.h"

#include "common/lk/livekit.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/published_track.h"
#include "sfu/room/resume.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_dispatch.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// Clients name tracks without a TrackInfo never; one is ignored.
static const char *sid_of(const Livekit__TrackPublishedResponse *m)
{
    return m->track != NULL ? lk_str(m->track->sid) : "";
}

static bool knows_all(struct participant *p, const Livekit__SyncState *req)
{
    // More than it can have.
    if (req->n_publish_tracks > PARTICIPANT_TRACKS_MAX ||
        req->n_publish_data_tracks > DATA_TRACKS_MAX) {
        return false;
    }
    for (size_t i = 0; i < req->n_publish_tracks; i++) {
        const char *const sid = sid_of(req->publish_tracks[i]);
        if (*sid != 0 && published_track_by_sid(p, sid) == NULL) {
            return false;
        }
    }
    return data_track_knows_all(p, req);
}

static bool names(const Livekit__SyncState *req, const char *sid)
{
    for (size_t i = 0; i < req->n_publish_tracks; i++) {
        if (strcmp(sid_of(req->publish_tracks[i]), sid) == 0) {
            return true;
        }
    }
    return false;
}

// Its track_published was written to the socket that is gone, and the client waits for it (10 s, in
// vain with the original). Who waits no longer ignores it: it is found by cid.
static void repeat_published(struct participant *p, const Livekit__SyncState *req)
{
    const struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (!names(req, t->info.sid)) {
            signal_send_track_published(p, t->info.codecs[0].cid, t);
        }
    }
}

void sync_state_apply(struct participant *p, const Livekit__SyncState *req)
{
    if (!knows_all(p, req)) {
        resume_end(p, DISCONNECT_STATE_MISMATCH);
        return;
    }
    repeat_published(p, req);
    data_track_repeat_published(p, req);
    size_t const disabled = MIN(req->n_track_sids_disabled, (size_t)TRACK_PREFERENCES_MAX);
    p->room->env->drops[ROOM_DROP_REQUEST_ITEMS] += req->n_track_sids_disabled - disabled;
    for (size_t i = 0; i < disabled; i++) {
        subscription_set_disabled(p, lk_str(req->track_sids_disabled[i]));
    }
    if (req->subscription != NULL) {
        signal_dispatch_subscription(p, req->subscription);
    }
    if (req->data_subscription != NULL) {
        data_subscription_request(p, req->data_subscription);
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/signal_dispatch.h"

#include "common/lk/livekit.h"
#include "sfu/room/add_track.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/published_track.h"
#include "sfu/room/resume.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/simulate.h"
#include "sfu/room/subscription.h"
#include "sfu/room/sync_state.h"

static void on_mute(struct participant *p, Livekit__MuteTrackRequest *req)
{
    struct published_track *const t = published_track_by_sid(p, lk_str(req->sid));
    if (t == NULL) {
        signal_send_mute_response(p, req, REQUEST_NOT_FOUND);
        return;
    }
    published_track_set_muted(t, req->muted);
}

// Names of tracks that one request may still have: all that a client may have spoken about, twice, as
// there are two lists. A message has room for a hundred thousand.
struct names {
    size_t left;
};

static size_t take_names(struct participant *p, struct names *names, size_t n)
{
    size_t const count = MIN(n, names->left);
    names->left -= count;
    p->room->env->drops[ROOM_DROP_REQUEST_ITEMS] += n - count;
    effort_turn(p, (int64_t)count / EFFORT_LOOKS_PER_US);
    return count;
}

static void set_desired(struct participant *p, struct names *names, char *const *sids, size_t n,
                        bool desired)
{
    size_t const count = take_names(p, names, n);
    for (size_t i = 0; i < count; i++) {
        subscription_set_desired(p, sids[i], desired);
        subscription_reconcile_sid(p, sids[i]);
    }
}

void signal_dispatch_subscription(struct participant *p, const Livekit__UpdateSubscription *req)
{
    struct names names = {2 * TRACK_PREFERENCES_MAX};
    set_desired(p, &names, req->track_sids, req->n_track_sids, req->subscribe);
    // The same sids once more, or instead (livekit-protocol 4.8.2).
    for (size_t i = 0; i < req->n_participant_tracks; i++) {
        const Livekit__ParticipantTracks *const pt = req->participant_tracks[i];
        set_desired(p, &names, pt->track_sids, pt->n_track_sids, req->subscribe);
    }
}

static void on_track_setting(struct participant *p, const Livekit__UpdateTrackSettings *req)
{
    struct names names = {TRACK_PREFERENCES_MAX};
    size_t const count = take_names(p, &names, req->n_track_sids);
    for (size_t i = 0; i < count; i++) {
        subscription_set_settings(p, req->track_sids[i], req->disabled, (uint8_t)req->quality,
                                  req->width, req->height, req->fps);
    }
}

static void on_leave(struct participant *p, const Livekit__LeaveRequest *req)
{
    enum disconnect_reason reason = DISCONNECT_CLIENT_INITIATED;
    if (req->reason == LIVEKIT__DISCONNECT_REASON__USER_UNAVAILABLE) {
        reason = DISCONNECT_USER_UNAVAILABLE;
    } else if (req->reason == LIVEKIT__DISCONNECT_REASON__USER_REJECTED) {
        reason = DISCONNECT_USER_REJECTED;
    } else if (req->reason == LIVEKIT__DISCONNECT_REASON__AGENT_ERROR) {
        reason = DISCONNECT_AGENT_ERROR;
    }
    signal_send_leave(p, DISCONNECT_CLIENT_INITIATED, LEAVE_DISCONNECT);
    participant_close(p, reason);
}

void signal_dispatch(struct participant *p, Livekit__SignalRequest *req)
{
    resume_note_heard(p);
    switch (req->message_case) {
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER:
        negotiation_offer(p, lk_str(req->offer->sdp), req->offer->id);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER:
        negotiation_answer(p, lk_str(req->answer->sdp), req->answer->id);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK:
        add_track(p, req->add_track);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE:
        on_mute(p, req->mute);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION:
        signal_dispatch_subscription(p, req->subscription);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION_PERMISSION:
        subscription_permission_request(p, req->subscription_permission);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRACK_SETTING:
        on_track_setting(p, req->track_setting);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_LEAVE:
        on_leave(p, req->leave);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE:
        sync_state_apply(p, req->sync_state);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_SIMULATE:
        simulate_scenario(p, req->simulate);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA:
        participant_update_request(p, req->update_metadata);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_AUDIO_TRACK:
        participant_update_audio_track(p, req->update_audio_track);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_VIDEO_TRACK:
        participant_update_video_track(p, req->update_video_track);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_PUBLISH_DATA_TRACK_REQUEST:
        data_track_publish_request(p, req->publish_data_track_request);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_UNPUBLISH_DATA_TRACK_REQUEST:
        data_track_unpublish_request(p, req->unpublish_data_track_request);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_DATA_SUBSCRIPTION:
        data_subscription_request(p, req->update_data_subscription);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_STORE_DATA_BLOB_REQUEST:
        data_track_store_blob_request(p, req->store_data_blob_request);
        break;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_GET_DATA_BLOB_REQUEST:
        data_track_get_blob_request(p, req->get_data_blob_request);
        break;
    // A lite agent sends no checks: the client's candidates are learned from its requests
    // (media-plane 1.3).
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRICKLE:
    // These do not come here: the signalling thread answers them.
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING:
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ:
    default:
        break;
    }
}

bool signal_dispatch_is_exempt(const struct participant *p, const struct pbuf *req)
{
    const Livekit__SignalRequest *const r = req->msg;
    switch (r->message_case) {
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_LEAVE:
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRICKLE:
        return true;
    case LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER:
        return p->offer_pending; // one for each offer of ours
    default:
        return false;
    }
}

void signal_dispatch_pbuf(struct participant *p, struct pbuf *req)
{
    signal_dispatch(p, req->msg);
}

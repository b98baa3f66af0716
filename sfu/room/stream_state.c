// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/stream_state.h"

#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/subscription.h"
#include "sfu/room/track_preference.h"

static void tell_active(struct subscription *s)
{
    Livekit__StreamStateInfo info = LIVEKIT__STREAM_STATE_INFO__INIT;
    LK_SET_STR(&info, participant_sid, s->track->publisher->sid);
    LK_SET_STR(&info, track_sid, s->track->info.sid);
    LK_SET(&info, state, LIVEKIT__STREAM_STATE__ACTIVE);
    Livekit__StreamStateUpdate u = LIVEKIT__STREAM_STATE_UPDATE__INIT;
    Livekit__StreamStateInfo *list[] = {&info};
    u.stream_states = list;
    u.n_stream_states = 1;
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_STREAM_STATE_UPDATE);
    rsp.stream_state_update = &u;
    signal_post(s->subscriber, &rsp);
}

void stream_state_started(struct subscription *s)
{
    if (s->subscriber->v1 || s->state != SUBSCRIPTION_LIVE || s->track->info.type != TRACK_VIDEO ||
        s->track->info.muted) {
        return;
    }
    const struct track_preference *const pref =
        track_preference_find(s->subscriber, s->track->info.sid);
    if (pref == NULL || !pref->has_settings || !pref->disabled) {
        tell_active(s);
    }
}

void stream_state_unmuted(struct track_media *m)
{
    for (uint32_t i = 0; i < m->output_count; i++) {
        stream_state_started(m->outputs[i].subscription);
    }
}

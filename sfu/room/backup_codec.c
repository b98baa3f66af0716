// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/backup_codec.h"

#include "common/lk/livekit.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/subscription.h"
#include "sfu/room/subscription_codec.h"

int backup_codec_request(struct published_track *t, const Livekit__AddTrackRequest *req)
{
    uint8_t index = 0;
    int const rc =
        track_info_add_codec(&t->info, req, participant_publish_codecs(t->publisher), &index);
    if (rc == 0 && index > 0 && t->media[index].receiver == NULL &&
        t->media[index].section == NULL) {
        track_media_init(&t->media[index], t, index, track_info_codec(&t->info, index));
    }
    return rc;
}

bool backup_codec_is_promised(const struct track_media *m)
{
    return m->index > 0 && m->index < m->track->info.codec_count && m->receiver == NULL;
}

bool backup_codec_may_change(const struct participant *subscriber)
{
    return subscriber->client.sdk != LIVEKIT__CLIENT_INFO__SDK__UNKNOWN &&
           subscriber->client.sdk != LIVEKIT__CLIENT_INFO__SDK__GO;
}

static bool should_regress(const struct published_track *t)
{
    switch (t->info.backup_codec_policy) {
    case LIVEKIT__BACKUP_CODEC_POLICY__REGRESSION:
        return true;
    case LIVEKIT__BACKUP_CODEC_POLICY__PREFER_REGRESSION:
        return room_participant_count(t->publisher->room) < BACKUP_CODEC_REGRESSION_BELOW;
    default:
        return false;
    }
}

// Everybody's subscription to t finds its codec anew.
static void choose_again(struct published_track *t)
{
    struct participant *p = NULL;
    struct participant *next = NULL;
    HASH_ITER(hh, t->publisher->room->participants, p, next)
    {
        struct subscription *const s = subscription_find(p, t);
        if (s != NULL && !p->closing) {
            subscription_choose_codec(s);
        }
    }
}

void backup_codec_started(struct track_media *m)
{
    struct published_track *const t = m->track;
    if (m->index > 0 && should_regress(t)) {
        t->regressed = true;
    }
    participant_changed(t->publisher, true);
    choose_again(t);
    if (t->regressed) {
        dynacast_replaced(t);
    }
}

void backup_codec_ended(struct track_media *m)
{
    struct published_track *const t = m->track;
    if (m->index > 0) {
        t->regressed = false;
        t->info.codecs[m->index].cid[0] = 0; // it is a promise again
        t->info.codecs[m->index].sdp_cid[0] = 0;
    }
    choose_again(t);
    track_media_close(m);
    participant_changed(t->publisher, true);
}

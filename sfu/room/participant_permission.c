// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/participant_permission.h"

#include "common/lk/livekit.h"
#include "sfu/room/data_track.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/room_news.h"
#include "sfu/room/room_update.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

bool participant_may_publish_source(const struct participant *p, unsigned source)
{
    const struct participant_permission *const perm = &p->permission;
    uint32_t const bit = 1u << (source < 32 ? source : 0);
    return perm->can_publish && (perm->sources == 0 || (perm->sources & bit) != 0);
}

static bool is_recorder(const struct participant_permission *perm, uint8_t kind)
{
    return perm->recorder || kind == LIVEKIT__PARTICIPANT_INFO__KIND__EGRESS;
}

bool participant_permission_is_dependent(const struct participant_permission *perm, uint8_t kind)
{
    return is_recorder(perm, kind) || perm->agent || kind == LIVEKIT__PARTICIPANT_INFO__KIND__AGENT;
}

bool participant_is_recorder(const struct participant *p)
{
    return is_recorder(&p->permission, p->kind);
}

bool participant_is_dependent(const struct participant *p)
{
    return participant_permission_is_dependent(&p->permission, p->kind);
}

static bool same(const struct participant_permission *a, const struct participant_permission *b)
{
    return a->can_subscribe == b->can_subscribe && a->can_publish == b->can_publish &&
           a->can_publish_data == b->can_publish_data &&
           a->can_update_metadata == b->can_update_metadata && a->hidden == b->hidden &&
           a->recorder == b->recorder && a->agent == b->agent &&
           a->can_subscribe_metrics == b->can_subscribe_metrics &&
           a->can_manage_agent_session == b->can_manage_agent_session && a->sources == b->sources;
}

static struct published_track *find_forbidden(const struct participant *p)
{
    struct published_track *t = p->tracks;
    while (t != NULL && participant_may_publish_source(p, t->info.source)) {
        t = t->next;
    }
    return t;
}

// Each from the front: the end of one begins those that were queued behind it, and may end others.
static void end_forbidden_tracks(struct participant *p)
{
    for (struct published_track *t = NULL; (t = find_forbidden(p)) != NULL;) {
        char sid[SID_SIZE];
        memcpy(sid, t->info.sid, sizeof(sid));
        published_track_close(t);
        signal_send_track_unpublished(p, sid);
    }
}

// Others see nothing of a hidden one, so nothing of it is sent to them either; when it appears, they
// are told of it before (room_news_tell_publishers).
static void follow_visibility(struct participant *p)
{
    if (p->permission.hidden) {
        room_news_hide(p);
    } else {
        room_news_add(p);
    }
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        subscription_reconcile_track(t);
    }
}

bool participant_set_permission(struct participant *p, const struct participant_permission *perm)
{
    if (p->closing || same(&p->permission, perm)) {
        return false;
    }
    bool const was_hidden = p->permission.hidden;
    room_count_out(p->room, p);
    p->permission = *perm;
    p->permission_replaced = true;
    room_count_in(p->room, p);
    end_forbidden_tracks(p);
    negotiation_open_subscriber(p);
    (void)subscription_reconcile(p);
    if (perm->hidden != was_hidden) {
        follow_visibility(p);
    }
    data_track_permission_changed(p);
    participant_changed(p, true);
    participant_post_claims(p);
    room_population_changed(p->room);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/subscription_permission.h"

#include <stdio.h>

#include "sfu/room/data_subscription.h"
#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/subscription.h"

struct subscription_permit {
    UT_hash_handle hh; // subscription_permission.permits by identity
    char *identity;
    bool all_tracks;
    size_t track_count;
    char tracks[][SID_SIZE];
};

static struct subscription_permit *find_permit(const struct subscription_permission *s,
                                               const char *identity)
{
    struct subscription_permit *permit = NULL;
    HASH_FIND(hh, s->permits, identity, strlen(identity), permit);
    return permit;
}

static void drop_permit(struct subscription_permission *s, struct subscription_permit *permit)
{
    HASH_DEL(s->permits, permit);
    mem_free(permit->identity);
    mem_free(permit);
}

void subscription_permission_clear(struct subscription_permission *s)
{
    while (s->permits != NULL) {
        drop_permit(s, s->permits);
    }
    s->restricted = false;
}

// ---- the request ----------------------------------------------------------------------------

// Whom an entry means: *ret is NULL if nobody in the room has that sid. -EINVAL: it names nobody, or
// two.
static int identity_of(const struct room *r, const Livekit__TrackPermission *t, const char **ret)
{
    const char *const sid = lk_str(t->participant_sid);
    const char *const identity = lk_str(t->participant_identity);
    const struct participant *const p = *sid != 0 ? room_participant_by_sid(r, sid) : NULL;
    if (*identity == 0) {
        *ret = p != NULL ? p->identity : NULL;
        return *sid != 0 ? 0 : -EINVAL;
    }
    *ret = identity;
    return p == NULL || strcmp(p->identity, identity) == 0 ? 0 : -EINVAL;
}

static bool is_valid(const struct room *r, const Livekit__SubscriptionPermission *req)
{
    const char *identity = NULL;
    for (size_t i = 0; i < req->n_track_permissions; i++) {
        if (identity_of(r, req->track_permissions[i], &identity) < 0) {
            return false;
        }
    }
    return true;
}

// What cannot be the sid of a track permits nothing, and is not kept.
static bool is_track_sid(const char *sid)
{
    return strlen(sid) < SID_SIZE &&
           (sid_has_prefix(sid, SID_TRACK) || sid_has_prefix(sid, SID_DATA_TRACK));
}

static size_t count_tracks(const Livekit__TrackPermission *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_track_sids && !t->all_tracks; i++) {
        n += is_track_sid(t->track_sids[i]);
    }
    return MIN(n, (size_t)SUBSCRIPTION_PERMIT_TRACKS_MAX);
}

// -ENOMEM.
static int add_permit(struct subscription_permission *s, const char *identity,
                      const Livekit__TrackPermission *t)
{
    size_t const n = count_tracks(t);
    struct subscription_permit *const permit = mem_alloc(sizeof(*permit) + n * SID_SIZE);
    if (permit == NULL) {
        return -ENOMEM;
    }
    *permit = (struct subscription_permit){.all_tracks = t->all_tracks};
    permit->identity = mem_strdup(identity);
    for (size_t i = 0; permit->track_count < n; i++) {
        if (is_track_sid(t->track_sids[i])) {
            (void)snprintf(permit->tracks[permit->track_count++], SID_SIZE, "%s", t->track_sids[i]);
        }
    }
    // The last entry about somebody counts.
    struct subscription_permit *const old = find_permit(s, identity);
    if (old != NULL) {
        drop_permit(s, old);
    }
    if (permit->identity != NULL) {
        HASH_ADD_KEYPTR(hh, s->permits, permit->identity, strlen(permit->identity), permit);
    }
    if (find_permit(s, identity) != permit) {
        mem_free(permit->identity);
        mem_free(permit);
        return -ENOMEM;
    }
    return 0;
}

static void restrict_to(struct participant *p, const Livekit__SubscriptionPermission *req)
{
    struct subscription_permission *const s = &p->permitted;
    s->restricted = true;
    for (size_t i = 0;
         i < req->n_track_permissions && HASH_COUNT(s->permits) < SUBSCRIPTION_PERMITS_MAX; i++) {
        const char *identity = NULL;
        (void)!identity_of(p->room, req->track_permissions[i], &identity);
        if (identity != NULL && add_permit(s, identity, req->track_permissions[i]) < 0) {
            signal_post_lost(p); // who lacks the permission stays without the track
        }
    }
}

void subscription_permission_request(struct participant *publisher,
                                     const Livekit__SubscriptionPermission *req)
{
    bool const restricts = !req->all_participants;
    if ((!restricts && !publisher->permitted.restricted) ||
        (restricts && !is_valid(publisher->room, req))) {
        return;
    }
    effort_turn(publisher, (int64_t)req->n_track_permissions);
    subscription_permission_clear(&publisher->permitted);
    if (restricts) {
        restrict_to(publisher, req);
    }
    subscription_reconcile_publisher(publisher);
    data_subscription_review(publisher);
}

// ---- its effect -----------------------------------------------------------------------------

bool subscription_permission_allows(const struct published_track *t,
                                    const struct participant *subscriber)
{
    return subscription_permission_allows_sid(t->publisher, t->info.sid, subscriber);
}

bool subscription_permission_allows_sid(const struct participant *publisher, const char *track_sid,
                                        const struct participant *subscriber)
{
    const struct subscription_permission *const s = &publisher->permitted;
    if (!s->restricted || subscriber->permission.recorder) {
        return true;
    }
    const struct subscription_permit *const permit = find_permit(s, subscriber->identity);
    if (permit == NULL || permit->all_tracks) {
        return permit != NULL;
    }
    size_t i = 0;
    while (i < permit->track_count && strcmp(permit->tracks[i], track_sid) != 0) {
        i++;
    }
    return i < permit->track_count;
}

void subscription_permission_tell(struct participant *subscriber, const struct published_track *t,
                                  bool allowed)
{
    subscription_permission_tell_sid(subscriber, t->publisher, t->info.sid, allowed);
}

void subscription_permission_tell_sid(struct participant *subscriber,
                                      const struct participant *publisher, const char *track_sid,
                                      bool allowed)
{
    Livekit__SubscriptionPermissionUpdate u = LIVEKIT__SUBSCRIPTION_PERMISSION_UPDATE__INIT;
    LK_SET_STR(&u, participant_sid, publisher->sid);
    LK_SET_STR(&u, track_sid, track_sid);
    LK_SET(&u, allowed, allowed);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIPTION_PERMISSION_UPDATE);
    rsp.subscription_permission_update = &u;
    signal_post(subscriber, &rsp);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/track_preference.h"

#include <stdio.h>

#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"
#include "sfu/room/subscription_timer.h"

struct track_preference *track_preference_find(const struct participant *p, const char *sid)
{
    struct track_preference *pref = NULL;
    HASH_FIND(hh, p->preferences, sid, strlen(sid), pref);
    return pref;
}

static bool is_published(const struct participant *p, const char *sid)
{
    const struct published_track *const t = room_track(p->room, sid);
    return t != NULL && t->state == TRACK_PUBLISHED && t->publisher != p;
}

struct track_preference *track_preference_need(struct participant *p, const char *sid)
{
    struct track_preference *pref = track_preference_find(p, sid);
    if (pref != NULL || !sid_has_prefix(sid, SID_TRACK) || strlen(sid) >= SID_SIZE ||
        HASH_COUNT(p->preferences) >= TRACK_PREFERENCES_MAX) {
        return pref;
    }
    pref = NEW(struct track_preference);
    if (pref == NULL) {
        signal_post_lost(p); // what it asked for is not done
        return NULL;
    }
    (void)snprintf(pref->sid, sizeof(pref->sid), "%s", sid);
    pref->apply_at = pref->unknown_at = MONO_NEVER;
    HASH_ADD_KEYPTR(hh, p->preferences, pref->sid, strlen(pref->sid), pref);
    if (track_preference_find(p, sid) != pref) {
        mem_free(pref);
        signal_post_lost(p); // what it asked for is not done
        return NULL;
    }
    if (!is_published(p, sid)) {
        pref->unknown_at = mono_add_ms(p->room->env->now, TRACK_PREFERENCE_UNKNOWN_MS);
        subscription_timer_by(p, pref->unknown_at);
    }
    return pref;
}

static void forget(struct participant *p, struct track_preference *pref)
{
    HASH_DEL(p->preferences, pref);
    mem_free(pref);
}

void track_preference_forget(struct participant *p, const char *sid)
{
    struct track_preference *const pref = track_preference_find(p, sid);
    if (pref != NULL) {
        forget(p, pref);
    }
}

void track_preference_free_all(struct participant *p)
{
    while (p->preferences != NULL) {
        forget(p, p->preferences);
    }
}

// True if it is gone.
static bool give_up(struct participant *p, struct track_preference *pref)
{
    if (is_published(p, pref->sid)) {
        pref->unknown_at = MONO_NEVER;
        return false;
    }
    if (pref->has_desired && pref->desired) {
        signal_send_subscription_error(p, pref->sid, SUBSCRIPTION_ERROR_TRACK_NOT_FOUND);
    }
    forget(p, pref);
    return true;
}

mono_t track_preference_timeout(struct participant *p)
{
    mono_t const now = p->room->env->now;
    mono_t next = MONO_NEVER;
    struct track_preference *pref = NULL;
    struct track_preference *after = NULL;
    HASH_ITER(hh, p->preferences, pref, after)
    {
        if (mono_reached(pref->apply_at, now)) {
            subscription_settings_settled(p, pref);
        }
        if (mono_reached(pref->unknown_at, now) && give_up(p, pref)) {
            continue;
        }
        next = mono_min(next, mono_min(pref->apply_at, pref->unknown_at));
    }
    return next;
}

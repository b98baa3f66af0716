// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/subscription_timer.h"

#include "sfu/room/negotiation.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"
#include "sfu/room/track_preference.h"

void subscription_timer_by(struct participant *p, mono_t at)
{
    timer_heap_set_sooner(p->room->env->timers, &p->subscription_timer, at);
}

static bool is_open(const struct subscription *s)
{
    return s->state != SUBSCRIPTION_LIVE && !s->codec_refused && !s->promised;
}

void subscription_timer_active(struct participant *p)
{
    mono_t const now = p->room->env->now;
    bool open = false;
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        s->bind_by = mono_add_ms(now, SUBSCRIPTION_BIND_MS);
        open |= is_open(s);
    }
    if (open) {
        subscription_timer_by(p, mono_add_ms(now, SUBSCRIPTION_RETRY_MS));
    }
}

// Subscriptions without a section. Returns when to look again.
static mono_t check_open(struct participant *p)
{
    mono_t const now = p->room->env->now;
    mono_t next = MONO_NEVER;
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (!is_open(s)) {
            continue;
        }
        if (mono_reached(s->bind_by, now)) {
            s->bind_by = MONO_NEVER; // told once
            signal_send_subscription_error(p, s->track->info.sid, SUBSCRIPTION_ERROR_UNKNOWN);
        }
        next = mono_min(mono_min(next, s->bind_by), mono_add_ms(now, SUBSCRIPTION_RETRY_MS));
    }
    return next;
}

void subscription_timer_expired(struct participant *p)
{
    mono_t next = track_preference_timeout(p);
    if (p->reconcile_again) {
        p->reconcile_again = false;
        (void)subscription_reconcile(p);
    }
    if (p->state == PARTICIPANT_ACTIVE) {
        mono_t const again = check_open(p);
        if (!mono_is_never(again)) {
            negotiation_retry(p);
        }
        next = mono_min(next, again);
    }
    if (!mono_is_never(next)) {
        subscription_timer_by(p, next);
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_news.h"

#include "sfu/room/participant_info.h"
#include "sfu/room/signal_post.h"

// Clients from this protocol on replace a session by the next of the same identity by themselves
// (livekit-protocol 3.3, 4.12).
#define IDENTITY_PROTOCOL 12

void room_news_add(struct participant *p)
{
    if (!p->update_pending && !p->closing) {
        p->update_pending = true;
        DL_APPEND2(p->room->pending, p, pending_prev, pending_next);
    }
}

void room_news_forget(struct participant *p)
{
    if (p->update_pending) {
        p->update_pending = false;
        DL_DELETE2(p->room->pending, p, pending_prev, pending_next);
    }
}

// ---- when -----------------------------------------------------------------------------------

// The least time between two updates of a room.
static int64_t spacing_ms(const struct room *r)
{
    return MIN((int64_t)HASH_COUNT(r->participants) / ROOM_NEWS_PEOPLE_PER_MS,
               (int64_t)ROOM_UPDATE_DELAY_MAX_MS);
}

void room_update_soon(struct room *r, bool urgent)
{
    if (r->closing) {
        return;
    }
    struct room_env *const env = r->env;
    int64_t const spacing = spacing_ms(r);
    mono_t const next = mono_add_ms(r->updated_at, spacing);
    r->updates_pending = true;
    if (!urgent) {
        timer_heap_set_sooner(env->timers, &r->updates,
                              mono_add_ms(env->now, MAX(spacing, ROOM_UPDATE_DELAY_MS)));
    } else if (mono_reached(next, env->now)) {
        room_flush_updates(r);
    } else {
        timer_heap_set_sooner(env->timers, &r->updates, next);
    }
}

// ---- who ------------------------------------------------------------------------------------

static void tell_one(struct participant *to, struct participant *of)
{
    struct info_batch b;
    info_batch_init(&b, to->room, to);
    info_batch_add(&b, of);
    (void)info_batch_send(&b);
}

// Old clients do not see by the new session that the old one is over.
static void tell_replaced(struct participant *gone, const struct participant *successor)
{
    for (struct participant *p = gone->room->participants; p != NULL; p = p->hh.next) {
        if (p != successor && p->state != PARTICIPANT_JOINING &&
            p->client.protocol < IDENTITY_PROTOCOL) {
            tell_one(p, gone);
        }
    }
}

static void add_gone(struct info_batch *b, struct participant *p)
{
    if (p->permission.hidden) {
        return; // nobody knew it
    }
    const struct participant *const successor = room_participant(b->room, p->identity);
    bool const replaced = p->reason == DISCONNECT_DUPLICATE_IDENTITY && successor != NULL &&
                          !successor->permission.hidden;
    if (replaced) {
        tell_replaced(p, successor);
    } else {
        info_batch_add(b, p);
    }
}

static void free_gone(struct room *r)
{
    while (r->gone != NULL) {
        struct participant *const p = r->gone;
        r->gone = p->gone_next;
        participant_free(p);
    }
}

void room_flush_updates(struct room *r)
{
    if (!r->updates_pending) {
        return;
    }
    r->updates_pending = false;
    r->updated_at = r->env->now;
    timer_heap_cancel(r->env->timers, &r->updates);
    struct info_batch b;
    info_batch_init(&b, r, NULL);
    for (struct participant *o = r->gone; o != NULL; o = o->gone_next) {
        add_gone(&b, o);
    }
    mono_t later = MONO_NEVER;
    struct participant *p = NULL;
    struct participant *next = NULL;
    DL_FOREACH2(r->pending, p, pending_next)
    {
        mono_t const at = effort_news_at(p);
        if (!mono_reached(at, r->env->now)) {
            later = mono_min(later, at);
            continue;
        }
        if (p->permission.hidden) {
            tell_one(p, p);
        } else {
            info_batch_add(&b, p);
        }
    }
    if (info_batch_send(&b) < 0) {
        // No memory: all of it once more a little later. Nobody minds hearing the same twice.
        room_update_soon(r, false);
        return;
    }
    DL_FOREACH_SAFE2(r->pending, p, next, pending_next)
    {
        if (mono_reached(effort_news_at(p), r->env->now)) {
            room_news_forget(p);
            effort_news_told(p);
        }
    }
    free_gone(r);
    if (!mono_is_never(later)) {
        r->updates_pending = true;
        timer_heap_set(r->env->timers, &r->updates, later);
    }
}

void room_news_tell_self(struct participant *p)
{
    if (p->update_pending && p->state != PARTICIPANT_JOINING) {
        tell_one(p, p);
    }
}

void room_news_tell_publishers(struct participant *p)
{
    if (p->room->pending == NULL || handle_is_none(p->session)) {
        return;
    }
    struct info_batch b;
    info_batch_init(&b, p->room, p);
    struct participant *o = NULL;
    for (o = p->room->pending; o != NULL; o = o->pending_next) {
        if (o != p && o->is_publisher && !o->permission.hidden) {
            info_batch_add(&b, o);
        }
    }
    (void)info_batch_send(&b);
}

void room_news_identity_comes(struct room *r, const char *identity)
{
    for (const struct participant *p = r->gone; p != NULL; p = p->gone_next) {
        if (strcmp(p->identity, identity) == 0) {
            room_flush_updates(r);
            free_gone(r); // without memory they stay untold: newer clients do without it
            return;
        }
    }
}

void room_news_hide(struct participant *p)
{
    if (p->state == PARTICIPANT_JOINING) {
        return;
    }
    enum participant_state const state = p->state;
    p->version++;
    p->state = PARTICIPANT_DISCONNECTED;
    for (struct participant *o = p->room->participants; o != NULL; o = o->hh.next) {
        if (o != p && o->state != PARTICIPANT_JOINING) {
            tell_one(o, p);
        }
    }
    p->state = state;
    p->version++;
}

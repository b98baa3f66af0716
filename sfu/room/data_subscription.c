// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_subscription.h"

#include "common/lk/livekit.h"
#include "sfu/room/room.h"
#include "sfu/room/room_news.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/subscription_permission.h"

// ---- what subscribers are told --------------------------------------------------------------

typedef Livekit__DataTrackSubscriberHandles__SubHandlesEntry handles_entry;
typedef Livekit__DataTrackSubscriberHandles__PublishedDataTrack handles_track;

static bool fill_handles(const struct participant *p, Livekit__DataTrackSubscriberHandles *m,
                         struct arena *a)
{
    size_t const n = HASH_COUNT(p->data_subscriptions);
    m->sub_handles = arena_array(a, n, sizeof(*m->sub_handles));
    handles_entry *const entries = arena_array(a, n, sizeof(*entries));
    handles_track *const tracks = arena_array(a, n, sizeof(*tracks));
    if (m->sub_handles == NULL || entries == NULL || tracks == NULL) {
        return false;
    }
    for (const struct data_subscription *s = p->data_subscriptions; s != NULL; s = s->hh.next) {
        if (s->handle == 0) {
            continue;
        }
        handles_track *const t = &tracks[m->n_sub_handles];
        handles_entry *const e = &entries[m->n_sub_handles];
        livekit__data_track_subscriber_handles__published_data_track__init(t);
        livekit__data_track_subscriber_handles__sub_handles_entry__init(e);
        LK_SET_STR(t, publisher_identity, s->track->publisher->identity);
        LK_SET_STR(t, publisher_sid, s->track->publisher->sid);
        LK_SET_STR(t, track_sid, s->track->sid);
        LK_SET(e, key, s->handle);
        e->value = t;
        m->sub_handles[m->n_sub_handles++] = e;
    }
    return true;
}

// The complete map, if it has changed since it was told. Without a WebSocket it is told later.
static void tell_handles(struct participant *p)
{
    if (!p->data_handles_changed || handle_is_none(p->session) || p->closing) {
        return;
    }
    // The names of tracks before their handles: in large rooms, or without memory, they still wait.
    room_news_tell_publishers(p);
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__DataTrackSubscriberHandles m = LIVEKIT__DATA_TRACK_SUBSCRIBER_HANDLES__INIT;
    if (fill_handles(p, &m, &a)) {
        Livekit__SignalResponse rsp =
            signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_DATA_TRACK_SUBSCRIBER_HANDLES);
        rsp.data_track_subscriber_handles = &m;
        signal_post(p, &rsp);
        p->data_handles_changed = false;
    } else {
        signal_post_lost(p);
    }
    arena_done(&a);
}

void data_subscription_flush(struct room *r)
{
    for (struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        tell_handles(p);
    }
}

void data_subscription_resumed(struct participant *p)
{
    tell_handles(p);
}

// ---- life -----------------------------------------------------------------------------------

static struct data_subscription *find(const struct participant *p, const struct data_track *t)
{
    struct data_subscription *s = NULL;
    HASH_FIND(hh, p->data_subscriptions, t->sid, strlen(t->sid), s);
    return s;
}

static bool enter_track(struct data_subscription *s)
{
    struct data_track *const t = s->track;
    if (t->subscription_count == t->subscription_cap) {
        uint32_t const cap = t->subscription_cap == 0 ? 4 : t->subscription_cap * 2;
        struct data_subscription **const v = mem_regrow(t->subscriptions, cap, sizeof(*v));
        if (v == NULL) {
            return false;
        }
        t->subscriptions = v;
        t->subscription_cap = cap;
    }
    s->index = t->subscription_count;
    t->subscriptions[t->subscription_count++] = s;
    return true;
}

static void leave_track(struct data_subscription *s)
{
    struct data_track *const t = s->track;
    assert(s->index < t->subscription_count && t->subscriptions[s->index] == s);
    t->subscriptions[s->index] = t->subscriptions[--t->subscription_count];
    t->subscriptions[s->index]->index = s->index;
}

// Finds or makes one, inactive; NULL over the limit (counted) or without memory.
static struct data_subscription *need(struct participant *p, struct data_track *t)
{
    struct room_env *const env = p->room->env;
    struct data_subscription *s = find(p, t);
    if (s != NULL) {
        return s;
    }
    if (HASH_COUNT(p->data_subscriptions) >= DATA_SUBSCRIPTIONS_MAX) {
        env->drops[ROOM_DROP_DATA_TRACK_LIMIT]++;
        return NULL;
    }
    s = NEW(struct data_subscription);
    if (s == NULL) {
        signal_post_lost(p);
        return NULL;
    }
    s->subscriber = p;
    s->track = t;
    if (!enter_track(s)) {
        mem_free(s);
        signal_post_lost(p);
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, p->data_subscriptions, t->sid, strlen(t->sid), s);
    if (find(p, t) != s) {
        leave_track(s);
        mem_free(s);
        signal_post_lost(p);
        return NULL;
    }
    return s;
}

static void end(struct data_subscription *s)
{
    struct participant *const p = s->subscriber;
    p->data_handles_changed |= s->handle != 0;
    leave_track(s);
    HASH_DEL(p->data_subscriptions, s);
    mem_free(s);
}

// ---- what is active -------------------------------------------------------------------------

static bool may_have(const struct participant *p, const struct data_track *t)
{
    return p->permission.can_subscribe && t->publisher != p && !t->publisher->permission.hidden &&
           subscription_permission_allows_sid(t->publisher, t->sid, p);
}

static bool is_used(const struct participant *p, uint16_t handle)
{
    for (const struct data_subscription *s = p->data_subscriptions; s != NULL; s = s->hh.next) {
        if (s->handle == handle) {
            return true;
        }
    }
    return false;
}

// Handles go upwards from a random one: one that was just given up comes back late, so that packets
// still under way are not taken for another track's.
static uint16_t next_handle(struct participant *p)
{
    if (p->data_handle == 0) {
        p->data_handle = (uint16_t)rng_u32(p->room->env->rng);
    }
    do {
        p->data_handle++;
    } while (p->data_handle == 0 || is_used(p, p->data_handle));
    return p->data_handle;
}

static void bring_in_line(struct data_subscription *s)
{
    bool const allowed = may_have(s->subscriber, s->track);
    bool const active = s->wanted && allowed;
    if (active == (s->handle != 0)) {
        return;
    }
    s->handle = active ? next_handle(s->subscriber) : 0;
    s->subscriber->data_handles_changed = true;
    if (s->wanted) {
        subscription_permission_tell_sid(s->subscriber, s->track->publisher, s->track->sid,
                                         allowed);
    }
}

static void set_wanted(struct participant *p, struct data_track *t, bool wanted)
{
    struct data_subscription *const s = wanted || p->auto_subscribe_data ? need(p, t) : find(p, t);
    if (s == NULL) {
        return;
    }
    s->wanted = wanted;
    bring_in_line(s);
    if (!wanted && !p->auto_subscribe_data) {
        end(s);
    }
}

void data_subscription_request(struct participant *p, const Livekit__UpdateDataSubscription *req)
{
    size_t const n = MIN(req->n_updates, (size_t)DATA_SUBSCRIPTIONS_MAX);
    p->room->env->drops[ROOM_DROP_REQUEST_ITEMS] += req->n_updates - n;
    for (size_t i = 0; i < n; i++) {
        struct data_track *const t = data_track_by_sid(p->room, lk_str(req->updates[i]->track_sid));
        if (t == NULL || t->publisher == p) {
            p->room->env->drops[ROOM_DROP_DATA_TRACK_UNKNOWN]++;
            continue;
        }
        set_wanted(p, t, req->updates[i]->subscribe);
    }
    tell_handles(p);
}

// Makes what p wants by itself of t.
static void subscribe_by_itself(struct participant *p, struct data_track *t)
{
    if (p->auto_subscribe_data && p->state == PARTICIPANT_ACTIVE && may_have(p, t) &&
        find(p, t) == NULL) {
        set_wanted(p, t, true);
    }
}

void data_subscription_reconcile_track(struct data_track *t)
{
    struct room *const r = t->publisher->room;
    effort_turn(t->publisher, HASH_COUNT(r->participants) / EFFORT_LOOKS_PER_US);
    for (struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        subscribe_by_itself(p, t);
        tell_handles(p);
    }
}

void data_subscription_reconcile(struct participant *p)
{
    for (struct data_subscription *s = p->data_subscriptions; s != NULL; s = s->hh.next) {
        bring_in_line(s);
    }
    struct data_track *t = NULL;
    struct data_track *next = NULL;
    HASH_ITER(hh_sid, p->room->data_tracks, t, next)
    {
        subscribe_by_itself(p, t);
    }
    tell_handles(p);
}

void data_subscription_review(struct participant *publisher)
{
    struct data_track *t = NULL;
    DL_FOREACH(publisher->data_tracks, t)
    {
        for (uint32_t i = 0; i < t->subscription_count; i++) {
            bring_in_line(t->subscriptions[i]);
        }
        data_subscription_reconcile_track(t);
    }
}

void data_subscription_drop_track(struct data_track *t)
{
    while (t->subscription_count > 0) {
        end(t->subscriptions[t->subscription_count - 1]);
    }
}

void data_subscription_close_all(struct participant *p)
{
    while (p->data_subscriptions != NULL) {
        end(p->data_subscriptions);
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/membership_monitor.h"

#include "common/sys/log.h"
#include "jwt-service/appservice/membership_monitor_internal.h"

#define RETRY_MS 30000          // after the homeserver or the SFU did not answer
#define HOUSEKEEPING_MS 3600000 // without an interval: forget who is gone

static void work(struct membership_monitor *m);
static void step(struct member_room *r);

static mono_t now(const struct membership_monitor *m)
{
    return loop_now(m->conf.loop);
}

// ---- the queue of rooms ---------------------------------------------------------------------

static void enqueue(struct member_room *r)
{
    if (!r->queued) {
        r->queued = true;
        DL_APPEND(r->m->queue, r);
    }
}

// The room waits for better times; what is due stays so.
static void put_off(struct member_room *r)
{
    struct membership_monitor *const m = r->m;
    r->retry = true;
    r->queued = false;
    m->working--;
    m->paused = true;
    if (!loop_timer_is_set(m->retry)) {
        loop_timer_set_ms(m->retry, RETRY_MS);
    }
}

// Nothing is left to do in this room.
static void leave(struct member_room *r)
{
    struct membership_monitor *const m = r->m;
    r->queued = false;
    m->working--;
    if (!r->members) {
        membership_table_drop(r);
    }
    work(m);
}

static void arm_round(struct membership_monitor *m)
{
    if (!loop_timer_is_set(m->round) && m->rooms) {
        loop_timer_set_ms(m->round,
                          m->conf.interval_ms > 0 ? m->conf.interval_ms : HOUSEKEEPING_MS);
    }
}

// ---- rounds ---------------------------------------------------------------------------------

static bool has_expired(const struct member_room *r)
{
    for (const struct member *w = r->members; w; w = w->hh.next) {
        if (mono_reached(w->expires, now(r->m))) {
            return true;
        }
    }
    return false;
}

static void on_round(void *user)
{
    struct membership_monitor *const m = user;
    membership_table_save(m, false);
    for (struct member_room *r = m->rooms; r; r = r->hh.next) {
        bool const all = m->conf.interval_ms > 0;
        if (all || has_expired(r)) {
            r->list = true;
            r->list_all = r->list_all || all;
            enqueue(r);
        }
    }
    arm_round(m);
    work(m);
}

static void on_retry(void *user)
{
    struct membership_monitor *const m = user;
    m->paused = false;
    for (struct member_room *r = m->rooms; r; r = r->hh.next) {
        if (r->retry) {
            r->retry = false;
            enqueue(r);
        }
    }
    work(m);
}

static void work(struct membership_monitor *m)
{
    if (m->in_work) {
        return; // the loop below goes on by itself
    }
    m->in_work = true;
    while (m->queue && !m->paused && m->working < MEMBERSHIP_MONITOR_IN_FLIGHT) {
        struct member_room *const r = m->queue;
        DL_DELETE(m->queue, r);
        m->working++;
        step(r);
    }
    m->in_work = false;
}

// ---- one room, step by step -----------------------------------------------------------------

static bool is_there(const struct member *w, const struct sfu_result *list)
{
    for (size_t i = 0; i < list->participant_count; i++) {
        if (strcmp(list->participants[i].identity, w->identity) == 0) {
            return true;
        }
    }
    return false;
}

static void sfu_failed(struct member_room *r, const char *what, const struct sfu_result *s)
{
    log_warn(NULL, "membership.sfu_failed", KV_STR("call", what), KV_STR("room", r->name),
             KV_STR("step", s->step), KV_STR("text", s->text));
    put_off(r);
}

static void on_list(void *user, const struct sfu_result *s)
{
    struct member_room *const r = user;
    struct member *w = NULL;
    struct member *tmp = NULL;
    r->sfu = NULL;
    if (!s->ok) {
        sfu_failed(r, "ListParticipants", s);
        return;
    }
    HASH_ITER(hh, r->members, w, tmp)
    {
        if (is_there(w, s)) {
            w->due = w->due || r->list_all;
            w->expires = mono_max(w->expires, mono_add_ms(now(r->m), MEMBER_REFRESHED_MS));
        } else if (mono_reached(w->expires, now(r->m))) {
            membership_table_forget(w);
        }
    }
    r->list = false;
    r->list_all = false;
    step(r);
}

// What the homeserver said holds for every device of the user.
static void conclude(struct member_room *r, enum membership_state state)
{
    for (struct member *w = r->members; w; w = w->hh.next) {
        if (strcmp(w->user_id, r->asking) != 0 || !w->due) {
            continue;
        }
        w->due = false;
        w->gone = state == MEMBERSHIP_NOT_JOINED;
        // Who was removed and comes back is looked at again, however soon that is.
        w->verified =
            state == MEMBERSHIP_JOINED ? now(r->m) : mono_add_ms(now(r->m), -MEMBER_VERIFIED_MS);
    }
}

static void on_membership(void *user, const struct membership_result *q)
{
    struct member_room *const r = user;
    r->call = NULL;
    r->m->counts.checks++;
    if (q->state == MEMBERSHIP_UNKNOWN) {
        r->m->counts.unknown++;
        log_warn(NULL, "membership.unknown", KV_ID("room_id", r->room_id), KV_STR("step", q->step),
                 KV_STR("text", q->text));
    } else {
        conclude(r, q->state);
    }
    mem_free(STEAL(r->asking));
    if (q->state == MEMBERSHIP_UNKNOWN) {
        put_off(r);
    } else {
        step(r);
    }
}

static void on_removed(void *user, const struct sfu_result *s)
{
    struct member_room *const r = user;
    struct member *w = NULL;
    r->sfu = NULL;
    HASH_FIND_STR(r->members, r->removing, w);
    mem_free(STEAL(r->removing));
    if (w) {
        w->gone = false;
    }
    if (!s->ok && !s->not_found) {
        r->m->counts.failed++;
        if (w) {
            w->due = true; // asked for again: the user may be back by then
        }
        sfu_failed(r, "RemoveParticipant", s);
        return;
    }
    if (s->ok) {
        r->m->counts.removed++;
        r->removed = true;
        log_info(NULL, "membership.removed", KV_STR("room", r->name), KV_ID("room_id", r->room_id),
                 KV_ID("user", w ? w->user_id : ""),
                 KV_STR("text", "no longer in the Matrix room"));
    }
    step(r);
}

static void on_deleted(void *user, const struct sfu_result *s)
{
    struct member_room *const r = user;
    r->sfu = NULL;
    if (s->ok) {
        r->m->counts.rooms_deleted++;
        log_info(NULL, "membership.room_deleted", KV_STR("room", r->name));
    } else if (!s->not_found) {
        // It closes by itself when its empty timeout is over.
        r->m->counts.failed++;
        log_warn(NULL, "membership.sfu_failed", KV_STR("call", "DeleteRoom"),
                 KV_STR("room", r->name), KV_STR("step", s->step), KV_STR("text", s->text));
    }
    step(r);
}

static void on_rest(void *user, const struct sfu_result *s)
{
    struct member_room *const r = user;
    r->sfu = NULL;
    bool const joining = mono_diff_ms(now(r->m), r->issued) < MEMBER_JOINING_MS;
    if (!s->ok || s->participant_count > 0 || joining ||
        sfu_client_delete_room(r->m->conf.sfu, r->name, on_deleted, r, &r->sfu) < 0) {
        r->sfu = NULL;
        step(r);
    }
}

static int ask_membership(struct member_room *r, const struct member *w)
{
    r->asking = mem_strdup(w->user_id);
    int const e = r->asking ? membership_check(r->m->conf.membership, r->room_id, w->user_id,
                                               on_membership, r, &r->call)
                            : -ENOMEM;
    if (e < 0) {
        mem_free(STEAL(r->asking));
    }
    return e;
}

static int remove_participant(struct member_room *r, const struct member *w)
{
    r->removing = mem_strdup(w->identity);
    int const e = r->removing ? sfu_client_remove_participant(r->m->conf.sfu, r->name, w->identity,
                                                              on_removed, r, &r->sfu)
                              : -ENOMEM;
    if (e < 0) {
        mem_free(STEAL(r->removing));
    }
    return e;
}

// The next thing to do in a room that is at work; each ends in a callback that comes back here.
static void step(struct member_room *r)
{
    struct sfu_client *const sfu = r->m->conf.sfu;
    int e = 0;
    if (r->list) {
        e = sfu_client_list_participants(sfu, r->name, on_list, r, &r->sfu);
    } else {
        const struct member *due = NULL;
        const struct member *gone = NULL;
        for (const struct member *w = r->members; w; w = w->hh.next) {
            due = w->due && !due ? w : due;
            gone = w->gone && !gone ? w : gone;
        }
        if (gone) {
            e = remove_participant(r, gone);
        } else if (due) {
            e = ask_membership(r, due);
        } else if (r->removed) {
            r->removed = false;
            e = sfu_client_list_participants(sfu, r->name, on_rest, r, &r->sfu);
        } else {
            leave(r);
            return;
        }
    }
    if (e < 0) {
        r->sfu = NULL;
        r->call = NULL;
        put_off(r);
    }
}

// ---- from outside ---------------------------------------------------------------------------

struct membership_monitor *membership_monitor_new(const struct membership_monitor_conf *conf)
{
    CLEANUP(membership_monitor_free) struct membership_monitor *m = NEW(struct membership_monitor);
    if (!m) {
        return NULL;
    }
    m->conf = *conf;
    m->saved = loop_now(conf->loop);
    m->round = loop_timer_new(conf->loop, on_round, m);
    m->retry = loop_timer_new(conf->loop, on_retry, m);
    if (!m->round || !m->retry) {
        return NULL;
    }
    membership_table_restore(m);
    return STEAL(m);
}

void membership_monitor_free(struct membership_monitor *m)
{
    if (!m) {
        return;
    }
    membership_table_save(m, true);
    struct member_room *r = NULL;
    struct member_room *tmp = NULL;
    HASH_ITER(hh, m->rooms, r, tmp)
    {
        membership_table_drop(r);
    }
    if (m->round) {
        loop_timer_free(m->round);
    }
    if (m->retry) {
        loop_timer_free(m->retry);
    }
    mem_free(m);
}

int membership_monitor_watch(struct membership_monitor *m, const struct membership_watch *q)
{
    struct member *w = NULL;
    int const r = membership_table_add(m, q, &w);
    if (r < 0) {
        return r;
    }
    w->expires = mono_max(w->expires, mono_add_ms(now(m), q->lifetime_ms));
    w->verified = now(m);
    w->room->issued = now(m);
    m->dirty = true;
    arm_round(m);
    return 0;
}

void membership_monitor_event(struct membership_monitor *m, const struct sfu_event *e)
{
    struct member_room *const r = membership_table_room(m, e->room);
    struct member *w = NULL;
    if (!r || e->type != SFU_EVENT_JOINED) {
        return; // who has left is forgotten when the token has expired: it may be used again
    }
    HASH_FIND_STR(r->members, e->identity, w);
    if (!w || mono_diff_ms(now(m), w->verified) < MEMBER_VERIFIED_MS) {
        return;
    }
    w->due = true;
    enqueue(r);
    work(m);
}

void membership_monitor_counts(const struct membership_monitor *m,
                               struct membership_monitor_counts *ret)
{
    *ret = m->counts;
}

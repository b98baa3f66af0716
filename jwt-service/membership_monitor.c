// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/membership_monitor.h"

#include "common/base/hash.h"
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "jwt-service/membership_file.h"

// A token is issued after the user's membership was seen; a join that follows needs no second look.
#define VERIFIED_MS 60000
// The SFU hands fresh tokens to who is connected, valid for 10 minutes (livekit-server 1.13,
// tokenDefaultTTL), so somebody seen may come back that long, and a minute for clocks.
#define REFRESHED_MS (11 * 60000)
#define RETRY_MS 30000          // after the homeserver or the SFU did not answer
#define HOUSEKEEPING_MS 3600000 // without an interval: forget who is gone
// A room is not deleted so soon after a token for it: its holder is about to join.
#define JOINING_MS 60000
// No token lives longer (ACCESS_POLICY_LIFETIME_MAX_S), whatever a file says.
#define RESTORED_MAX_S 86400

// An identity with a token of ours.
struct watch {
    struct room *room;
    char *identity;
    char *user_id;
    mono_t expires;    // the token; later it opens nothing any more
    mono_t verified;   // when the user was last known to be joined
    bool due;          // membership is to be asked for
    bool gone;         // certainly not joined: to be removed
    UT_hash_handle hh; // in room->watches, by identity
};

// A room on the SFU, which is one slot of one Matrix room.
struct room {
    struct membership_monitor *m;
    char *name;
    char *room_id;
    struct watch *watches;
    mono_t issued;  // last token
    bool list;      // ask the SFU who is there
    bool list_all;  // and then the homeserver about everybody
    bool removed;   // somebody was: look whether anybody is left
    bool queued;    // in the queue, or at work
    bool retry;     // something is due that could not be done
    char *asking;   // the user whose membership is asked for
    char *removing; // the identity that is removed
    // At most one of these is set.
    struct membership_call *call;
    struct sfu_call *sfu;
    struct room *prev, *next; // in the queue
    UT_hash_handle hh;        // in rooms, by name
};

struct membership_monitor {
    struct membership_monitor_conf conf;
    struct membership_monitor_counts counts;
    struct room *rooms;
    struct room *queue;
    unsigned working; // rooms with a call under way
    bool in_work;
    bool dirty;  // not in the file
    bool paused; // the homeserver or the SFU does not answer: until the retry
    struct loop_timer *round;
    struct loop_timer *retry;
};

static void work(struct membership_monitor *m);
static void step(struct room *r);

static mono_t now(const struct membership_monitor *m)
{
    return loop_now(m->conf.loop);
}

// ---- tables ---------------------------------------------------------------------------------

static void watch_free(struct watch *w)
{
    mem_free(w->identity);
    mem_free(w->user_id);
    mem_free(w);
}

static void forget(struct watch *w)
{
    struct room *const r = w->room;
    HASH_DEL(r->watches, w);
    r->m->counts.watched--;
    r->m->dirty = true;
    watch_free(w);
}

static void room_free(struct room *r)
{
    struct watch *w = NULL;
    struct watch *tmp = NULL;
    HASH_ITER(hh, r->watches, w, tmp)
    {
        forget(w);
    }
    if (r->call) {
        membership_cancel(r->call);
    }
    if (r->sfu) {
        sfu_client_cancel(r->sfu);
    }
    mem_free(r->name);
    mem_free(r->room_id);
    mem_free(r->asking);
    mem_free(r->removing);
    mem_free(r);
}

static void room_drop(struct room *r)
{
    HASH_DEL(r->m->rooms, r);
    room_free(r);
}

static struct room *find_room(struct membership_monitor *m, const char *name)
{
    struct room *r = NULL;
    HASH_FIND_STR(m->rooms, name, r);
    return r;
}

static struct room *make_room(struct membership_monitor *m, const struct membership_watch *q)
{
    struct room *r = NEW(struct room);
    if (!r) {
        return NULL;
    }
    r->m = m;
    r->name = mem_strdup(q->room);
    r->room_id = mem_strdup(q->room_id);
    if (r->name && r->room_id) {
        HASH_ADD_KEYPTR(hh, m->rooms, r->name, strlen(r->name), r);
    }
    if (!r->name || !r->room_id || find_room(m, q->room) != r) {
        room_free(r);
        return NULL;
    }
    return r;
}

static struct watch *make_watch(struct room *r, const struct membership_watch *q)
{
    struct watch *w = NEW(struct watch);
    struct watch *there = NULL;
    if (!w) {
        return NULL;
    }
    w->room = r;
    w->identity = mem_strdup(q->identity);
    w->user_id = mem_strdup(q->user_id);
    if (w->identity && w->user_id) {
        HASH_ADD_KEYPTR(hh, r->watches, w->identity, strlen(w->identity), w);
        HASH_FIND_STR(r->watches, q->identity, there);
    }
    if (!there) {
        watch_free(w);
        return NULL;
    }
    r->m->counts.watched++;
    return w;
}

// ---- the queue of rooms ---------------------------------------------------------------------

static void enqueue(struct room *r)
{
    if (!r->queued) {
        r->queued = true;
        DL_APPEND(r->m->queue, r);
    }
}

// The room waits for better times; what is due stays so.
static void put_off(struct room *r)
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
static void leave(struct room *r)
{
    struct membership_monitor *const m = r->m;
    r->queued = false;
    m->working--;
    if (!r->watches) {
        room_drop(r);
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

// ---- over a restart -------------------------------------------------------------------------

static void save(struct membership_monitor *m)
{
    struct dynbuf text;
    if (!m->conf.path || !m->dirty) {
        return;
    }
    dynbuf_init(&text, MEMBERSHIP_FILE_MAX);
    int64_t const wall_s = loop_wall(m->conf.loop).us / US_PER_S;
    for (const struct room *r = m->rooms; r; r = r->hh.next) {
        for (const struct watch *w = r->watches; w; w = w->hh.next) {
            // Whoever is known may be there, with a token that the SFU renewed.
            int64_t const left_ms = MAX(mono_diff_ms(w->expires, now(m)), REFRESHED_MS);
            membership_file_add(&text, &(struct membership_record){
                                           .room_id = r->room_id,
                                           .user_id = w->user_id,
                                           .room = r->name,
                                           .identity = w->identity,
                                           .expires_s = wall_s + left_ms / 1000,
                                       });
        }
    }
    int const e =
        dynbuf_ok(&text) ? membership_file_save(m->conf.path, dynbuf_view(&text)) : -E2BIG;
    dynbuf_done(&text);
    m->dirty = e < 0;
    if (e < 0) {
        log_warn(NULL, "membership.not_saved", KV_STR("file", m->conf.path), KV_ERRNO("error", e));
    }
}

static void restore_one(void *user, const struct membership_record *r)
{
    struct membership_monitor *const m = user;
    int64_t const left_s = r->expires_s - loop_wall(m->conf.loop).us / US_PER_S;
    struct membership_watch const q = {.room_id = r->room_id,
                                       .user_id = r->user_id,
                                       .room = r->room,
                                       .identity = r->identity,
                                       .lifetime_ms = MIN(left_s, RESTORED_MAX_S) * 1000};
    if (membership_monitor_watch(m, &q) < 0) {
        return;
    }
    // Looked at long ago, for all that is known.
    struct room *const room = find_room(m, r->room);
    struct watch *w = NULL;
    HASH_FIND_STR(room->watches, r->identity, w);
    w->verified = mono_add_ms(now(m), -VERIFIED_MS);
    room->issued = mono_add_ms(now(m), -JOINING_MS);
}

static void restore(struct membership_monitor *m)
{
    char *text = NULL;
    size_t n = 0;
    int const e =
        m->conf.path ? conf_read_file(m->conf.path, MEMBERSHIP_FILE_MAX, &text, &n) : -ENOENT;
    if (e == -ENOENT) {
        return;
    }
    wall_t const wall = loop_wall(m->conf.loop);
    size_t const bad = e < 0 ? 0 : membership_file_parse(bytes_of(text, n), wall, restore_one, m);
    mem_free(text);
    m->dirty = bad > 0;
    if (e < 0 || bad > 0) {
        log_warn(NULL, "membership.not_restored", KV_STR("file", m->conf.path),
                 KV_ERRNO("error", e), KV_U64("lines", bad));
    }
    log_info(NULL, "membership.restored", KV_U64("participants", m->counts.watched));
}

// ---- rounds ---------------------------------------------------------------------------------

static bool has_expired(const struct room *r)
{
    for (const struct watch *w = r->watches; w; w = w->hh.next) {
        if (mono_reached(w->expires, now(r->m))) {
            return true;
        }
    }
    return false;
}

static void on_round(void *user)
{
    struct membership_monitor *const m = user;
    save(m);
    for (struct room *r = m->rooms; r; r = r->hh.next) {
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
    for (struct room *r = m->rooms; r; r = r->hh.next) {
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
        struct room *const r = m->queue;
        DL_DELETE(m->queue, r);
        m->working++;
        step(r);
    }
    m->in_work = false;
}

// ---- one room, step by step -----------------------------------------------------------------

static bool is_there(const struct watch *w, const struct sfu_result *list)
{
    for (size_t i = 0; i < list->participant_count; i++) {
        if (strcmp(list->participants[i].identity, w->identity) == 0) {
            return true;
        }
    }
    return false;
}

static void sfu_failed(struct room *r, const char *what, const struct sfu_result *s)
{
    log_warn(NULL, "membership.sfu_failed", KV_STR("call", what), KV_STR("room", r->name),
             KV_STR("step", s->step), KV_STR("text", s->text));
    put_off(r);
}

static void on_list(void *user, const struct sfu_result *s)
{
    struct room *const r = user;
    struct watch *w = NULL;
    struct watch *tmp = NULL;
    r->sfu = NULL;
    if (!s->ok) {
        sfu_failed(r, "ListParticipants", s);
        return;
    }
    HASH_ITER(hh, r->watches, w, tmp)
    {
        if (is_there(w, s)) {
            w->due = w->due || r->list_all;
            w->expires = mono_max(w->expires, mono_add_ms(now(r->m), REFRESHED_MS));
            r->m->dirty = true;
        } else if (mono_reached(w->expires, now(r->m))) {
            forget(w);
        }
    }
    r->list = false;
    r->list_all = false;
    step(r);
}

// What the homeserver said holds for every device of the user.
static void conclude(struct room *r, enum membership_state state)
{
    for (struct watch *w = r->watches; w; w = w->hh.next) {
        if (strcmp(w->user_id, r->asking) != 0 || !w->due) {
            continue;
        }
        w->due = false;
        w->gone = state == MEMBERSHIP_NOT_JOINED;
        // Who was removed and comes back is looked at again, however soon that is.
        w->verified = state == MEMBERSHIP_JOINED ? now(r->m) : mono_add_ms(now(r->m), -VERIFIED_MS);
    }
}

static void on_membership(void *user, const struct membership_result *q)
{
    struct room *const r = user;
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
    struct room *const r = user;
    struct watch *w = NULL;
    r->sfu = NULL;
    HASH_FIND_STR(r->watches, r->removing, w);
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
    struct room *const r = user;
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
    struct room *const r = user;
    r->sfu = NULL;
    bool const joining = mono_diff_ms(now(r->m), r->issued) < JOINING_MS;
    if (!s->ok || s->participant_count > 0 || joining ||
        sfu_client_delete_room(r->m->conf.sfu, r->name, on_deleted, r, &r->sfu) < 0) {
        r->sfu = NULL;
        step(r);
    }
}

static int ask_membership(struct room *r, const struct watch *w)
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

static int remove_participant(struct room *r, const struct watch *w)
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
static void step(struct room *r)
{
    struct sfu_client *const sfu = r->m->conf.sfu;
    int e = 0;
    if (r->list) {
        e = sfu_client_list_participants(sfu, r->name, on_list, r, &r->sfu);
    } else {
        const struct watch *due = NULL;
        const struct watch *gone = NULL;
        for (const struct watch *w = r->watches; w; w = w->hh.next) {
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
    m->round = loop_timer_new(conf->loop, on_round, m);
    m->retry = loop_timer_new(conf->loop, on_retry, m);
    if (!m->round || !m->retry) {
        return NULL;
    }
    restore(m);
    return STEAL(m);
}

void membership_monitor_free(struct membership_monitor *m)
{
    if (!m) {
        return;
    }
    save(m);
    struct room *r = NULL;
    struct room *tmp = NULL;
    HASH_ITER(hh, m->rooms, r, tmp)
    {
        room_drop(r);
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
    struct room *r = find_room(m, q->room);
    struct watch *w = NULL;
    if (r) {
        HASH_FIND_STR(r->watches, q->identity, w);
    }
    if (!w && m->counts.watched >= MEMBERSHIP_MONITOR_MAX) {
        return -ENOBUFS;
    }
    r = r ? r : make_room(m, q);
    w = w || !r ? w : make_watch(r, q);
    if (!w) {
        if (r && !r->watches && !r->queued) {
            room_drop(r);
        }
        return -ENOMEM;
    }
    w->expires = mono_max(w->expires, mono_add_ms(now(m), q->lifetime_ms));
    w->verified = now(m);
    r->issued = now(m);
    m->dirty = true;
    arm_round(m);
    return 0;
}

void membership_monitor_event(struct membership_monitor *m, const struct sfu_event *e)
{
    struct room *const r = find_room(m, e->room);
    struct watch *w = NULL;
    if (!r || e->type != SFU_EVENT_JOINED) {
        return; // who has left is forgotten when the token has expired: it may be used again
    }
    HASH_FIND_STR(r->watches, e->identity, w);
    if (!w || mono_diff_ms(now(m), w->verified) < VERIFIED_MS) {
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

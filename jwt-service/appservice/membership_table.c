// SPDX-License-Identifier: Apache-2.0
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "jwt-service/appservice/membership_file.h"
#include "jwt-service/appservice/membership_monitor_internal.h"

// No token lives longer (ACCESS_POLICY_LIFETIME_MAX_S), whatever a file says.
#define RESTORED_MAX_S 86400
// Everybody is written at once, so not too often; and often enough that what is in the file has not
// expired meanwhile (MEMBER_REFRESHED_MS).
#define SAVE_MIN_MS 60000
#define SAVE_MAX_MS (5 * 60000)

static mono_t now(const struct membership_monitor *m)
{
    return loop_now(m->conf.loop);
}

// ---- tables ---------------------------------------------------------------------------------

static void member_free(struct member *w)
{
    mem_free(w->identity);
    mem_free(w->user_id);
    mem_free(w);
}

void membership_table_forget(struct member *w)
{
    struct member_room *const r = w->room;
    HASH_DEL(r->members, w);
    r->m->counts.watched--;
    r->m->dirty = true;
    member_free(w);
}

static void room_free(struct member_room *r)
{
    struct member *w = NULL;
    struct member *tmp = NULL;
    HASH_ITER(hh, r->members, w, tmp)
    {
        membership_table_forget(w);
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

void membership_table_drop(struct member_room *r)
{
    HASH_DEL(r->m->rooms, r);
    room_free(r);
}

struct member_room *membership_table_room(struct membership_monitor *m, const char *name)
{
    struct member_room *r = NULL;
    HASH_FIND_STR(m->rooms, name, r);
    return r;
}

static struct member_room *make_room(struct membership_monitor *m, const struct membership_watch *q)
{
    struct member_room *r = NEW(struct member_room);
    if (!r) {
        return NULL;
    }
    r->m = m;
    r->name = mem_strdup(q->room);
    r->room_id = mem_strdup(q->room_id);
    if (r->name && r->room_id) {
        HASH_ADD_KEYPTR(hh, m->rooms, r->name, strlen(r->name), r);
    }
    if (!r->name || !r->room_id || membership_table_room(m, q->room) != r) {
        room_free(r);
        return NULL;
    }
    return r;
}

static struct member *make_member(struct member_room *r, const struct membership_watch *q)
{
    struct member *w = NEW(struct member);
    struct member *there = NULL;
    if (!w) {
        return NULL;
    }
    w->room = r;
    w->identity = mem_strdup(q->identity);
    w->user_id = mem_strdup(q->user_id);
    if (w->identity && w->user_id) {
        HASH_ADD_KEYPTR(hh, r->members, w->identity, strlen(w->identity), w);
        HASH_FIND_STR(r->members, q->identity, there);
    }
    if (!there) {
        member_free(w);
        return NULL;
    }
    r->m->counts.watched++;
    return w;
}

struct member *membership_table_member(struct member_room *r, const char *identity)
{
    struct member *w = NULL;
    HASH_FIND_STR(r->members, identity, w);
    return w;
}

int membership_table_add(struct membership_monitor *m, const struct membership_watch *q,
                         struct member **ret)
{
    struct member_room *r = membership_table_room(m, q->room);
    struct member *w = r ? membership_table_member(r, q->identity) : NULL;
    if (!w && m->counts.watched >= MEMBERSHIP_MONITOR_MAX) {
        return -ENOBUFS;
    }
    r = r ? r : make_room(m, q);
    w = w || !r ? w : make_member(r, q);
    if (!w) {
        if (r && !r->members && !r->queued) {
            membership_table_drop(r);
        }
        return -ENOMEM;
    }
    *ret = w;
    return 0;
}

// ---- over a restart -------------------------------------------------------------------------

// True if the file is to be written.
static bool is_due(const struct membership_monitor *m, bool always)
{
    int64_t const age_ms = mono_diff_ms(now(m), m->saved);
    return always ? m->dirty || m->rooms
                  : (m->dirty && age_ms >= SAVE_MIN_MS) || (m->rooms && age_ms >= SAVE_MAX_MS);
}

void membership_table_save(struct membership_monitor *m, bool always)
{
    struct dynbuf text;
    if (!m->conf.path || !is_due(m, always)) {
        return;
    }
    dynbuf_init(&text, MEMBERSHIP_FILE_MAX);
    int64_t const wall_s = loop_wall(m->conf.loop).us / US_PER_S;
    for (const struct member_room *r = m->rooms; r; r = r->hh.next) {
        for (const struct member *w = r->members; w; w = w->hh.next) {
            // Whoever is known may be there, with a token that the SFU renewed.
            int64_t const left_ms = MAX(mono_diff_ms(w->expires, now(m)), MEMBER_REFRESHED_MS);
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
    m->saved = now(m);
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
    struct member *w = NULL;
    if (membership_monitor_watch(m, &q) < 0) {
        return;
    }
    // Looked at long ago, for all that is known.
    w = membership_table_member(membership_table_room(m, r->room), r->identity);
    w->verified = mono_add_ms(now(m), -MEMBER_VERIFIED_MS);
    w->room->issued = mono_add_ms(now(m), -MEMBER_JOINING_MS);
}

void membership_table_restore(struct membership_monitor *m)
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

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_table.h"

#include <string.h>

#include "common/base/hash.h"
#include "jwt-service/leave/job_frame.h"

// What only entries have that are not safe: most are, and there may be 100,000.
struct job_write {
    struct job_entry *entry;
    struct job_write *prev;
    struct job_write *next;
    struct job_wait *waits;   // for the frame that is dirty
    struct job_wait *writing; // for the one under way
    bool is_dirty;
    bool is_writing;
    enum job_stale stale; // what it was before it was taken
};

struct job_entry {
    UT_hash_handle hh;
    struct job_write *write; // NULL: safe
    uint8_t *frame;          // NULL: removed, or safe and not kept
    uint32_t frame_len;
    bool stored;   // the store has something of this key, or may have
    bool removed;  // the newest wish
    uint8_t stale; // enum job_stale; only without `write`
    struct job_place place;
    uint32_t room_len;
    char key[]; // room, zero, identity, zero
};

void job_table_init(struct job_table *t, bool keep_frames,
                    void (*on_wait)(void *user, struct job_wait *w, int error), void *user)
{
    *t = (struct job_table){.keep_frames = keep_frames, .on_wait = on_wait, .user = user};
}

static void set_stale(struct job_table *t, struct job_entry *e, enum job_stale why)
{
    t->stale[e->stale]--;
    t->stale[why]++;
    e->stale = (uint8_t)why;
}

static void free_entry(struct job_table *t, struct job_entry *e)
{
    t->stale[e->stale]--;
    if (t->stale_next == e) {
        t->stale_next = e->hh.next;
    }
    HASH_DELETE(hh, t->entries, e);
    t->count--;
    mem_free(e->write);
    mem_free(e->frame);
    mem_free(e->place.text);
    mem_free(e);
}

void job_table_done(struct job_table *t)
{
    struct job_entry *e = NULL;
    struct job_entry *next = NULL;
    HASH_ITER(hh, t->entries, e, next)
    {
        free_entry(t, e);
    }
    *t = (struct job_table){0};
}

// ---- keys -----------------------------------------------------------------------------------

// The key as one text; NULL without memory. To be freed.
static char *make_key(const char *room, const char *identity, size_t *ret_n)
{
    size_t const r = strlen(room) + 1;
    size_t const i = strlen(identity) + 1;
    char *const key = mem_alloc(r + i);
    if (key != NULL) {
        memcpy(key, room, r);
        memcpy(key + r, identity, i);
        *ret_n = r + i;
    }
    return key;
}

struct job_entry *job_table_find(const struct job_table *t, const char *room, const char *identity)
{
    struct job_entry *e = NULL;
    size_t n = 0;
    char *const key = make_key(room, identity, &n);
    if (key != NULL) {
        HASH_FIND(hh, t->entries, key, n, e);
        mem_free(key);
    }
    return e;
}

// The entry of a key, made if need be.
static struct job_entry *need_entry(struct job_table *t, const char *room, const char *identity)
{
    struct job_entry *e = job_table_find(t, room, identity);
    if (e != NULL) {
        return e;
    }
    size_t const r = strlen(room) + 1;
    size_t const n = r + strlen(identity) + 1;
    e = mem_alloc(sizeof(*e) + n);
    if (e == NULL) {
        return NULL;
    }
    memcpy(e->key, room, r);
    memcpy(e->key + r, identity, n - r);
    e->room_len = (uint32_t)(r - 1);
    HASH_ADD_KEYPTR(hh, t->entries, e->key, n, e);
    if (e->hh.tbl == NULL) {
        mem_free(e);
        return NULL;
    }
    t->count++;
    t->stale[JOB_STALE_NOT]++;
    return e;
}

// ---- writes ---------------------------------------------------------------------------------

// Gives the entry its part for writing, which takes the place of being stale. -ENOMEM.
static int need_write(struct job_table *t, struct job_entry *e)
{
    if (e->write == NULL) {
        e->write = NEW(struct job_write);
        if (e->write == NULL) {
            return -ENOMEM;
        }
        e->write->entry = e;
    }
    set_stale(t, e, JOB_STALE_NOT);
    return 0;
}

static void make_dirty(struct job_table *t, struct job_entry *e)
{
    if (e->write->is_dirty) {
        t->coalesced++;
        return;
    }
    e->write->is_dirty = true;
    DL_APPEND(t->dirty, e->write);
    t->dirty_count++;
}

static void make_clean(struct job_table *t, struct job_entry *e)
{
    e->write->is_dirty = false;
    DL_DELETE(t->dirty, e->write);
    t->dirty_count--;
}

static void tell_waits(struct job_table *t, struct job_wait **list, int error)
{
    while (*list != NULL) {
        struct job_wait *const w = *list;
        job_table_forget_wait(w);
        t->on_wait(t->user, w, error);
    }
}

static struct job_wait **list_of(const struct job_wait *w)
{
    return w->in_flight ? &w->write->writing : &w->write->waits;
}

static void add_wait(struct job_write *to, bool in_flight, struct job_wait *w)
{
    w->write = to;
    w->in_flight = in_flight;
    struct job_wait **const list = list_of(w);
    DL_APPEND2(*list, w, prev_peer, next_peer);
}

void job_table_forget_wait(struct job_wait *w)
{
    if (w->write != NULL) {
        struct job_wait **const list = list_of(w);
        DL_DELETE2(*list, w, prev_peer, next_peer);
        w->write = NULL;
    }
}

// All waits of a write from one of its lists to the other.
static void move_waits(struct job_write *w, bool to_flight)
{
    struct job_wait **const from = to_flight ? &w->waits : &w->writing;
    while (*from != NULL) {
        struct job_wait *const wait = *from;
        job_table_forget_wait(wait);
        add_wait(w, to_flight, wait);
    }
}

// Frees what an entry need not have any more, the entry itself if nothing of it is left.
static void settle(struct job_table *t, struct job_entry *e)
{
    if (e->write != NULL && (e->write->is_dirty || e->write->is_writing)) {
        return;
    }
    mem_free(e->write);
    e->write = NULL;
    if (e->removed && !e->stored) {
        free_entry(t, e);
    }
}

static int encode(const struct job_record *r, uint8_t **ret, uint32_t *ret_n)
{
    struct dynbuf b;
    dynbuf_init(&b, JOB_FRAME_MAX + 1);
    job_frame_put(r, &b);
    size_t n = 0;
    char *const p = dynbuf_take_cstr(&b, &n);
    dynbuf_done(&b);
    if (p == NULL) {
        return -ENOMEM;
    }
    // Grown by doubling; these may be kept for long.
    void *const fit = mem_regrow(p, n, 1);
    *ret = fit != NULL ? fit : (void *)p;
    *ret_n = (uint32_t)n;
    return 0;
}

int job_table_put(struct job_table *t, const struct job_record *r, struct job_wait *w)
{
    uint8_t *frame = NULL;
    uint32_t n = 0;
    if (encode(r, &frame, &n) != 0) {
        return -ENOMEM;
    }
    struct job_entry *const e = need_entry(t, r->room, r->identity);
    if (e == NULL) {
        mem_free(frame);
        return -ENOMEM;
    }
    if (need_write(t, e) != 0) {
        mem_free(frame);
        if (e->frame == NULL && !e->stored) {
            free_entry(t, e);
        }
        return -ENOMEM;
    }
    mem_free(e->frame);
    e->frame = frame;
    e->frame_len = n;
    e->removed = false;
    make_dirty(t, e);
    if (w != NULL) {
        add_wait(e->write, false, w);
    }
    return 0;
}

void job_table_remove(struct job_table *t, const char *room, const char *identity)
{
    struct job_entry *const e = job_table_find(t, room, identity);
    if (e == NULL || e->removed || need_write(t, e) != 0) {
        return;
    }
    tell_waits(t, &e->write->waits, -ECANCELED);
    tell_waits(t, &e->write->writing, -ECANCELED);
    mem_free(e->frame);
    e->frame = NULL;
    e->frame_len = 0;
    e->removed = true;
    if (e->stored || e->write->is_writing) {
        make_dirty(t, e);
        return;
    }
    t->coalesced++;
    if (e->write->is_dirty) {
        make_clean(t, e);
    }
    settle(t, e);
}

struct job_entry *job_table_loaded(struct job_table *t, const struct job_record *r)
{
    struct job_entry *const e = need_entry(t, r->room, r->identity);
    if (e == NULL) {
        return NULL;
    }
    bool const fresh = !e->stored && e->write == NULL;
    e->stored = true;
    if (fresh && t->keep_frames && encode(r, &e->frame, &e->frame_len) != 0) {
        free_entry(t, e);
        return NULL;
    }
    return e;
}

void job_table_drop(struct job_table *t, struct job_entry *e)
{
    assert(e->write == NULL);
    free_entry(t, e);
}

struct job_entry *job_table_next(const struct job_table *t, const struct job_entry *e)
{
    return e == NULL ? t->entries : e->hh.next;
}

// The next stale entry; the search goes round, so that each is come by.
static struct job_entry *next_stale(struct job_table *t)
{
    if (t->stale[JOB_STALE_CLAIM] + t->stale[JOB_STALE_LOST] == 0) {
        return NULL;
    }
    struct job_entry *e = t->stale_next != NULL ? t->stale_next : t->entries;
    while (e->stale == JOB_STALE_NOT) {
        e = e->hh.next != NULL ? e->hh.next : t->entries;
    }
    t->stale_next = e->hh.next;
    return e;
}

static struct job_entry *take_stale(struct job_table *t)
{
    struct job_entry *const e = next_stale(t);
    if (e == NULL) {
        return NULL;
    }
    enum job_stale const why = (enum job_stale)e->stale;
    if (need_write(t, e) != 0) {
        return NULL; // later
    }
    e->write->stale = why;
    e->write->is_writing = true;
    t->writing_count++;
    t->claims_writing += why == JOB_STALE_CLAIM;
    return e;
}

struct job_entry *job_table_take(struct job_table *t)
{
    // One that is being written already stays until that is done: two writes of one key under way
    // could arrive in either order.
    struct job_write *w = t->dirty;
    while (w != NULL && w->is_writing) {
        w = w->next;
    }
    if (w == NULL) {
        return take_stale(t);
    }
    struct job_entry *const e = w->entry;
    make_clean(t, e);
    w->is_writing = true;
    t->writing_count++;
    move_waits(w, true);
    // Whatever becomes of the write, the store may have it from now on.
    e->stored = true;
    return e;
}

// A stale one could not be written, and nothing newer of it has come.
static void finish_stale(struct job_table *t, struct job_entry *e, enum job_stale why, int error)
{
    if (error == -ENOENT) {
        free_entry(t, e);
        return;
    }
    t->failures++;
    settle(t, e);
    set_stale(t, e, why);
}

void job_table_finish(struct job_table *t, struct job_entry *e, int error)
{
    struct job_write *const w = e->write;
    enum job_stale const why = w->stale;
    w->is_writing = false;
    w->stale = JOB_STALE_NOT;
    t->writing_count--;
    t->claims_writing -= why == JOB_STALE_CLAIM;
    if (error == -EAGAIN) {
        move_waits(w, false);
    }
    tell_waits(t, &w->writing, error);
    if (error != 0 && why != JOB_STALE_NOT && !w->is_dirty) {
        finish_stale(t, e, why, error);
        return;
    }
    if (error != 0) {
        t->failures++;
        if (!w->is_dirty) {
            make_dirty(t, e);
        }
        return;
    }
    t->writes++;
    if (!w->is_dirty) {
        e->stored = !e->removed;
        if (!t->keep_frames) {
            mem_free(e->frame);
            e->frame = NULL;
            e->frame_len = 0;
        }
    }
    settle(t, e);
}

void job_table_fail_waits(struct job_table *t, int error)
{
    struct job_write *w = NULL;
    DL_FOREACH(t->dirty, w)
    {
        tell_waits(t, &w->waits, error);
    }
}

void job_table_rewrite(struct job_table *t, struct job_entry *e, enum job_stale why)
{
    if (e->write == NULL && e->stale < why) {
        set_stale(t, e, why);
    }
}

size_t job_table_pending(const struct job_table *t)
{
    return job_table_unsafe(t) + t->stale[JOB_STALE_CLAIM] + t->claims_writing;
}

size_t job_table_unsafe(const struct job_table *t)
{
    return t->dirty_count + t->writing_count - t->claims_writing + t->stale[JOB_STALE_LOST];
}

// ---- an entry -------------------------------------------------------------------------------

const char *job_entry_room(const struct job_entry *e)
{
    return e->key;
}

const char *job_entry_identity(const struct job_entry *e)
{
    return e->key + e->room_len + 1;
}

struct bytes job_entry_frame(const struct job_entry *e)
{
    return bytes_of(e->frame, e->frame_len);
}

bool job_entry_is_removed(const struct job_entry *e)
{
    return e->removed;
}

struct job_place *job_entry_place(struct job_entry *e)
{
    return &e->place;
}

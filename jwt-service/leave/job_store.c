// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_store.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jwt-service/leave/job_store_internal.h"

// ---- waits ----------------------------------------------------------------------------------

// There is nothing that a flush waits for.
static bool is_quiet(const struct job_store *s)
{
    return (s->flush_claims ? job_table_pending(&s->table) : job_table_unsafe(&s->table)) == 0;
}

static void arm(struct job_store *s)
{
    mono_t at = MONO_NEVER;
    if (s->waits != NULL) {
        at = s->waits->deadline;
    }
    if (s->flush_fn != NULL) {
        at = mono_min(at, s->flush_deadline);
    }
    if (s->ended != NULL || (s->flush_fn != NULL && is_quiet(s)) ||
        (s->loading && s->backend == NULL)) {
        at = loop_now(s->conf.loop);
    }
    loop_timer_set(s->timer, at);
}

// Moves a wait to those that are told in the next turn.
static void end_wait(struct job_store *s, struct job_wait *w, int error)
{
    job_table_forget_wait(w);
    DL_DELETE(s->waits, w);
    w->ended = true;
    w->error = error;
    DL_APPEND(s->ended, w);
}

static void on_table_wait(void *user, struct job_wait *w, int error)
{
    struct job_store *const s = user;
    end_wait(s, w, error);
    arm(s);
}

void job_store_cancel(struct job_wait *w)
{
    struct job_store *const s = w->store;
    if (w->ended) {
        DL_DELETE(s->ended, w);
    } else {
        job_table_forget_wait(w);
        DL_DELETE(s->waits, w);
    }
    mem_free(w);
    arm(s);
}

static void tell_ended(struct job_store *s)
{
    // What ends while these are told is told in another turn, so that a caller who puts again and
    // again cannot hold the loop.
    struct job_wait *const last = s->ended != NULL ? s->ended->prev : NULL;
    bool more = last != NULL;
    while (more && s->ended != NULL) {
        struct job_wait *const w = s->ended;
        more = w != last;
        DL_DELETE(s->ended, w);
        void (*const fn)(void *user, int error) = w->fn;
        void *const user = w->user;
        int const error = w->error;
        mem_free(w);
        fn(user, error);
    }
}

static void end_flush(struct job_store *s, mono_t now)
{
    bool const quiet = is_quiet(s);
    if (s->flush_fn == NULL || (!quiet && !mono_reached(s->flush_deadline, now))) {
        return;
    }
    void (*const fn)(void *user, int error) = s->flush_fn;
    s->flush_fn = NULL;
    fn(s->flush_user, quiet ? 0 : -ETIMEDOUT);
}

static void on_timer(void *user)
{
    struct job_store *const s = user;
    mono_t const now = loop_now(s->conf.loop);
    while (s->waits != NULL && mono_reached(s->waits->deadline, now)) {
        end_wait(s, s->waits, -ETIMEDOUT);
    }
    tell_ended(s);
    if (s->loading && s->backend == NULL) {
        job_store_loaded_(s, &(struct job_load){.text = ""});
    }
    end_flush(s, now);
    arm(s);
}

void job_store_progress_(struct job_store *s)
{
    arm(s);
}

// ---- life -----------------------------------------------------------------------------------

static bool is_given(const char *s)
{
    return s != NULL && s[0] != '\0';
}

int job_store_new(const struct job_store_conf *conf, struct job_store **ret,
                  char err[static JOB_STORE_ERROR_MAX])
{
    CLEANUP(job_store_free) struct job_store *s = NEW(struct job_store);
    (void)snprintf(err, JOB_STORE_ERROR_MAX, "out of memory");
    if (s == NULL) {
        return -ENOMEM;
    }
    s->conf = (struct job_store_conf){
        .loop = conf->loop,
        .dns = conf->dns,
        .on_takeover = conf->on_takeover,
        .record = conf->record,
        .user = conf->user,
    };
    s->kind = is_given(conf->redis_url)   ? JOB_STORE_REDIS
              : is_given(conf->state_dir) ? JOB_STORE_JOURNAL
                                          : JOB_STORE_MEMORY;
    bool const keep = s->kind == JOB_STORE_REDIS && conf->record == NULL;
    job_table_init(&s->table, keep, on_table_wait, s);
    s->timer = loop_timer_new(conf->loop, on_timer, s);
    if (s->timer == NULL) {
        return -ENOMEM;
    }
    int r = 0;
    switch (s->kind) {
    case JOB_STORE_MEMORY:
        break;
    case JOB_STORE_JOURNAL:
        r = job_journal_new(s, conf, &s->backend, err);
        break;
    case JOB_STORE_REDIS:
        r = job_redis_new(s, conf, &s->backend, err);
        break;
    }
    if (r != 0) {
        return r;
    }
    err[0] = '\0';
    *ret = STEAL(s);
    return 0;
}

static void free_waits(struct job_wait *list)
{
    while (list != NULL) {
        struct job_wait *const w = list;
        DL_DELETE(list, w);
        mem_free(w);
    }
}

void job_store_free(struct job_store *s)
{
    if (s == NULL) {
        return;
    }
    if (s->backend != NULL) {
        s->backend->ops->free(s->backend);
    }
    job_table_done(&s->table);
    free_waits(s->waits);
    free_waits(s->ended);
    loop_timer_free(s->timer);
    mem_free(s);
}

enum job_store_kind job_store_kind(const struct job_store *s)
{
    return s->kind;
}

// ---- loading --------------------------------------------------------------------------------

void job_store_load(struct job_store *s, void (*each)(void *user, const struct job_record *r),
                    void (*done)(void *user, const struct job_load *load), void *user)
{
    assert(!s->loading);
    s->each = each;
    s->loaded = done;
    s->load_user = user;
    s->load_start = loop_now(s->conf.loop);
    s->loading = true;
    if (s->backend != NULL) {
        s->backend->ops->load(s->backend);
    }
    arm(s);
}

void job_store_give_(struct job_store *s, const struct job_record *r)
{
    s->each(s->load_user, r);
}

void job_store_give_late_(struct job_store *s, const struct job_record *r)
{
    if (s->conf.on_takeover != NULL) {
        s->conf.on_takeover(s->conf.user, r);
    }
}

void job_store_loaded_(struct job_store *s, const struct job_load *load)
{
    struct job_load l = *load;
    l.elapsed_ms = mono_diff_ms(loop_refresh(s->conf.loop), s->load_start);
    s->loading = false;
    s->loaded(s->load_user, &l);
    arm(s);
}

// ---- changes --------------------------------------------------------------------------------

// Stores r; w (may be NULL) is among the store's waits already.
static int put(struct job_store *s, const struct job_record *r, struct job_wait *w)
{
    if (s->backend == NULL) {
        if (w != NULL) {
            end_wait(s, w, 0);
        }
        return 0;
    }
    int const e = job_table_put(&s->table, r, w);
    if (e == 0) {
        s->backend->ops->kick(s->backend, false);
    }
    return e;
}

int job_store_put(struct job_store *s, const struct job_record *r,
                  void (*fn)(void *user, int error), void *user, struct job_wait **ret)
{
    struct job_wait *w = NULL;
    int e = job_record_check(r);
    if (e != 0) {
        return e;
    }
    if (fn != NULL) {
        w = NEW(struct job_wait);
        if (w == NULL) {
            return -ENOMEM;
        }
        w->fn = fn;
        w->user = user;
        w->store = s;
        w->deadline = mono_add_ms(loop_now(s->conf.loop), JOB_STORE_WAIT_MS);
        DL_APPEND(s->waits, w);
    }
    e = put(s, r, w);
    if (e != 0) {
        if (w != NULL) {
            DL_DELETE(s->waits, w);
            mem_free(w);
        }
        return e;
    }
    if (ret != NULL) {
        *ret = w;
    }
    arm(s);
    return 0;
}

void job_store_remove(struct job_store *s, const char *room, const char *identity)
{
    if (s->backend == NULL) {
        return;
    }
    job_table_remove(&s->table, room, identity);
    s->backend->ops->kick(s->backend, false);
    arm(s);
}

static void flush(struct job_store *s, bool claims, int64_t timeout_ms,
                  void (*fn)(void *user, int error), void *user)
{
    s->flush_claims = claims;
    s->flush_fn = fn;
    s->flush_user = user;
    s->flush_deadline = mono_add_ms(loop_now(s->conf.loop), timeout_ms);
    if (s->backend != NULL && !is_quiet(s)) {
        s->backend->ops->kick(s->backend, true);
    }
    arm(s);
}

void job_store_flush(struct job_store *s, int64_t timeout_ms, void (*fn)(void *user, int error),
                     void *user)
{
    flush(s, true, timeout_ms, fn, user);
}

void job_store_flush_changes(struct job_store *s, int64_t timeout_ms,
                             void (*fn)(void *user, int error), void *user)
{
    flush(s, false, timeout_ms, fn, user);
}

void job_store_stats(const struct job_store *s, struct job_store_stats *ret)
{
    *ret = (struct job_store_stats){.writes = s->table.writes,
                                    .coalesced = s->table.coalesced,
                                    .failures = s->table.failures,
                                    .pending = job_table_pending(&s->table),
                                    .up = true};
    if (s->backend != NULL) {
        s->backend->ops->stats(s->backend, ret);
    }
}

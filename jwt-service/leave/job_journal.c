// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_journal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "common/sys/thread.h"
#include "jwt-service/leave/job_frame.h"
#include "jwt-service/leave/job_journal_file.h"

// One write takes at most this much, so that the first of many waiting jobs are safe soon.
#define BATCH_MAX (4u << 20)

enum task_kind {
    TASK_NONE,
    TASK_READ,
    TASK_APPEND,
    TASK_REWRITE,
};

// What the thread does next. The loop fills it in and lets go of it until `done`.
struct task {
    enum task_kind kind;
    bool done;
    int error;
    uint8_t *content; // READ
    size_t content_n;
    struct dynbuf data;       // APPEND
    struct job_piece *pieces; // APPEND: relative to `at`; REWRITE: what is kept
    size_t count;
    size_t cap;
    uint64_t at;
};

struct job_journal {
    struct job_backend backend;
    struct job_store *store;
    struct job_file *file; // the thread's while a task is under way
    struct loop_wake *wake;
    struct loop_timer *retry;
    struct thread thread;
    pthread_mutex_t lock; // guards task.kind, task.done, quit
    pthread_cond_t changed;
    bool has_lock;
    bool quit;
    struct task task;
    bool loaded;
    int error; // of the last write, 0: writing works
    int64_t retry_ms;
    uint64_t live; // bytes of current frames
    uint64_t compact_at;
    uint64_t syncs;
    uint64_t size; // of the file, for stats while the thread has it
};

// ---- the thread -----------------------------------------------------------------------------

static void run_task(struct job_journal *j, struct task *t)
{
    switch (t->kind) {
    case TASK_NONE:
        break;
    case TASK_READ:
        t->error = job_file_read(j->file, &t->content, &t->content_n);
        break;
    case TASK_APPEND:
        t->error = job_file_append(j->file, dynbuf_view(&t->data), &t->at);
        break;
    case TASK_REWRITE:
        t->error = job_file_rewrite(j->file, t->pieces, t->count);
        break;
    }
}

static void writer(void *arg)
{
    struct job_journal *const j = arg;
    (void)pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!j->quit && (j->task.kind == TASK_NONE || j->task.done)) {
            (void)pthread_cond_wait(&j->changed, &j->lock);
        }
        // A task that was given is done even at the end: it holds changes that were promised.
        if (j->task.kind == TASK_NONE || j->task.done) {
            break;
        }
        (void)pthread_mutex_unlock(&j->lock);
        run_task(j, &j->task);
        (void)pthread_mutex_lock(&j->lock);
        j->task.done = true;
        loop_wake_send(j->wake);
    }
    (void)pthread_mutex_unlock(&j->lock);
}

static bool is_busy(const struct job_journal *j)
{
    return j->task.kind != TASK_NONE;
}

static void start_task(struct job_journal *j, enum task_kind kind)
{
    (void)pthread_mutex_lock(&j->lock);
    j->task.done = false;
    j->task.error = 0;
    j->task.kind = kind;
    (void)pthread_cond_signal(&j->changed);
    (void)pthread_mutex_unlock(&j->lock);
}

static void clear_task(struct task *t)
{
    mem_free(t->content);
    t->content = NULL;
    mem_free(t->pieces);
    t->pieces = NULL;
    t->count = 0;
    t->cap = 0;
    // A burst must not leave its memory behind.
    dynbuf_done(&t->data);
}

// -ENOMEM.
static int add_piece(struct task *t, uint64_t offset, uint32_t len, void *user)
{
    if (t->count == t->cap) {
        size_t const cap = t->cap == 0 ? 16 : t->cap * 2;
        struct job_piece *const p = mem_regrow(t->pieces, cap, sizeof(*p));
        if (p == NULL) {
            return -ENOMEM;
        }
        t->pieces = p;
        t->cap = cap;
    }
    t->pieces[t->count++] = (struct job_piece){.offset = offset, .len = len, .user = user};
    return 0;
}

// ---- rewriting ------------------------------------------------------------------------------

static int by_offset(const void *a, const void *b)
{
    const struct job_piece *const x = a;
    const struct job_piece *const y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void set_compact_at(struct job_journal *j, uint64_t base)
{
    j->compact_at = MAX(JOB_JOURNAL_COMPACT_MIN, base * 2);
}

static bool start_rewrite(struct job_journal *j)
{
    struct task *const t = &j->task;
    struct job_table *const table = &j->store->table;
    for (struct job_entry *e = job_table_next(table, NULL); e != NULL;
         e = job_table_next(table, e)) {
        const struct job_place *const p = job_entry_place(e);
        if (p->len > 0 && add_piece(t, p->offset, p->len, e) != 0) {
            clear_task(t);
            set_compact_at(j, j->size);
            return false;
        }
    }
    if (t->count > 0) {
        qsort(t->pieces, t->count, sizeof(*t->pieces), by_offset);
    }
    start_task(j, TASK_REWRITE);
    return true;
}

static void rewritten(struct job_journal *j)
{
    struct task *const t = &j->task;
    if (t->error != 0) {
        log_warn(NULL, "jobs.journal.rewrite_failed", KV_STR("file", job_file_path(j->file)),
                 KV_ERRNO("error", t->error));
        set_compact_at(j, j->size);
        return;
    }
    j->syncs++;
    for (size_t i = 0; i < t->count; i++) {
        job_entry_place(t->pieces[i].user)->offset = t->pieces[i].offset;
    }
    log_debug(NULL, "jobs.journal.rewritten", KV_U64("jobs", t->count), KV_U64("before", j->size),
              KV_U64("after", job_file_size(j->file)));
    set_compact_at(j, j->live);
}

// ---- appending ------------------------------------------------------------------------------

static bool start_append(struct job_journal *j)
{
    struct task *const t = &j->task;
    struct job_table *const table = &j->store->table;
    dynbuf_init(&t->data, BATCH_MAX + JOB_FRAME_MAX);
    while (t->data.n < BATCH_MAX) {
        struct job_entry *const e = job_table_take(table);
        if (e == NULL) {
            break;
        }
        size_t const at = t->data.n;
        if (job_entry_is_removed(e)) {
            job_frame_remove(job_entry_room(e), job_entry_identity(e), &t->data);
        } else {
            dynbuf_add(&t->data, job_entry_frame(e));
        }
        uint32_t const len = (uint32_t)(t->data.n - at);
        if (!dynbuf_ok(&t->data) || add_piece(t, at, len, e) != 0) {
            // No memory: everything of this batch waits for better times.
            job_table_finish(table, e, -ENOMEM);
            for (size_t i = 0; i < t->count; i++) {
                job_table_finish(table, t->pieces[i].user, -ENOMEM);
            }
            clear_task(t);
            return false;
        }
    }
    if (t->count == 0) {
        clear_task(t);
        return false;
    }
    start_task(j, TASK_APPEND);
    return true;
}

static void note_error(struct job_journal *j, int error)
{
    if (j->error == 0) {
        log_error(NULL, "jobs.journal.write_failed", KV_STR("file", job_file_path(j->file)),
                  KV_ERRNO("error", error),
                  KV_STR("hint", "jobs go on in memory and are written when it works again"));
        j->retry_ms = JOB_JOURNAL_RETRY_MIN_MS;
    } else {
        j->retry_ms = MIN(j->retry_ms * 2, JOB_JOURNAL_RETRY_MAX_MS);
    }
    j->error = error;
    loop_timer_set_ms(j->retry, j->retry_ms);
}

static void note_success(struct job_journal *j)
{
    if (j->error != 0) {
        log_info(NULL, "jobs.journal.write_works", KV_STR("file", job_file_path(j->file)));
    }
    j->error = 0;
}

static void appended(struct job_journal *j)
{
    struct task *const t = &j->task;
    if (t->error != 0) {
        note_error(j, t->error);
    } else {
        note_success(j);
        j->syncs++;
    }
    for (size_t i = 0; i < t->count; i++) {
        struct job_entry *const e = t->pieces[i].user;
        struct job_place *const p = job_entry_place(e);
        if (t->error == 0) {
            // Whether this piece was a put or a removal is in its frame, the entry may have changed.
            struct job_frame f;
            bool const put =
                job_frame_read(bytes_of(t->data.p + t->pieces[i].offset, t->pieces[i].len), &f) ==
                    0 &&
                f.kind == JOB_FRAME_PUT;
            j->live -= p->len;
            p->len = put ? t->pieces[i].len : 0;
            p->offset = t->at + t->pieces[i].offset;
            j->live += p->len;
        }
        job_table_finish(&j->store->table, e, t->error);
    }
    if (t->error != 0) {
        job_table_fail_waits(&j->store->table, t->error);
    }
}

// Gives the thread something to do if there is something.
static void next_task(struct job_journal *j)
{
    if (is_busy(j) || !j->loaded) {
        return;
    }
    if (j->size > j->compact_at && j->size > 2 * j->live && start_rewrite(j)) {
        return;
    }
    if (j->error != 0 && loop_timer_is_set(j->retry)) {
        return;
    }
    if (j->store->table.dirty_count > 0 && !start_append(j) && j->store->table.dirty_count > 0) {
        note_error(j, -ENOMEM);
    }
}

// ---- loading --------------------------------------------------------------------------------

struct loading {
    struct job_journal *j;
    bool no_memory;
};

static void on_frame(void *user, const struct job_frame *f, size_t offset)
{
    struct loading *const l = user;
    struct job_table *const table = &l->j->store->table;
    const struct job_record *const r = &f->record;
    struct job_entry *e = NULL;
    if (f->kind == JOB_FRAME_REMOVE) {
        e = job_table_find(table, r->room, r->identity);
        if (e != NULL) {
            l->j->live -= job_entry_place(e)->len;
            job_table_drop(table, e);
        }
        return;
    }
    e = job_table_loaded(table, r);
    if (e == NULL) {
        l->no_memory = true;
        return;
    }
    struct job_place *const p = job_entry_place(e);
    l->j->live += f->len - p->len;
    p->offset = offset;
    p->len = (uint32_t)f->len;
}

// Hands out what is current of the content.
static size_t give_all(struct job_journal *j, struct bytes content)
{
    struct job_table *const table = &j->store->table;
    size_t given = 0;
    struct job_entry *next = NULL;
    for (struct job_entry *e = job_table_next(table, NULL); e != NULL; e = next) {
        const struct job_place p = *job_entry_place(e);
        struct job_frame f;
        if (p.len > 0 && job_frame_read(bytes_of(content.p + p.offset, p.len), &f) == 0) {
            job_store_give_(j->store, &f.record);
            given++;
        }
        // Only now: the caller may have added some. None is freed while it is stored.
        next = job_table_next(table, e);
    }
    return given;
}

static void read_done(struct job_journal *j)
{
    struct task *const t = &j->task;
    struct job_load load = {.text = ""};
    char text[JOB_STORE_ERROR_MAX];
    j->loaded = true;
    set_compact_at(j, 0);
    if (t->error != 0) {
        (void)snprintf(text, sizeof(text), "cannot read %s: %s", job_file_path(j->file),
                       strerror(-t->error));
        load.result = JOB_LOAD_FAILED;
        load.text = text;
        job_store_loaded_(j->store, &load);
        return;
    }
    struct loading l = {.j = j};
    struct job_scan scan;
    struct bytes const content = bytes_of(t->content, t->content_n);
    job_frame_scan(content, on_frame, &l, &scan);
    if (scan.tail > 0) {
        job_file_set_size(j->file, scan.end);
    }
    if (scan.tail > 0 || scan.gaps > 0) {
        log_warn(NULL, "jobs.journal.damaged", KV_STR("file", job_file_path(j->file)),
                 KV_U64("whole_records", scan.frames), KV_U64("damaged_places", scan.gaps),
                 KV_U64("damaged_bytes", scan.gap_bytes), KV_U64("cut_tail_bytes", scan.tail));
    }
    j->size = job_file_size(j->file);
    // Reported once: the damage is not kept.
    if (scan.gaps > 0) {
        j->compact_at = 0;
        j->size = MAX(j->size, 2 * j->live + 1);
    }
    load.broken = scan.gaps + (scan.tail > 0);
    load.records = give_all(j, content);
    if (l.no_memory) {
        load.result = JOB_LOAD_FAILED;
        load.text = "not enough memory for all stored jobs";
    }
    // Before the callback, which may take its time.
    clear_task(t);
    job_store_loaded_(j->store, &load);
}

// ---- events ---------------------------------------------------------------------------------

static void on_wake(void *user)
{
    struct job_journal *const j = user;
    (void)pthread_mutex_lock(&j->lock);
    bool const done = j->task.kind != TASK_NONE && j->task.done;
    (void)pthread_mutex_unlock(&j->lock);
    if (!done) {
        return;
    }
    enum task_kind const kind = j->task.kind;
    if (kind == TASK_READ) {
        read_done(j);
    } else if (kind == TASK_APPEND) {
        appended(j);
    } else {
        rewritten(j);
    }
    clear_task(&j->task);
    (void)pthread_mutex_lock(&j->lock);
    j->task.kind = TASK_NONE;
    (void)pthread_mutex_unlock(&j->lock);
    if (kind != TASK_READ) {
        j->size = job_file_size(j->file);
    }
    next_task(j);
    job_store_progress_(j->store);
}

static void on_retry(void *user)
{
    next_task(user);
}

static void journal_load(struct job_backend *b)
{
    start_task((struct job_journal *)b, TASK_READ);
}

static void journal_kick(struct job_backend *b, bool urgent)
{
    struct job_journal *const j = (struct job_journal *)b;
    if (urgent) {
        loop_timer_stop(j->retry);
    } else if (j->error != 0) {
        job_table_fail_waits(&j->store->table, j->error);
    }
    next_task(j);
}

static void journal_stats(const struct job_backend *b, struct job_store_stats *ret)
{
    const struct job_journal *const j = (const struct job_journal *)b;
    ret->syncs = j->syncs;
    ret->file_bytes = j->size;
    ret->up = j->error == 0;
}

static void journal_free(struct job_backend *b)
{
    struct job_journal *const j = (struct job_journal *)b;
    if (j->thread.running) {
        (void)pthread_mutex_lock(&j->lock);
        j->quit = true;
        (void)pthread_cond_signal(&j->changed);
        (void)pthread_mutex_unlock(&j->lock);
        thread_join(&j->thread);
    }
    if (j->has_lock) {
        (void)pthread_cond_destroy(&j->changed);
        (void)pthread_mutex_destroy(&j->lock);
    }
    clear_task(&j->task);
    loop_wake_free(j->wake);
    loop_timer_free(j->retry);
    job_file_close(j->file);
    mem_free(j);
}

static const struct job_backend_ops ops = {
    .load = journal_load,
    .kick = journal_kick,
    .stats = journal_stats,
    .free = journal_free,
};

int job_journal_new(struct job_store *s, const struct job_store_conf *conf,
                    struct job_backend **ret, char err[static JOB_STORE_ERROR_MAX])
{
    struct job_journal *const j = NEW(struct job_journal);
    if (j == NULL) {
        return -ENOMEM;
    }
    j->backend.ops = &ops;
    j->store = s;
    dynbuf_init(&j->task.data, BATCH_MAX);
    int r = job_file_open(conf->state_dir, &j->file, err);
    if (r == 0) {
        j->size = job_file_size(j->file);
        j->wake = loop_wake_new(conf->loop, on_wake, j);
        j->retry = loop_timer_new(conf->loop, on_retry, j);
        j->has_lock = pthread_mutex_init(&j->lock, NULL) == 0;
        j->has_lock = pthread_cond_init(&j->changed, NULL) == 0 && j->has_lock;
        r = j->wake != NULL && j->retry != NULL && j->has_lock
                ? thread_start(&j->thread, "journal", -1, writer, j)
                : -ENOMEM;
        if (r != 0) {
            (void)snprintf(err, JOB_STORE_ERROR_MAX, "cannot start the journal's thread");
        }
    }
    if (r != 0) {
        journal_free(&j->backend);
        return r;
    }
    *ret = &j->backend;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_redis.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "jwt-service/leave/job_frame.h"

// Between attempts to read at the start.
#define LOAD_RETRY_MS 1000

// After a refusal (full memory, read-only replica), doubled up to the maximum.
#define REFUSED_MIN_MS 1000
#define REFUSED_MAX_MS 30000

static void pump(struct job_redis *j);

// ---- writing --------------------------------------------------------------------------------

static void note_refused(struct job_redis *j, struct bytes text)
{
    j->pause_ms = j->refused ? MIN(j->pause_ms * 2, REFUSED_MAX_MS) : REFUSED_MIN_MS;
    if (!j->refused) {
        log_error(NULL, "jobs.redis.write_refused", KV_BYTES("answer", text),
                  KV_STR("hint", "jobs go on in memory and are written when it works again"));
    }
    j->refused = true;
    loop_timer_set_ms(j->timer, j->pause_ms);
}

static void on_written(void *user, const struct redis_answer *a)
{
    struct job_writing *const w = user;
    struct job_redis *const j = w->of;
    struct job_entry *const e = w->entry;
    int error = 0;
    w->next = j->writing_free;
    j->writing_free = w;
    if (a->type == REDIS_ANSWER_LOST) {
        error = -EAGAIN; // told when it turns out to be gone
    } else if (a->type == REDIS_ANSWER_ERROR) {
        error = -EIO;
        if (!j->refused || !loop_timer_is_set(j->timer)) {
            note_refused(j, a->text);
        }
    } else {
        struct job_place *const p = job_entry_place(e);
        mem_free(p->text);
        p->text = NULL;
        if (j->refused) {
            log_info(NULL, "jobs.redis.write_works");
        }
        j->refused = false;
    }
    job_table_finish(&j->store->table, e, error);
    if (error == -EIO) {
        job_table_fail_waits(&j->store->table, error);
    }
    pump(j);
    job_store_progress_(j->store);
}

// Appends what is to stand in the hash. -ENOENT: nobody has the record any more.
static int encode(struct job_redis *j, const struct job_entry *e, struct dynbuf *out)
{
    const struct job_store_conf *const conf = &j->store->conf;
    struct bytes const frame = job_entry_frame(e);
    struct job_frame f = {0};
    if (frame.n > 0) {
        int const r = job_frame_read(frame, &f);
        if (r != 0) {
            return r;
        }
    } else if (conf->record == NULL ||
               !conf->record(conf->user, job_entry_room(e), job_entry_identity(e), &f.record)) {
        return -ENOENT;
    }
    return job_codec_value(&f.record, j->leases ? j->instance : "", out);
}

// Sends the write of an entry that was taken. Negative errno: it was not sent.
static int write_entry(struct job_redis *j, struct job_entry *e)
{
    const char *const other = job_entry_place(e)->text;
    bool const removed = job_entry_is_removed(e);
    dynbuf_reset(&j->field_text);
    dynbuf_reset(&j->value_text);
    job_codec_field(job_entry_room(e), job_entry_identity(e), &j->field_text);
    int r = dynbuf_ok(&j->field_text) ? 0 : -ENOMEM;
    if (r == 0 && !removed) {
        r = encode(j, e, &j->value_text);
    }
    const char *const field = r == 0 ? dynbuf_cstr(&j->field_text) : NULL;
    const char *const value = r == 0 ? dynbuf_cstr(&j->value_text) : NULL;
    if (field == NULL || value == NULL) {
        return r != 0 ? r : -ENOMEM;
    }
    struct job_writing *const w = j->writing_free;
    w->entry = e;
    // Words of a spelling that the original chose are deleted along with what replaces them.
    const char *const drop[] = {"HDEL", JOB_REDIS_KEY, field, other};
    const char *const set[] = {"HSET", JOB_REDIS_KEY, field, value};
    struct redis_ask const how = {.on_answer = on_written, .user = w};
    if (removed) {
        r = job_redis_ask_(j, &how, drop, other != NULL ? 4 : 3);
    } else {
        const char *const only[] = {"HDEL", JOB_REDIS_KEY, other};
        r = other != NULL ? job_redis_ask_(j, &(struct redis_ask){0}, only, 3) : 0;
        r = r == 0 ? job_redis_ask_(j, &how, set, 4) : r;
    }
    if (r == 0) {
        j->writing_free = w->next;
    }
    return r;
}

static bool may_write(const struct job_redis *j)
{
    return j->phase == JOB_REDIS_READY && redis_is_up(j->redis) &&
           !(j->refused && loop_timer_is_set(j->timer));
}

static void pump(struct job_redis *j)
{
    struct job_table *const table = &j->store->table;
    while (may_write(j) && j->writing_free != NULL) {
        struct job_entry *const e = job_table_take(table);
        if (e == NULL) {
            break;
        }
        int const r = write_entry(j, e);
        if (r != 0) {
            job_table_finish(table, e, r == -ENOTCONN ? -EAGAIN : r);
            if (r == -ENOENT) {
                job_store_progress_(j->store);
                continue;
            }
            if (r != -ENOTCONN) {
                note_refused(j, bytes_str("out of memory here"));
            }
            return;
        }
    }
    if (j->count_due && may_write(j) && job_table_pending(table) == 0) {
        j->count_due = false;
        job_redis_count_(j);
    }
}

// ---- loading --------------------------------------------------------------------------------

static void loaded(struct job_redis *j, struct job_load *load)
{
    // What was put meanwhile goes out now.
    j->phase = load->result == JOB_LOAD_UNREACHABLE ? JOB_REDIS_DEAD : JOB_REDIS_READY;
    loop_timer_stop(j->timer);
    load->records = j->given;
    if (load->result != JOB_LOAD_OK) {
        load->text = j->why;
    }
    job_store_loaded_(j->store, load);
    pump(j);
}

static void unreachable(struct job_redis *j)
{
    char why[sizeof(j->why)];
    (void)snprintf(why, sizeof(why), "%s", j->why[0] != '\0' ? j->why : "no answer in time");
    (void)snprintf(j->why, sizeof(j->why), "Could not connect Redis store: %.400s", why);
    loaded(j, &(struct job_load){.result = JOB_LOAD_UNREACHABLE});
}

static void load_failed(struct job_redis *j)
{
    loaded(j, &(struct job_load){.result = JOB_LOAD_FAILED});
}

static void delete_bad(struct job_redis *j)
{
    struct dynbuf *const bad = &j->scan.bad;
    for (size_t at = 0; dynbuf_ok(bad) && at < bad->n;) {
        const char *const field = (const char *)bad->p + at;
        const char *const words[] = {"HDEL", JOB_REDIS_KEY, field};
        (void)!job_redis_ask_(j, &(struct redis_ask){0}, words, 3);
        at += strlen(field) + 1;
    }
}

void job_redis_scanned_(struct job_redis *j, int error)
{
    if (j->phase != JOB_REDIS_LOADING) {
        pump(j);
        job_store_progress_(j->store);
        return;
    }
    if (error != 0) {
        if (mono_diff_ms(loop_now(j->loop), j->load_start) >= JOB_STORE_LOAD_MS) {
            load_failed(j);
        } else {
            loop_timer_set_ms(j->timer, LOAD_RETRY_MS);
        }
        return;
    }
    if (j->scan.broken > 0) {
        log_warn(NULL, "jobs.redis.bad_entries", KV_U64("count", j->scan.broken),
                 KV_STR("key", JOB_REDIS_KEY));
        delete_bad(j);
    }
    struct job_load load = {
        .text = "", .broken = j->scan.broken, .foreign = j->scan.foreign - j->scan.broken};
    loaded(j, &load);
}

static void on_load_timer(struct job_redis *j)
{
    int64_t const ms = mono_diff_ms(loop_now(j->loop), j->load_start);
    if (!j->was_up) {
        // Time is over when something went wrong already, else when the one attempt takes too long.
        if (j->why[0] != '\0' || ms >= JOB_REDIS_START_MAX_MS) {
            unreachable(j);
        } else {
            loop_timer_set(j->timer, mono_add_ms(j->load_start, JOB_REDIS_START_MAX_MS));
        }
        return;
    }
    if (ms >= JOB_STORE_LOAD_MS && !j->scan.running) {
        load_failed(j);
        return;
    }
    if (!job_redis_scan_(j, false)) {
        loop_timer_set_ms(j->timer, LOAD_RETRY_MS);
    }
}

// ---- the connection -------------------------------------------------------------------------

static void now_up(struct job_redis *j)
{
    j->connections++;
    if (j->downs > 0 && j->was_up) {
        log_info(NULL, "jobs.redis.up");
    }
    j->downs = 0;
    j->count_due = j->was_up;
    j->was_up = true;
    job_redis_lease_(j);
    if (j->phase == JOB_REDIS_LOADING) {
        loop_timer_set_ms(j->timer, 0);
    } else if (j->phase == JOB_REDIS_READY) {
        pump(j);
    }
}

// Not only lost, but not to be had again at once.
static bool is_gone(const struct job_redis *j)
{
    return j->downs > 1 && !redis_is_up(j->redis);
}

static void now_down(struct job_redis *j, const char *why)
{
    (void)snprintf(j->why, sizeof(j->why), "%s", why);
    if (j->phase == JOB_REDIS_LOADING && !j->was_up) {
        if (mono_diff_ms(loop_now(j->loop), j->load_start) >= JOB_REDIS_START_MS) {
            unreachable(j);
        }
        return;
    }
    if (j->downs++ == 0 && j->phase == JOB_REDIS_READY) {
        log_error(NULL, "jobs.redis.down", KV_STR("error", why),
                  KV_STR("hint", "jobs go on in memory and are written when it is back"));
    }
    if (is_gone(j)) {
        job_table_fail_waits(&j->store->table, -ENOTCONN);
    }
}

static void on_state(void *user, bool up, const char *why)
{
    struct job_redis *const j = user;
    if (up) {
        now_up(j);
    } else {
        now_down(j, why);
    }
}

static void on_timer(void *user)
{
    struct job_redis *const j = user;
    if (j->phase == JOB_REDIS_LOADING) {
        on_load_timer(j);
    } else {
        pump(j);
    }
}

static void on_lease_timer(void *user)
{
    job_redis_lease_timer_(user);
}

// ---- the backend ----------------------------------------------------------------------------

static void redis_load(struct job_backend *b)
{
    struct job_redis *const j = (struct job_redis *)b;
    j->phase = JOB_REDIS_LOADING;
    j->load_start = loop_now(j->loop);
    loop_timer_set_ms(j->timer, j->was_up ? 0 : JOB_REDIS_START_MS);
}

static void redis_kick(struct job_backend *b, bool urgent)
{
    struct job_redis *const j = (struct job_redis *)b;
    if (urgent && j->phase == JOB_REDIS_READY) {
        loop_timer_stop(j->timer);
    } else if (j->phase == JOB_REDIS_READY && is_gone(j)) {
        job_table_fail_waits(&j->store->table, -ENOTCONN);
    } else if (j->refused) {
        job_table_fail_waits(&j->store->table, -EIO);
    }
    pump(j);
}

static void redis_stats(const struct job_backend *b, struct job_store_stats *ret)
{
    const struct job_redis *const j = (const struct job_redis *)b;
    ret->syncs = j->connections;
    ret->up = redis_is_up(j->redis) && !j->refused;
}

static void redis_backend_free(struct job_backend *b)
{
    struct job_redis *const j = (struct job_redis *)b;
    if (j->redis != NULL) {
        job_redis_lease_end_(j);
        redis_free(j->redis);
    }
    dynbuf_done(&j->scan.field);
    dynbuf_done(&j->scan.bad);
    dynbuf_done(&j->field_text);
    dynbuf_done(&j->value_text);
    loop_timer_free(j->timer);
    loop_timer_free(j->lease_timer);
    mem_free(j);
}

static const struct job_backend_ops ops = {
    .load = redis_load,
    .kick = redis_kick,
    .stats = redis_stats,
    .free = redis_backend_free,
};

static int connect_redis(struct job_redis *j, const struct job_store_conf *conf,
                         char err[static JOB_STORE_ERROR_MAX])
{
    struct redis_url url;
    char why[REDIS_URL_ERROR_MAX];
    if (redis_url_parse(conf->redis_url, &url, why) != 0) {
        (void)snprintf(err, JOB_STORE_ERROR_MAX, "%s", why);
        return -EINVAL;
    }
    if (conf->redis_password != NULL && conf->redis_password[0] != '\0') {
        if (strlen(conf->redis_password) >= sizeof(url.password)) {
            (void)snprintf(err, JOB_STORE_ERROR_MAX, "redis: the password is too long");
            redis_url_wipe(&url);
            return -EINVAL;
        }
        (void)snprintf(url.password, sizeof(url.password), "%s", conf->redis_password);
    }
    j->redis = redis_new(&(struct redis_conf){.loop = conf->loop,
                                              .dns = conf->dns,
                                              .url = &url,
                                              .ca_file = conf->ca_file,
                                              .on_state = on_state,
                                              .user = j});
    redis_url_wipe(&url);
    if (j->redis == NULL) {
        (void)snprintf(err, JOB_STORE_ERROR_MAX, "redis: out of memory or unreadable certificates");
        return -EINVAL;
    }
    return 0;
}

int job_redis_new(struct job_store *s, const struct job_store_conf *conf, struct job_backend **ret,
                  char err[static JOB_STORE_ERROR_MAX])
{
    struct job_redis *const j = NEW(struct job_redis);
    if (j == NULL) {
        return -ENOMEM;
    }
    j->backend.ops = &ops;
    j->store = s;
    j->loop = conf->loop;
    for (size_t i = 0; i < JOB_REDIS_IN_FLIGHT; i++) {
        j->writing[i] = (struct job_writing){.of = j, .next = j->writing_free};
        j->writing_free = &j->writing[i];
    }
    dynbuf_init(&j->field_text, REDIS_ITEM_MAX);
    dynbuf_init(&j->value_text, REDIS_ITEM_MAX);
    int r = 0;
    if (conf->instance != NULL && conf->instance[0] != '\0') {
        j->leases = true;
        if (strlen(conf->instance) >= sizeof(j->instance)) {
            (void)snprintf(err, JOB_STORE_ERROR_MAX, "redis: the instance's name is too long");
            r = -EINVAL;
        }
        (void)snprintf(j->instance, sizeof(j->instance), "%s", conf->instance);
    }
    j->timer = loop_timer_new(conf->loop, on_timer, j);
    j->lease_timer = loop_timer_new(conf->loop, on_lease_timer, j);
    if (j->timer == NULL || j->lease_timer == NULL) {
        r = -ENOMEM;
    }
    if (r == 0) {
        r = connect_redis(j, conf, err);
    }
    if (r != 0) {
        redis_backend_free(&j->backend);
        return r;
    }
    *ret = &j->backend;
    return 0;
}

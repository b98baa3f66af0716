// SPDX-License-Identifier: Apache-2.0
// Reading the hash as a whole, and who it belongs to.
#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "jwt-service/leave/job_frame.h"
#include "jwt-service/leave/job_redis.h"

// A large hash takes Redis this long before the first item, on a slow machine.
#define SCAN_TIMEOUT_MS 10000

// Looks after the start are that far apart at least: each moves the whole hash.
#define SCAN_PAUSE_MS 15000

// A job of a living owner that is this late is abandoned: connected ones restart at 80 % of their
// time, waiting ones are over with it.
#define OVERDUE_TENTHS 9
#define OVERDUE_GRACE_US (60 * US_PER_S)

// Memory for the names of bad fields.
#define BAD_MAX (64u << 10)

int job_redis_ask_(struct job_redis *j, const struct redis_ask *how, const char *const *words,
                   size_t n)
{
    struct bytes args[8];
    struct redis_ask ask = *how;
    assert(n <= ARRAY_LEN(args));
    for (size_t i = 0; i < n; i++) {
        args[i] = bytes_str(words[i]);
    }
    ask.args = args;
    ask.count = n;
    return redis_send(j->redis, &ask);
}

// ---- owners ---------------------------------------------------------------------------------

static struct job_owner *find_owner(struct job_redis *j, const char *name)
{
    for (size_t i = 0; i < j->owner_count; i++) {
        if (strcmp(j->owners[i].name, name) == 0) {
            return &j->owners[i];
        }
    }
    return NULL;
}

// NULL: too many, or a name that is none of ours; its jobs are left alone.
static struct job_owner *need_owner(struct job_redis *j, const char *name)
{
    struct job_owner *const known = find_owner(j, name);
    if (known != NULL) {
        return known;
    }
    if (j->owner_count == JOB_REDIS_OWNERS || strlen(name) >= JOB_REDIS_OWNER_MAX) {
        return NULL;
    }
    struct job_owner *const o = &j->owners[j->owner_count++];
    *o = (struct job_owner){.of = j, .alive = true};
    (void)snprintf(o->name, sizeof(o->name), "%s", name);
    return o;
}

static bool is_overdue(const struct job_record *r, wall_t now)
{
    int64_t const delay_us = r->delay_timeout_ns / 1000;
    if (r->state == JOB_CONNECTED) {
        return now.us - r->restarted_at.us > delay_us / 10 * OVERDUE_TENTHS;
    }
    return now.us - r->restarted_at.us > delay_us + OVERDUE_GRACE_US;
}

static bool is_ours(struct job_redis *j, const struct job_decoded *d)
{
    if (!j->leases || d->owner[0] == '\0' || strcmp(d->owner, j->instance) == 0) {
        // After the start only what has an owner who died: a record without one belongs to an
        // original service that runs beside us.
        return !j->leases || !j->scan.taking || d->owner[0] != '\0';
    }
    const struct job_owner *const o = need_owner(j, d->owner);
    return (o != NULL && o->ours) || is_overdue(&d->record, loop_wall(j->loop));
}

// ---- items ----------------------------------------------------------------------------------

static void note_bad(struct job_redis *j, wall_t age)
{
    struct job_scan_state *const s = &j->scan;
    s->broken++;
    s->foreign++;
    if (age.us > 0 && loop_wall(j->loop).us - age.us > JOB_REDIS_BAD_AGE_US &&
        s->bad.n + s->field.n < BAD_MAX) {
        dynbuf_add(&s->bad, dynbuf_view(&s->field));
        dynbuf_add_u8(&s->bad, 0);
    }
}

// Remembers another spelling of the field, to be deleted with the next write of the key.
static void note_spelling(struct job_redis *j, struct job_entry *e, const struct job_record *r)
{
    // ["room","identity"] cannot be shorter, and what is as short is spelled like ours.
    if (j->scan.field.n == strlen(r->room) + strlen(r->identity) + strlen("[\"\",\"\"]")) {
        return;
    }
    dynbuf_reset(&j->field_text);
    job_codec_field(r->room, r->identity, &j->field_text);
    struct job_place *const p = job_entry_place(e);
    if (p->text == NULL && dynbuf_ok(&j->field_text) &&
        !bytes_eq(dynbuf_view(&j->field_text), dynbuf_view(&j->scan.field))) {
        p->text = mem_strndup((const char *)j->scan.field.p, j->scan.field.n);
    }
}

static void take_record(struct job_redis *j, const struct job_decoded *d)
{
    struct job_table *const table = &j->store->table;
    if (!is_ours(j, d)) {
        j->scan.foreign += job_table_find(table, d->record.room, d->record.identity) == NULL;
        return;
    }
    size_t const before = table->count;
    struct job_entry *const e = job_table_loaded(table, &d->record);
    if (e == NULL) {
        j->scan.no_memory = true;
        return;
    }
    note_spelling(j, e, &d->record);
    if (table->count == before) {
        return; // what we have is newer, or the reading began anew
    }
    if (j->leases && strcmp(d->owner, j->instance) != 0) {
        job_table_rewrite(table, e, JOB_STALE_CLAIM); // our name goes in
    }
    // May put or remove the key.
    if (j->scan.taking) {
        job_store_give_late_(j->store, &d->record);
    } else {
        j->given++;
        job_store_give_(j->store, &d->record);
    }
}

static void on_item(void *user, size_t index, struct bytes item)
{
    struct job_redis *const j = user;
    struct job_scan_state *const s = &j->scan;
    if (index % 2 == 0) {
        dynbuf_reset(&s->field);
        dynbuf_add(&s->field, item);
        return;
    }
    struct job_decoded d;
    wall_t age = {0};
    int const e =
        dynbuf_ok(&s->field) ? job_codec_decode(dynbuf_view(&s->field), item, &d, &age) : -ENOMEM;
    if (e == -ENOMEM) {
        s->no_memory = true;
    } else if (e != 0) {
        note_bad(j, age);
    } else {
        take_record(j, &d);
        job_decoded_done(&d);
    }
}

// ---- the look -------------------------------------------------------------------------------

static void end_scan(struct job_redis *j, int error)
{
    j->scan.running = false;
    // Whose jobs are ours now is over. The others are watched.
    size_t n = 0;
    for (size_t i = 0; i < j->owner_count; i++) {
        if (!j->owners[i].ours) {
            j->owners[n++] = j->owners[i];
        }
    }
    j->owner_count = n;
    j->next_scan = mono_add_ms(loop_now(j->loop), SCAN_PAUSE_MS);
    j->foreign = j->scan.foreign;
    dynbuf_done(&j->scan.field);
    job_redis_scanned_(j, error != 0 ? error : j->scan.no_memory ? -ENOMEM : 0);
    dynbuf_done(&j->scan.bad);
}

static void read_all(struct job_redis *j);

// An answer about an owner is there; with the last one it is known whose records are ours.
static void owner_answered(struct job_redis *j)
{
    if (--j->scan.awaited > 0) {
        return;
    }
    bool some = false;
    for (size_t i = 0; i < j->owner_count; i++) {
        some = some || j->owners[i].ours;
    }
    if (some && !j->scan.again) {
        j->scan.again = true;
        read_all(j);
        return;
    }
    end_scan(j, 0);
}

static void claimed(struct job_owner *o)
{
    o->ours = true;
    log_info(NULL, "jobs.redis.takeover", KV_STR("from", o->name),
             KV_STR("instance", o->of->instance));
    owner_answered(o->of);
}

static void on_claimant(void *user, const struct redis_answer *a)
{
    struct job_owner *const o = user;
    if (a->type == REDIS_ANSWER_TEXT && bytes_eq_str(a->text, o->of->instance)) {
        claimed(o);
    } else {
        owner_answered(o->of);
    }
}

static void on_claim(void *user, const struct redis_answer *a)
{
    struct job_owner *const o = user;
    char key[JOB_REDIS_OWNER_MAX + 32];
    if (a->type == REDIS_ANSWER_TEXT) { // OK
        claimed(o);
        return;
    }
    if (a->type == REDIS_ANSWER_NIL) {
        // Another one was faster, or we were, before the connection broke.
        (void)snprintf(key, sizeof(key), "lk-jwt:takeover:%s", o->name);
        const char *const words[] = {"GET", key};
        struct redis_ask const how = {.on_answer = on_claimant, .user = o};
        if (job_redis_ask_(o->of, &how, words, 2) == 0) {
            return;
        }
    }
    owner_answered(o->of);
}

static void on_exists(void *user, const struct redis_answer *a)
{
    struct job_owner *const o = user;
    struct job_redis *const j = o->of;
    char key[JOB_REDIS_OWNER_MAX + 32];
    char ms[16];
    // In doubt it lives.
    o->alive = a->type != REDIS_ANSWER_INT || a->number != 0;
    if (!o->alive) {
        (void)snprintf(key, sizeof(key), "lk-jwt:takeover:%s", o->name);
        (void)snprintf(ms, sizeof(ms), "%d", JOB_REDIS_LEASE_MS);
        const char *const words[] = {"SET", key, j->instance, "NX", "PX", ms};
        struct redis_ask const how = {.on_answer = on_claim, .user = o};
        if (job_redis_ask_(j, &how, words, 6) == 0) {
            return;
        }
    }
    owner_answered(j);
}

// Asks whether the others live.
static void ask_owners(struct job_redis *j)
{
    j->scan.awaited = 1; // our own, so that it does not end in between
    for (size_t i = 0; i < j->owner_count; i++) {
        char key[JOB_REDIS_OWNER_MAX + 32];
        struct job_owner *const o = &j->owners[i];
        (void)snprintf(key, sizeof(key), "lk-jwt:lease:%s", o->name);
        const char *const words[] = {"EXISTS", key};
        struct redis_ask const how = {.on_answer = on_exists, .user = o};
        o->ours = false;
        j->scan.awaited += job_redis_ask_(j, &how, words, 2) == 0;
    }
    owner_answered(j);
}

static void on_all(void *user, const struct redis_answer *a)
{
    struct job_redis *const j = user;
    if (a->type != REDIS_ANSWER_ARRAY) {
        (void)snprintf(j->why, sizeof(j->why), "HGETALL: %.*s", (int)MIN(a->text.n, 300),
                       a->text.n > 0 ? (const char *)a->text.p : "not a hash");
        end_scan(j, -EIO);
        return;
    }
    if (j->owner_count > 0 && j->leases && !j->scan.again) {
        ask_owners(j);
        return;
    }
    end_scan(j, 0);
}

static void read_all(struct job_redis *j)
{
    static const char *const words[] = {"HGETALL", JOB_REDIS_KEY};
    struct redis_ask const how = {
        .on_item = on_item, .on_answer = on_all, .user = j, .timeout_ms = SCAN_TIMEOUT_MS};
    j->scan.broken = 0;
    j->scan.foreign = 0;
    dynbuf_reset(&j->scan.bad);
    if (job_redis_ask_(j, &how, words, 2) != 0) {
        end_scan(j, -ENOTCONN);
    }
}

bool job_redis_scan_(struct job_redis *j, bool taking)
{
    if (j->scan.running || !redis_is_up(j->redis)) {
        return false;
    }
    j->scan = (struct job_scan_state){.running = true, .taking = taking};
    dynbuf_init(&j->scan.field, REDIS_ITEM_MAX);
    dynbuf_init(&j->scan.bad, BAD_MAX + REDIS_ITEM_MAX);
    j->owner_count = 0;
    read_all(j);
    return true;
}

// ---- leases ---------------------------------------------------------------------------------

static void on_renewed(void *user, const struct redis_answer *a)
{
    struct job_redis *const j = user;
    // Other refusals (full memory, loading, read-only) pass.
    if (a->type != REDIS_ANSWER_ERROR || a->text.n < 3 ||
        (memcmp(a->text.p, "ERR", 3) != 0 && memcmp(a->text.p, "NOP", 3) != 0)) {
        return;
    }
    // An old or restricted server: every instance runs everything, as with the original.
    j->leases = false;
    loop_timer_stop(j->lease_timer);
    if (!j->lease_told) {
        j->lease_told = true;
        log_info(NULL, "jobs.redis.no_leases", KV_BYTES("answer", a->text));
    }
}

static void renew(struct job_redis *j)
{
    char key[JOB_REDIS_OWNER_MAX + 32];
    char ms[16];
    (void)snprintf(key, sizeof(key), "lk-jwt:lease:%s", j->instance);
    (void)snprintf(ms, sizeof(ms), "%d", JOB_REDIS_LEASE_MS);
    const char *const words[] = {"SET", key, "1", "PX", ms};
    struct redis_ask const how = {.on_answer = on_renewed, .user = j};
    (void)!job_redis_ask_(j, &how, words, 5);
}

static void arm_lease(struct job_redis *j)
{
    loop_timer_set_ms(j->lease_timer, j->owner_count > 0 ? JOB_REDIS_WATCH_MS : JOB_REDIS_RENEW_MS);
}

void job_redis_lease_(struct job_redis *j)
{
    if (j->leases) {
        renew(j);
        arm_lease(j);
    }
}

static void on_watched(void *user, const struct redis_answer *a)
{
    struct job_owner *const o = user;
    struct job_redis *const j = o->of;
    if (a->type != REDIS_ANSWER_INT || j->scan.running) {
        return;
    }
    // At once when it has just died; if it was another who took over, its name comes in soon.
    bool const died = a->number == 0 && o->alive;
    o->alive = a->number != 0;
    if (died || (a->number == 0 && mono_reached(j->next_scan, loop_now(j->loop)))) {
        (void)job_redis_scan_(j, true);
    }
}

void job_redis_lease_timer_(struct job_redis *j)
{
    if (!j->leases || !redis_is_up(j->redis)) {
        return; // goes on when the connection is up
    }
    renew(j);
    for (size_t i = 0; i < j->owner_count && !j->scan.running; i++) {
        char key[JOB_REDIS_OWNER_MAX + 32];
        (void)snprintf(key, sizeof(key), "lk-jwt:lease:%s", j->owners[i].name);
        const char *const words[] = {"EXISTS", key};
        struct redis_ask const how = {.on_answer = on_watched, .user = &j->owners[i]};
        (void)!job_redis_ask_(j, &how, words, 2);
    }
    if (j->phase == JOB_REDIS_READY) {
        job_redis_count_(j);
    }
    arm_lease(j);
}

void job_redis_lease_end_(struct job_redis *j)
{
    char key[JOB_REDIS_OWNER_MAX + 32];
    if (j->leases && redis_is_up(j->redis)) {
        (void)snprintf(key, sizeof(key), "lk-jwt:lease:%s", j->instance);
        const char *const words[] = {"DEL", key};
        (void)!job_redis_ask_(j, &(struct redis_ask){0}, words, 2);
    }
}

// ---- what the server has --------------------------------------------------------------------

static void on_count(void *user, const struct redis_answer *a)
{
    struct job_redis *const j = user;
    struct job_table *const table = &j->store->table;
    if (a->type != REDIS_ANSWER_INT || job_table_pending(table) > 0) {
        j->count_due = a->type == REDIS_ANSWER_INT || a->type == REDIS_ANSWER_LOST;
        return; // on the move, or no such command
    }
    size_t const n = (size_t)MAX(a->number, 0);
    if (n < table->count) {
        log_warn(NULL, "jobs.redis.lost_data", KV_U64("jobs", table->count), KV_U64("found", n));
        for (struct job_entry *e = job_table_next(table, NULL); e != NULL;
             e = job_table_next(table, e)) {
            job_table_rewrite(table, e, JOB_STALE_LOST);
        }
        j->backend.ops->kick(&j->backend, true);
        return;
    }
    if (n <= table->count + j->foreign) {
        j->foreign = n - table->count;
    } else if (j->leases && j->phase == JOB_REDIS_READY &&
               mono_reached(j->next_scan, loop_now(j->loop))) {
        (void)job_redis_scan_(j, true);
    }
}

void job_redis_count_(struct job_redis *j)
{
    static const char *const words[] = {"HLEN", JOB_REDIS_KEY};
    struct redis_ask const how = {.on_answer = on_count, .user = j};
    (void)!job_redis_ask_(j, &how, words, 2);
}

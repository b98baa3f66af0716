// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/delayed_leave_manager.h"

#include <string.h>

#include "common/sys/log.h"
#include "common/sys/random.h"
#include "jwt-service/leave/delayed_leave_manager_internal.h"

// Timers served before the loop gets its turn again.
#define TIMERS_PER_TURN 1000

// Jobs that watch one identity: as many as one user may have (7.12).
#define WATCHING_MAX LEAVE_JOBS_PER_USER

// created_at is in whole seconds, of another clock.
#define OLD_SLACK_S 2

// ---- delegation -----------------------------------------------------------------------------

static void call_free(struct leave_call *c)
{
    timer_heap_cancel(&c->manager->timers, &c->timer);
    c->manager->calls--;
    mem_free(c);
}

static void call_end(struct leave_call *c)
{
    void (*const fn)(void *, enum leave_verdict) = c->fn;
    void *const user = c->user;
    enum leave_verdict const verdict = c->verdict;
    call_free(c);
    fn(user, verdict);
}

void leave_manager_cancel(struct leave_call *call)
{
    if (call->wait) {
        job_store_cancel(call->wait);
    }
    call_free(call);
}

static void on_stored(void *user, int error)
{
    struct leave_call *const c = user;
    c->wait = NULL;
    // -ECANCELED: the job was over before it was stored.
    if (error < 0 && error != -ECANCELED) {
        log_warn(NULL, "leave.not_stored_yet", KV_ERRNO("error", error));
    }
    call_end(c);
}

static enum leave_verdict admit(struct leave_manager *m, const struct leave_request *q,
                                const struct leave_job *old)
{
    if (m->closing) {
        return LEAVE_SHUTTING_DOWN;
    }
    if (!q->as_user && !delayed_event_allowed(m->conf.client, q->server_name)) {
        return LEAVE_REFUSED_BY_SERVER;
    }
    const struct leave_server *const s = leave_table_server(&m->table, q->server_name);
    const struct leave_user *const u = leave_table_user(&m->table, q->user_id);
    // The one that is replaced makes room for its successor.
    uint32_t const of_server = s ? s->jobs - (old && old->server == s) : 0;
    uint32_t const of_user = u ? u->jobs - (old && old->user == u) : 0;
    uint32_t const all = m->table.count - (old != NULL);
    bool const over = of_user >= LEAVE_JOBS_PER_USER || of_server >= LEAVE_JOBS_PER_SERVER ||
                      all >= LEAVE_JOBS_MAX;
    m->counts.limited += over;
    return over ? LEAVE_LIMIT : LEAVE_ACCEPTED;
}

static struct leave_job *job_new(struct leave_manager *m, const struct leave_job_conf *conf)
{
    struct leave_job *const j = leave_table_add(&m->table, conf);
    if (!j) {
        return NULL;
    }
    j->manager = m;
    j->timer.kind = LEAVE_TIMER_JOB;
    // One more for the shutdown.
    if (timer_heap_reserve(&m->timers, m->table.count + m->calls + 1) < 0) {
        leave_table_remove(&m->table, j);
        return NULL;
    }
    return j;
}

static int take_over(struct leave_manager *m, const struct leave_request *q, struct leave_job *old,
                     struct leave_call *c)
{
    struct leave_job_conf const conf = {
        .delay_id = q->delay_id,
        .server_name = q->server_name,
        .room = q->room,
        .identity = q->identity,
        .other_identity = q->other_identity,
        .user_id = q->user_id,
        .as_user = q->as_user,
    };
    mono_t const now = loop_now(m->conf.loop);
    struct leave_job *const j = job_new(m, &conf);
    if (!j) {
        return -ENOMEM;
    }
    struct leave_todo todo =
        old ? delayed_leave_inherit(&j->machine, q->delay_ms, &old->machine, now)
            : delayed_leave_begin(&j->machine, q->delay_ms, now);
    if (old) {
        leave_table_unpublish(&m->table, old);
    }
    if (leave_table_publish(&m->table, j) < 0) {
        assert(!old); // a table that had one has room for another
        leave_table_remove(&m->table, j);
        return -ENOMEM;
    }
    j->restarted_at = loop_wall(m->conf.loop);
    j->created_at_s = j->restarted_at.us / US_PER_S;
    m->counts.begun++;
    leave_job_track(m, NULL, &j->machine);
    if (old) {
        leave_manager_feed(m, old, &(struct leave_input){.type = LEAVE_EVENT_REPLACED});
    }
    leave_job_save(j, on_stored, c);
    todo.bits &= ~(unsigned)LEAVE_DO_SAVE;
    log_debug(NULL, "leave.begun", KV_STR("server", q->server_name), KV_STR("room", q->room),
              KV_ID("identity", q->identity), KV_I64("delay_ms", q->delay_ms),
              KV_BOOL("replaces", old != NULL));
    leave_job_apply(m, j, &todo);
    return 0;
}

int leave_manager_delegate(struct leave_manager *m, const struct leave_request *q,
                           void (*fn)(void *user, enum leave_verdict verdict), void *user,
                           struct leave_call **ret)
{
    struct leave_call *const c = NEW(struct leave_call);
    if (!c || timer_heap_reserve(&m->timers, m->table.count + m->calls + 2) < 0) {
        mem_free(c);
        return -ENOMEM;
    }
    struct leave_job *const old = leave_table_find(&m->table, q->room, q->identity);
    *c = (struct leave_call){
        .manager = m,
        .fn = fn,
        .user = user,
        .timer.kind = LEAVE_TIMER_CALL,
        .verdict = admit(m, q, old),
    };
    m->calls++;
    if (c->verdict != LEAVE_ACCEPTED) {
        timer_heap_set(&m->timers, &c->timer, loop_now(m->conf.loop));
    } else if (take_over(m, q, old, c) < 0) {
        call_free(c);
        return -ENOMEM;
    }
    *ret = c;
    leave_manager_turn(m);
    return 0;
}

bool leave_manager_supported(struct leave_manager *m)
{
    for (size_t i = 0; i < m->conf.server_count; i++) {
        if (delayed_event_allowed(m->conf.client, m->conf.servers[i])) {
            return true;
        }
    }
    return m->conf.server_count == 0;
}

// ---- webhooks -------------------------------------------------------------------------------

static enum leave_event event_of(const struct sfu_event *e)
{
    if (e->type == SFU_EVENT_JOINED) {
        return LEAVE_EVENT_JOINED;
    }
    switch (e->reason) {
    case SFU_REASON_CLIENT_INITIATED:
        return LEAVE_EVENT_LEFT;
    case SFU_REASON_DUPLICATE_IDENTITY:
    case SFU_REASON_STATE_MISMATCH:
    case SFU_REASON_MIGRATION:
        return LEAVE_EVENT_LEFT_DOUBTFUL;
    default:
        return LEAVE_EVENT_CUT;
    }
}

static void room_finished(struct leave_manager *m, struct leave_room *r)
{
    struct leave_input const in = {.type = LEAVE_EVENT_ROOM_FINISHED};
    struct leave_job *j = NULL;
    struct leave_job *tmp = NULL;
    leave_room_ref(r);
    DL_FOREACH_SAFE2(r->jobs, j, tmp, room_next)
    {
        leave_manager_feed(m, j, &in);
    }
    leave_room_unref(&m->table, r);
}

static size_t participant_event(struct leave_manager *m, struct leave_room *r,
                                const struct sfu_event *e)
{
    struct leave_job *jobs[WATCHING_MAX];
    uint8_t who[WATCHING_MAX];
    size_t const n = leave_table_watching(&m->table, r, e->identity, jobs, who, WATCHING_MAX);
    // Feeding one job ends no other.
    for (size_t i = 0; i < n; i++) {
        struct leave_input in = {
            .type = event_of(e),
            .who = who[i],
            .created_at_s = e->created_at_s,
            .old = e->created_at_s != 0 && e->created_at_s + OLD_SLACK_S < jobs[i]->created_at_s,
        };
        in.sid[in.who] = e->sid;
        leave_manager_feed(m, jobs[i], &in);
    }
    return n;
}

void leave_manager_event(struct leave_manager *m, const struct sfu_event *e)
{
    m->webhook_seen = true;
    struct leave_room *const r =
        e->room && e->room[0] ? leave_table_room(&m->table, e->room) : NULL;
    size_t jobs = 0;
    if (r && e->type == SFU_EVENT_ROOM_FINISHED) {
        jobs = 1;
        room_finished(m, r);
    } else if (r && (e->type == SFU_EVENT_JOINED || e->type == SFU_EVENT_LEFT ||
                     e->type == SFU_EVENT_ABORTED)) {
        jobs = participant_event(m, r, e);
    }
    m->counts.webhooks += jobs > 0;
    m->counts.webhooks_other += jobs == 0;
    leave_manager_turn(m);
}

// ---- recovery -------------------------------------------------------------------------------

// 7.10. False: not worth to be kept.
static bool adopt(struct leave_manager *m, const struct job_record *r)
{
    static const enum leave_state states[JOB_STATE_COUNT] = {
        [JOB_WAITING] = LEAVE_WAITING,
        [JOB_CONNECTED] = LEAVE_CONNECTED,
        [JOB_DISCONNECTED] = LEAVE_DISCONNECTED,
    };
    int64_t const past_us = loop_wall(m->conf.loop).us - r->restarted_at.us;
    int64_t const delay_us = r->delay_timeout_ns / 1000;
    // No delay at all: the original's stores may hold such, and it removes them as well.
    bool const expired = past_us >= delay_us || delay_us <= 0;
    if (expired || !delayed_event_id_ok(r->delay_id)) {
        m->counts.expired += expired;
        return false;
    }
    // Without a token of an application service the bare id is what is left.
    bool const as_user =
        r->owner_user_id[0] != '\0' && delayed_event_client_authenticates(m->conf.client);
    struct leave_job_conf const conf = {
        .delay_id = r->delay_id,
        .server_name = r->server_name,
        .room = r->room,
        .identity = r->identity,
        .other_identity = r->other_identity,
        .user_id = r->owner_user_id[0] ? r->owner_user_id : r->user_id,
        .as_user = as_user,
    };
    // past_us is negative if the clock was set back: then the whole delay is ahead.
    struct leave_saved const saved = {
        .state = states[r->state],
        .left_ms = (delay_us - MAX(past_us, 0)) / US_PER_MS,
        .sid = r->sid,
    };
    struct leave_job *const j = job_new(m, &conf);
    if (!j) {
        return true; // stays in the store for the next start
    }
    struct leave_todo const todo = delayed_leave_restore(&j->machine, MAX(delay_us / US_PER_MS, 1),
                                                         &saved, loop_now(m->conf.loop));
    if (leave_table_publish(&m->table, j) < 0) {
        leave_table_remove(&m->table, j);
        return true;
    }
    j->restarted_at = r->restarted_at;
    m->counts.restored++;
    leave_job_track(m, NULL, &j->machine);
    leave_job_apply(m, j, &todo);
    return true;
}

static void take_up(struct leave_manager *m, const struct job_record *r)
{
    if (m->closing || leave_table_find(&m->table, r->room, r->identity)) {
        return;
    }
    if (!adopt(m, r)) {
        job_store_remove(m->conf.store, r->room, r->identity);
    }
}

void leave_manager_adopt(struct leave_manager *m, const struct job_record *r)
{
    take_up(m, r);
    leave_manager_turn(m);
}

bool leave_manager_record(const struct leave_manager *m, const char *room, const char *identity,
                          struct job_record *ret)
{
    const struct leave_job *const j = leave_table_find(&m->table, room, identity);
    if (j) {
        leave_job_record(j, ret);
    }
    return j != NULL;
}

static void on_record(void *user, const struct job_record *r)
{
    take_up(user, r); // the turn comes when all are there
}

static void on_loaded(void *user, const struct job_load *load)
{
    struct leave_manager *const m = user;
    log_debug(NULL, "leave.recovered", KV_U64("jobs", m->counts.restored),
              KV_U64("expired", m->counts.expired), KV_I64("ms", load->elapsed_ms));
    leave_servers_release(m);
    m->recovered(m->recovered_user, load);
    leave_manager_turn(m);
}

void leave_manager_recover(struct leave_manager *m,
                           void (*done)(void *user, const struct job_load *load), void *user)
{
    m->recovered = done;
    m->recovered_user = user;
    m->recovering = true;
    job_store_load(m->conf.store, on_record, on_loaded, m);
}

// ---- shutdown -------------------------------------------------------------------------------

static void on_flushed(void *user, int error)
{
    struct leave_manager *const m = user;
    if (error < 0) {
        log_error(NULL, "leave.not_flushed", KV_ERRNO("error", error));
    }
    m->closed(m->closed_user);
}

static void flush(struct leave_manager *m)
{
    m->flushing = true; // no more calls
    timer_heap_cancel(&m->timers, &m->closing_timer);
    job_store_flush(m->conf.store, LEAVE_FLUSH_MS, on_flushed, m);
}

static void shutdown_late(struct leave_manager *m)
{
    struct leave_job *j = NULL;
    log_warn(NULL, "leave.shutdown_late", KV_U64("calls", m->calling));
    flush(m);
    DL_FOREACH(m->table.jobs, j)
    {
        leave_job_cancel_call(j);
    }
}

void leave_manager_shutdown(struct leave_manager *m, void (*done)(void *user), void *user)
{
    struct leave_input const in = {.type = LEAVE_EVENT_SHUTDOWN};
    struct leave_job *j = NULL;
    struct leave_job *tmp = NULL;
    leave_lookup_stop(m);
    leave_servers_release(m);
    m->closing = true;
    m->closed = done;
    m->closed_user = user;
    DL_FOREACH_SAFE(m->table.jobs, j, tmp)
    {
        leave_manager_feed(m, j, &in);
    }
    timer_heap_set(&m->timers, &m->closing_timer,
                   mono_add_ms(loop_now(m->conf.loop), LEAVE_SHUTDOWN_MS));
    leave_manager_turn(m);
}

// ---- the manager ----------------------------------------------------------------------------

// 8.6: clients rely on us for an hour at a time; without webhooks their leaves would be seen late.
static void check_wiring(struct leave_manager *m)
{
    bool const waited =
        m->found_first.us != 0 &&
        mono_diff_ms(loop_now(m->conf.loop), m->found_first) >= LEAVE_WEBHOOK_GRACE_S * 1000;
    m->counts.webhooks_missing = waited && !m->webhook_seen;
    if (m->counts.webhooks_missing && !m->webhook_reported) {
        m->webhook_reported = true;
        log_error(NULL, "leave.no_webhooks",
                  KV_STR("text", "participants were on the SFU for minutes, but it has sent no "
                                 "webhook: set its webhook URL to this service's /sfu_webhook"));
    }
}

void leave_manager_turn(struct leave_manager *m)
{
    leave_servers_pump(m);
    leave_lookup_pump(m);
    check_wiring(m);
    if (m->closing && !m->flushing && m->calling == 0) {
        flush(m);
    }
    mono_t const next = timer_heap_next(&m->timers);
    if (next.us != m->armed.us) {
        m->armed = next;
        loop_timer_set(m->timer, next);
    }
}

static void on_timer(void *user)
{
    struct leave_manager *const m = user;
    mono_t const now = loop_now(m->conf.loop);
    struct timer *t = NULL;
    m->armed = MONO_NEVER;
    for (int i = 0; i < TIMERS_PER_TURN && (t = timer_heap_pop(&m->timers, now)) != NULL; i++) {
        switch ((enum leave_timer)t->kind) {
        case LEAVE_TIMER_JOB:
            leave_manager_feed(m, CONTAINER_OF(t, struct leave_job, timer),
                               &(struct leave_input){.type = LEAVE_EVENT_TIME});
            break;
        case LEAVE_TIMER_CALL:
            call_end(CONTAINER_OF(t, struct leave_call, timer));
            break;
        case LEAVE_TIMER_SHUTDOWN:
            shutdown_late(m);
            break;
        }
    }
    leave_manager_turn(m);
}

struct leave_manager *leave_manager_new(const struct leave_manager_conf *conf)
{
    struct leave_manager *const m = NEW(struct leave_manager);
    uint8_t seed[RNG_SEED_LEN];
    if (!m) {
        return NULL;
    }
    m->conf = *conf;
    m->armed = MONO_NEVER;
    m->closing_timer.kind = LEAVE_TIMER_SHUTDOWN;
    rand_bytes(seed, sizeof(seed));
    rng_seed(&m->rng, seed);
    timer_heap_init(&m->timers);
    m->timer = loop_timer_new(conf->loop, on_timer, m);
    if (!m->timer || timer_heap_reserve(&m->timers, 1) < 0) {
        leave_manager_free(m);
        return NULL;
    }
    return m;
}

void leave_manager_free(struct leave_manager *m)
{
    if (!m) {
        return;
    }
    assert(m->calls == 0);
    leave_lookup_stop(m);
    while (m->table.jobs) {
        leave_job_drop(m, m->table.jobs);
    }
    leave_servers_stop(m);
    leave_table_done(&m->table);
    timer_heap_done(&m->timers);
    if (m->timer) {
        loop_timer_free(m->timer);
    }
    mem_free(m);
}

void leave_manager_counts(const struct leave_manager *m, struct leave_counts *ret)
{
    *ret = m->counts;
}

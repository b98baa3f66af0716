// SPDX-License-Identifier: Apache-2.0
// What one job asks for: calls to its homeserver, writing to the store, its end.
#include "common/sys/log.h"
#include "jwt-service/leave/delayed_leave_manager_internal.h"

// Restarts of one homeserver that are handed to delayed_event_client; it makes
// DELAYED_EVENT_PER_SERVER_MAX of them at a time, the rest have their next turn. Those that wait
// here, by deadline, cost nothing.
#define RESTARTS_OUT_MAX (2u * DELAYED_EVENT_PER_SERVER_MAX)

void leave_job_track(struct leave_manager *m, const struct delayed_leave *before,
                     const struct delayed_leave *after)
{
    if (before) {
        m->counts.jobs[before->state]--;
        m->calling -= before->calling;
    }
    if (after) {
        m->counts.jobs[after->state]++;
        m->calling += after->calling;
    }
}

// Puts a server in whose queue restarts wait among those that the turn looks at when it ends.
static void enqueue(struct leave_manager *m, struct leave_server *s)
{
    if (s->waiting.count > 0 && !s->queued) {
        s->queued = true;
        leave_server_ref(s);
        DL_APPEND(m->servers, s);
    }
}

// The job's call is over: its place is the next one's, when the turn ends.
static void give_place_back(struct leave_job *j)
{
    struct leave_server *const s = j->server;
    struct leave_manager *const m = j->manager;
    j->call = NULL;
    if (!j->restart_out) {
        return;
    }
    j->restart_out = false;
    s->restarts_out--;
    enqueue(m, s);
}

void leave_job_cancel_call(struct leave_job *j)
{
    timer_heap_cancel(&j->server->waiting, &j->turn);
    if (j->call) {
        delayed_event_cancel(j->call);
        give_place_back(j);
    }
}

static void on_answer(void *user, const struct delayed_event_result *r);

static int call_start(struct leave_job *j, enum delayed_event_action action, int64_t timeout_ms,
                      mono_t deadline)
{
    struct delayed_event_ask const ask = {
        .server_name = j->server->name,
        .delay_id = leave_job_delay_id(j),
        .action = action,
        .as_user = j->as_user ? j->user->id : NULL,
        .timeout_ms = timeout_ms,
        .deadline = deadline,
    };
    int const e = delayed_event_call(j->manager->conf.client, &ask, on_answer, j, &j->call);
    if (e < 0) {
        j->call = NULL;
        log_warn(NULL, "leave.call_impossible", KV_STR("server", j->server->name),
                 KV_ERRNO("error", e));
        return e;
    }
    if (action == DELAYED_EVENT_RESTART) {
        j->restart_out = true;
        j->server->restarts_out++;
    }
    return 0;
}

// Sends are handed out at once, restarts as many as make sense, the soonest deadline first.
static int call_job(struct leave_job *j, const struct leave_todo *todo)
{
    if (todo->call == DELAYED_EVENT_RESTART &&
        (j->manager->recovering || j->server->restarts_out >= RESTARTS_OUT_MAX)) {
        j->timeout_ms = (uint32_t)todo->timeout_ms;
        timer_heap_set(&j->server->waiting, &j->turn, todo->deadline);
        return 0;
    }
    return call_start(j, todo->call, todo->timeout_ms, todo->deadline);
}

static void feed_failure(struct leave_manager *m, struct leave_job *j)
{
    struct leave_input const in = {.type = LEAVE_EVENT_ANSWER, .verdict = DELAYED_EVENT_RETRY};
    leave_manager_feed(m, j, &in);
}

static void dequeue(struct leave_manager *m, struct leave_server *s)
{
    DL_DELETE(m->servers, s);
    s->queued = false;
    leave_server_unref(&m->table, s);
}

// Hands out restarts that waited, the soonest deadline first.
static void server_pump(struct leave_manager *m, struct leave_server *s)
{
    struct timer *t = NULL;
    while (s->restarts_out < RESTARTS_OUT_MAX &&
           (t = timer_heap_pop(&s->waiting, MONO_NEVER)) != NULL) {
        struct leave_job *const j = CONTAINER_OF(t, struct leave_job, turn);
        int64_t const left = mono_diff_ms(t->at, loop_now(m->conf.loop));
        int64_t const timeout = MIN((int64_t)j->timeout_ms, MAX(left, 0));
        // Too late is a failure like any other: the machine knows what follows.
        if (timeout == 0 || call_start(j, DELAYED_EVENT_RESTART, timeout, t->at) < 0) {
            feed_failure(m, j);
        }
    }
}

void leave_servers_pump(struct leave_manager *m)
{
    struct leave_server *s = NULL;
    while (!m->flushing && !m->recovering && (s = m->servers) != NULL) {
        server_pump(m, s);
        dequeue(m, s);
    }
}

void leave_servers_release(struct leave_manager *m)
{
    struct leave_job *j = NULL;
    m->recovering = false;
    DL_FOREACH(m->table.jobs, j)
    {
        enqueue(m, j->server);
    }
}

void leave_servers_stop(struct leave_manager *m)
{
    while (m->servers) {
        dequeue(m, m->servers);
    }
}

void leave_job_record(const struct leave_job *j, struct job_record *ret)
{
    static const enum job_state states[LEAVE_STATE_COUNT] = {
        [LEAVE_WAITING] = JOB_WAITING,
        [LEAVE_CONNECTED] = JOB_CONNECTED,
        [LEAVE_DISCONNECTED] = JOB_DISCONNECTED,
    };
    const char *const user_id = j->user ? j->user->id : "";
    *ret = (struct job_record){
        .room = j->room->name,
        .identity = leave_job_identity(j),
        .other_identity = leave_job_other(j),
        .delay_id = leave_job_delay_id(j),
        .server_name = j->server->name,
        .user_id = user_id,
        .owner_user_id = j->as_user ? user_id : "",
        .sid = delayed_leave_sid(&j->machine),
        .delay_timeout_ns = (int64_t)j->machine.delay_ms * 1000000,
        .restarted_at = j->restarted_at,
        .state = states[j->machine.state],
    };
}

void leave_job_save(struct leave_job *j, void (*fn)(void *user, int error), struct leave_call *call)
{
    struct job_record r;
    leave_job_record(j, &r);
    int const e = job_store_put(j->manager->conf.store, &r, fn, call, call ? &call->wait : NULL);
    if (e < 0) {
        log_warn(NULL, "leave.not_stored", KV_STR("room", j->room->name), KV_ERRNO("error", e));
        if (call) {
            call->wait = NULL;
            timer_heap_set(&j->manager->timers, &call->timer, loop_now(j->manager->conf.loop));
        }
    }
}

static void job_log_end(const struct leave_job *j, enum leave_outcome outcome)
{
    bool const bad = outcome == LEAVE_OUTCOME_TIMED_OUT || outcome == LEAVE_OUTCOME_NO_URL ||
                     outcome == LEAVE_OUTCOME_SEND_FAILED;
    if (bad) {
        log_warn(NULL, "leave.failed", KV_STR("outcome", leave_outcome_name(outcome)),
                 KV_STR("server", j->server->name), KV_STR("room", j->room->name),
                 KV_ID("identity", leave_job_identity(j)));
    } else {
        log_info(NULL, "leave.ended", KV_STR("outcome", leave_outcome_name(outcome)),
                 KV_STR("server", j->server->name), KV_STR("room", j->room->name),
                 KV_ID("identity", leave_job_identity(j)));
    }
}

// Takes a job out of memory.
void leave_job_drop(struct leave_manager *m, struct leave_job *j)
{
    leave_job_track(m, &j->machine, NULL);
    leave_job_cancel_call(j);
    timer_heap_cancel(&m->timers, &j->timer);
    leave_lookup_forget(m, j);
    leave_table_remove(&m->table, j);
}

static void job_end(struct leave_manager *m, struct leave_job *j, enum leave_outcome outcome)
{
    m->counts.ended[outcome]++;
    job_log_end(j, outcome);
    if (j->current) {
        job_store_remove(m->conf.store, j->room->name, leave_job_identity(j));
    }
    leave_job_drop(m, j);
}

// Does what a machine says. The job may be gone afterwards.
void leave_job_apply(struct leave_manager *m, struct leave_job *j, const struct leave_todo *todo)
{
    bool failed = false;
    if (todo->bits & LEAVE_DO_CANCEL) {
        leave_job_cancel_call(j);
    }
    if (todo->bits & LEAVE_DO_CALL) {
        failed = call_job(j, todo) < 0;
    }
    if (todo->bits & LEAVE_DO_LOOKUP) {
        bool const urgent = j->machine.state == LEAVE_WAITING && j->created_at_s != 0;
        leave_lookup_want(m, j->room, urgent);
    }
    if (todo->bits & LEAVE_DO_SAVE && j->current) {
        leave_job_save(j, NULL, NULL);
    }
    if (todo->bits & LEAVE_DO_DONE) {
        job_end(m, j, todo->outcome);
        return;
    }
    timer_heap_set(&m->timers, &j->timer, delayed_leave_next(&j->machine));
    if (failed) {
        feed_failure(m, j); // ends here: the next attempt is never at once
    }
}

void leave_manager_feed(struct leave_manager *m, struct leave_job *j, const struct leave_input *in)
{
    struct leave_rules const rules = {
        .sanity_ms = m->conf.sanity_ms,
        .limited = delayed_event_limited(m->conf.client, j->server->name),
    };
    mono_t const now = loop_now(m->conf.loop);
    struct delayed_leave const before = j->machine;
    struct leave_todo const todo = delayed_leave_handle(&j->machine, in, &rules, now, &m->rng);
    leave_job_track(m, &before, &j->machine);
    if (in->type == LEAVE_EVENT_FOUND && before.state == LEAVE_WAITING && m->found_first.us == 0) {
        m->found_first = now;
    }
    leave_job_apply(m, j, &todo);
}

static void count_answer(struct leave_manager *m, struct leave_job *j,
                         const struct delayed_event_result *r)
{
    bool const ok = r->verdict == DELAYED_EVENT_OK;
    bool const restart = j->machine.action == DELAYED_EVENT_RESTART;
    if (ok && restart) {
        m->counts.restarts++;
        j->restarted_at = loop_wall(m->conf.loop);
    }
    if (ok || r->verdict == DELAYED_EVENT_GONE) {
        return;
    }
    m->counts.restart_failures += restart;
    m->counts.send_failures += !restart;
    log_warn(NULL, "leave.call_failed",
             KV_STR("action", delayed_event_action_name(j->machine.action)),
             KV_STR("server", j->server->name),
             KV_STR("verdict", delayed_event_verdict_name(r->verdict)),
             KV_STR("step", r->step ? r->step : ""), KV_STR("text", r->text ? r->text : ""),
             KV_I64("ms", r->elapsed_ms));
}

static void on_answer(void *user, const struct delayed_event_result *r)
{
    struct leave_job *const j = user;
    struct leave_manager *const m = j->manager;
    struct leave_input const in = {
        .type = LEAVE_EVENT_ANSWER, .verdict = r->verdict, .wait_ms = r->wait_ms};
    give_place_back(j);
    count_answer(m, j, r);
    leave_manager_feed(m, j, &in);
    leave_manager_turn(m);
}

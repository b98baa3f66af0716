// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "jwt-service/leave/delayed_leave_internal.h"

#define SEND_BUDGET_MIN_MS 1000 // authorization-service 7.4

// 7.7, 7.8: between an absence and its confirmation; after a restart of both services clients need
// some seconds to come back.
#define CONFIRM_MS 2000
#define CONFIRM_RESTORED_MS 5000
// After "the session ended, but another goes on": the other is there, or will be in a moment.
#define DOUBTFUL_MS 500
#define SANITY_TWICE_FROM_MS 5000 // 7.7: shorter intervals believe a single absence

static const struct leave_backoff lookup_backoff = {1000, 150, 50}; // 7.4

// ---- lookups --------------------------------------------------------------------------------

// What is under way was asked before the latest news.
static void lookup_void(struct delayed_leave *j)
{
    if (j->looking) {
        leave_flag_set(j, LEAVE_FLAG_LOOKUP_VOID);
    }
}

// No question is open: the next lookup is the sanity check.
static void lookup_relax(struct delayed_leave *j, const struct leave_rules *rules, mono_t now)
{
    leave_flag_clear(j, LEAVE_FLAG_DOUBT | LEAVE_FLAG_RESTORED | LEAVE_FLAG_INHERITED |
                            LEAVE_FLAG_LEFT_SEEN);
    j->absences = 0;
    j->absences_needed = rules->sanity_ms >= SANITY_TWICE_FROM_MS ? 2 : 1;
    j->lookup_wait_ms = 0;
    j->lookup_at = rules->sanity_ms > 0 ? mono_add_ms(now, rules->sanity_ms) : MONO_NEVER;
}

// Something happened that may mean that the participant is gone: one absence will do.
static void lookup_doubt(struct delayed_leave *j, mono_t now, int64_t after_ms)
{
    lookup_void(j);
    leave_flag_set(j, LEAVE_FLAG_DOUBT);
    j->absences = 0;
    j->absences_needed = 1;
    j->lookup_wait_ms = 0;
    j->lookup_at = mono_add_ms(now, after_ms);
}

static void lookup_again(struct delayed_leave *j, mono_t now, struct rng *rng)
{
    j->lookup_at = mono_add_ms(now, leave_backoff_next(&lookup_backoff, &j->lookup_wait_ms, rng));
}

// ---- changes of state -----------------------------------------------------------------------

void leave_finish(struct delayed_leave *j, enum leave_outcome outcome, struct leave_todo *todo)
{
    if (j->calling) {
        todo->bits |= LEAVE_DO_CANCEL;
        j->calling = false;
    }
    j->looking = false;
    leave_flag_set(j, LEAVE_FLAG_DONE);
    todo->bits = (todo->bits & ~(unsigned)LEAVE_DO_SAVE) | LEAVE_DO_DONE;
    todo->outcome = outcome;
}

void leave_abort(struct delayed_leave *j, enum leave_outcome outcome, struct leave_todo *todo)
{
    j->state = LEAVE_ABORTED;
    leave_finish(j, outcome, todo);
}

// The participant is there: the first restart is due at once. A restart that is under way since the
// waiting counts as that.
static void connect_job(struct delayed_leave *j, const struct leave_rules *rules, mono_t now,
                        struct leave_todo *todo)
{
    bool const doubtful = leave_flag(j, LEAVE_FLAG_LEFT_SEEN);
    j->state = LEAVE_CONNECTED;
    j->deadline = mono_add_ms(now, leave_restart_delay_ms(j));
    j->call_wait_ms = 0;
    leave_flag_clear(j, LEAVE_FLAG_LAST_CALL | LEAVE_FLAG_NO_URL);
    j->call_at = j->calling ? MONO_NEVER : now;
    lookup_relax(j, rules, now);
    if (doubtful) {
        lookup_doubt(j, now, CONFIRM_MS);
    }
    todo->bits |= LEAVE_DO_SAVE;
}

// The participant is gone, or never came: the event is sent, as long as it is ours to send.
static void disconnect_job(struct delayed_leave *j, mono_t now, struct leave_todo *todo)
{
    int64_t const left = j->deadline.us != 0 ? mono_diff_ms(j->deadline, now) : 0;
    if (j->calling) {
        todo->bits |= LEAVE_DO_CANCEL;
        j->calling = false;
    }
    j->state = LEAVE_DISCONNECTED;
    j->present = 0;
    j->call_limit = mono_add_ms(now, MIN(MAX(left, SEND_BUDGET_MIN_MS), LEAVE_HOUR_MS));
    j->call_wait_ms = 0;
    leave_flag_clear(j, LEAVE_FLAG_LAST_CALL | LEAVE_FLAG_NO_URL);
    j->call_at = now;
    j->looking = false; // whatever it says
    j->lookup_at = MONO_NEVER;
}

// (Again) waiting, since `started`.
static void wait_for_join(struct delayed_leave *j, mono_t now)
{
    j->state = LEAVE_WAITING;
    j->present = 0;
    j->wait_until = mono_add_ms(j->started, MIN((int64_t)j->delay_ms, LEAVE_HOUR_MS));
    j->call_at = MONO_NEVER;
    j->call_wait_ms = 0;
    leave_flag_clear(j, LEAVE_FLAG_LAST_CALL | LEAVE_FLAG_NO_URL);
    int64_t const at = (int64_t)j->delay_ms * 60 / 100;
    if (j->delay_ms >= LEAVE_WAITING_RESTART_MIN_MS && at <= LEAVE_WAITING_RESTART_UNTIL_MS) {
        mono_t const due = mono_add_ms(j->started, at);
        j->call_at = mono_before(now, due) ? due : MONO_NEVER;
    }
}

// ---- webhooks -------------------------------------------------------------------------------

static bool session_learn(struct leave_session *s, const char *sid)
{
    if (!sid || !sid[0] || strncmp(s->sid, sid, sizeof(s->sid) - 1) == 0) {
        return false;
    }
    size_t const n = strnlen(sid, sizeof(s->sid) - 1);
    memcpy(s->sid, sid, n);
    s->sid[n] = '\0';
    return true;
}

// How a webhook's session relates to the one we know.
enum session_match {
    SESSION_SAME,
    SESSION_UNKNOWN, // one of them has no id
    SESSION_OTHER,   // another one, or an earlier one by its time
};

static enum session_match session_match(const struct leave_session *s, const struct leave_input *in)
{
    const char *const sid = in->sid[in->who];
    if (sid && sid[0] && s->sid[0]) {
        return strncmp(s->sid, sid, sizeof(s->sid) - 1) == 0 ? SESSION_SAME : SESSION_OTHER;
    }
    bool const before = in->created_at_s && s->joined_at_s && in->created_at_s < s->joined_at_s;
    return before ? SESSION_OTHER : SESSION_UNKNOWN;
}

static void on_joined(struct delayed_leave *j, const struct leave_input *in,
                      const struct leave_rules *rules, mono_t now, struct leave_todo *todo)
{
    struct leave_session *const s = &j->session[in->who];
    bool const before = in->created_at_s && s->joined_at_s && in->created_at_s < s->joined_at_s;
    if (before || (in->old && s->sid[0])) {
        return; // a late word of an earlier session
    }
    switch ((enum leave_state)j->state) {
    case LEAVE_WAITING:
        // Of before the delegation: whatever followed it, we were not told.
        leave_flag_set(j, in->old ? LEAVE_FLAG_LEFT_SEEN : 0);
        lookup_void(j);
        connect_job(j, rules, now, todo);
        break;
    case LEAVE_CONNECTED:
        j->present = leave_flag(j, LEAVE_FLAG_RESTORED) ? 0 : j->present;
        lookup_void(j);
        lookup_relax(j, rules, now);
        break;
    case LEAVE_DISCONNECTED:
    case LEAVE_ABORTED:
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
    j->present = (uint8_t)(j->present | 1u << in->who);
    s->joined_at_s = in->created_at_s;
    todo->bits |= session_learn(s, in->sid[in->who]) ? LEAVE_DO_SAVE : 0;
}

// A session that counted has ended.
static void leave_session(struct delayed_leave *j, unsigned who, mono_t now,
                          struct leave_todo *todo)
{
    j->present = (uint8_t)(leave_flag(j, LEAVE_FLAG_RESTORED) ? 0 : j->present & ~(1u << who));
    if (j->present == 0) {
        disconnect_job(j, now, todo);
    } else {
        j->session[who] = (struct leave_session){0};
    }
}

static void on_left_waiting(struct delayed_leave *j, const struct leave_input *in, mono_t now,
                            struct leave_todo *todo)
{
    bool const ours = session_match(&j->session[in->who], in) == SESSION_SAME;
    if (ours && in->type != LEAVE_EVENT_LEFT_DOUBTFUL) {
        disconnect_job(j, now, todo);
    } else if (in->type == LEAVE_EVENT_CUT && !in->old) {
        leave_abort(j, LEAVE_OUTCOME_CUT, todo);
    } else {
        // May belong to the session before.
        leave_flag_set(j, LEAVE_FLAG_LEFT_SEEN);
        lookup_void(j);
        j->lookup_at = now;
    }
}

static void on_left_connected(struct delayed_leave *j, const struct leave_input *in, mono_t now,
                              struct leave_todo *todo)
{
    enum session_match const match = session_match(&j->session[in->who], in);
    if (match == SESSION_OTHER) {
        lookup_doubt(j, now, CONFIRM_MS);
    } else if (in->type == LEAVE_EVENT_LEFT_DOUBTFUL) {
        lookup_doubt(j, now, DOUBTFUL_MS);
    } else if (in->old && match != SESSION_SAME) {
        lookup_doubt(j, now, 0);
    } else {
        leave_session(j, in->who, now, todo);
    }
}

static void on_left(struct delayed_leave *j, const struct leave_input *in, mono_t now,
                    struct leave_todo *todo)
{
    switch ((enum leave_state)j->state) {
    case LEAVE_WAITING:
        on_left_waiting(j, in, now, todo);
        return;
    case LEAVE_CONNECTED:
        on_left_connected(j, in, now, todo);
        return;
    case LEAVE_DISCONNECTED:
    case LEAVE_ABORTED:
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
}

// ---- lookups' answers -----------------------------------------------------------------------

static void learn_present(struct delayed_leave *j, const struct leave_input *in,
                          struct leave_todo *todo)
{
    bool changed = false;
    j->present = (uint8_t)(in->present & ((1u << LEAVE_WHO_MAX) - 1));
    for (unsigned i = 0; i < LEAVE_WHO_MAX; i++) {
        if (!(j->present & 1u << i)) {
            j->session[i] = (struct leave_session){0};
        } else if (session_learn(&j->session[i], in->sid[i])) {
            j->session[i].joined_at_s = 0;
            changed = true;
        }
    }
    todo->bits |= changed ? LEAVE_DO_SAVE : 0;
}

static void on_found(struct delayed_leave *j, const struct leave_input *in, bool asked,
                     const struct leave_rules *rules, mono_t now, struct leave_todo *todo)
{
    switch ((enum leave_state)j->state) {
    case LEAVE_WAITING:
        leave_flag_clear(j, LEAVE_FLAG_LEFT_SEEN);
        connect_job(j, rules, now, todo);
        learn_present(j, in, todo);
        return;
    case LEAVE_CONNECTED:
        if (asked) {
            lookup_relax(j, rules, now);
            learn_present(j, in, todo);
        } else if (!leave_flag(j, LEAVE_FLAG_DOUBT | LEAVE_FLAG_RESTORED | LEAVE_FLAG_INHERITED)) {
            lookup_relax(j, rules, now); // spares the next sanity check
        }
        return;
    case LEAVE_DISCONNECTED:
    case LEAVE_ABORTED:
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
}

static void on_not_found(struct delayed_leave *j, mono_t now, struct rng *rng,
                         struct leave_todo *todo)
{
    if (j->state == LEAVE_WAITING) {
        lookup_again(j, now, rng);
        return;
    }
    j->absences++;
    if (leave_flag(j, LEAVE_FLAG_INHERITED) && !leave_flag(j, LEAVE_FLAG_DOUBT)) {
        leave_flag_clear(j, LEAVE_FLAG_INHERITED);
        wait_for_join(j, now);
        lookup_again(j, now, rng);
    } else if (j->absences >= j->absences_needed) {
        disconnect_job(j, now, todo);
    } else {
        j->lookup_at =
            mono_add_ms(now, leave_flag(j, LEAVE_FLAG_RESTORED) ? CONFIRM_RESTORED_MS : CONFIRM_MS);
    }
}

static void on_lookup_failed(struct delayed_leave *j, const struct leave_rules *rules, mono_t now,
                             struct rng *rng)
{
    bool const open = j->state == LEAVE_WAITING || j->absences > 0 ||
                      leave_flag(j, LEAVE_FLAG_DOUBT | LEAVE_FLAG_RESTORED | LEAVE_FLAG_INHERITED);
    if (open) {
        lookup_again(j, now, rng);
    } else {
        lookup_relax(j, rules, now);
    }
}

static void on_lookup(struct delayed_leave *j, const struct leave_input *in,
                      const struct leave_rules *rules, mono_t now, struct rng *rng,
                      struct leave_todo *todo)
{
    bool const asked = j->looking;
    bool const is_void = leave_flag(j, LEAVE_FLAG_LOOKUP_VOID);
    j->looking = false;
    leave_flag_clear(j, LEAVE_FLAG_LOOKUP_VOID);
    if (is_void || (j->state != LEAVE_WAITING && j->state != LEAVE_CONNECTED)) {
        return;
    }
    if (in->type == LEAVE_EVENT_FOUND) {
        on_found(j, in, asked, rules, now, todo);
    } else if (asked && in->type == LEAVE_EVENT_NOT_FOUND) {
        on_not_found(j, now, rng, todo);
    } else if (asked) {
        on_lookup_failed(j, rules, now, rng);
    }
}

// ---- the other events -----------------------------------------------------------------------

static void on_replaced(struct delayed_leave *j, struct leave_todo *todo)
{
    switch ((enum leave_state)j->state) {
    case LEAVE_WAITING:
    case LEAVE_CONNECTED:
        leave_finish(j, LEAVE_OUTCOME_REPLACED, todo);
        j->state = LEAVE_REPLACED;
        return;
    case LEAVE_ABORTED:
        j->state = LEAVE_REPLACED;
        return;
    case LEAVE_DISCONNECTED: // 9.22: the send is finished
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
}

static void on_shutdown(struct delayed_leave *j, mono_t now, struct leave_todo *todo)
{
    if (leave_flag(j, LEAVE_FLAG_CLOSING | LEAVE_FLAG_DONE)) {
        return;
    }
    leave_flag_set(j, LEAVE_FLAG_CLOSING);
    switch ((enum leave_state)j->state) {
    case LEAVE_CONNECTED:
        if (!j->calling && mono_before(now, j->deadline)) {
            leave_call_restart(j, now, todo);
        }
        return;
    case LEAVE_DISCONNECTED:
        if (!j->calling) {
            leave_call_send(j, now, todo);
        }
        return;
    case LEAVE_WAITING:
    case LEAVE_ABORTED:
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
}

// Does what is due at `now`, so that everything planned lies in the future.
static void settle(struct delayed_leave *j, mono_t now, struct leave_todo *todo)
{
    if (leave_flag(j, LEAVE_FLAG_DONE | LEAVE_FLAG_CLOSING)) {
        return;
    }
    if (j->state == LEAVE_WAITING && mono_reached(j->wait_until, now)) {
        disconnect_job(j, now, todo);
    }
    if (j->state == LEAVE_CONNECTED && !j->calling && mono_reached(j->deadline, now)) {
        leave_abort(
            j, leave_flag(j, LEAVE_FLAG_NO_URL) ? LEAVE_OUTCOME_NO_URL : LEAVE_OUTCOME_TIMED_OUT,
            todo);
        return;
    }
    if (!j->calling && mono_reached(j->call_at, now)) {
        if (j->state == LEAVE_DISCONNECTED) {
            leave_call_send(j, now, todo);
        } else {
            leave_call_restart(j, now, todo);
        }
    }
    if (!j->looking && mono_reached(j->lookup_at, now)) {
        j->looking = true;
        j->lookup_at = MONO_NEVER;
        todo->bits |= LEAVE_DO_LOOKUP;
    }
}

struct leave_todo delayed_leave_handle(struct delayed_leave *j, const struct leave_input *in,
                                       const struct leave_rules *rules, mono_t now, struct rng *rng)
{
    struct leave_todo todo = {0};
    bool const over = leave_flag(j, LEAVE_FLAG_DONE) ||
                      (leave_flag(j, LEAVE_FLAG_CLOSING) && in->type != LEAVE_EVENT_ANSWER);
    if (over && in->type != LEAVE_EVENT_REPLACED) {
        return todo;
    }
    assert(in->who < LEAVE_WHO_MAX);
    switch (in->type) {
    case LEAVE_EVENT_JOINED:
        on_joined(j, in, rules, now, &todo);
        break;
    case LEAVE_EVENT_LEFT:
    case LEAVE_EVENT_CUT:
    case LEAVE_EVENT_LEFT_DOUBTFUL:
        on_left(j, in, now, &todo);
        break;
    case LEAVE_EVENT_ROOM_FINISHED:
        if (j->state == LEAVE_CONNECTED) {
            lookup_doubt(j, now, 0);
        }
        break;
    case LEAVE_EVENT_FOUND:
    case LEAVE_EVENT_NOT_FOUND:
    case LEAVE_EVENT_LOOKUP_FAILED:
        on_lookup(j, in, rules, now, rng, &todo);
        break;
    case LEAVE_EVENT_ANSWER:
        leave_call_answer(j, in, rules, now, rng, &todo);
        break;
    case LEAVE_EVENT_REPLACED:
        on_replaced(j, &todo);
        break;
    case LEAVE_EVENT_SHUTDOWN:
        on_shutdown(j, now, &todo);
        break;
    case LEAVE_EVENT_TIME:
    case LEAVE_EVENT_COUNT:
        break;
    }
    settle(j, now, &todo);
    return todo;
}

// ---- beginnings -----------------------------------------------------------------------------

static void init(struct delayed_leave *j, int64_t delay_ms, mono_t now)
{
    *j = (struct delayed_leave){
        .delay_ms = (uint32_t)MIN(MAX(delay_ms, 1), LEAVE_DELAY_MAX_MS),
        .started = now,
        .called_at = mono_add_ms(now, -LEAVE_RESTART_SPACING_MS),
        .call_limit = MONO_NEVER,
        .lookup_at = now,
        .absences_needed = 1,
    };
    wait_for_join(j, now);
}

struct leave_todo delayed_leave_begin(struct delayed_leave *j, int64_t delay_ms, mono_t now)
{
    struct leave_todo todo = {.bits = LEAVE_DO_SAVE};
    init(j, delay_ms, now);
    settle(j, now, &todo);
    return todo;
}

struct leave_todo delayed_leave_inherit(struct delayed_leave *j, int64_t delay_ms,
                                        const struct delayed_leave *old, mono_t now)
{
    struct leave_todo todo = {.bits = LEAVE_DO_SAVE};
    init(j, delay_ms, now);
    if (old->state == LEAVE_WAITING || old->state == LEAVE_CONNECTED) {
        memcpy(j->session, old->session, sizeof(j->session));
    }
    if (old->state == LEAVE_CONNECTED) {
        j->state = LEAVE_CONNECTED;
        j->present = old->present;
        leave_flag_set(j, LEAVE_FLAG_INHERITED);
        j->deadline = mono_add_ms(now, leave_restart_delay_ms(j));
        j->call_at = now;
    }
    settle(j, now, &todo);
    return todo;
}

struct leave_todo delayed_leave_restore(struct delayed_leave *j, int64_t delay_ms,
                                        const struct leave_saved *saved, mono_t now)
{
    struct leave_todo todo = {0};
    init(j, delay_ms, now);
    int64_t const left = MIN(MAX(saved->left_ms, 1), leave_restart_delay_ms(j));
    j->deadline = mono_add_ms(now, left);
    for (size_t i = 0; i < LEAVE_WHO_MAX; i++) {
        (void)session_learn(&j->session[i], saved->sid);
    }
    if (saved->state == LEAVE_CONNECTED) {
        // With which identity is not known: any leave of the session counts.
        j->state = LEAVE_CONNECTED;
        j->present = (1u << LEAVE_WHO_MAX) - 1;
        leave_flag_set(j, LEAVE_FLAG_RESTORED);
        j->absences_needed = 2;
        j->call_at = now;
    } else if (saved->state == LEAVE_DISCONNECTED) {
        disconnect_job(j, now, &todo);
    } else if (j->delay_ms >= LEAVE_WAITING_RESTART_MIN_MS &&
               left * 60 / 100 <= LEAVE_WAITING_RESTART_UNTIL_MS) {
        // The homeserver's clock has run longer than ours.
        j->call_at = mono_min(j->call_at, mono_add_ms(now, MAX(left * 60 / 100, 1)));
    }
    settle(j, now, &todo);
    return todo;
}

// ---- questions ------------------------------------------------------------------------------

mono_t delayed_leave_next(const struct delayed_leave *j)
{
    if (leave_flag(j, LEAVE_FLAG_DONE | LEAVE_FLAG_CLOSING)) {
        return MONO_NEVER;
    }
    mono_t t = j->calling ? MONO_NEVER : j->call_at;
    if (j->state == LEAVE_WAITING) {
        t = mono_min(t, j->wait_until);
    }
    if (j->state == LEAVE_CONNECTED && !j->calling) {
        t = mono_min(t, j->deadline);
    }
    return j->looking ? t : mono_min(t, j->lookup_at);
}

bool delayed_leave_is_done(const struct delayed_leave *j)
{
    return leave_flag(j, LEAVE_FLAG_DONE);
}

const char *delayed_leave_sid(const struct delayed_leave *j)
{
    for (size_t i = 0; i < LEAVE_WHO_MAX; i++) {
        if (j->present & 1u << i && j->session[i].sid[0]) {
            return j->session[i].sid;
        }
    }
    return "";
}

static const char *const state_names[LEAVE_STATE_COUNT] = {
    [LEAVE_WAITING] = "waiting",           [LEAVE_CONNECTED] = "connected",
    [LEAVE_DISCONNECTED] = "disconnected", [LEAVE_ABORTED] = "aborted",
    [LEAVE_REPLACED] = "replaced",
};

const char *leave_state_name(enum leave_state s)
{
    return state_names[s];
}

const char *leave_outcome_name(enum leave_outcome o)
{
    static const char *const names[LEAVE_OUTCOME_COUNT] = {
        [LEAVE_OUTCOME_SENT] = "sent",
        [LEAVE_OUTCOME_SEND_FAILED] = "send_failed",
        [LEAVE_OUTCOME_CUT] = "cut",
        [LEAVE_OUTCOME_GONE] = "gone",
        [LEAVE_OUTCOME_TIMED_OUT] = "timed_out",
        [LEAVE_OUTCOME_NO_URL] = "no_url",
        [LEAVE_OUTCOME_REPLACED] = "replaced",
    };
    return names[o];
}

// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/delayed_leave_internal.h"

#define CALL_TIMEOUT_MS INT64_C(5000) // authorization-service 7.4

// 7.4, 7.5: when a restart is due, in thousandths of the delay. Spread, so that those who joined
// together do not stay together; early for short delays, where 80 % would leave no time for
// retries, unless the homeserver limits us.
#define RESTART_LATEST 800
#define RESTART_EARLY_FROM_MS 5000u
#define RESTART_EARLY_TO_MS 60000u

// 7.4: the original's back-off, and the denser one for restarts.
static const struct leave_backoff send_backoff = {1000, 150, 50};
static const struct leave_backoff restart_backoff = {250, 170, 20};
#define BACKOFF_MAX_MS 60000u // before jitter

#define STUBBORN_WAIT_MS INT64_C(5000) // 7.5: failures that do not pass by themselves
#define LAST_CALL_BEFORE_MS INT64_C(1000)

static uint32_t between(struct rng *rng, uint32_t low, uint32_t high)
{
    return low + rng_below(rng, high - low + 1);
}

int64_t leave_backoff_next(const struct leave_backoff *b, uint32_t *wait_ms, struct rng *rng)
{
    uint32_t const base = *wait_ms ? *wait_ms : b->first_ms;
    uint32_t const spread = base * b->jitter_percent / 100;
    *wait_ms = MIN(base * b->factor_percent / 100, BACKOFF_MAX_MS);
    return between(rng, base - spread, base + spread);
}

static int64_t restart_interval_ms(const struct delayed_leave *j, const struct leave_rules *rules,
                                   struct rng *rng)
{
    uint32_t earliest = RESTART_LATEST;
    if (j->delay_ms >= RESTART_EARLY_FROM_MS) {
        bool const early = j->delay_ms <= RESTART_EARLY_TO_MS && !rules->limited;
        earliest = early ? 600 : 760;
    }
    return leave_restart_delay_ms(j) * between(rng, earliest, RESTART_LATEST) / 1000;
}

static void call_begin(struct delayed_leave *j, enum delayed_event_action action, mono_t now,
                       struct leave_todo *todo)
{
    j->calling = true;
    j->action = (uint8_t)action;
    j->called_at = now;
    j->call_at = MONO_NEVER;
    todo->bits |= LEAVE_DO_CALL;
    todo->call = action;
}

void leave_call_restart(struct delayed_leave *j, mono_t now, struct leave_todo *todo)
{
    mono_t const limit = j->state == LEAVE_WAITING ? j->wait_until : j->deadline;
    int64_t const left = mono_diff_ms(limit, now);
    // One that hangs must leave time for another.
    int64_t const timeout = leave_flag(j, LEAVE_FLAG_LAST_CALL) ? left : left / 2;
    call_begin(j, DELAYED_EVENT_RESTART, now, todo);
    todo->timeout_ms = MIN(MAX(timeout, LEAVE_RESTART_SPACING_MS), CALL_TIMEOUT_MS);
    todo->deadline = limit;
}

void leave_call_send(struct delayed_leave *j, mono_t now, struct leave_todo *todo)
{
    call_begin(j, DELAYED_EVENT_SEND, now, todo);
    todo->timeout_ms = CALL_TIMEOUT_MS;
    // It is made in any case: if it has to wait for its turn, the budget is not what counts.
    todo->deadline = mono_max(j->call_limit, mono_add_ms(now, CALL_TIMEOUT_MS));
}

// Plans the attempt after a failed one. False: none is worth while before `limit`.
static bool call_again(struct delayed_leave *j, const struct leave_input *in,
                       const struct leave_backoff *b, mono_t limit, mono_t now, struct rng *rng)
{
    int64_t wait = 0;
    bool patient = b == &restart_backoff; // the last moment is worth an attempt
    if (in->verdict == DELAYED_EVENT_RETRY_AFTER) {
        wait = MAX(in->wait_ms, DELAYED_EVENT_WAIT_MIN_MS);
        j->call_wait_ms = 0; // 7.4: the sequence begins anew
        patient = true;
    } else {
        wait = leave_backoff_next(b, &j->call_wait_ms, rng);
        if (in->verdict != DELAYED_EVENT_RETRY) {
            wait = MAX(wait, MAX(in->wait_ms, STUBBORN_WAIT_MS));
            patient = true;
        }
    }
    mono_t at =
        mono_max(mono_add_ms(now, wait), mono_add_ms(j->called_at, LEAVE_RESTART_SPACING_MS));
    if (!mono_before(at, limit)) {
        int64_t const left = mono_diff_ms(limit, now);
        if (!patient || leave_flag(j, LEAVE_FLAG_LAST_CALL) ||
            left < 2 * LEAVE_RESTART_SPACING_MS) {
            return false;
        }
        at = mono_add_ms(limit, -MIN(LAST_CALL_BEFORE_MS, left / 2));
        leave_flag_set(j, LEAVE_FLAG_LAST_CALL);
    }
    j->call_at = at;
    return true;
}

static void restarted(struct delayed_leave *j, const struct leave_rules *rules, mono_t now,
                      struct rng *rng, struct leave_todo *todo)
{
    j->deadline = mono_add_ms(now, leave_restart_delay_ms(j));
    j->call_wait_ms = 0;
    leave_flag_clear(j, LEAVE_FLAG_LAST_CALL | LEAVE_FLAG_NO_URL);
    if (j->state == LEAVE_WAITING) {
        // Once; what was gained is waited for.
        mono_t const longest = mono_add_ms(j->started, LEAVE_WAITING_RESTART_UNTIL_MS);
        j->wait_until = mono_max(j->wait_until, mono_min(j->deadline, longest));
    } else {
        j->call_at = mono_add_ms(now, restart_interval_ms(j, rules, rng));
    }
    todo->bits |= LEAVE_DO_SAVE;
}

static void on_restart_answer(struct delayed_leave *j, const struct leave_input *in,
                              const struct leave_rules *rules, mono_t now, struct rng *rng,
                              struct leave_todo *todo)
{
    switch (in->verdict) {
    case DELAYED_EVENT_OK:
        restarted(j, rules, now, rng, todo);
        return;
    case DELAYED_EVENT_GONE:
        leave_abort(j, LEAVE_OUTCOME_GONE, todo);
        return;
    case DELAYED_EVENT_RETRY:
    case DELAYED_EVENT_RETRY_AFTER:
    case DELAYED_EVENT_REFUSED:
    case DELAYED_EVENT_UNAUTHENTICATED:
    case DELAYED_EVENT_NO_ENDPOINT:
    case DELAYED_EVENT_NO_URL:
    case DELAYED_EVENT_VERDICT_COUNT:
        break;
    }
    bool const no_url = in->verdict == DELAYED_EVENT_NO_URL;
    leave_flag_clear(j, LEAVE_FLAG_NO_URL);
    leave_flag_set(j, no_url ? LEAVE_FLAG_NO_URL : 0);
    if (leave_flag(j, LEAVE_FLAG_CLOSING)) {
        return;
    }
    mono_t const limit = j->state == LEAVE_WAITING ? j->wait_until : j->deadline;
    if (!call_again(j, in, &restart_backoff, limit, now, rng) && j->state == LEAVE_CONNECTED) {
        leave_abort(j, no_url ? LEAVE_OUTCOME_NO_URL : LEAVE_OUTCOME_TIMED_OUT, todo);
    }
}

static void on_send_answer(struct delayed_leave *j, const struct leave_input *in, mono_t now,
                           struct rng *rng, struct leave_todo *todo)
{
    if (in->verdict == DELAYED_EVENT_OK || in->verdict == DELAYED_EVENT_GONE) {
        leave_finish(j, LEAVE_OUTCOME_SENT, todo);
        return;
    }
    // From now on a restart of this service should go on with the sending.
    todo->bits |= LEAVE_DO_SAVE;
    if (!leave_flag(j, LEAVE_FLAG_CLOSING) &&
        !call_again(j, in, &send_backoff, j->call_limit, now, rng)) {
        leave_finish(j, LEAVE_OUTCOME_SEND_FAILED, todo);
    }
}

void leave_call_answer(struct delayed_leave *j, const struct leave_input *in,
                       const struct leave_rules *rules, mono_t now, struct rng *rng,
                       struct leave_todo *todo)
{
    if (!j->calling) {
        return;
    }
    j->calling = false;
    switch ((enum leave_state)j->state) {
    case LEAVE_WAITING:
    case LEAVE_CONNECTED:
        on_restart_answer(j, in, rules, now, rng, todo);
        return;
    case LEAVE_DISCONNECTED:
        on_send_answer(j, in, now, rng, todo);
        return;
    case LEAVE_ABORTED:
    case LEAVE_REPLACED:
    case LEAVE_STATE_COUNT:
        return;
    }
}

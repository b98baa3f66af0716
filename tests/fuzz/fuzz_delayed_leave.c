// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// Delegated leaves under any sequence of events: bytes choose what comes and how long it takes. What
// must hold whatever happens: one call and one lookup at a time, everything planned lies in the
// future, the homeserver's deadline only moves forward, "done" comes exactly once and nothing after.
#include <stdlib.h>

#include "common/base/bytes.h"
#include "jwt-service/leave/delayed_leave.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct delayed_leave j;
    struct leave_rules rules;
    struct rng rng;
    mono_t now;
    mono_t deadline; // the last one seen
    bool calling;    // a call was asked for and neither answered nor cancelled
    bool looking;
    bool closing;
    bool done;
    unsigned sends;
};

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check(struct world *w, const struct leave_todo *todo)
{
    must(!w->done || todo->bits == 0);
    if (todo->bits & LEAVE_DO_CANCEL) {
        must(w->calling);
        w->calling = false;
    }
    if (todo->bits & LEAVE_DO_CALL) {
        must(!w->calling);
        must(todo->timeout_ms > 0 && todo->timeout_ms <= 5000);
        must(!mono_before(todo->deadline, w->now));
        must(todo->call == DELAYED_EVENT_SEND || w->sends == 0);
        w->calling = true;
        w->sends += todo->call == DELAYED_EVENT_SEND;
    }
    if (todo->bits & LEAVE_DO_LOOKUP) {
        // A question of before a leave is forgotten with it.
        must(!w->looking && !w->closing);
        w->looking = true;
    }
    must((todo->bits & LEAVE_DO_DONE) == 0 || !w->calling);
    w->done = w->done || (todo->bits & LEAVE_DO_DONE);
    must(w->done == delayed_leave_is_done(&w->j));
    must(w->j.calling == w->calling);
    must(!mono_before(w->j.deadline, w->deadline));
    w->deadline = w->j.deadline;
    must(w->j.state < LEAVE_STATE_COUNT);
    must(mono_before(w->now, delayed_leave_next(&w->j)));
    must(!(w->done || w->closing) || mono_is_never(delayed_leave_next(&w->j)));
    // Whoever is not done gets on by himself, or is waited for.
    must(w->done || w->closing || w->calling || w->looking ||
         !mono_is_never(delayed_leave_next(&w->j)));
}

static void feed(struct world *w, const struct leave_input *in)
{
    if (in->type == LEAVE_EVENT_ANSWER) {
        w->calling = false;
    }
    if (in->type >= LEAVE_EVENT_FOUND && in->type <= LEAVE_EVENT_LOOKUP_FAILED) {
        w->looking = false;
    }
    w->closing = w->closing || in->type == LEAVE_EVENT_SHUTDOWN;
    struct leave_todo const todo = delayed_leave_handle(&w->j, in, &w->rules, w->now, &w->rng);
    check(w, &todo);
}

// Time passes, at most to the next deadline, as the manager does it.
static void pass(struct world *w, int64_t ms)
{
    mono_t const at = mono_min(mono_add_ms(w->now, ms), delayed_leave_next(&w->j));
    w->now = mono_max(w->now, at);
    if (mono_reached(delayed_leave_next(&w->j), w->now)) {
        feed(w, &(struct leave_input){.type = LEAVE_EVENT_TIME});
    }
}

static void begin(struct world *w, struct rd *r)
{
    static const int64_t delays[] = {1, 250, 1000, 5000, 10000, 60000, 3600000, INT64_MAX};
    uint8_t const how = rd_u8(r);
    int64_t const delay = delays[how & 7];
    struct leave_todo todo;
    w->rules.sanity_ms = how & 8 ? 60000 : how & 16 ? 1000 : 0;
    if (how & 32) {
        uint8_t const b = rd_u8(r);
        struct leave_saved const saved = {
            .state = (enum leave_state)(b % 3),
            .left_ms = 1 + (int64_t)(b >> 2) * 500,
            .sid = b & 128 ? "PA_a" : "",
        };
        todo = delayed_leave_restore(&w->j, delay, &saved, w->now);
    } else {
        todo = delayed_leave_begin(&w->j, delay, w->now);
    }
    check(w, &todo);
}

static void replace(struct world *w, int64_t delay_ms)
{
    struct delayed_leave const old = w->j;
    feed(w, &(struct leave_input){.type = LEAVE_EVENT_REPLACED});
    must(w->done || w->j.state == LEAVE_DISCONNECTED || w->j.state == LEAVE_REPLACED);
    w->calling = false;
    w->looking = false;
    w->done = false;
    w->closing = false;
    w->sends = 0;
    w->deadline = (mono_t){0};
    struct leave_todo const todo = delayed_leave_inherit(&w->j, delay_ms, &old, w->now);
    check(w, &todo);
}

static void one(struct world *w, struct rd *r)
{
    static const char *const sids[] = {NULL, "", "PA_a", "PA_b",
                                       "PA_a_very_long_session_id_indeed"};
    uint8_t const what = rd_u8(r);
    uint8_t const arg = rd_u8(r);
    struct leave_input in = {
        .type = (enum leave_event)(what % LEAVE_EVENT_COUNT),
        .who = arg & 1,
        .present = 1u + (unsigned)(arg & 3) % 3u,
        .sid = {sids[(arg >> 2) % 5], sids[(arg >> 4) % 5]},
        .created_at_s = arg >> 5,
        .old = arg & 2,
        .verdict = (enum delayed_event_verdict)(arg % DELAYED_EVENT_VERDICT_COUNT),
        .wait_ms = (int64_t)(arg >> 3) * 700,
    };
    w->rules.limited = what & 128;
    switch (in.type) {
    case LEAVE_EVENT_TIME:
        pass(w, (int64_t)arg * arg * 4);
        break;
    case LEAVE_EVENT_ANSWER:
        if (w->calling) {
            feed(w, &in);
        }
        break;
    case LEAVE_EVENT_NOT_FOUND:
    case LEAVE_EVENT_LOOKUP_FAILED:
        if (w->looking) {
            feed(w, &in);
        }
        break;
    case LEAVE_EVENT_REPLACED:
        replace(w, 1 + arg * 100);
        break;
    default:
        feed(w, &in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[RNG_SEED_LEN] = {1};
    struct rd r = rd_init(bytes_of(data, size));
    struct world w = {.now = {1000 * US_PER_S}};
    rng_seed(&w.rng, seed);
    begin(&w, &r);
    while (rd_left(&r) > 0) {
        one(&w, &r);
    }
    // Left alone, with every call and lookup failing, each job comes to its end.
    for (unsigned i = 0; i < 200000 && !w.done && !w.closing; i++) {
        w.rules.sanity_ms = 0;
        if (w.calling) {
            feed(&w,
                 &(struct leave_input){.type = LEAVE_EVENT_ANSWER, .verdict = DELAYED_EVENT_RETRY});
        } else if (w.looking && w.j.looking) {
            feed(&w, &(struct leave_input){.type = LEAVE_EVENT_LOOKUP_FAILED});
        } else {
            pass(&w, 3600000);
        }
    }
    must(w.done || w.closing);
    return 0;
}

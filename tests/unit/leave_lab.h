// SPDX-License-Identifier: Apache-2.0
#pragma once
// One delegated leave in a test's hand: events in, the last answer of the machine kept, time under
// control. Include it in one file of a program only.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <string.h>

#include "jwt-service/leave/delayed_leave.h"

// One job on a virtual clock.
struct lab {
    struct delayed_leave j;
    struct leave_rules rules;
    struct rng rng;
    mono_t now;
    struct leave_todo todo; // of the last event
};

static UNUSED void lab_init(struct lab *l)
{
    static const uint8_t seed[RNG_SEED_LEN] = {7};
    memset(l, 0, sizeof(*l));
    rng_seed(&l->rng, seed);
    l->now = (mono_t){1000 * US_PER_S};
}

static UNUSED void begin(struct lab *l, int64_t delay_ms)
{
    l->todo = delayed_leave_begin(&l->j, delay_ms, l->now);
}

static UNUSED void feed(struct lab *l, const struct leave_input *in)
{
    l->todo = delayed_leave_handle(&l->j, in, &l->rules, l->now, &l->rng);
}

static UNUSED void event(struct lab *l, enum leave_event type)
{
    feed(l, &(struct leave_input){.type = type});
}

static UNUSED void event_sid(struct lab *l, enum leave_event type, const char *sid,
                             int64_t created_at_s)
{
    feed(l, &(struct leave_input){.type = type, .sid = {sid}, .created_at_s = created_at_s});
}

static UNUSED void found(struct lab *l, unsigned present)
{
    feed(l, &(struct leave_input){.type = LEAVE_EVENT_FOUND, .present = present});
}

static UNUSED void answer(struct lab *l, enum delayed_event_verdict verdict, int64_t wait_ms)
{
    feed(l,
         &(struct leave_input){.type = LEAVE_EVENT_ANSWER, .verdict = verdict, .wait_ms = wait_ms});
}

// Waits until something is due; returns after how many milliseconds.
static UNUSED int64_t wait_next(struct lab *l)
{
    mono_t const at = delayed_leave_next(&l->j);
    assert_false(mono_is_never(at));
    assert_true(mono_before(l->now, at));
    int64_t const ms = mono_diff_us(at, l->now) / US_PER_MS;
    l->now = at;
    event(l, LEAVE_EVENT_TIME);
    return ms;
}

static UNUSED void wait_ms(struct lab *l, int64_t ms)
{
    mono_t const until = mono_add_ms(l->now, ms);
    while (!mono_before(until, delayed_leave_next(&l->j))) {
        (void)wait_next(l);
    }
    l->now = until;
}

static UNUSED bool calls(const struct lab *l, enum delayed_event_action action)
{
    return (l->todo.bits & LEAVE_DO_CALL) && l->todo.call == action;
}

static UNUSED bool is_done(const struct lab *l, enum leave_outcome outcome)
{
    return (l->todo.bits & LEAVE_DO_DONE) && l->todo.outcome == outcome &&
           delayed_leave_is_done(&l->j);
}

// Connected, the first restart made, nothing under way.
static UNUSED void connect(struct lab *l, int64_t delay_ms)
{
    begin(l, delay_ms);
    event(l, LEAVE_EVENT_LOOKUP_FAILED);
    event(l, LEAVE_EVENT_JOINED);
    assert_true(calls(l, DELAYED_EVENT_RESTART));
    answer(l, DELAYED_EVENT_OK, 0);
    assert_int_equal(l->j.state, LEAVE_CONNECTED);
    assert_false(l->j.calling);
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The world around delayed_leave_manager on a virtual clock: the loop, the calls to homeservers and
// to the SFU, and the store are defined here in place of the real ones, so that a day passes in a
// moment and every answer comes when the test says. Include it in one file of a program only.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/hash.h"
#include "jwt-service/leave/delayed_leave_manager.h"

#define WORLD_NEVER INT64_MAX

// ---- the clock and the loop -----------------------------------------------------------------

struct loop_timer {
    void (*fn)(void *user);
    void *user;
    mono_t at;
};

static struct world {
    int64_t now_ms;
    struct loop_timer timer;
    unsigned wake_ups;

    struct delayed_event_call *calls; // under way
    unsigned calls_now;
    unsigned calls_max;
    unsigned restarts;
    unsigned sends;
    char last_delay_id[64];
    char last_user[64];
    int64_t call_ms; // until an answer comes; WORLD_NEVER: none does
    enum delayed_event_verdict restart_verdict;
    enum delayed_event_verdict send_verdict;
    bool no_as_token;     // application-service mode is off
    const char *refusing; // this server demands authentication
    bool limited;

    struct sfu_call *asked; // under way
    struct sfu_guest *guests;
    bool sfu_down;
    bool no_list;
    unsigned gets;
    unsigned lists;

    struct stored *stored;
    struct job_wait *waits; // puts whose answer has not come
    int64_t store_ms;
    int store_error;
    unsigned puts;
    unsigned removes;
    unsigned flushes;
    void (*flush_fn)(void *user, int error);
    void *flush_user;
    void (*load_each)(void *user, const struct job_record *r);
    void (*load_done)(void *user, const struct job_load *load);
    void *load_user;
    struct leave_manager *manager;
} world;

// The clocks start far from zero, the wall clock at the time of the recordings.
#define WORLD_MONO_US (INT64_C(5000) * US_PER_S)
#define WORLD_WALL_US (INT64_C(1795254000) * US_PER_S)

mono_t loop_now(struct loop *l)
{
    (void)l;
    return (mono_t){WORLD_MONO_US + world.now_ms * US_PER_MS};
}

wall_t loop_wall(struct loop *l)
{
    (void)l;
    return (wall_t){WORLD_WALL_US + world.now_ms * US_PER_MS};
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *user), void *user)
{
    (void)l;
    world.timer = (struct loop_timer){fn, user, MONO_NEVER};
    return &world.timer;
}

void loop_timer_free(struct loop_timer *t)
{
    t->at = MONO_NEVER;
}

void loop_timer_set(struct loop_timer *t, mono_t at)
{
    t->at = at;
}

// ---- homeservers ----------------------------------------------------------------------------

struct delayed_event_call {
    void (*fn)(void *user, const struct delayed_event_result *result);
    void *user;
    int64_t at_ms;
    enum delayed_event_action action;
    struct delayed_event_call *prev;
    struct delayed_event_call *next;
};

static void world_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from ? from : "");
}

int delayed_event_call(struct delayed_event_client *c, const struct delayed_event_ask *ask,
                       void (*fn)(void *user, const struct delayed_event_result *result),
                       void *user, struct delayed_event_call **ret)
{
    (void)c;
    struct delayed_event_call *const x = NEW(struct delayed_event_call);
    assert_non_null(x);
    assert_true(ask->timeout_ms > 0);
    int64_t const ms = world.call_ms == WORLD_NEVER ? WORLD_NEVER : world.now_ms + world.call_ms;
    *x = (struct delayed_event_call){.fn = fn, .user = user, .at_ms = ms, .action = ask->action};
    DL_APPEND(world.calls, x);
    world.calls_now++;
    world.calls_max = MAX(world.calls_max, world.calls_now);
    world.restarts += ask->action == DELAYED_EVENT_RESTART;
    world.sends += ask->action == DELAYED_EVENT_SEND;
    world_text(world.last_delay_id, sizeof(world.last_delay_id), ask->delay_id);
    world_text(world.last_user, sizeof(world.last_user), ask->as_user);
    *ret = x;
    return 0;
}

void delayed_event_cancel(struct delayed_event_call *call)
{
    DL_DELETE(world.calls, call);
    world.calls_now--;
    mem_free(call);
}

static void world_answer_call(struct delayed_event_call *x)
{
    bool const restart = x->action == DELAYED_EVENT_RESTART;
    struct delayed_event_result const r = {
        .verdict = restart ? world.restart_verdict : world.send_verdict,
        .wait_ms = 5000,
        .step = "status",
        .text = "as the test says",
    };
    void (*const fn)(void *, const struct delayed_event_result *) = x->fn;
    void *const user = x->user;
    delayed_event_cancel(x);
    fn(user, &r);
}

bool delayed_event_allowed(struct delayed_event_client *c, const char *server_name)
{
    (void)c;
    return !world.refusing || strcmp(world.refusing, server_name) != 0;
}

bool delayed_event_client_authenticates(const struct delayed_event_client *c)
{
    (void)c;
    return !world.no_as_token;
}

bool delayed_event_limited(struct delayed_event_client *c, const char *server_name)
{
    (void)c;
    (void)server_name;
    return world.limited;
}

// ---- the SFU --------------------------------------------------------------------------------

struct sfu_guest {
    char room[64];
    char identity[64];
    char sid[32];
    struct sfu_guest *next;
    struct sfu_guest *prev;
};

struct sfu_call {
    sfu_done fn;
    void *user;
    char room[64];
    char identity[64]; // "": list
    struct sfu_call *prev;
    struct sfu_call *next;
};

static UNUSED void world_enter(const char *room, const char *identity, const char *sid)
{
    struct sfu_guest *const g = NEW(struct sfu_guest);
    world_text(g->room, sizeof(g->room), room);
    world_text(g->identity, sizeof(g->identity), identity);
    world_text(g->sid, sizeof(g->sid), sid);
    DL_APPEND(world.guests, g);
}

static UNUSED void world_leave(const char *identity)
{
    struct sfu_guest *g = NULL;
    struct sfu_guest *tmp = NULL;
    DL_FOREACH_SAFE(world.guests, g, tmp)
    {
        if (strcmp(g->identity, identity) == 0) {
            DL_DELETE(world.guests, g);
            mem_free(g);
        }
    }
}

// Everybody has left.
static UNUSED void world_empty(void)
{
    while (world.guests) {
        struct sfu_guest *const g = world.guests;
        DL_DELETE(world.guests, g);
        mem_free(g);
    }
}

static int world_ask_sfu(const char *room, const char *identity, sfu_done fn, void *user,
                         struct sfu_call **ret)
{
    struct sfu_call *const x = NEW(struct sfu_call);
    assert_non_null(x);
    x->fn = fn;
    x->user = user;
    world_text(x->room, sizeof(x->room), room);
    world_text(x->identity, sizeof(x->identity), identity);
    DL_APPEND(world.asked, x);
    *ret = x;
    return 0;
}

int sfu_client_get_participant(struct sfu_client *c, const char *room, const char *identity,
                               sfu_done fn, void *user, struct sfu_call **ret)
{
    (void)c;
    world.gets++;
    return world_ask_sfu(room, identity, fn, user, ret);
}

int sfu_client_list_participants(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                                 struct sfu_call **ret)
{
    (void)c;
    world.lists++;
    return world_ask_sfu(room, "", fn, user, ret);
}

void sfu_client_cancel(struct sfu_call *call)
{
    DL_DELETE(world.asked, call);
    mem_free(call);
}

#define WORLD_GUESTS_MAX 64

static void world_answer_sfu(struct sfu_call *x)
{
    struct sfu_participant list[WORLD_GUESTS_MAX];
    struct sfu_result r = {.step = "connect", .text = "", .cause = SFU_CAUSE_CONNECT};
    struct sfu_guest *g = NULL;
    bool const is_list = x->identity[0] == '\0';
    bool found = false;
    DL_FOREACH(world.guests, g)
    {
        bool const same = strcmp(g->room, x->room) == 0;
        if (same && is_list && r.participant_count < WORLD_GUESTS_MAX) {
            list[r.participant_count++] = (struct sfu_participant){g->identity, g->sid};
        } else if (same && strcmp(g->identity, x->identity) == 0) {
            found = true;
            r.participant_sid = g->sid;
        }
    }
    if (world.sfu_down) {
        r.participant_count = 0;
    } else if (is_list) {
        r.ok = !world.no_list;
        r.cause = world.no_list ? SFU_CAUSE_URL : SFU_CAUSE_NONE;
        r.participants = list;
    } else {
        r.ok = found;
        r.not_found = !found;
        r.cause = found ? SFU_CAUSE_NONE : SFU_CAUSE_NOT_FOUND;
    }
    sfu_done const fn = x->fn;
    void *const user = x->user;
    sfu_client_cancel(x);
    fn(user, &r);
}

// ---- the store ------------------------------------------------------------------------------

struct stored {
    char room[64];
    char identity[64];
    char delay_id[64];
    char sid[32];
    enum job_state state;
    wall_t restarted_at;
    struct stored *prev;
    struct stored *next;
};

struct job_wait {
    void (*fn)(void *user, int error);
    void *user;
    int64_t at_ms;
    struct job_wait *prev;
    struct job_wait *next;
};

static struct stored *world_stored(const char *room, const char *identity)
{
    struct stored *s = NULL;
    DL_FOREACH(world.stored, s)
    {
        if (strcmp(s->room, room) == 0 && strcmp(s->identity, identity) == 0) {
            return s;
        }
    }
    return NULL;
}

static bool world_keeps_records = true; // off for very many jobs: they are in a list

int job_store_put(struct job_store *s, const struct job_record *r,
                  void (*fn)(void *user, int error), void *user, struct job_wait **ret)
{
    (void)s;
    world.puts++;
    if (world.store_error < 0) {
        return world.store_error;
    }
    struct stored *e = world_keeps_records ? world_stored(r->room, r->identity) : NULL;
    if (!e && world_keeps_records) {
        e = NEW(struct stored);
        world_text(e->room, sizeof(e->room), r->room);
        world_text(e->identity, sizeof(e->identity), r->identity);
        DL_APPEND(world.stored, e);
    }
    if (e) {
        world_text(e->delay_id, sizeof(e->delay_id), r->delay_id);
        world_text(e->sid, sizeof(e->sid), r->sid);
        e->state = r->state;
        e->restarted_at = r->restarted_at;
    }
    if (fn) {
        struct job_wait *const w = NEW(struct job_wait);
        *w = (struct job_wait){.fn = fn, .user = user, .at_ms = world.now_ms + world.store_ms};
        DL_APPEND(world.waits, w);
        *ret = w;
    }
    return 0;
}

void job_store_cancel(struct job_wait *w)
{
    DL_DELETE(world.waits, w);
    mem_free(w);
}

void job_store_remove(struct job_store *s, const char *room, const char *identity)
{
    (void)s;
    world.removes++;
    struct stored *const e = world_stored(room, identity);
    if (e) {
        DL_DELETE(world.stored, e);
        mem_free(e);
    }
}

void job_store_flush(struct job_store *s, int64_t timeout_ms, void (*fn)(void *user, int error),
                     void *user)
{
    (void)s;
    assert_true(timeout_ms > 0);
    world.flushes++;
    world.flush_fn = fn;
    world.flush_user = user;
}

void job_store_load(struct job_store *s, void (*each)(void *user, const struct job_record *r),
                    void (*done)(void *user, const struct job_load *load), void *user)
{
    (void)s;
    world.load_each = each;
    world.load_done = done;
    world.load_user = user;
}

// ---- time passes ----------------------------------------------------------------------------

// Serves what is due now; true if there was something.
static bool world_turn(void)
{
    struct delayed_event_call *c = NULL;
    struct job_wait *w = NULL;
    DL_FOREACH(world.calls, c)
    {
        if (c->at_ms <= world.now_ms) {
            world_answer_call(c);
            return true;
        }
    }
    if (world.asked) {
        world_answer_sfu(world.asked);
        return true;
    }
    DL_FOREACH(world.waits, w)
    {
        if (w->at_ms <= world.now_ms) {
            void (*const fn)(void *, int) = w->fn;
            void *const user = w->user;
            job_store_cancel(w);
            fn(user, 0);
            return true;
        }
    }
    if (mono_reached(world.timer.at, loop_now(NULL))) {
        world.timer.at = MONO_NEVER;
        world.wake_ups++;
        world.timer.fn(world.timer.user);
        return true;
    }
    if (world.flush_fn) {
        void (*const fn)(void *, int) = world.flush_fn;
        world.flush_fn = NULL;
        fn(world.flush_user, 0);
        return true;
    }
    return false;
}

static int64_t world_next_ms(void)
{
    int64_t next = WORLD_NEVER;
    struct delayed_event_call *c = NULL;
    struct job_wait *w = NULL;
    DL_FOREACH(world.calls, c)
    {
        next = MIN(next, c->at_ms);
    }
    DL_FOREACH(world.waits, w)
    {
        next = MIN(next, w->at_ms);
    }
    if (!mono_is_never(world.timer.at)) {
        next = MIN(next, (world.timer.at.us - WORLD_MONO_US + US_PER_MS - 1) / US_PER_MS);
    }
    return MAX(next, world.now_ms);
}

// Lets so many milliseconds pass.
static UNUSED void world_run(int64_t ms)
{
    int64_t const end = world.now_ms + ms;
    for (;;) {
        while (world_turn()) {
        }
        int64_t const next = world_next_ms();
        if (next > end) {
            break;
        }
        world.now_ms = next;
    }
    world.now_ms = end;
}

static void world_start(int64_t sanity_ms)
{
    memset(&world, 0, sizeof(world));
    world.call_ms = 5;
    world.timer.at = MONO_NEVER;
    world_keeps_records = true;
    world.manager = leave_manager_new(&(struct leave_manager_conf){.sanity_ms = sanity_ms});
    assert_non_null(world.manager);
}

// The process is gone, the store and the SFU stay.
static UNUSED void world_crash(void)
{
    leave_manager_free(world.manager);
    world.manager = NULL;
    assert_null(world.calls);
    assert_null(world.asked);
    while (world.waits) {
        job_store_cancel(world.waits);
    }
    assert_true(mono_is_never(world.timer.at));
}

static void world_end(void)
{
    world_crash();
    while (world.stored) {
        struct stored *const s = world.stored;
        DL_DELETE(world.stored, s);
        mem_free(s);
    }
    world_empty();
}

// ---- the manager as its callers see it -----------------------------------------------------

static UNUSED struct leave_call *call;
static int verdicts;
static enum leave_verdict verdict;

static UNUSED int setup(void **state)
{
    (void)state;
    world_start(0);
    verdicts = 0;
    call = NULL;
    return 0;
}

static UNUSED int teardown(void **state)
{
    (void)state;
    world_end();
    return 0;
}

static UNUSED void on_verdict(void *user, enum leave_verdict v)
{
    (void)user;
    verdicts++;
    verdict = v;
    call = NULL;
}

#define USER "@u:a.example"

static UNUSED void ask(const struct leave_request *q)
{
    assert_int_equal(leave_manager_delegate(world.manager, q, on_verdict, NULL, &call), 0);
}

// Delegates and waits for the verdict.
static UNUSED enum leave_verdict delegate(const char *room, const char *identity,
                                          const char *delay_id, int64_t delay_ms)
{
    int const before = verdicts;
    ask(&(struct leave_request){.delay_id = delay_id,
                                .delay_ms = delay_ms,
                                .server_name = "a.example",
                                .room = room,
                                .identity = identity,
                                .user_id = USER});
    assert_int_equal(verdicts, before); // never from inside
    world_run(0);
    assert_int_equal(verdicts, before + 1);
    return verdict;
}

static UNUSED void webhook(enum sfu_event_type type, const char *room, const char *identity,
                           const char *sid, int reason)
{
    struct sfu_event const e = {
        .type = type, .room = room, .identity = identity, .sid = sid, .reason = reason};
    leave_manager_event(world.manager, &e);
}

static UNUSED struct leave_counts counts(void)
{
    struct leave_counts c;
    leave_manager_counts(world.manager, &c);
    return c;
}

// A job whose participant is there and whose event was restarted once.
static UNUSED void connected(const char *room, const char *identity, int64_t delay_ms)
{
    assert_int_equal(delegate(room, identity, "syd_1", delay_ms), LEAVE_ACCEPTED);
    world_enter(room, identity, "PA_1");
    webhook(SFU_EVENT_JOINED, room, identity, "PA_1", 0);
    world_run(10);
}

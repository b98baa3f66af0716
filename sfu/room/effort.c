// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/effort.h"

#include "sfu/room/participant_info.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_dispatch.h"

// The generic cell rate algorithm (ITU-T I.371), as in common/base/rate.h.
static void take(mono_t *full, mono_t now, int64_t us)
{
    *full = mono_add_us(mono_before(*full, now) ? now : *full, us);
}

static void take_core(mono_t *full, mono_t now, int64_t us, int64_t percent)
{
    take(full, now, us * 100 / percent);
}

// When no more than a whole allowance is missing.
static mono_t ready(mono_t full, int64_t allowance_us)
{
    return (mono_t){full.us - allowance_us};
}

static mono_t ready_core(mono_t full, int64_t burst_us, int64_t percent)
{
    return ready(full, burst_us * 100 / percent);
}

static void work(struct participant *p, int64_t us)
{
    take_core(&p->effort.work_full, p->room->env->now, us, EFFORT_WORK_PERCENT);
}

static void turn(struct participant *p, int64_t us)
{
    take_core(&p->effort.turn_full, p->room->env->now, us, EFFORT_TURN_PERCENT);
    work(p, us);
}

void effort_turn(struct participant *p, int64_t us)
{
    if (p->room->env->handling == p) {
        turn(p, us);
    }
}

void effort_work(struct participant *p, int64_t us)
{
    if (p->room->env->handling == p) {
        work(p, us);
    }
}

void effort_begin(struct participant *p)
{
    struct effort *const e = &p->effort;
    mono_t const now = p->room->env->now;
    int64_t const missing = EFFORT_START_SHARE - 1;
    take_core(&e->work_full, now, EFFORT_WORK_BURST_US * missing / EFFORT_START_SHARE,
              EFFORT_WORK_PERCENT);
    take_core(&e->news_full, now, EFFORT_NEWS_BURST_US * missing / EFFORT_START_SHARE,
              EFFORT_NEWS_PERCENT);
    take(&e->told_full, now,
         EFFORT_TOLD_BURST * missing / EFFORT_START_SHARE * US_PER_S / EFFORT_TOLD_BYTES_PER_S);
}

// ---- news -----------------------------------------------------------------------------------

void effort_news(struct participant *p)
{
    p->effort.news |= p->room->env->handling == p;
}

mono_t effort_news_at(const struct participant *p)
{
    const struct effort *const e = &p->effort;
    mono_t const news = ready_core(e->news_full, EFFORT_NEWS_BURST_US, EFFORT_NEWS_PERCENT);
    mono_t const told =
        ready(e->told_full, (int64_t)EFFORT_TOLD_BURST * US_PER_S / EFFORT_TOLD_BYTES_PER_S);
    return e->news ? mono_max(news, told) : p->room->env->now;
}

void effort_news_told(struct participant *p)
{
    if (!p->effort.news) {
        return;
    }
    p->effort.news = false;
    mono_t const now = p->room->env->now;
    const struct shared_buf *const info = participant_info(p);
    int64_t const bytes = info != NULL ? (int64_t)info->n : 0;
    int64_t const each = EFFORT_MESSAGE_US + (bytes >> 10) * EFFORT_KIB_US;
    take_core(&p->effort.news_full, now, each * (int64_t)HASH_COUNT(p->room->participants),
              EFFORT_NEWS_PERCENT);
    take(&p->effort.told_full, now, bytes * US_PER_S / EFFORT_TOLD_BYTES_PER_S);
}

// ---- requests -------------------------------------------------------------------------------

static mono_t next_at(const struct effort *e)
{
    return mono_max(ready_core(e->turn_full, EFFORT_TURN_BURST_US, EFFORT_TURN_PERCENT),
                    ready_core(e->work_full, EFFORT_WORK_BURST_US, EFFORT_WORK_PERCENT));
}

// Handles it, and counts what the room said to single participants meanwhile; what it says to everybody
// is counted where it is said. p may be gone afterwards.
static void handle(struct participant *p, struct channel_msg *m)
{
    struct room_env *const env = p->room->env;
    handle_t const session = m->handle;
    uint64_t const messages = env->posted_messages;
    uint64_t const bytes = env->posted_bytes;
    turn(p, EFFORT_REQUEST_US + (int64_t)(m->charged >> 10) * EFFORT_KIB_US);
    env->handling = p;
    signal_dispatch_pbuf(p, m->u.request);
    env->handling = NULL;
    if (participant_by_session(env, session) == p) {
        turn(p, (int64_t)(env->posted_messages - messages) * EFFORT_MESSAGE_US +
                    (int64_t)((env->posted_bytes - bytes) >> 10) * EFFORT_KIB_US);
    }
}

static void hold(struct participant *p, struct channel_msg *m)
{
    struct effort *const e = &p->effort;
    struct room_env *const env = p->room->env;
    m->next = NULL;
    if (e->held == NULL) {
        e->held = m;
    } else {
        e->held_last->next = m;
    }
    e->held_last = m;
    env->requests_held++;
    timer_heap_set_sooner(env->timers, &e->timer, next_at(e));
}

bool effort_request(struct room_env *env, struct channel_msg *m)
{
    struct participant *const p = participant_by_session(env, m->handle);
    if (p == NULL) {
        return false;
    }
    struct effort *const e = &p->effort;
    bool const free = e->held == NULL && mono_reached(next_at(e), env->now);
    if (!free && !signal_dispatch_is_exempt(p, m->u.request)) {
        hold(p, m);
        return true;
    }
    handle(p, m);
    return false;
}

void effort_timeout(struct participant *p)
{
    struct room_env *const env = p->room->env;
    handle_t const session = p->session;
    // It may end with each request, and it may have another socket, or none, by which nothing waits.
    while (participant_by_session(env, session) == p && p->effort.held != NULL) {
        struct effort *const e = &p->effort;
        mono_t const at = next_at(e);
        if (!mono_reached(at, env->now)) {
            timer_heap_set(env->timers, &e->timer, at);
            return;
        }
        struct channel_msg *const m = e->held;
        e->held = m->next;
        m->next = NULL;
        handle(p, m);
        channel_msg_free(m);
    }
}

void effort_drop(struct participant *p)
{
    struct room_env *const env = p->room->env;
    while (p->effort.held != NULL) {
        struct channel_msg *const m = p->effort.held;
        p->effort.held = m->next;
        env->drops[ROOM_DROP_REQUEST_STALE]++;
        channel_msg_free(m);
    }
    timer_heap_cancel(env->timers, &p->effort.timer);
}

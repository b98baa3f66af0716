// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/call_turns.h"

#include "common/base/hash.h"

void turn_server_done(struct turn_server *s)
{
    assert(!s->waits && s->in_flight == 0);
    timer_heap_done(&s->urgent);
    timer_heap_done(&s->others);
}

static struct timer_heap *heap_of(const struct turn *turn)
{
    return turn->urgent ? &turn->server->urgent : &turn->server->others;
}

static void set_waits(struct turns *t, struct turn_server *s)
{
    bool const waits = s->urgent.count + s->others.count > 0;
    if (waits && !s->waits) {
        DL_APPEND(t->waiting, s);
    } else if (!waits && s->waits) {
        DL_DELETE(t->waiting, s);
    }
    s->waits = waits;
}

int turns_wait(struct turns *t, struct turn *turn, struct turn_server *s, bool urgent,
               mono_t deadline)
{
    *turn = (struct turn){.server = s, .deadline = deadline, .urgent = urgent};
    struct timer_heap *const h = heap_of(turn);
    if (timer_heap_reserve(h, h->count + 1) < 0) {
        return -ENOMEM;
    }
    // MONO_NEVER would mean "not set".
    timer_heap_set(h, &turn->by_deadline, mono_min(deadline, (mono_t){INT64_MAX - 1}));
    t->wait_count++;
    set_waits(t, s);
    return 0;
}

static void stop_waiting(struct turns *t, struct turn *turn)
{
    timer_heap_cancel(heap_of(turn), &turn->by_deadline);
    t->wait_count--;
    set_waits(t, turn->server);
}

void turns_leave(struct turns *t, struct turn *turn)
{
    if (timer_is_set(&turn->by_deadline)) {
        stop_waiting(t, turn);
    }
    if (turn->begun) {
        turn->begun = false;
        turn->server->in_flight--;
        t->in_flight--;
    }
}

static struct turn *first_of(const struct timer_heap *h)
{
    return h->count ? CONTAINER_OF(h->v[0], struct turn, by_deadline) : NULL;
}

static struct turn *expired_of(const struct turn_server *s, mono_t now)
{
    struct turn *const heads[] = {first_of(&s->urgent), first_of(&s->others)};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        if (heads[i] && mono_reached(heads[i]->deadline, now)) {
            return heads[i];
        }
    }
    return NULL;
}

static void begin(struct turns *t, struct turn *turn, mono_t now)
{
    struct turn_server *const s = turn->server;
    stop_waiting(t, turn);
    turn->begun = true;
    s->in_flight++;
    t->in_flight++;
    call_pace_started(&s->pace, now);
    if (s->waits) { // the others are next
        DL_DELETE(t->waiting, s);
        DL_APPEND(t->waiting, s);
    }
}

enum turns_step turns_next(struct turns *t, mono_t now, struct turn **ret, mono_t *ret_next)
{
    struct turn_server *s = NULL;
    mono_t next = MONO_NEVER;
    DL_FOREACH(t->waiting, s)
    {
        struct turn *turn = expired_of(s, now);
        if (turn) {
            stop_waiting(t, turn);
            *ret = turn;
            return TURNS_EXPIRED;
        }
        // When the number is the limit, the end of a call is the time to ask again.
        if (t->in_flight < t->max && s->in_flight < t->max_per_server) {
            turn = first_of(&s->urgent);
            turn = turn ? turn : first_of(&s->others);
            mono_t const at = call_pace_ready(&s->pace, now, turn->urgent, turn->deadline);
            if (mono_reached(at, now)) {
                begin(t, turn, now);
                *ret = turn;
                return TURNS_BEGIN;
            }
            next = mono_min(next, at);
        }
        next = mono_min(next, mono_min(timer_heap_next(&s->urgent), timer_heap_next(&s->others)));
    }
    *ret_next = next;
    return TURNS_NONE;
}

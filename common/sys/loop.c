// SPDX-License-Identifier: Apache-2.0
#include "common/sys/loop.h"

#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/clock.h"

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare; // before waiting
    uv_check_t check;     // after serving descriptors
    uv_timer_t once;      // bounds loop_run_once
    uv_idle_t idle;       // active while a timer is due in the next turn
    struct loop_timer *soon;
    uint64_t soon_turn;
    struct clock_sample time;
    bool time_known;   // time was read since the loop last waited
    mono_t turn_began; // first loop_turn_is_long since the loop last waited; 0: nobody asked
    unsigned handles;  // user handles alive or closing
    void (*turn_end)(void *user);
    void *turn_end_user;
};

// Each handle is one allocation that libuv's close callback frees, so that a handle may end inside
// its own callback. `fn` NULL means: freed by the owner, waiting for libuv.

static void on_prepare(uv_prepare_t *h)
{
    struct loop *const l = h->data;
    if (l->turn_end != NULL) {
        l->turn_end(l->turn_end_user);
    }
    l->time_known = false;
    l->turn_began = (mono_t){0};
}

// Timers run after this, before the next wait: they get a time of their own.
static void on_check(uv_check_t *h)
{
    struct loop *const l = h->data;
    l->time_known = false;
}

static void on_idle(uv_idle_t *h);

static void on_once(uv_timer_t *h)
{
    (void)h;
}

struct loop *loop_new(void)
{
    struct loop *const l = NEW(struct loop);
    if (l == NULL) {
        return NULL;
    }
    if (uv_loop_init(&l->uv) != 0) {
        mem_free(l);
        return NULL;
    }
    // These five cannot fail once the loop exists (libuv documents no error for them).
    (void)uv_prepare_init(&l->uv, &l->prepare);
    (void)uv_check_init(&l->uv, &l->check);
    (void)uv_timer_init(&l->uv, &l->once);
    (void)uv_idle_init(&l->uv, &l->idle);
    l->idle.data = l;
    l->prepare.data = l;
    l->check.data = l;
    (void)uv_prepare_start(&l->prepare, on_prepare);
    (void)uv_check_start(&l->check, on_check);
    return l;
}

void loop_free(struct loop *l)
{
    if (l == NULL) {
        return;
    }
    l->turn_end = NULL;
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->once, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    // Runs the close callbacks that are due. It returns at once: nothing that could wait is left.
    (void)uv_run(&l->uv, UV_RUN_NOWAIT);
    assert(l->handles == 0);
    int const r = uv_loop_close(&l->uv);
    assert(r == 0);
    (void)r;
    mem_free(l);
}

// The prepare handle keeps the loop referenced, so a loop without anything else to do waits instead
// of returning.
void loop_run(struct loop *l)
{
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_run_once(struct loop *l, int timeout_ms)
{
    // The caller may have asked for the time since the last turn, and may have taken long: timers that
    // libuv finds due must find themselves due as well, or they set themselves again for ever.
    l->time_known = false;
    if (timeout_ms == 0) {
        (void)uv_run(&l->uv, UV_RUN_NOWAIT);
        return;
    }
    if (timeout_ms > 0) {
        uv_update_time(&l->uv);
        // Repeating: uv_run serves timers before it waits. If this thread was kept waiting for the
        // timeout until then, the timer is over, and nothing else would bound the wait.
        (void)uv_timer_start(&l->once, on_once, (uint64_t)timeout_ms, (uint64_t)timeout_ms);
    }
    (void)uv_run(&l->uv, UV_RUN_ONCE);
    (void)uv_timer_stop(&l->once);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

static const struct clock_sample *time_of(struct loop *l)
{
    if (!l->time_known) {
        l->time = clock_read();
        l->time_known = true;
    }
    return &l->time;
}

mono_t loop_now(struct loop *l)
{
    return time_of(l)->mono;
}

wall_t loop_wall(struct loop *l)
{
    return time_of(l)->wall;
}

mono_t loop_refresh(struct loop *l)
{
    l->time_known = false;
    return time_of(l)->mono;
}

bool loop_turn_is_long(struct loop *l)
{
    mono_t const now = clock_mono();
    if (l->turn_began.us == 0) {
        l->turn_began = now;
    }
    return mono_diff_us(now, l->turn_began) >= LOOP_TURN_US;
}

void loop_on_turn_end(struct loop *l, void (*fn)(void *user), void *user)
{
    l->turn_end = fn;
    l->turn_end_user = user;
}

// ---- timers ---------------------------------------------------------------------------------

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*fn)(void *user);
    void *user;
    int64_t due_ms;     // while libuv has it
    bool is_soon;       // in the loop's list, and not libuv's to fire
    uint64_t soon_turn; // when it was set: what is set meanwhile has to wait
    struct loop_timer *prev, *next;
};

static void not_soon(struct loop_timer *t)
{
    if (t->is_soon) {
        DL_DELETE(t->loop->soon, t);
        t->is_soon = false;
    }
}

// libuv would fire what is due at once a millisecond later, or, set by another timer, before it looks
// at any descriptor again.
static void on_idle(uv_idle_t *h)
{
    struct loop *const l = h->data;
    uint64_t const before = l->soon_turn++;
    struct loop_timer *t = NULL;
    while ((t = l->soon) != NULL && t->soon_turn <= before) {
        not_soon(t);
        t->fn(t->user);
    }
    if (l->soon == NULL) {
        (void)uv_idle_stop(h);
    }
}

static void on_timer(uv_timer_t *h)
{
    struct loop_timer *const t = h->data;
    if (t->fn != NULL) {
        t->fn(t->user);
    }
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *user), void *user)
{
    struct loop_timer *const t = NEW(struct loop_timer);
    if (t == NULL) {
        return NULL;
    }
    t->loop = l;
    t->fn = fn;
    t->user = user;
    (void)uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    l->handles++;
    return t;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct loop_timer *const t = h->data;
    t->loop->handles--;
    mem_free(t);
}

void loop_timer_free(struct loop_timer *t)
{
    if (t != NULL) {
        t->fn = NULL;
        not_soon(t);
        uv_close((uv_handle_t *)&t->uv, on_timer_closed);
    }
}

static void set_soon(struct loop_timer *t)
{
    (void)uv_timer_stop(&t->uv);
    not_soon(t);
    t->is_soon = true;
    t->soon_turn = t->loop->soon_turn;
    DL_APPEND(t->loop->soon, t);
    (void)uv_idle_start(&t->loop->idle, on_idle);
}

// libuv fires when its millisecond clock (CLOCK_MONOTONIC too) has reached the loop's cached time
// plus the timeout. Rounding the deadline up therefore never fires early, and the cached time
// cancels out.
void loop_timer_set(struct loop_timer *t, mono_t at)
{
    if (mono_is_never(at)) {
        loop_timer_stop(t);
        return;
    }
    if (!mono_before(loop_now(t->loop), at)) {
        set_soon(t);
        return;
    }
    not_soon(t);
    int64_t const due_ms = (at.us + US_PER_MS - 1) / US_PER_MS;
    if (due_ms == t->due_ms && uv_is_active((const uv_handle_t *)&t->uv) != 0) {
        return; // as it is: owners set their timer after whatever they did
    }
    t->due_ms = due_ms;
    int64_t const left = due_ms - (int64_t)uv_now(&t->loop->uv);
    (void)uv_timer_start(&t->uv, on_timer, left > 0 ? (uint64_t)left : 0, 0);
}

void loop_timer_set_ms(struct loop_timer *t, int64_t ms_from_now)
{
    if (ms_from_now <= 0) {
        set_soon(t);
    } else {
        loop_timer_set(t, mono_add_ms(clock_mono(), ms_from_now));
    }
}

void loop_timer_stop(struct loop_timer *t)
{
    not_soon(t);
    (void)uv_timer_stop(&t->uv);
}

bool loop_timer_is_set(const struct loop_timer *t)
{
    return t->is_soon || uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

// ---- descriptors ----------------------------------------------------------------------------

struct loop_poll {
    uv_poll_t uv;
    struct loop *loop;
    void (*fn)(void *user, unsigned events);
    void *user;
    int events; // what libuv waits for
};

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct loop_poll *const p = h->data;
    if (p->fn == NULL) {
        return;
    }
    unsigned e = 0;
    if (status < 0) {
        // Polling failed (EBADF is our bug, the rest does not happen): let the owner find out by
        // reading. libuv has stopped the handle.
        e = LOOP_READ | LOOP_WRITE | LOOP_HANGUP;
        p->events = 0;
    }
    e |= (events & UV_READABLE) ? LOOP_READ : 0u;
    e |= (events & UV_WRITABLE) ? LOOP_WRITE : 0u;
    e |= (events & UV_DISCONNECT) ? LOOP_HANGUP : 0u;
    p->fn(p->user, e);
}

struct loop_poll *loop_poll_new(struct loop *l, int fd, void (*fn)(void *user, unsigned events),
                                void *user)
{
    struct loop_poll *const p = NEW(struct loop_poll);
    if (p == NULL) {
        return NULL;
    }
    p->loop = l;
    p->fn = fn;
    p->user = user;
    if (uv_poll_init(&l->uv, &p->uv, fd) != 0) {
        mem_free(p);
        return NULL;
    }
    p->uv.data = p;
    l->handles++;
    return p;
}

static void on_poll_closed(uv_handle_t *h)
{
    struct loop_poll *const p = h->data;
    p->loop->handles--;
    mem_free(p);
}

void loop_poll_free(struct loop_poll *p)
{
    if (p != NULL) {
        p->fn = NULL;
        // Takes the descriptor out of the epoll set now, so the owner may close it.
        (void)uv_poll_stop(&p->uv);
        uv_close((uv_handle_t *)&p->uv, on_poll_closed);
    }
}

void loop_poll_set(struct loop_poll *p, unsigned events)
{
    int e = 0;
    e |= (events & LOOP_READ) ? UV_READABLE | UV_DISCONNECT : 0;
    e |= (events & LOOP_WRITE) ? UV_WRITABLE : 0;
    if (e == p->events) {
        return; // uv_poll_start takes the descriptor out of the epoll set and puts it in again, changed or not
    }
    p->events = e;
    if (e == 0) {
        (void)uv_poll_stop(&p->uv);
    } else {
        (void)uv_poll_start(&p->uv, e, on_poll);
    }
}

// ---- wake-ups -------------------------------------------------------------------------------

// Not uv_async_t: its receiver spins while a sender is between writing and saying that it has (libuv
// 1.44), and a sender that gives way to other threads (thread_stand_back) is interrupted right there,
// by the very thread that it woke: 15 us each time on one core, measured.
struct loop_wake {
    struct loop_poll *poll;
    int fd;
    atomic_bool sent; // the descriptor is or is about to be readable
    void (*fn)(void *user);
    void *user;
};

static void on_wake(void *user, unsigned events)
{
    struct loop_wake *const w = user;
    uint64_t count = 0;
    (void)events;
    // Nothing there: the sender has not come to write yet, and will wake us again.
    if (read(w->fd, &count, sizeof(count)) == (ssize_t)sizeof(count)) {
        // In this order: who sends from now on writes, who sent before that has its turn now.
        atomic_store(&w->sent, false);
        w->fn(w->user);
    }
}

struct loop_wake *loop_wake_new(struct loop *l, void (*fn)(void *user), void *user)
{
    struct loop_wake *const w = NEW(struct loop_wake);
    if (w == NULL) {
        return NULL;
    }
    w->fn = fn;
    w->user = user;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->poll = w->fd >= 0 ? loop_poll_new(l, w->fd, on_wake, w) : NULL;
    if (w->poll == NULL) {
        if (w->fd >= 0) {
            (void)close(w->fd);
        }
        mem_free(w);
        return NULL;
    }
    loop_poll_set(w->poll, LOOP_READ);
    return w;
}

void loop_wake_free(struct loop_wake *w)
{
    if (w != NULL) {
        loop_poll_free(w->poll);
        (void)close(w->fd);
        mem_free(w);
    }
}

void loop_wake_send(struct loop_wake *w)
{
    static const uint64_t one = 1;
    if (!atomic_exchange(&w->sent, true)) {
        // Fails only when the count is at its end, and then the descriptor is readable anyway.
        (void)!write(w->fd, &one, sizeof(one));
    }
}

// ---- process signals ------------------------------------------------------------------------

struct loop_signal {
    uv_signal_t uv;
    struct loop *loop;
    void (*fn)(void *user, int signum);
    void *user;
};

static void on_signal(uv_signal_t *h, int signum)
{
    struct loop_signal *const s = h->data;
    if (s->fn != NULL) {
        s->fn(s->user, signum);
    }
}

static void on_signal_closed(uv_handle_t *h)
{
    struct loop_signal *const s = h->data;
    s->loop->handles--;
    mem_free(s);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *user, int signum),
                                    void *user)
{
    struct loop_signal *const s = NEW(struct loop_signal);
    if (s == NULL) {
        return NULL;
    }
    s->loop = l;
    s->fn = fn;
    s->user = user;
    if (uv_signal_init(&l->uv, &s->uv) != 0) {
        mem_free(s);
        return NULL;
    }
    s->uv.data = s;
    l->handles++;
    if (uv_signal_start(&s->uv, on_signal, signum) != 0) {
        loop_signal_free(s);
        return NULL;
    }
    return s;
}

void loop_signal_free(struct loop_signal *s)
{
    if (s != NULL) {
        s->fn = NULL;
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
    }
}

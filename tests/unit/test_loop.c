// SPDX-License-Identifier: Apache-2.0
// LINK: sys
// COVERS: clock
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <unistd.h>

#include "common/sys/clock.h"
#include "common/sys/loop.h"
#include "common/sys/thread.h"

// No test waits longer than this for something that has to come.
#define DEADLINE_MS 10000

struct seen {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_poll *poll;
    unsigned count;
    unsigned events;
    int signum;
    mono_t at;
};

static void run_until(struct loop *l, const unsigned *count, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (*count < want && mono_before(clock_mono(), end)) {
        loop_run_once(l, 100);
    }
    assert_true(*count >= want);
}

static void on_timer(void *user)
{
    struct seen *const s = user;
    s->count++;
    s->at = loop_now(s->loop);
}

static void timer_fires_once_and_never_early(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    struct loop_timer *const t = loop_timer_new(l, on_timer, &s);
    for (int i = 0; i < 20; i++) {
        mono_t const due = mono_add_us(clock_mono(), 1000 + i * 137);
        s.count = 0;
        loop_timer_set(t, due);
        assert_true(loop_timer_is_set(t));
        run_until(l, &s.count, 1);
        assert_true(mono_reached(due, s.at));
        assert_false(loop_timer_is_set(t));
    }
    loop_run_once(l, 0);
    assert_int_equal(s.count, 1);
    loop_timer_free(t);
    loop_free(l);
}

static void timer_stopped_or_never_does_not_fire(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    struct seen other = {.loop = l};
    struct loop_timer *const t = loop_timer_new(l, on_timer, &s);
    struct loop_timer *const u = loop_timer_new(l, on_timer, &other);
    loop_timer_set_ms(t, 1);
    loop_timer_stop(t);
    loop_timer_set_ms(u, 5);
    run_until(l, &other.count, 1);
    loop_timer_set_ms(t, 1);
    loop_timer_set(t, MONO_NEVER);
    loop_timer_set_ms(u, 5);
    run_until(l, &other.count, 2);
    assert_int_equal(s.count, 0);
    loop_timer_free(t);
    loop_timer_free(u);
    loop_free(l);
}

static void on_timer_free_self(void *user)
{
    struct seen *const s = user;
    s->count++;
    loop_timer_free(s->timer);
}

// A timer that is due at once, again and again, and a pipe that is readable all the time.
struct busy {
    struct loop_timer *t[3];
    unsigned fired[3];
    unsigned polled;
};

static void on_busy(void *user)
{
    struct busy *const b = user;
    b->fired[0]++;
    loop_timer_set_ms(b->t[0], 0);
    if (b->t[2] != NULL) {
        loop_timer_free(b->t[2]); // it was due behind this one
        b->t[2] = NULL;
    }
}

static void on_busy_second(void *user)
{
    ((struct busy *)user)->fired[1]++;
}

static void on_busy_freed(void *user)
{
    ((struct busy *)user)->fired[2]++;
}

static void on_busy_poll(void *user, unsigned events)
{
    (void)events;
    ((struct busy *)user)->polled++;
}

static void timers_that_are_due_fire_in_the_next_turn_and_starve_nobody(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct busy b = {0};
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    struct loop_poll *const p = loop_poll_new(l, fd[0], on_busy_poll, &b);
    loop_poll_set(p, LOOP_READ);
    b.t[0] = loop_timer_new(l, on_busy, &b);
    b.t[1] = loop_timer_new(l, on_busy_second, &b);
    b.t[2] = loop_timer_new(l, on_busy_freed, &b);
    loop_timer_set_ms(b.t[0], 0);
    loop_timer_set(b.t[1], loop_now(l));
    loop_timer_set(b.t[2], (mono_t){0});
    assert_true(loop_timer_is_set(b.t[1]));
    for (int i = 0; i < 5; i++) {
        loop_run_once(l, 1000);
    }
    assert_in_range(b.fired[0], 4, 6);
    assert_int_equal(b.fired[1], 1);
    assert_int_equal(b.fired[2], 0);
    assert_in_range(b.polled, 4, 6);
    loop_timer_stop(b.t[0]);
    assert_false(loop_timer_is_set(b.t[0]));
    unsigned const fired = b.fired[0];
    loop_timer_set_ms(b.t[0], 0);
    loop_timer_set_ms(b.t[0], 50); // the later setting counts
    loop_run_once(l, 0);
    assert_int_equal(b.fired[0], fired);
    loop_timer_free(b.t[0]);
    loop_timer_free(b.t[1]);
    loop_poll_free(p);
    loop_free(l);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

static void timer_may_free_itself(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    s.timer = loop_timer_new(l, on_timer_free_self, &s);
    loop_timer_set(s.timer, (mono_t){0});
    run_until(l, &s.count, 1);
    loop_free(l);
}

static void on_readable(void *user, unsigned events)
{
    struct seen *const s = user;
    s->count++;
    s->events |= events;
    loop_poll_set(s->poll, 0);
}

static void poll_reports_what_is_there_and_pauses(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    struct seen s = {.loop = l};
    s.poll = loop_poll_new(l, fd[0], on_readable, &s);
    loop_poll_set(s.poll, LOOP_READ);
    loop_run_once(l, 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    run_until(l, &s.count, 1);
    assert_int_equal(s.events & (LOOP_READ | LOOP_WRITE), LOOP_READ);
    loop_run_once(l, 0); // still readable, but paused
    assert_int_equal(s.count, 1);
    loop_poll_free(s.poll);
    (void)close(fd[0]);
    (void)close(fd[1]);
    loop_free(l);
}

static void on_wake(void *user)
{
    struct seen *const s = user;
    s->count++;
    loop_stop(s->loop);
}

static void wake_it(void *arg)
{
    loop_wake_send(arg);
}

static void wake_from_another_thread_ends_a_waiting_loop(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    struct loop_wake *const w = loop_wake_new(l, on_wake, &s);
    struct thread th;
    assert_int_equal(thread_start(&th, "waker", -1, wake_it, w), 0);
    loop_run(l);
    assert_int_equal(s.count, 1);
    thread_join(&th);
    loop_wake_free(w);
    loop_free(l);
}

static void on_signal(void *user, int signum)
{
    struct seen *const s = user;
    s->count++;
    s->signum = signum;
}

static void signal_reaches_the_loop(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    struct loop_signal *const h = loop_signal_new(l, SIGHUP, on_signal, &s);
    assert_int_equal(raise(SIGHUP), 0);
    run_until(l, &s.count, 1);
    assert_int_equal(s.signum, SIGHUP);
    loop_signal_free(h);
    loop_free(l);
}

static void on_turn_end(void *user)
{
    struct seen *const s = user;
    s->count++;
}

static void turn_end_hook_runs_each_turn(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct seen s = {.loop = l};
    loop_on_turn_end(l, on_turn_end, &s);
    loop_run_once(l, 0);
    loop_run_once(l, 0);
    assert_int_equal(s.count, 2);
    loop_on_turn_end(l, NULL, NULL);
    loop_run_once(l, 0);
    assert_int_equal(s.count, 2);
    loop_free(l);
}

static void time_stands_still_inside_a_turn(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    mono_t const a = loop_now(l);
    while (clock_mono().us == a.us) {
    }
    assert_true(loop_now(l).us == a.us);
    assert_true(loop_refresh(l).us > a.us);
    loop_run_once(l, 0);
    mono_t const b = loop_now(l);
    assert_true(b.us > a.us);
    assert_true(loop_wall(l).us > INT64_C(1600000000) * US_PER_S);
    struct clock_sample const c = clock_read();
    assert_true(ntp_from_wall(c.wall).v == c.ntp.v);
    loop_free(l);
}

static void a_turn_that_takes_long_says_so(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    loop_run_once(l, 0);
    assert_false(loop_turn_is_long(l));
    mono_t const end = mono_add_ms(clock_mono(), 2);
    while (mono_before(clock_mono(), end)) {
    }
    assert_true(loop_turn_is_long(l));
    loop_run_once(l, 0);
    assert_false(loop_turn_is_long(l));
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_fires_once_and_never_early),
        cmocka_unit_test(timer_stopped_or_never_does_not_fire),
        cmocka_unit_test(timers_that_are_due_fire_in_the_next_turn_and_starve_nobody),
        cmocka_unit_test(timer_may_free_itself),
        cmocka_unit_test(poll_reports_what_is_there_and_pauses),
        cmocka_unit_test(wake_from_another_thread_ends_a_waiting_loop),
        cmocka_unit_test(signal_reaches_the_loop),
        cmocka_unit_test(turn_end_hook_runs_each_turn),
        cmocka_unit_test(time_stands_still_inside_a_turn),
        cmocka_unit_test(a_turn_that_takes_long_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

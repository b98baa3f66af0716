// SPDX-License-Identifier: Apache-2.0
#pragma once
// The event loop of one thread: timers, descriptors, wake-ups from other threads, process signals.
//
// A thin skin over libuv, whose types do not leave loop.c. Owner thread: every function is called
// by the thread that runs the loop, except loop_wake_send. Handles (timer, poll, wake, signal) are
// freed by their own _free, which may be called inside any callback, also their own; no callback of
// a freed handle runs afterwards.

#include "common/base/mono.h"

struct loop;
struct loop_timer;
struct loop_poll;
struct loop_wake;
struct loop_signal;

// NULL when out of memory or descriptors.
struct loop *loop_new(void) NODISCARD;

// Ends the loop (NULL is fine). Every handle must have been freed; one that was not is our bug and
// trips an assert.
void loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop *, loop_free)

// Runs until loop_stop.
void loop_run(struct loop *l);

// Runs one turn: waits for the first event at most timeout_ms (negative: for ever) and serves what
// is there. A timer that is due before the wait is served, but does not shorten it: whoever waits for
// timers gives a bound. For tests and for shutting down; a program uses loop_run.
void loop_run_once(struct loop *l, int timeout_ms);

// Makes loop_run return after the present turn.
void loop_stop(struct loop *l);

// The time of this turn. The clock is read at most twice a turn (when its first event and when its
// first timer runs), so that everything one turn does happens at one time.
mono_t loop_now(struct loop *l);
wall_t loop_wall(struct loop *l);

// Reads the clock again, for the rare callback that computed for long.
mono_t loop_refresh(struct loop *l);

// True once somebody asked and LOOP_TURN_US have passed since then in this turn. Whoever has much to
// do leaves the rest for the next turn then (descriptors are reported again, timers are set to now),
// so that nobody waits long for his.
#define LOOP_TURN_US 1000
bool loop_turn_is_long(struct loop *l);

// fn runs in each turn just before the loop would wait: the place to send what the turn has
// gathered and to set one timer for the soonest deadline. One hook per loop; NULL removes it.
void loop_on_turn_end(struct loop *l, void (*fn)(void *user), void *user);

// ---- timers ---------------------------------------------------------------------------------

// A one-shot timer, not running. NULL when out of memory.
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *user), void *user) NODISCARD;
void loop_timer_free(struct loop_timer *t);

// Fires once at `at`, never before it, at most about a millisecond late (libuv counts
// milliseconds). Replaces an earlier time; MONO_NEVER stops. A time in the past fires in the next
// turn.
void loop_timer_set(struct loop_timer *t, mono_t at);
void loop_timer_set_ms(struct loop_timer *t, int64_t ms_from_now);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_is_set(const struct loop_timer *t);

// ---- descriptors ----------------------------------------------------------------------------

enum {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    LOOP_HANGUP =
        4, // reported with LOOP_READ or LOOP_WRITE when the peer is gone; needs not be asked for
};

// Watches fd (level triggered), which stays the caller's and must outlive the poll. fn gets the
// events that are there. Nothing is watched until loop_poll_set. NULL when out of memory or if fd
// cannot be polled.
struct loop_poll *loop_poll_new(struct loop *l, int fd, void (*fn)(void *user, unsigned events),
                                void *user) NODISCARD;

// Ends watching; the caller may close fd right after it.
void loop_poll_free(struct loop_poll *p);

// events: LOOP_READ | LOOP_WRITE, 0 pauses.
void loop_poll_set(struct loop_poll *p, unsigned events);

// ---- wake-ups -------------------------------------------------------------------------------

// fn runs in the owner thread some time after one or more loop_wake_send.
struct loop_wake *loop_wake_new(struct loop *l, void (*fn)(void *user), void *user) NODISCARD;
void loop_wake_free(struct loop_wake *w);

// Any thread, also a signal handler. Several calls may give one wake-up.
void loop_wake_send(struct loop_wake *w);

// ---- process signals ------------------------------------------------------------------------

// fn runs in the loop when the process gets signum (SIGTERM, SIGINT, SIGHUP). Other threads must
// have it blocked (thread_start does that).
struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *user, int signum),
                                    void *user) NODISCARD;
void loop_signal_free(struct loop_signal *s);

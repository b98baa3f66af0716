// SPDX-License-Identifier: Apache-2.0
// LINK: sys
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/mailbox.h"
#include "common/sys/thread.h"

#define DEADLINE_MS 20000
#define SENDERS 4
#define PER_SENDER 5000u

struct note {
    struct note *next;
    unsigned sender;
    unsigned number;
};

struct receiver {
    struct mailbox *mb;
    unsigned last[SENDERS];
    unsigned count;
    unsigned dropped;
    bool in_order;
    bool repost;
};

struct sender {
    struct mailbox *mb;
    unsigned id;
};

static void deliver(void *user, void *msg)
{
    struct receiver *const r = user;
    struct note *const n = msg;
    r->in_order = r->in_order && n->number == r->last[n->sender] + 1;
    r->last[n->sender] = n->number;
    r->count++;
    if (r->repost) {
        r->repost = false;
        n->number++;
        assert_int_equal(mailbox_post(r->mb, n), 0);
        return;
    }
    mem_free(n);
}

static void drop(void *user, void *msg)
{
    struct receiver *const r = user;
    r->dropped++;
    mem_free(msg);
}

static struct note *note(unsigned sender, unsigned number)
{
    struct note *const n = NEW(struct note);
    assert_non_null(n);
    n->sender = sender;
    n->number = number;
    return n;
}

static void send_many(void *arg)
{
    struct sender *const s = arg;
    for (unsigned i = 1; i <= PER_SENDER; i++) {
        struct note *const n = NEW(struct note);
        if (n == NULL) {
            return;
        }
        n->sender = s->id;
        n->number = i;
        if (mailbox_post(s->mb, n) != 0) {
            mem_free(n);
        }
    }
}

static void run_until(struct loop *l, const unsigned *count, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (*count < want && mono_before(clock_mono(), end)) {
        loop_run_once(l, 100);
    }
    assert_int_equal(*count, want);
}

static void mail_of_many_threads_arrives_whole_and_in_order(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct receiver r = {.in_order = true};
    r.mb = mailbox_new(l, deliver, &r);
    struct thread th[SENDERS];
    struct sender s[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){.mb = r.mb, .id = i};
        assert_int_equal(thread_start(&th[i], "sender", -1, send_many, &s[i]), 0);
    }
    run_until(l, &r.count, SENDERS * PER_SENDER);
    assert_true(r.in_order);
    for (unsigned i = 0; i < SENDERS; i++) {
        thread_join(&th[i]);
    }
    mailbox_free(r.mb);
    loop_free(l);
}

static void receiver_may_post_to_itself(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct receiver r = {.in_order = true, .repost = true};
    r.mb = mailbox_new(l, deliver, &r);
    assert_int_equal(mailbox_post(r.mb, note(0, 1)), 0);
    run_until(l, &r.count, 2);
    assert_true(r.in_order);
    mailbox_free(r.mb);
    loop_free(l);
}

static void closed_mailbox_drops_what_is_inside_and_refuses_more(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct receiver r = {.in_order = true};
    r.mb = mailbox_new(l, deliver, &r);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(mailbox_post(r.mb, note(0, i)), 0);
    }
    mailbox_close(r.mb, drop);
    assert_int_equal(r.dropped, 3);
    assert_int_equal(r.count, 0);
    struct note *const late = note(0, 4);
    assert_int_equal(mailbox_post(r.mb, late), -EPIPE);
    mem_free(late);
    loop_run_once(l, 0);
    assert_int_equal(r.count, 0);
    mailbox_free(r.mb);
    loop_free(l);
}

static void deliver_and_close(void *user, void *msg)
{
    struct receiver *const r = user;
    mem_free(msg);
    r->count++;
    mailbox_close(r->mb, drop);
}

static void closing_inside_a_batch_drops_its_rest(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    struct receiver r = {0};
    r.mb = mailbox_new(l, deliver_and_close, &r);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(mailbox_post(r.mb, note(0, i)), 0);
    }
    run_until(l, &r.count, 1);
    assert_int_equal(r.dropped, 4);
    mailbox_free(r.mb);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_of_many_threads_arrives_whole_and_in_order),
        cmocka_unit_test(receiver_may_post_to_itself),
        cmocka_unit_test(closed_mailbox_drops_what_is_inside_and_refuses_more),
        cmocka_unit_test(closing_inside_a_batch_drops_its_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

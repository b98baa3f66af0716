// SPDX-License-Identifier: Apache-2.0
#include "common/sys/mailbox.h"

#include <pthread.h>
#include <string.h>

#include "common/base/mem.h"

struct mailbox {
    pthread_mutex_t lock; // guards first, last, closed
    void *first;
    void *last;
    bool closed;

    // Owner thread only.
    struct loop_wake *wake;
    void (*deliver)(void *user, void *msg);
    void *user;
    void *batch; // taken out and not delivered yet
};

// The link is the first member of the message. memcpy, because its type is a pointer to whatever
// the message is.
static void *link_get(const void *msg)
{
    void *next = NULL;
    memcpy(&next, msg, sizeof(next));
    return next;
}

static void link_set(void *msg, void *next)
{
    memcpy(msg, &next, sizeof(next));
}

static void *take_all(struct mailbox *mb, bool close)
{
    pthread_mutex_lock(&mb->lock);
    void *const first = mb->first;
    mb->first = NULL;
    mb->last = NULL;
    mb->closed = mb->closed || close;
    pthread_mutex_unlock(&mb->lock);
    return first;
}

static void hand_out(struct mailbox *mb, void (*fn)(void *user, void *msg))
{
    while (mb->batch != NULL) {
        void *const m = mb->batch;
        mb->batch = link_get(m);
        link_set(m, NULL);
        fn(mb->user, m);
    }
}

static void on_wake(void *user)
{
    struct mailbox *const mb = user;
    mb->batch = take_all(mb, false);
    hand_out(mb, mb->deliver);
}

struct mailbox *mailbox_new(struct loop *l, void (*deliver)(void *user, void *msg), void *user)
{
    struct mailbox *const mb = NEW(struct mailbox);
    if (mb == NULL) {
        return NULL;
    }
    mb->deliver = deliver;
    mb->user = user;
    mb->wake = loop_wake_new(l, on_wake, mb);
    if (mb->wake == NULL) {
        mem_free(mb);
        return NULL;
    }
    // Default attributes: cannot fail on Linux.
    (void)pthread_mutex_init(&mb->lock, NULL);
    return mb;
}

int mailbox_post(struct mailbox *mb, void *msg)
{
    link_set(msg, NULL);
    pthread_mutex_lock(&mb->lock);
    bool const closed = mb->closed;
    bool const was_empty = mb->first == NULL;
    if (!closed) {
        if (was_empty) {
            mb->first = msg;
        } else {
            link_set(mb->last, msg);
        }
        mb->last = msg;
    }
    pthread_mutex_unlock(&mb->lock);
    if (closed) {
        return -EPIPE;
    }
    if (was_empty) {
        loop_wake_send(mb->wake);
    }
    return 0;
}

void mailbox_close(struct mailbox *mb, void (*drop)(void *user, void *msg))
{
    void (*const fn)(void *user, void *msg) = drop != NULL ? drop : mb->deliver;
    // First the rest of the batch that is being delivered, if this is called from inside it: it is
    // older.
    hand_out(mb, fn);
    mb->batch = take_all(mb, true);
    hand_out(mb, fn);
}

void mailbox_free(struct mailbox *mb)
{
    if (mb == NULL) {
        return;
    }
    mailbox_close(mb, NULL);
    loop_wake_free(mb->wake);
    pthread_mutex_destroy(&mb->lock);
    mem_free(mb);
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one way across threads: many senders, one receiver, and the ownership of the message moves.
//
// An intrusive list under a mutex. The receiver's loop is woken only when the list was empty, and
// takes the whole list at once outside the lock (h2o lib/common/multithread.c is the model), so a
// busy sender costs one lock per message and a busy receiver one wake-up per batch. Messages arrive
// in the order in which they were posted.

#include "common/sys/loop.h"

// A message is any object whose first member is a pointer that belongs to the mailbox while the
// object is inside (struct x { struct x *next; ... }), so that layers which know no threads can
// declare messages.

struct mailbox;

// Owner thread of l. deliver gets each message, which is then its own; it may post, also to the
// same mailbox (such mail comes in a later turn). NULL when out of memory.
struct mailbox *mailbox_new(struct loop *l, void (*deliver)(void *user, void *msg),
                            void *user) NODISCARD;

// Any thread. 0: the message has moved. -EPIPE: the mailbox is closed, the message is still the
// caller's.
int mailbox_post(struct mailbox *mb, void *msg) NODISCARD;

// Owner thread. From now on posts fail. What is still inside goes to drop (NULL: to deliver) before
// this returns. Calling it again does nothing. May be called inside deliver: the rest of the batch
// goes to drop as well.
void mailbox_close(struct mailbox *mb, void (*drop)(void *user, void *msg));

// Owner thread. Closes with deliver if that was not done, and frees (NULL is fine). No other thread
// may still post: free after the senders have been joined or told. Not inside deliver.
void mailbox_free(struct mailbox *mb);
DEFINE_CLEANUP(struct mailbox *, mailbox_free)

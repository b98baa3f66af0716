// SPDX-License-Identifier: Apache-2.0
#pragma once
// The threads that do handshake steps, so that milliseconds of elliptic curves never delay a packet
// (media-plane 2.6).
//
// Work comes from any worker and goes back to the mailbox it names, finished. Shared by all
// workers.

#include "common/sys/mailbox.h"
#include "sfu/room/room_env.h"

struct dtls_pool;

// Steps that may wait; more are dropped (the peer repeats its flight). 512 steps are about a second
// of work.
#define DTLS_POOL_QUEUE_MAX 512

// -ENOMEM, negative errno of thread creation.
int dtls_pool_new(unsigned threads, struct dtls_pool **ret) NODISCARD;

// Ends the threads; steps still waiting are dropped. No worker may submit any more. Accepts NULL.
void dtls_pool_free(struct dtls_pool *p);

// Any thread. Takes the job; it comes back as a message of `reply_to`. -ENOBUFS: the queue is full,
// the job is still the caller's.
int dtls_pool_submit(struct dtls_pool *p, struct room_dtls_job *job,
                     struct mailbox *reply_to) NODISCARD;

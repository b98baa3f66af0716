// SPDX-License-Identifier: Apache-2.0
#pragma once
// A media worker: one thread with its own UDP port, its own rooms and everything in them.
//
//   turn:  datagrams (batches) ─► rooms ─► fan-out ─► outbox ─► SRTP batch ─► sendmmsg/GSO
//          mailbox (signalling), handshake results, timers
//          end: what rooms left goes up: messages, handshake steps; sleep until the next deadline
//
// Created and freed by the main thread; between worker_start and worker_join everything but
// worker_post belongs to its own thread.

#include "common/sys/mailbox.h"
#include "sfu/room/room_env.h"
#include "sfu/worker/candidates.h"
#include "sfu/worker/dtls_pool.h"

struct worker;

struct worker_conf {
    uint32_t index;
    struct addr binds[2]; // port 0: any
    size_t bind_count;
    uint32_t buffer_size;              // socket buffers wanted
    uint32_t packet_max;               // most packets of the pool
    struct candidates_conf candidates; // binds and port are filled in
    struct room_conf room;             // candidates are filled in
    const struct dtls_cert *cert;
    const char *fingerprint; // "sha-256 AA:.."
    struct dtls_pool *pool;
    struct mailbox *signalling; // where its messages go
    int cpu;                    // pinned there, -1: free
};

// Opens the sockets. Negative errno of sockets and memory, -EADDRNOTAVAIL without an address to
// advertise; then *ret_what names the step for the operator.
int worker_new(const struct worker_conf *conf, struct worker **ret,
               const char **ret_what) NODISCARD;

int worker_start(struct worker *w) NODISCARD;

// Any thread. Takes the message, also when it fails (the worker has ended).
void worker_post(struct worker *w, struct channel_msg *m);

// Asks the thread to end (after CHANNEL_SHUTDOWN was handled, or at once) and waits for it.
void worker_join(struct worker *w);
void worker_free(struct worker *w); // joined or never started; accepts NULL

uint16_t worker_port(const struct worker *w);
const struct candidates *worker_candidates(const struct worker *w);
const char *worker_srtp_name(const struct worker *w);

// Numbers for metrics and the benchmark; written by the worker, read by any thread (each is a
// single relaxed load).
struct worker_stats {
    uint64_t forwarded;       // packets written to subscribers
    uint64_t hot_allocations; // heap allocations made while datagrams were handled
    uint64_t datagrams_in;
    uint64_t unknown_source; // datagrams of nobody we know
    uint64_t send_dropped;
    uint64_t turns;
};
void worker_get_stats(const struct worker *w, struct worker_stats *ret);

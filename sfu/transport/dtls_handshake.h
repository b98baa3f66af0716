// SPDX-License-Identifier: Apache-2.0
#pragma once
// One DTLS handshake as a self-contained object (struct dtls_work): mbedTLS state, datagrams in,
// datagrams out, result. Used only by dtls_transport, which hands it to any thread for
// dtls_work_run. It lives from start to the end of the handshake.
//
// mbedTLS is fed record by record: application data that overtakes or follows Finished is kept for
// later instead of being lost in its buffers, and fragments of a ClientHello are joined first
// (dtls_hello).
//
// Thread: whoever holds it.

#include "sfu/transport/dtls_record.h"
#include "sfu/transport/dtls_transport.h"

// A queue of datagrams, bounded by count and bytes.
struct dtls_datagram {
    struct dtls_datagram *next;
    size_t len;
    uint8_t data[];
};

struct dtls_queue {
    struct dtls_datagram *head;
    struct dtls_datagram **tail;
    size_t count;
    size_t bytes;
};

void dtls_queue_init(struct dtls_queue *q);
void dtls_queue_done(struct dtls_queue *q);
// Copies the datagram in. -ENOBUFS when the queue is full (16 datagrams, 16 KiB), -ENOMEM.
int dtls_queue_push(struct dtls_queue *q, struct bytes datagram) NODISCARD;
// The first one, to be freed by the caller with mem_free; NULL when empty.
struct dtls_datagram *dtls_queue_pop(struct dtls_queue *q);
// Moves everything from `from` behind `to`, limits or not.
void dtls_queue_append(struct dtls_queue *to, struct dtls_queue *from);

enum dtls_work_status {
    DTLS_WORK_RUNNING,
    DTLS_WORK_DONE,
    DTLS_WORK_FAILED,
};

struct dtls_result {
    enum dtls_work_status status;
    enum dtls_failure failure;
    struct dtls_record_keys record;
    struct srtp_keys srtp;
    struct bytes
        finished; // our last encrypted Finished record if our flight ended the handshake; borrowed
};

// -ENOMEM.
int dtls_work_new(const struct dtls_cert *cert, enum dtls_role role,
                  const struct dtls_fingerprint *fingerprints, size_t n,
                  struct dtls_work **ret) NODISCARD;

// Before a run: the time of the step, and what arrived (moved out of q).
void dtls_work_prepare(struct dtls_work *w, mono_t now, struct dtls_queue *q);

// After a run: datagrams to send, then what arrived but belongs to the established connection; then
// the result.
struct dtls_queue *dtls_work_output(struct dtls_work *w);
struct dtls_queue *dtls_work_leftover(struct dtls_work *w);
const struct dtls_result *dtls_work_result(const struct dtls_work *w);

// When the next retransmission is due; MONO_NEVER if none.
mono_t dtls_work_deadline(const struct dtls_work *w);

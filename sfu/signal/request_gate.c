// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/request_gate.h"

#include "common/svc/pbuf.h"

// How often a worker that has enough to do is looked at.
#define CREDIT_POLL_MS 5

int request_gate_init(struct request_gate *g)
{
    *g = (struct request_gate){.credit = channel_credit_new()};
    return g->credit != NULL ? 0 : -ENOMEM;
}

void request_gate_done(struct request_gate *g)
{
    channel_credit_unref(g->credit);
    g->credit = NULL;
}

// The generic cell rate algorithm (ITU-T I.371), as in common/base/rate.h.
static void take(mono_t *full, mono_t now, int64_t us)
{
    *full = mono_add_us(mono_before(*full, now) ? now : *full, us);
}

void request_gate_note(struct request_gate *g, mono_t now, size_t bytes)
{
    take(&g->requests_full, now, US_PER_S / SIGNAL_REQUESTS_PER_S);
    take(&g->bytes_full, now, (int64_t)bytes * US_PER_S / (int64_t)SIGNAL_REQUEST_BYTES_PER_S);
}

void request_gate_pass(struct request_gate *g, mono_t now, struct channel_msg *m, size_t bytes)
{
    request_gate_note(g, now, bytes);
    // Decoded it may be thirty times as large (messages without content).
    size_t const memory = m->u.request != NULL ? m->u.request->arena.used : 0;
    channel_msg_charge(m, g->credit, MAX(bytes, memory));
}

// The time until no more than a whole allowance is missing.
static int64_t excess_us(mono_t full, mono_t now, int64_t allowance_us)
{
    return MAX(mono_diff_us(full, now) - allowance_us, 0);
}

int64_t request_gate_wait(const struct request_gate *g, mono_t now)
{
    int64_t const requests =
        excess_us(g->requests_full, now, SIGNAL_REQUESTS_BURST * US_PER_S / SIGNAL_REQUESTS_PER_S);
    int64_t const bytes =
        excess_us(g->bytes_full, now,
                  (int64_t)(SIGNAL_REQUEST_BYTES_BURST / SIGNAL_REQUEST_BYTES_PER_S) * US_PER_S);
    int64_t const us = MAX(requests, bytes);
    if (us > 0) {
        return us / US_PER_MS + 1;
    }
    return channel_credit_messages(g->credit) >= SIGNAL_REQUESTS_UNDER_WAY ||
                   channel_credit_bytes(g->credit) >= SIGNAL_REQUEST_BYTES_UNDER_WAY
               ? CREDIT_POLL_MS
               : 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/nack_queue.h"

#include <string.h>

#define REORDER_BUCKET_US INT64_C(5000)
#define REORDER_SAMPLES_MIN 8u             // fewer say nothing about the 95th percentile
#define REORDER_HALVE_US INT64_C(10000000) // the estimate forgets: samples count half after 10 s
#define BACKOFF_NUM 5 // repeats at RTT x 1.25^k (livekit pkg/nack backoffFactor)
#define BACKOFF_DEN 4

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

void nack_queue_init(struct nack_queue *q)
{
    memset(q, 0, sizeof(*q));
    q->rtt_us = NACK_QUEUE_DEFAULT_RTT_US;
    q->first_delay_us = NACK_QUEUE_FIRST_MIN_US;
}

void nack_queue_set_rtt(struct nack_queue *q, int64_t rtt_us)
{
    if (rtt_us > 0) {
        q->rtt_us = rtt_us;
    }
}

void nack_queue_reset(struct nack_queue *q)
{
    q->count = 0;
}

static void remove_range(struct nack_queue *q, uint32_t at, uint32_t n)
{
    q->count -= n;
    memmove(&q->item[at], &q->item[at + n], (q->count - at) * sizeof(q->item[0]));
}

bool nack_queue_add(struct nack_queue *q, mono_t now, uint64_t first, uint64_t count)
{
    assert(q->count == 0 || first > q->item[q->count - 1].ext_sn);
    q->stats.missing += count;
    if (count > NACK_QUEUE_MAX) {
        q->stats.given_up += q->count + count;
        q->count = 0;
        return false;
    }
    bool repairable = true;
    uint32_t const n = (uint32_t)count;
    if (q->count + n > NACK_QUEUE_MAX) {
        uint32_t const drop = q->count + n - NACK_QUEUE_MAX;
        q->stats.given_up += drop;
        remove_range(q, 0, drop);
        repairable = false;
    }
    mono_t const due = mono_add_us(now, q->first_delay_us);
    for (uint32_t i = 0; i < n; i++) {
        q->item[q->count++] =
            (struct nack_queue_item){.ext_sn = first + i, .seen = now, .due = due};
    }
    return repairable;
}

// Index of the first item not below ext_sn.
static uint32_t lower_bound(const struct nack_queue *q, uint64_t ext_sn)
{
    uint32_t lo = 0;
    uint32_t hi = q->count;
    while (lo < hi) {
        uint32_t const mid = (lo + hi) / 2;
        if (q->item[mid].ext_sn < ext_sn) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void note_reorder(struct nack_queue *q, mono_t now, int64_t late_us)
{
    int64_t const bucket = clamp(late_us / REORDER_BUCKET_US, 0, NACK_QUEUE_REORDER_BUCKETS - 1);
    if (mono_diff_us(now, q->reorder_halved) >= REORDER_HALVE_US ||
        q->reorder[bucket] == UINT16_MAX) {
        for (unsigned i = 0; i < NACK_QUEUE_REORDER_BUCKETS; i++) {
            q->reorder[i] /= 2;
        }
        q->reorder_halved = now;
    }
    q->reorder[bucket]++;
    uint32_t total = 0;
    for (unsigned i = 0; i < NACK_QUEUE_REORDER_BUCKETS; i++) {
        total += q->reorder[i];
    }
    if (total < REORDER_SAMPLES_MIN) {
        q->first_delay_us = NACK_QUEUE_FIRST_MIN_US;
        return;
    }
    uint32_t below = 0;
    unsigned i = 0;
    while (i < NACK_QUEUE_REORDER_BUCKETS && (below + q->reorder[i]) * 20 < total * 19) {
        below += q->reorder[i++];
    }
    q->first_delay_us = clamp((int64_t)(i + 1) * REORDER_BUCKET_US, NACK_QUEUE_FIRST_MIN_US,
                              NACK_QUEUE_FIRST_MAX_US);
}

bool nack_queue_remove(struct nack_queue *q, mono_t now, uint64_t ext_sn, bool recovered)
{
    uint32_t const at = lower_bound(q, ext_sn);
    if (at == q->count || q->item[at].ext_sn != ext_sn) {
        return false;
    }
    // What was asked for may be the answer and not the overtaken original; streams without RTX
    // resend on the same SSRC.
    if (!recovered && q->item[at].tries == 0) {
        note_reorder(q, now, mono_diff_us(now, q->item[at].seen));
    } else if (!recovered && mono_diff_us(now, q->item[at].seen) < q->rtt_us) {
        // Sooner than any answer could be: asked too early.
        note_reorder(q, now, mono_diff_us(now, q->item[at].seen));
    }
    q->stats.arrived++;
    remove_range(q, at, 1);
    return true;
}

void nack_queue_key_frame(struct nack_queue *q, mono_t now, uint64_t first_sn)
{
    int64_t const stale = MAX(2 * q->rtt_us, NACK_QUEUE_STALE_US);
    uint32_t const end = lower_bound(q, first_sn);
    uint32_t n = 0;
    // Ascending numbers were seen in ascending time.
    while (n < end && mono_diff_us(now, q->item[n].seen) > stale) {
        n++;
    }
    q->stats.given_up += n;
    remove_range(q, 0, n);
}

static int64_t repeat_delay(const struct nack_queue *q, unsigned tries)
{
    int64_t delay = q->rtt_us;
    for (unsigned i = 1; i < tries; i++) {
        delay = delay * BACKOFF_NUM / BACKOFF_DEN;
    }
    return clamp(delay, NACK_QUEUE_REPEAT_MIN_US, NACK_QUEUE_REPEAT_MAX_US);
}

size_t nack_queue_collect(struct nack_queue *q, mono_t now, uint16_t *sn, size_t cap)
{
    size_t n = 0;
    uint32_t keep = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        struct nack_queue_item it = q->item[i];
        if (mono_reached(it.due, now)) {
            if (it.tries >= NACK_QUEUE_TRIES) {
                q->stats.given_up++; // the last one had its time to be answered as well
                continue;
            }
            if (n < cap) {
                sn[n++] = (uint16_t)it.ext_sn;
                it.tries++;
                it.due = mono_add_us(now, repeat_delay(q, it.tries));
            }
        }
        q->item[keep++] = it;
    }
    q->count = keep;
    q->stats.asked += n;
    return n;
}

mono_t nack_queue_deadline(const struct nack_queue *q)
{
    mono_t t = MONO_NEVER;
    for (uint32_t i = 0; i < q->count; i++) {
        t = mono_min(t, q->item[i].due);
    }
    return t;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/twcc_recorder.h"

#include <string.h>

#include "common/base/seq.h"

// Packets stamped a little before the first one must not have negative times; reference time 0 lies
// this much before it.
#define ORIGIN_LEAD_US INT64_C(1024000)
#define NOT_RECEIVED INT64_C(-1)
// Numbers begin one cycle up, so that the first packet may have been overtaken.
#define EXT_START UINT64_C(0x10000)
// This much since the last feedback is TWCC_RECORDER_SLOW_BPS within the short interval.
#define FAST_BYTES (TWCC_RECORDER_SLOW_BPS / 8 * TWCC_RECORDER_INTERVAL_US / US_PER_S)

void twcc_recorder_init(struct twcc_recorder *r)
{
    memset(r, 0, sizeof(*r));
}

static int64_t *arrival_of(struct twcc_recorder *r, uint64_t sn)
{
    return &r->arrival[sn % TWCC_RECORDER_RING];
}

static void start(struct twcc_recorder *r, mono_t arrival, uint16_t sn)
{
    r->started = true;
    r->origin = mono_add_us(arrival, -ORIGIN_LEAD_US);
    r->base = EXT_START + sn;
    r->highest = r->base;
    // The first packet is reported at once, as browsers do: it gives the sender its first round
    // trip.
    r->last_sent = mono_add_us(arrival, -TWCC_RECORDER_INTERVAL_SLOW_US);
    for (size_t i = 0; i < TWCC_RECORDER_RING; i++) {
        r->arrival[i] = NOT_RECEIVED;
    }
}

// The numbers between the old and the new highest one have not been received. The ring keeps one
// turn: what falls out of it unreported is given up.
static void advance(struct twcc_recorder *r, uint64_t to)
{
    uint64_t const n = MIN(to - r->highest, TWCC_RECORDER_RING);
    for (uint64_t sn = to - n + 1; sn <= to; sn++) {
        *arrival_of(r, sn) = NOT_RECEIVED;
    }
    r->highest = to;
    uint64_t const oldest = to - TWCC_RECORDER_RING + 1;
    if (r->base < oldest) {
        r->dropped += oldest - r->base;
        r->base = oldest;
    }
    if (r->has_late && r->late_first < oldest) {
        r->has_late = false;
    }
}

// A number below the base was reported lost already. Worth a feedback of its own unless what
// overtook it is half a second old.
static bool note_late(struct twcc_recorder *r, int64_t at, uint64_t sn)
{
    uint64_t next = sn + 1;
    while (next < r->highest && *arrival_of(r, next) == NOT_RECEIVED) {
        next++;
    }
    if (at - *arrival_of(r, next) > TWCC_RECORDER_LATE_US) {
        r->dropped++;
        return false;
    }
    r->late_first = r->has_late ? MIN(r->late_first, sn) : sn;
    r->late_last = r->has_late ? MAX(r->late_last, sn) : sn;
    r->has_late = true;
    return true;
}

void twcc_recorder_record(struct twcc_recorder *r, mono_t arrival, uint16_t sn, size_t size)
{
    if (!r->started) {
        start(r, arrival, sn);
    }
    uint64_t const ext = seq16_extend(r->highest, sn);
    int64_t const at = MAX(mono_diff_us(arrival, r->origin), 0);
    if (ext > r->highest) {
        advance(r, ext);
    } else if (r->highest - ext >= TWCC_RECORDER_RING) {
        r->dropped++;
        return;
    }
    int64_t *const slot = arrival_of(r, ext);
    if (*slot != NOT_RECEIVED || (ext < r->base && !note_late(r, at, ext))) {
        return; // duplicated by the network, or too old to tell
    }
    *slot = at;
    r->pending++;
    r->bytes += size;
}

mono_t twcc_recorder_deadline(const struct twcc_recorder *r)
{
    if (r->pending == 0) {
        return MONO_NEVER;
    }
    if (r->flushing || r->pending > TWCC_RECORDER_PENDING_MAX) {
        return r->last_sent;
    }
    bool const fast = r->bytes >= FAST_BYTES;
    return mono_add_us(r->last_sent,
                       fast ? TWCC_RECORDER_INTERVAL_US : TWCC_RECORDER_INTERVAL_SLOW_US);
}

// Puts what was received of [*from, to] into b and moves *from behind it. The first one received
// begins the packet.
static void fill(struct twcc_recorder *r, struct twcc_builder *b, uint64_t *from, uint64_t to)
{
    uint64_t first = *from;
    while (first < to && *arrival_of(r, first) == NOT_RECEIVED) {
        first++;
    }
    // More losses in a row than a packet has room for: the oldest of them go unreported.
    uint64_t const base = first - *from >= TWCC_STATUS_MAX ? first - TWCC_STATUS_MAX + 1 : *from;
    twcc_builder_init(b, (uint16_t)base, MAX(*arrival_of(r, first), 0), r->fb_count);
    uint64_t sn = first;
    for (; sn <= to; sn++) {
        int64_t const at = *arrival_of(r, sn);
        if (at != NOT_RECEIVED && twcc_builder_add(b, (uint16_t)sn, at) != 0) {
            break;
        }
    }
    // Losses before what did not fit belong to the next packet.
    *from = sn <= to ? base + b->count : to + 1;
}

bool twcc_recorder_write(struct twcc_recorder *r, mono_t now, uint32_t sender_ssrc,
                         uint32_t media_ssrc, struct wr *w)
{
    if (!mono_reached(twcc_recorder_deadline(r), now)) {
        return false;
    }
    struct twcc_builder b;
    uint64_t next = r->has_late ? r->late_first : r->base;
    fill(r, &b, &next, r->has_late ? r->late_last : r->highest);
    size_t const before = wr_len(w);
    twcc_builder_write(&b, w, sender_ssrc, media_ssrc);
    if (!wr_ok(w)) {
        return false;
    }
    if (wr_len(w) > before) {
        r->fb_count++;
    }
    if (r->has_late) {
        r->has_late = next <= r->late_last;
        r->late_first = next;
    } else {
        r->base = next;
    }
    r->flushing = r->has_late || r->base <= r->highest;
    if (!r->flushing) {
        r->pending = 0;
        r->last_sent = now;
        r->bytes = 0;
    }
    return wr_len(w) > before;
}

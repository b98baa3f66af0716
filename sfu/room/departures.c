// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/departures.h"

#include <stdio.h>

#include "common/base/mem.h"

#define FIRST_CAP 8u

void departures_done(struct departures *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        mem_free(d->ring[(d->first + i) % d->cap].identity);
    }
    mem_free(d->ring);
    *d = (struct departures){0};
}

// Doubles the ring, its order kept. Without memory it stays as large as it is.
static void grow(struct departures *d)
{
    uint32_t const cap = d->cap == 0 ? FIRST_CAP : d->cap * 2;
    struct departure *const ring = mem_array(cap, sizeof(*ring));
    if (ring == NULL) {
        return;
    }
    for (uint32_t i = 0; i < d->count; i++) {
        ring[i] = d->ring[(d->first + i) % d->cap];
    }
    mem_free(d->ring);
    d->ring = ring;
    d->cap = cap;
    d->first = 0;
}

static void forget(struct departures *d, mono_t at)
{
    d->forgot = true;
    d->forgot_at = at;
}

void departures_add(struct departures *d, mono_t now, const char *sid, const char *identity,
                    uint32_t version, uint8_t reason)
{
    if (d->count == d->cap && d->cap < DEPARTURES_MAX) {
        grow(d);
    }
    char *const copy = d->cap > 0 ? mem_strdup(identity) : NULL;
    if (copy == NULL) {
        forget(d, now);
        return;
    }
    if (d->count == d->cap) {
        struct departure *const oldest = &d->ring[d->first];
        forget(d, oldest->at);
        mem_free(oldest->identity);
        d->first = (d->first + 1) % d->cap;
        d->count--;
    }
    struct departure *const x = &d->ring[(d->first + d->count++) % d->cap];
    *x = (struct departure){.identity = copy, .version = version, .reason = reason, .at = now};
    (void)snprintf(x->sid, sizeof(x->sid), "%s", sid);
}

bool departures_complete(const struct departures *d, mono_t since)
{
    return !d->forgot || mono_before(d->forgot_at, since);
}

const struct departure *departures_at(const struct departures *d, uint32_t i)
{
    return &d->ring[(d->first + i) % d->cap];
}

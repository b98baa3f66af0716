// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/pli_throttle.h"

#include <string.h>

void pli_throttle_init(struct pli_throttle *p)
{
    memset(p, 0, sizeof(*p));
    p->min_us = PLI_THROTTLE_MIN_US;
    for (unsigned i = 0; i < PLI_THROTTLE_ENCODINGS; i++) {
        p->wanted_at[i] = MONO_NEVER;
    }
    p->window_end = (mono_t){INT64_MIN};
}

void pli_throttle_set_min(struct pli_throttle *p, int64_t min_us)
{
    p->min_us = MAX(min_us, PLI_THROTTLE_MIN_US);
}

void pli_throttle_set_rtt(struct pli_throttle *p, int64_t rtt_us)
{
    p->rtt_us = MAX(rtt_us, 0);
}

void pli_throttle_seed(struct pli_throttle *p, mono_t now)
{
    p->seeding = true;
    p->seed_next = now;
    p->seed_end = mono_add_us(now, PLI_THROTTLE_SEED_FOR_US);
}

void pli_throttle_request(struct pli_throttle *p, mono_t now, uint8_t encoding)
{
    uint8_t const i = (uint8_t)MIN(encoding, PLI_THROTTLE_ENCODINGS - 1);
    p->requested++;
    if (mono_is_never(p->wanted_at[i])) {
        p->wanted_at[i] = now;
    }
}

static bool seed_due(const struct pli_throttle *p)
{
    return p->seeding && mono_before(p->seed_next, p->seed_end);
}

// The encoding that has waited longest; false if nobody waits.
static bool oldest_request(const struct pli_throttle *p, uint8_t *ret)
{
    mono_t best = MONO_NEVER;
    for (uint8_t i = 0; i < PLI_THROTTLE_ENCODINGS; i++) {
        if (mono_before(p->wanted_at[i], best)) {
            best = p->wanted_at[i];
            *ret = i;
        }
    }
    return !mono_is_never(best);
}

bool pli_throttle_poll(struct pli_throttle *p, mono_t now, uint8_t seed_encoding,
                       uint8_t *ret_encoding)
{
    if (!mono_reached(pli_throttle_deadline(p), now)) {
        return false;
    }
    uint8_t encoding = seed_encoding;
    if (oldest_request(p, &encoding)) {
        p->wanted_at[encoding] = MONO_NEVER;
    }
    p->seed_next = mono_add_us(now, PLI_THROTTLE_SEED_US);
    p->window_end = mono_add_us(now, MAX(p->min_us, p->rtt_us));
    p->sent++;
    *ret_encoding = encoding;
    return true;
}

void pli_throttle_key_frame(struct pli_throttle *p, mono_t now, uint8_t encoding)
{
    uint8_t const i = (uint8_t)MIN(encoding, PLI_THROTTLE_ENCODINGS - 1);
    p->seeding = false;
    p->wanted_at[i] = MONO_NEVER;
    p->window_end = mono_add_us(now, p->min_us);
}

mono_t pli_throttle_deadline(const struct pli_throttle *p)
{
    uint8_t encoding = 0;
    mono_t t = MONO_NEVER;
    if (oldest_request(p, &encoding)) {
        t = p->wanted_at[encoding];
    }
    if (seed_due(p)) {
        t = mono_min(t, p->seed_next);
    }
    return mono_is_never(t) ? t : mono_max(t, p->window_end);
}

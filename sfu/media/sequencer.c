// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/sequencer.h"

#include <string.h>

_Static_assert(sizeof(struct sequencer_entry) == 24, "one entry is 24 bytes");

void sequencer_reset(struct sequencer *s)
{
    memset(s, 0, sizeof(*s));
}

enum sequencer_answer sequencer_request(struct sequencer *s, mono_t now, int64_t rtt_us,
                                        uint16_t highest, uint16_t sn,
                                        const struct sequencer_entry **ret)
{
    struct sequencer_entry *const e = &s->entries[sn % SEQUENCER_CAP];
    int32_t const age = seq16_diff(highest, sn);
    if (!e->used || e->sn != sn || age < 0 || age >= (int32_t)SEQUENCER_CAP) {
        return SEQUENCER_UNKNOWN;
    }
    if (e->answers >= SEQUENCER_MAX_ANSWERS) {
        return SEQUENCER_EXHAUSTED;
    }
    uint32_t const now_ms = (uint32_t)(now.us / US_PER_MS);
    int64_t const wait_ms =
        MIN(SEQUENCER_IGNORE_US, e->answers > 0 ? 2 * rtt_us : rtt_us / 2) / US_PER_MS;
    if (seq32_diff(now_ms, e->sent_ms) < wait_ms) {
        return SEQUENCER_TOO_SOON;
    }
    e->answers++;
    e->sent_ms = now_ms;
    *ret = e;
    return SEQUENCER_ANSWER;
}

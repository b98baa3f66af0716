// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_pace.h"

static void spend(struct data_pace *p, mono_t now, uint64_t bytes, uint64_t bytes_s)
{
    // Rounded up, so that small messages are not free.
    p->full_at = mono_add_us(mono_max(p->full_at, now),
                             (int64_t)((bytes * (uint64_t)US_PER_S + bytes_s - 1) / bytes_s));
}

static mono_t ready(const struct data_pace *p)
{
    return mono_add_ms(p->full_at, -DATA_PACE_BURST_MS);
}

mono_t data_pace_spend(struct data_pace *sender, struct data_pace *room, mono_t now,
                       size_t receivers, size_t n)
{
    uint64_t const bytes = (uint64_t)receivers * (n + DATA_PACE_MESSAGE);
    spend(sender, now, bytes, DATA_PACE_SENDER_BYTES_S);
    spend(room, now, bytes, DATA_PACE_ROOM_BYTES_S);
    bool const light =
        mono_diff_ms(sender->full_at, now) <= DATA_PACE_BURST_MS - DATA_PACE_LIGHT_MS;
    return light ? ready(sender) : mono_max(ready(sender), ready(room));
}

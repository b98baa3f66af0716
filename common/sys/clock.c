// SPDX-License-Identifier: Apache-2.0
#include "common/sys/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec ts = {0};
    // Fails only for a clock that does not exist.
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * US_PER_S + (int64_t)ts.tv_nsec / 1000;
}

mono_t clock_mono(void)
{
    return (mono_t){read_us(CLOCK_MONOTONIC)};
}

wall_t clock_wall(void)
{
    return (wall_t){read_us(CLOCK_REALTIME)};
}

struct clock_sample clock_read(void)
{
    struct clock_sample s = {.mono = clock_mono(), .wall = clock_wall()};
    s.ntp = ntp_from_wall(s.wall);
    return s;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only place that reads a clock. Code below the loop layer gets `now` as a parameter; code on a
// loop asks loop_now. Any thread.

#include "common/base/mono.h"

// One moment in the three kinds of time that do not mix.
struct clock_sample {
    mono_t mono;
    wall_t wall;
    ntp_t ntp;
};

// CLOCK_MONOTONIC in microseconds.
mono_t clock_mono(void);

// CLOCK_REALTIME in microseconds.
wall_t clock_wall(void);

// Both clocks read back to back; ntp is computed from wall.
struct clock_sample clock_read(void);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Another common/base/mem.c whose allocations fail on demand: name doubles/failing_mem in SUPPORT, and the
// linker takes it instead of the real one. All code of ours allocates there and nowhere else (lint), hash
// tables and arenas included.
//
// Single-threaded.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct failing_mem {
    bool watched;         // allocations are counted, and may fail
    uint64_t seen;        // so many were, since the start of the run
    uint64_t first, last; // these fail, from 1; first 0: none
    uint64_t failed;      // so many did
    size_t live;          // blocks that are not freed, watched or not
};

extern struct failing_mem failing_mem;

// A run begins: the allocations [first, last] that are watched fail.
void failing_mem_plan(uint64_t first, uint64_t last);

// Switches counting and failing on or off; returns what it was before.
bool failing_mem_watch(bool on);

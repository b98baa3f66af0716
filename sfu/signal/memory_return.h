// SPDX-License-Identifier: Apache-2.0
#pragma once
// When to give the memory of those who left back to the system, which the allocator does not do by
// itself: 1000 people leave some 60 MB behind them in it. Doing so takes milliseconds in which other
// threads wait for the allocator (the packet path does not allocate), so it is done once after many
// left, when nobody has left for a while.
//
// Pure. Thread: the owner of the count.

#include "common/base/bytes.h"
#include "common/base/mono.h"

// Longer than a page takes to reload or a client to come back, and short enough for memory to be back
// a minute after the last one left.
#define MEMORY_RETURN_MS 20000
// Fewer than this leave nothing that is worth the time.
#define MEMORY_RETURN_PEOPLE_MIN 32

struct memory_return {
    size_t most; // people since memory was given back
};

// The number of people has become `count`.
void memory_return_joined(struct memory_return *m, size_t count);

// Whether half of the most there were are gone: asked when somebody left, and the owner then (again)
// waits for MEMORY_RETURN_MS.
bool memory_return_is_worth_it(const struct memory_return *m, size_t count);

// MEMORY_RETURN_MS have passed. Gives memory back if that is still worth it.
void memory_return_run(struct memory_return *m, size_t count);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// How fast a homeserver may be asked, learned from its 429 answers (authorization-service 7.5,
// 9.43). Synapse counts the calls of everybody behind our address together (1 a second, 5 at once
// by default), so that without a common pace all participants lose their turn at the same time.
// Pure.
//
//   no 429 yet: no pace. The first one: the rate of the last second. Each further one: half of it,
//   once a second at most. Each success: two per cent faster, up to none.

#include "common/base/mono.h"

#define CALL_PACE_SLOWEST_US INT64_C(1000000) // Synapse's default; slower ones exist nowhere
#define CALL_PACE_FASTEST_US INT64_C(5000)    // 200 calls a second: no pace is needed
#define CALL_PACE_HOLD_MS INT64_C(5000) // a hint of hours is not believed for other people's calls
#define CALL_PACE_MEMORY_MS INT64_C(300000) // without a 429 the limit was lifted

// All zero: nothing known.
struct call_pace {
    int64_t interval_us;   // between two calls; 0: none
    mono_t next;           // the next call, while there is an interval
    mono_t hold;           // until then the homeserver wants to be left alone
    mono_t limited_at;     // last 429
    mono_t lesson_at;      // last one that changed the interval
    mono_t second;         // begin of the second that is counted
    uint32_t calls;        // in it
    uint32_t calls_before; // in the one before
};

// A call begins.
void call_pace_started(struct call_pace *p, mono_t now);
// A call got 429; hint_ms: the wait it asks for, 0 if none.
void call_pace_limited(struct call_pace *p, mono_t now, int64_t hint_ms);
// A call succeeded.
void call_pace_ok(struct call_pace *p, mono_t now);

// When a call may begin, now or earlier: at once. `urgent` calls do not keep the hold, nor do those
// whose deadline lies within it: they have nothing to lose.
mono_t call_pace_ready(const struct call_pace *p, mono_t now, bool urgent, mono_t deadline);

// True while there is a pace to keep.
bool call_pace_is_limited(const struct call_pace *p, mono_t now);

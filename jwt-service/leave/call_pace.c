// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/call_pace.h"

bool call_pace_is_limited(const struct call_pace *p, mono_t now)
{
    return p->interval_us > 0 && mono_diff_ms(now, p->limited_at) < CALL_PACE_MEMORY_MS;
}

static void count(struct call_pace *p, mono_t now)
{
    int64_t const age = mono_diff_us(now, p->second);
    if (age >= US_PER_S) {
        p->calls_before = age < 2 * US_PER_S ? p->calls : 0;
        p->calls = 0;
        p->second = now;
    }
    p->calls++;
}

void call_pace_started(struct call_pace *p, mono_t now)
{
    count(p, now);
    if (call_pace_is_limited(p, now)) {
        // From the time that was due, so that late timers do not add up, but without catching up.
        mono_t const due = mono_max(p->next, mono_add_us(now, -p->interval_us));
        p->next = mono_add_us(due, p->interval_us);
    } else {
        p->interval_us = 0;
    }
}

void call_pace_limited(struct call_pace *p, mono_t now, int64_t hint_ms)
{
    int64_t us = p->interval_us;
    if (!call_pace_is_limited(p, now)) {
        uint32_t const rate = MAX(MAX(p->calls, p->calls_before), 1u);
        us = US_PER_S / (int64_t)rate;
        p->lesson_at = now;
    } else if (mono_diff_us(now, p->lesson_at) >= US_PER_S) {
        // The calls of one second were begun at one pace: their refusals are one lesson.
        us *= 2;
        p->lesson_at = now;
    }
    p->interval_us = MIN(MAX(us, CALL_PACE_FASTEST_US), CALL_PACE_SLOWEST_US);
    p->limited_at = now;
    p->next = mono_max(p->next, mono_add_us(now, p->interval_us));
    p->hold = mono_max(p->hold, mono_add_ms(now, MIN(hint_ms, CALL_PACE_HOLD_MS)));
}

void call_pace_ok(struct call_pace *p, mono_t now)
{
    if (!call_pace_is_limited(p, now)) {
        p->interval_us = 0;
        return;
    }
    p->interval_us -= p->interval_us / 50;
    if (p->interval_us < CALL_PACE_FASTEST_US) {
        p->interval_us = 0;
    }
}

mono_t call_pace_ready(const struct call_pace *p, mono_t now, bool urgent, mono_t deadline)
{
    mono_t at = call_pace_is_limited(p, now) ? p->next : now;
    if (!urgent && mono_before(p->hold, deadline)) {
        at = mono_max(at, p->hold);
    }
    return at;
}

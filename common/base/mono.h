// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time as values. Three kinds that do not mix: mono_t for intervals and deadlines, wall_t for what
// people and other hosts see, ntp_t for RTCP. Nothing here reads a clock: `now` always comes in as
// a parameter (common/sys/clock reads it). Pure.

#include "common/base/macros.h"

// Monotonic microseconds since an arbitrary origin.
typedef struct {
    int64_t us;
} mono_t;

// Microseconds since 1970-01-01 UTC.
typedef struct {
    int64_t us;
} wall_t;

// RFC 5905 timestamp: seconds since 1900 in the upper 32 bits, fraction in the lower.
typedef struct {
    uint64_t v;
} ntp_t;

#define MONO_NEVER ((mono_t){INT64_MAX})
#define US_PER_MS INT64_C(1000)
#define US_PER_S INT64_C(1000000)

static inline mono_t mono_add_us(mono_t t, int64_t us)
{
    int64_t r = 0;
    if (__builtin_add_overflow(t.us, us, &r)) {
        return MONO_NEVER;
    }
    return (mono_t){r};
}

static inline mono_t mono_add_ms(mono_t t, int64_t ms)
{
    return mono_add_us(t, ms * US_PER_MS);
}

// a - b in microseconds.
static inline int64_t mono_diff_us(mono_t a, mono_t b)
{
    return a.us - b.us;
}

static inline int64_t mono_diff_ms(mono_t a, mono_t b)
{
    return (a.us - b.us) / US_PER_MS;
}

static inline bool mono_before(mono_t a, mono_t b)
{
    return a.us < b.us;
}

// True if the deadline d has been reached at now.
static inline bool mono_reached(mono_t d, mono_t now)
{
    return d.us <= now.us;
}

static inline mono_t mono_min(mono_t a, mono_t b)
{
    return a.us < b.us ? a : b;
}

static inline mono_t mono_max(mono_t a, mono_t b)
{
    return a.us > b.us ? a : b;
}

static inline bool mono_is_never(mono_t t)
{
    return t.us == INT64_MAX;
}

// Seconds between the NTP era (1900) and the Unix epoch (RFC 5905 section 6).
#define NTP_UNIX_OFFSET_S UINT64_C(2208988800)

static inline ntp_t ntp_from_wall(wall_t w)
{
    uint64_t const us = (uint64_t)w.us;
    uint64_t const s = us / 1000000u + NTP_UNIX_OFFSET_S;
    uint64_t const frac = ((us % 1000000u) << 32) / 1000000u;
    return (ntp_t){(s << 32) | frac};
}

// Middle 32 bits, the LSR form of RFC 3550 section 6.4.1.
static inline uint32_t ntp_mid32(ntp_t n)
{
    return (uint32_t)(n.v >> 16);
}

// b - a in microseconds, for timestamps less than 68 years apart.
static inline int64_t ntp_diff_us(ntp_t b, ntp_t a)
{
    int64_t const d = (int64_t)(b.v - a.v);
    int64_t const s = d >> 32;
    uint64_t const frac = (uint64_t)d & 0xffffffffu;
    return s * US_PER_S + (int64_t)((frac * 1000000u) >> 32);
}

static inline ntp_t ntp_add_us(ntp_t n, int64_t us)
{
    int64_t const s = us / US_PER_S;
    int64_t const rest = us % US_PER_S;
    int64_t const frac = (int64_t)(((uint64_t)(rest < 0 ? -rest : rest) << 32) / 1000000u);
    return (ntp_t){n.v + ((uint64_t)s << 32) + (uint64_t)(rest < 0 ? -frac : frac)};
}

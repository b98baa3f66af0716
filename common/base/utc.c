// SPDX-License-Identifier: Apache-2.0
#include "common/base/utc.h"

#include <stdio.h>

#define SECONDS_PER_DAY 86400
#define YEAR_MAX 9999 // four digits

// Days from 1970-01-01 to a day of the proleptic Gregorian calendar, and back: Howard Hinnant,
// "chrono-Compatible Low-Level Date Algorithms". Years begin in March there, so that the leap day
// is the last of one.
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t const y = month <= 2 ? year - 1 : year;
    int64_t const era = (y >= 0 ? y : y - 399) / 400;
    int64_t const yoe = y - era * 400;
    int64_t const doy = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t const doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

struct day {
    int64_t year;
    unsigned month;
    unsigned day;
};

static struct day day_of(int64_t days)
{
    int64_t const z = days + 719468;
    int64_t const era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t const doe = z - era * 146097;
    int64_t const yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t const doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t const mp = (5 * doy + 2) / 153;
    unsigned const month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    return (struct day){.year = yoe + era * 400 + (month <= 2),
                        .month = month,
                        .day = (unsigned)(doy - (153 * mp + 2) / 5 + 1)};
}

const char *utc_format(wall_t t, char ret[static UTC_STRLEN])
{
    int64_t const first = days_of(0, 1, 1) * SECONDS_PER_DAY;
    int64_t const last = days_of(YEAR_MAX + 1, 1, 1) * SECONDS_PER_DAY - 1;
    int64_t s = t.us / US_PER_S - (t.us % US_PER_S < 0);
    s = MIN(MAX(s, first), last);
    int64_t const days = s / SECONDS_PER_DAY - (s % SECONDS_PER_DAY < 0);
    unsigned const of_day = (unsigned)(s - days * SECONDS_PER_DAY);
    struct day const d = day_of(days);
    (void)snprintf(ret, UTC_STRLEN, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)d.year, d.month,
                   d.day, of_day / 3600, of_day / 60 % 60, of_day % 60);
    return ret;
}

// n digits; clears *ok if there is anything else.
static unsigned digits(struct rd *r, unsigned n, bool *ok)
{
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t const c = rd_u8(r);
        *ok = *ok && c >= '0' && c <= '9';
        v = v * 10 + (c - (unsigned)'0') % 10;
    }
    return v;
}

static void literal(struct rd *r, char want, char also, bool *ok)
{
    char const c = (char)rd_u8(r);
    *ok = *ok && (c == want || c == also);
}

int utc_parse(struct bytes text, wall_t *ret)
{
    struct rd r = rd_init(text);
    bool ok = true;
    unsigned const year = digits(&r, 4, &ok);
    literal(&r, '-', '-', &ok);
    unsigned const month = digits(&r, 2, &ok);
    literal(&r, '-', '-', &ok);
    unsigned const day = digits(&r, 2, &ok);
    literal(&r, 'T', 't', &ok);
    unsigned const hour = digits(&r, 2, &ok);
    literal(&r, ':', ':', &ok);
    unsigned const minute = digits(&r, 2, &ok);
    literal(&r, ':', ':', &ok);
    unsigned const second = digits(&r, 2, &ok);
    literal(&r, 'Z', 'z', &ok);
    if (!ok || !rd_ok(&r) || rd_left(&r) > 0 || month < 1 || month > 12 || day < 1 || hour > 23 ||
        minute > 59 || second > 59) {
        return -EINVAL;
    }
    int64_t const days = days_of(year, month, day);
    // A day that the month does not have comes back as one of the next month.
    if (day_of(days).day != day) {
        return -EINVAL;
    }
    ret->us = (days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second) * US_PER_S;
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "common/base/http_date.h"

#include <strings.h>

#define S_PER_DAY INT64_C(86400)

// More than any bound that callers set; keeps sums far from overflow.
#define AGE_MAX_S INT64_C(1000000000)

struct civil {
    int64_t year;
    unsigned month, day, hour, minute, second; // month from 1
};

// Days since 1970-01-01 of a date of the Gregorian calendar: years are counted from March, so that
// the leap day is the last of its year.
static int64_t days_of(const struct civil *c)
{
    int64_t const y = c->year - (c->month <= 2 ? 1 : 0);
    int64_t const era = y / 400;
    int64_t const year_of_era = y - era * 400;
    unsigned const from_march = c->month > 2 ? c->month - 3 : c->month + 9;
    int64_t const day_of_year = (153 * from_march + 2) / 5 + c->day - 1;
    int64_t const day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void skip(struct rd *r, const char *text)
{
    if (!bytes_eq_str(rd_take(r, strlen(text)), text)) {
        rd_fail(r);
    }
}

// n digits; a blank may stand for the first (asctime's day).
static unsigned number(struct rd *r, size_t n, bool blank)
{
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t const c = rd_u8(r);
        if (c >= '0' && c <= '9') {
            v = v * 10 + (unsigned)(c - '0');
        } else if (!(blank && i == 0 && c == ' ')) {
            rd_fail(r);
        }
    }
    return v;
}

static unsigned month(struct rd *r)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct bytes const name = rd_take(r, 3);
    for (unsigned i = 0; name.n == 3 && i < 12; i++) {
        if (memcmp(name.p, names + (size_t)i * 3, 3) == 0) {
            return i + 1;
        }
    }
    rd_fail(r);
    return 1;
}

static void time_of_day(struct rd *r, struct civil *c)
{
    c->hour = number(r, 2, false);
    skip(r, ":");
    c->minute = number(r, 2, false);
    skip(r, ":");
    c->second = number(r, 2, false);
}

// "06 Nov 1994 08:49:37 GMT"
static void imf_fixdate(struct rd *r, struct civil *c)
{
    c->day = number(r, 2, false);
    skip(r, " ");
    c->month = month(r);
    skip(r, " ");
    c->year = number(r, 4, false);
    skip(r, " ");
    time_of_day(r, c);
    skip(r, " GMT");
}

// "06-Nov-94 08:49:37 GMT"
static void rfc850(struct rd *r, struct civil *c)
{
    c->day = number(r, 2, false);
    skip(r, "-");
    c->month = month(r);
    skip(r, "-");
    unsigned const y = number(r, 2, false);
    c->year = y < 70 ? 2000 + (int64_t)y : 1900 + (int64_t)y;
    skip(r, " ");
    time_of_day(r, c);
    skip(r, " GMT");
}

// "Nov  6 08:49:37 1994"
static void asctime_date(struct rd *r, struct civil *c)
{
    c->month = month(r);
    skip(r, " ");
    c->day = number(r, 2, true);
    skip(r, " ");
    time_of_day(r, c);
    skip(r, " ");
    c->year = number(r, 4, false);
}

static bool is_valid(const struct civil *c)
{
    static const uint8_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool const leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);
    return c->year >= 1601 && c->day >= 1 && c->day <= days[c->month - 1] &&
           (c->month != 2 || c->day <= 28 || leap) && c->hour < 24 && c->minute < 60 &&
           c->second <= 60; // a leap second
}

int http_date_parse(struct bytes text, int64_t *ret_s)
{
    struct rd r = rd_init(text);
    struct civil c = {.month = 1};
    size_t word = 0;
    while (word < text.n && text.p[word] != ',' && text.p[word] != ' ') {
        word++;
    }
    rd_skip(&r, word); // the day of the week says nothing
    if (word == 3 && rd_left(&r) > 0 && *r.p == ',') {
        skip(&r, ", ");
        imf_fixdate(&r, &c);
    } else if (rd_left(&r) > 0 && *r.p == ',') {
        skip(&r, ", ");
        rfc850(&r, &c);
    } else {
        skip(&r, " ");
        asctime_date(&r, &c);
    }
    if (!rd_ok(&r) || rd_left(&r) != 0 || word < 3 || !is_valid(&c)) {
        return -EINVAL;
    }
    *ret_s = days_of(&c) * S_PER_DAY + c.hour * INT64_C(3600) + c.minute * INT64_C(60) + c.second;
    return 0;
}

// A directive of a Cache-Control list; *ret_value is what follows "=", as a number, -1 without one.
static bool directive(const char **p, struct bytes *ret_name, int64_t *ret_value)
{
    const char *s = *p + strspn(*p, ", \t");
    if (!*s) {
        return false;
    }
    size_t const n = strcspn(s, "=, \t");
    *ret_name = bytes_of(s, n);
    *ret_value = -1;
    s += n;
    if (*s == '=') {
        bool const quoted = s[1] == '"';
        s += quoted ? 2 : 1;
        for (; *s >= '0' && *s <= '9'; s++) {
            *ret_value = MIN(MAX(*ret_value, 0) * 10 + (*s - '0'), AGE_MAX_S);
        }
        if (quoted) {
            s += strcspn(s, "\"");
            s += *s == '"';
        }
        s += strcspn(s, ", \t");
    }
    *p = s;
    return true;
}

static bool is_name(struct bytes name, const char *want)
{
    return name.n == strlen(want) && strncasecmp((const char *)name.p, want, name.n) == 0;
}

int64_t http_date_freshness_s(const char *cache_control, const char *expires, const char *date,
                              wall_t now)
{
    int64_t max_age = -1;
    struct bytes name;
    int64_t value = 0;
    for (const char *p = cache_control ? cache_control : ""; directive(&p, &name, &value);) {
        if (is_name(name, "no-store") || is_name(name, "no-cache")) {
            return 0;
        }
        if (is_name(name, "max-age")) {
            max_age = MAX(value, 0); // one that is no number: stale (RFC 9111 section 4.2.1)
        }
    }
    if (max_age >= 0 || !expires) {
        return max_age;
    }
    int64_t until = 0;
    int64_t from = now.us / US_PER_S;
    if (http_date_parse(bytes_str(expires), &until) < 0) {
        return 0; // "Expires: 0" and the like (RFC 9111 section 5.3)
    }
    if (date && http_date_parse(bytes_str(date), &from) < 0) {
        from = now.us / US_PER_S;
    }
    int64_t const left = until - from;
    return left <= 0 ? 0 : MIN(left, AGE_MAX_S);
}

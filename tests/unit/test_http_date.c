// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/http_date.h"

static void three_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
        {"Fri, 21 Nov 2025 18:00:00 GMT", 1763748000},
        {"Friday, 31-Dec-99 23:59:59 GMT", 946684799},
        {"Thursday, 01-Jan-26 00:00:00 GMT", 1767225600},
        {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648)},
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = 7;
        assert_int_equal(http_date_parse(bytes_str(cases[i].text), &got), 0);
        assert_true(got == cases[i].want);
        // Every shorter text is refused.
        for (size_t n = 0; n < strlen(cases[i].text); n++) {
            assert_int_equal(http_date_parse(bytes_of(cases[i].text, n), &got), -EINVAL);
        }
    }
}

static void what_is_no_date_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0",
        "-1",
        "",
        "never",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Apr 1994 08:49:37 GMT",
        "Tue, 29 Feb 1900 12:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun Nov 6 08:49:37 1994",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t got = 7;
        assert_int_equal(http_date_parse(bytes_str(bad[i]), &got), -EINVAL);
        assert_int_equal(got, 7);
    }
}

static void freshness_follows_the_headers(void **state)
{
    (void)state;
    wall_t const now = {INT64_C(784111777) * US_PER_S};
    static const char at[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    static const char hour_later[] = "Sun, 06 Nov 1994 09:49:37 GMT";
    static const struct {
        const char *cache_control, *expires, *date;
        int64_t want;
    } cases[] = {
        {NULL, NULL, NULL, -1},
        {NULL, NULL, at, -1},
        {"public", NULL, NULL, -1},
        {"max-age=3600", NULL, NULL, 3600},
        {"public, Max-Age=60 , x", NULL, NULL, 60},
        {"max-age=\"60\"", NULL, NULL, 60},
        {"s-maxage=5, max-age=9", NULL, NULL, 9},
        {"x-max-age=5", NULL, NULL, -1},
        {"ext=\"a, max-age=7\"", NULL, NULL, -1},
        {"max-age=x", NULL, NULL, 0},
        {"max-age", NULL, NULL, 0},
        {"max-age=99999999999999999999999", NULL, NULL, INT64_C(1000000000)},
        {"no-store, max-age=60", NULL, NULL, 0},
        {"max-age=60, no-cache", NULL, NULL, 0},
        {"no-cache=\"Set-Cookie\"", NULL, NULL, 0},
        {NULL, hour_later, NULL, 3600},
        {NULL, hour_later, hour_later, 0},
        {NULL, hour_later, "rubbish", 3600},
        {NULL, at, hour_later, 0},
        {NULL, "0", NULL, 0},
        {"public", hour_later, at, 3600},
        {"max-age=5", hour_later, at, 5}, // RFC 9111 section 5.3: max-age outranks Expires
        {",,  ,", hour_later, at, 3600},
        {"=", NULL, NULL, -1},
        {"max-age=\"", NULL, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t const got =
            http_date_freshness_s(cases[i].cache_control, cases[i].expires, cases[i].date, now);
        assert_true(got == cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forms_are_read),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(freshness_follows_the_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/utc.h"

static const struct {
    const char *text;
    int64_t s;
} moments[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1969-12-31T23:59:59Z", -1},
    {"2000-02-29T12:34:56Z", 951827696},
    {"2024-12-31T23:59:59Z", 1735689599},
    {"2026-11-21T18:00:00Z", 1795284000},
    {"2100-03-01T00:00:00Z", 4107542400},
    {"0000-01-01T00:00:00Z", -62167219200},
    {"9999-12-31T23:59:59Z", 253402300799},
};

static void moments_are_written_and_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        char text[UTC_STRLEN];
        wall_t t = {1};
        assert_string_equal(utc_format((wall_t){moments[i].s * US_PER_S}, text), moments[i].text);
        assert_int_equal(utc_parse(bytes_str(moments[i].text), &t), 0);
        assert_true(t.us == moments[i].s * US_PER_S);
    }
}

static void each_day_of_four_centuries_comes_back(void **state)
{
    (void)state;
    for (int64_t day = -146097; day < 146097; day++) {
        char text[UTC_STRLEN];
        wall_t t = {0};
        (void)utc_format((wall_t){day * 86400 * US_PER_S}, text);
        assert_int_equal(utc_parse(bytes_str(text), &t), 0);
        assert_true(t.us == day * 86400 * US_PER_S);
    }
}

static void fractions_are_rounded_down_and_extremes_kept_in(void **state)
{
    (void)state;
    char text[UTC_STRLEN];
    assert_string_equal(utc_format((wall_t){-1}, text), "1969-12-31T23:59:59Z");
    assert_string_equal(utc_format((wall_t){US_PER_S - 1}, text), "1970-01-01T00:00:00Z");
    assert_string_equal(utc_format((wall_t){INT64_MAX}, text), "9999-12-31T23:59:59Z");
    assert_string_equal(utc_format((wall_t){INT64_MIN}, text), "0000-01-01T00:00:00Z");
}

static void what_is_no_moment_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "2026-11-21",
        "2026-11-21T18:00:00",
        "2026-11-21T18:00:00Z ",
        "2026-11-21 18:00:00Z",
        "2026-11-21T18:00:00+01:00",
        "2026-11-21T18:00:00.5Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:60:00Z",
        "2026-11-21T23:59:60Z",
        "+026-11-21T18:00:00Z",
        "2026-1a-21T18:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        wall_t t = {7};
        if (utc_parse(bytes_str(wrong[i]), &t) != -EINVAL || t.us != 7) {
            fail_msg("%s was read", wrong[i]);
        }
    }
    wall_t t = {0};
    assert_int_equal(utc_parse(bytes_str("2026-11-21t18:00:00z"), &t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_written_and_read),
        cmocka_unit_test(each_day_of_four_centuries_comes_back),
        cmocka_unit_test(fractions_are_rounded_down_and_extremes_kept_in),
        cmocka_unit_test(what_is_no_moment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

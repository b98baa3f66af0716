// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/svc/metrics.h"

enum { PLAIN, LABELLED, LEVEL, TIMES, FEW };

static const double bounds[] = {0.1, 0.5, 2};
static const struct metric_desc table[] = {
    [PLAIN] = {"plain_total", "A counter\nwith a \\.", METRIC_COUNTER},
    [LABELLED] = {"labelled_total", "With labels.", METRIC_COUNTER, .labels = {"a", "b"}},
    [LEVEL] = {"level", "A gauge.", METRIC_GAUGE, .labels = {"x"}},
    [TIMES] = {"times_seconds", "A histogram.", METRIC_HISTOGRAM, .labels = {"x"},
               .buckets = bounds, .bucket_count = ARRAY_LEN(bounds)},
    [FEW] = {"few_total", "Few series.", METRIC_COUNTER, .labels = {"x"}, .max_series = 3},
};

#define L(...) ((const char *const[]){__VA_ARGS__})

static struct metrics *m;
static struct dynbuf out;

static int setup(void **state)
{
    (void)state;
    m = metrics_new(table, ARRAY_LEN(table));
    dynbuf_init(&out, 1u << 20);
    return m == NULL;
}

static int teardown(void **state)
{
    (void)state;
    metrics_free(m);
    dynbuf_done(&out);
    return 0;
}

static const char *text(void)
{
    dynbuf_reset(&out);
    metrics_write(m, &out);
    return dynbuf_cstr(&out);
}

static void families_without_labels_exist_from_the_start(void **state)
{
    (void)state;
    assert_string_equal(text(), "# HELP plain_total A counter\\nwith a \\\\.\n"
                                "# TYPE plain_total counter\n"
                                "plain_total 0\n");
}

static void series_are_written_in_the_order_they_appeared(void **state)
{
    (void)state;
    metrics_add(m, PLAIN, NULL, 3);
    metrics_add(m, LABELLED, L("z", "1"), 1);
    metrics_add(m, LABELLED, L("a", "2"), 0.5);
    metrics_touch(m, LABELLED, L("b", NULL));
    metrics_add(m, LABELLED, L("z", "1"), 1);
    metrics_set(m, LEVEL, L("v"), -2.5);
    assert_string_equal(text(), "# HELP plain_total A counter\\nwith a \\\\.\n"
                                "# TYPE plain_total counter\n"
                                "plain_total 3\n"
                                "# HELP labelled_total With labels.\n"
                                "# TYPE labelled_total counter\n"
                                "labelled_total{a=\"z\",b=\"1\"} 2\n"
                                "labelled_total{a=\"a\",b=\"2\"} 0.5\n"
                                "labelled_total{a=\"b\",b=\"\"} 0\n"
                                "# HELP level A gauge.\n"
                                "# TYPE level gauge\n"
                                "level{x=\"v\"} -2.5\n");
    assert_true(metrics_value(m, LABELLED, L("z", "1")) == 2);
    assert_true(metrics_value(m, LABELLED, L("y", "1")) == 0);
    // The values of two labels do not flow together.
    assert_true(metrics_value(m, LABELLED, L("z1", "")) == 0);
}

static void buckets_are_cumulative(void **state)
{
    (void)state;
    static const double seen[] = {0.05, 0.1, 0.2, 1, 99, NAN};
    for (size_t i = 0; i < 5; i++) {
        metrics_observe(m, TIMES, L("v"), seen[i]);
    }
    assert_non_null(strstr(text(), "# TYPE times_seconds histogram\n"
                                   "times_seconds_bucket{x=\"v\",le=\"0.1\"} 2\n"
                                   "times_seconds_bucket{x=\"v\",le=\"0.5\"} 3\n"
                                   "times_seconds_bucket{x=\"v\",le=\"2\"} 4\n"
                                   "times_seconds_bucket{x=\"v\",le=\"+Inf\"} 5\n"
                                   "times_seconds_sum{x=\"v\"} 100.35\n"
                                   "times_seconds_count{x=\"v\"} 5\n"));
    assert_true(metrics_value(m, TIMES, L("v")) == 5);
    metrics_observe(m, TIMES, L("v"), seen[5]); // what is no number is in no bucket but the last
    assert_non_null(strstr(text(), "le=\"2\"} 4\n"));
    assert_non_null(strstr(text(), "times_seconds_sum{x=\"v\"} NaN\n"));
}

static void label_values_cannot_break_the_text(void **state)
{
    (void)state;
    char value[METRIC_LABEL_VALUE_MAX + 50];
    memset(value, 'x', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    metrics_add(m, LEVEL, L("a\"b\\c\nd\te"), 1);
    metrics_add(m, LEVEL, L("\xc3\xa9\xff\xc3"), 1);
    metrics_add(m, LEVEL, L(value), 1);
    assert_non_null(strstr(text(), "level{x=\"a\\\"b\\\\c\\nd\xef\xbf\xbd"
                                   "e\"} 1\n"));
    assert_non_null(strstr(text(), "level{x=\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"));
    value[METRIC_LABEL_VALUE_MAX] = '\0';
    assert_true(metrics_value(m, LEVEL, L(value)) == 1);
    assert_non_null(strstr(text(), value));
    value[METRIC_LABEL_VALUE_MAX] = 'x';
    assert_null(strstr(text(), value));
}

static void numbers_can_be_read_back(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } row[] = {
        {1e15, " 1e+15\n"},
        {9007199254740993.0, " 9007199254740992\n"},
        {1788220800, " 1788220800\n"},
        {1788220800.25, " 1788220800.25\n"},
        {0.1, " 0.1\n"},
        {1.0 / 3, " 0.33333333333333331\n"},
        {INFINITY, " +Inf\n"},
        {-INFINITY, " -Inf\n"},
        {NAN, " NaN\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        metrics_set(m, LEVEL, L("v"), row[i].v);
        if (strstr(text(), row[i].text) == NULL) {
            fail_msg("%s is not in %s", row[i].text, text());
        }
    }
}

static void later_series_are_added_up_as_other(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "v%d", i);
        metrics_add(m, FEW, L(value), 1);
    }
    metrics_add(m, FEW, L("v1"), 1);
    assert_non_null(strstr(text(), "few_total{x=\"v0\"} 1\n"
                                   "few_total{x=\"v1\"} 2\n"
                                   "few_total{x=\"v2\"} 1\n"
                                   "few_total{x=\"other\"} 997\n"));
}

static void a_series_called_other_is_not_made_twice(void **state)
{
    (void)state;
    metrics_add(m, FEW, L("other"), 1);
    metrics_add(m, FEW, L("a"), 1);
    metrics_add(m, FEW, L("b"), 1);
    metrics_add(m, FEW, L("c"), 1);
    assert_non_null(strstr(text(), "few_total{x=\"other\"} 2\n"
                                   "few_total{x=\"a\"} 1\n"
                                   "few_total{x=\"b\"} 1\n"));
}

static void gauges_are_cleared_and_set_anew(void **state)
{
    (void)state;
    metrics_set(m, LEVEL, L("old"), 1);
    metrics_clear(m, LEVEL);
    assert_null(strstr(text(), "level"));
    metrics_set(m, LEVEL, L("new"), 2);
    assert_non_null(strstr(text(), "level{x=\"new\"} 2\n"));
    assert_null(strstr(text(), "old"));
}

static void counters_of_others_never_go_down(void **state)
{
    (void)state;
    metrics_raise(m, PLAIN, NULL, 5);
    metrics_raise(m, PLAIN, NULL, 3);
    assert_true(metrics_value(m, PLAIN, NULL) == 5);
}

static void without_a_registry_nothing_is_counted(void **state)
{
    (void)state;
    metrics_add(NULL, PLAIN, NULL, 1);
    metrics_set(NULL, LEVEL, L("v"), 1);
    metrics_observe(NULL, TIMES, L("v"), 1);
    metrics_raise(NULL, PLAIN, NULL, 1);
    metrics_touch(NULL, PLAIN, NULL);
    metrics_clear(NULL, LEVEL);
    metrics_free(NULL);
    assert_true(metrics_value(NULL, PLAIN, NULL) == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(families_without_labels_exist_from_the_start),
        TEST(series_are_written_in_the_order_they_appeared),
        TEST(buckets_are_cumulative),
        TEST(label_values_cannot_break_the_text),
        TEST(numbers_can_be_read_back),
        TEST(later_series_are_added_up_as_other),
        TEST(a_series_called_other_is_not_made_twice),
        TEST(gauges_are_cleared_and_set_anew),
        TEST(counters_of_others_never_go_down),
        TEST(without_a_registry_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

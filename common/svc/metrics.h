// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counters, gauges and histograms with labels, and their text for Prometheus (exposition format
// 0.0.4). Families come from the program's own table, indexed by its own enum, like settings.
//
// The number of series is bounded: a family takes max_series combinations of label values, all
// later ones are added up in one whose labels are all "other". Nothing here fails: without memory a
// sample is lost. Owner thread: one, the one that made it.

#include "common/base/dynbuf.h"

enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
};

#define METRIC_LABELS_MAX 3
#define METRIC_BUCKETS_MAX 16
#define METRIC_LABEL_VALUE_MAX 96 // bytes; longer values are cut
#define METRIC_SERIES_DEFAULT 64  // a label whose values we choose has fewer

// The answer's Content-Type.
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

// One family. Strings and buckets are borrowed for the life of the registry.
struct metric_desc {
    const char *name; // "auth_requests_total"
    const char *help; // one sentence
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX]; // names; unused ones NULL
    const double *buckets; // METRIC_HISTOGRAM: upper bounds, ascending, without +Inf
    size_t bucket_count;
    size_t max_series; // 0: METRIC_SERIES_DEFAULT
};

struct metrics;

// The table must outlive it. A family without labels has its one series, 0, from the start. NULL
// without memory.
struct metrics *metrics_new(const struct metric_desc *table, size_t count) NODISCARD;
void metrics_free(struct metrics *m); // accepts NULL
DEFINE_CLEANUP(struct metrics *, metrics_free)

// In all of these `labels` are as many values as the family has label names, in its order; NULL for
// a family without. A NULL value counts as "". m may be NULL (nothing is counted then), so that
// modules need not care whether somebody counts.

// Counter (v >= 0; counters never go down) or gauge.
void metrics_add(struct metrics *m, size_t family, const char *const *labels, double v);
// Gauge.
void metrics_set(struct metrics *m, size_t family, const char *const *labels, double v);
// Counter that somebody else counts: raised to v, never lowered.
void metrics_raise(struct metrics *m, size_t family, const char *const *labels, double v);
// Histogram.
void metrics_observe(struct metrics *m, size_t family, const char *const *labels, double v);

// Makes the series exist with 0, so that rates are right from the first event on.
void metrics_touch(struct metrics *m, size_t family, const char *const *labels);
// Removes all series of a gauge whose labels come and go; to be set anew before metrics_write.
void metrics_clear(struct metrics *m, size_t family);

// The value of a counter or gauge, or the number of observations; 0 if there is no such series.
double metrics_value(const struct metrics *m, size_t family, const char *const *labels);

// Appends all families in the order of the table, series in the order they appeared.
void metrics_write(const struct metrics *m, struct dynbuf *out);

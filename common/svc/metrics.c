// SPDX-License-Identifier: Apache-2.0
#include "common/svc/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/utf8.h"

// Label values of a series one behind the other, each with its zero.
#define KEY_MAX (METRIC_LABELS_MAX * (METRIC_LABEL_VALUE_MAX + 1))

struct series {
    UT_hash_handle hh;
    double value;     // counter, gauge; histogram: sum
    uint64_t count;   // histogram: observations
    uint64_t *bucket; // histogram: observations in each bucket alone; the last is up to +Inf
    size_t key_len;
    char key[];
};

struct family {
    const struct metric_desc *desc;
    size_t label_count;
    struct series *series;
    struct series *other; // in series as well; NULL until it is needed
};

struct metrics {
    size_t count;
    struct family family[];
};

// ---- series ---------------------------------------------------------------------------------

static size_t make_key(const struct family *f, const char *const *labels, char ret[static KEY_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < f->label_count; i++) {
        const char *const v = labels != NULL && labels[i] != NULL ? labels[i] : "";
        size_t const len = strnlen(v, METRIC_LABEL_VALUE_MAX);
        memcpy(ret + n, v, len);
        ret[n + len] = '\0';
        n += len + 1;
    }
    return n;
}

static struct series *series_find(const struct family *f, const char *key, size_t key_len)
{
    struct series *s = NULL;
    HASH_FIND(hh, f->series, key, key_len, s);
    return s;
}

static void series_free(struct family *f, struct series *s)
{
    HASH_DELETE(hh, f->series, s);
    mem_free(s->bucket);
    mem_free(s);
}

static struct series *series_add(struct family *f, const char *key, size_t key_len)
{
    bool const histogram = f->desc->type == METRIC_HISTOGRAM;
    struct series *const s = mem_alloc(sizeof(*s) + key_len);
    if (s == NULL) {
        return NULL;
    }
    if (histogram) {
        s->bucket = mem_array(f->desc->bucket_count + 1, sizeof(*s->bucket));
    }
    if (histogram && s->bucket == NULL) {
        mem_free(s);
        return NULL;
    }
    s->key_len = key_len;
    if (key_len > 0) { // a family without labels has the empty key
        memcpy(s->key, key, key_len);
    }
    HASH_ADD_KEYPTR(hh, f->series, s->key, s->key_len, s);
    if (series_find(f, key, key_len) == NULL) {
        mem_free(s->bucket);
        mem_free(s);
        return NULL;
    }
    return s;
}

// The series of the labels; made if it is not there. NULL without memory.
static struct series *series_get(struct metrics *m, size_t family, const char *const *labels)
{
    if (m == NULL) {
        return NULL;
    }
    assert(family < m->count);
    struct family *const f = &m->family[family];
    char key[KEY_MAX];
    size_t n = make_key(f, labels, key);
    struct series *const s = series_find(f, key, n);
    if (s != NULL) {
        return s;
    }
    size_t const most = f->desc->max_series > 0 ? f->desc->max_series : METRIC_SERIES_DEFAULT;
    if (HASH_COUNT(f->series) < most) {
        return series_add(f, key, n);
    }
    if (f->other == NULL) {
        static const char *const other[METRIC_LABELS_MAX] = {"other", "other", "other"};
        n = make_key(f, other, key);
        f->other = series_find(f, key, n);
        f->other = f->other != NULL ? f->other : series_add(f, key, n);
    }
    return f->other;
}

// ---- registry -------------------------------------------------------------------------------

struct metrics *metrics_new(const struct metric_desc *table, size_t count)
{
    struct metrics *const m = mem_alloc(sizeof(*m) + count * sizeof(struct family));
    if (m == NULL) {
        return NULL;
    }
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        struct family *const f = &m->family[i];
        f->desc = &table[i];
        assert(table[i].bucket_count <= METRIC_BUCKETS_MAX);
        while (f->label_count < METRIC_LABELS_MAX && table[i].labels[f->label_count] != NULL) {
            f->label_count++;
        }
        if (f->label_count == 0) {
            metrics_touch(m, i, NULL);
        }
    }
    return m;
}

void metrics_clear(struct metrics *m, size_t family)
{
    if (m == NULL) {
        return;
    }
    struct family *const f = &m->family[family];
    struct series *s = NULL;
    struct series *next = NULL;
    HASH_ITER(hh, f->series, s, next)
    {
        series_free(f, s);
    }
    f->other = NULL;
}

void metrics_free(struct metrics *m)
{
    for (size_t i = 0; m != NULL && i < m->count; i++) {
        metrics_clear(m, i);
    }
    mem_free(m);
}

// ---- values ---------------------------------------------------------------------------------

void metrics_touch(struct metrics *m, size_t family, const char *const *labels)
{
    (void)series_get(m, family, labels);
}

void metrics_add(struct metrics *m, size_t family, const char *const *labels, double v)
{
    struct series *const s = series_get(m, family, labels);
    if (s != NULL) {
        assert(m->family[family].desc->type != METRIC_HISTOGRAM);
        assert(v >= 0 || m->family[family].desc->type == METRIC_GAUGE);
        s->value += v;
    }
}

void metrics_set(struct metrics *m, size_t family, const char *const *labels, double v)
{
    struct series *const s = series_get(m, family, labels);
    if (s != NULL) {
        assert(m->family[family].desc->type == METRIC_GAUGE);
        s->value = v;
    }
}

void metrics_raise(struct metrics *m, size_t family, const char *const *labels, double v)
{
    struct series *const s = series_get(m, family, labels);
    if (s != NULL) {
        assert(m->family[family].desc->type == METRIC_COUNTER);
        s->value = MAX(s->value, v);
    }
}

void metrics_observe(struct metrics *m, size_t family, const char *const *labels, double v)
{
    struct series *const s = series_get(m, family, labels);
    if (s == NULL) {
        return;
    }
    const struct metric_desc *const d = m->family[family].desc;
    assert(d->type == METRIC_HISTOGRAM);
    size_t i = 0;
    while (i < d->bucket_count && !(v <= d->buckets[i])) {
        i++;
    }
    s->bucket[i]++;
    s->count++;
    s->value += v;
}

double metrics_value(const struct metrics *m, size_t family, const char *const *labels)
{
    if (m == NULL) {
        return 0;
    }
    const struct family *const f = &m->family[family];
    char key[KEY_MAX];
    size_t const n = make_key(f, labels, key);
    const struct series *const s = series_find(f, key, n);
    if (s == NULL) {
        return 0;
    }
    return f->desc->type == METRIC_HISTOGRAM ? (double)s->count : s->value;
}

// ---- text -----------------------------------------------------------------------------------

// As short as it can be read back: Go's and Prometheus' own form.
static void add_number(struct dynbuf *out, double v)
{
    if (isnan(v)) {
        dynbuf_add_str(out, "NaN");
    } else if (isinf(v)) {
        dynbuf_add_str(out, v > 0 ? "+Inf" : "-Inf");
    } else {
        char text[40];
        (void)snprintf(text, sizeof(text), "%.15g", v);
        if (strtod(text, NULL) < v || strtod(text, NULL) > v) {
            (void)snprintf(text, sizeof(text), "%.17g", v);
        }
        dynbuf_add_str(out, text);
    }
}

// Backslash, line feed and, in label values, quotes are escaped; other control characters and what
// is no UTF-8 would make the whole page unreadable for some readers.
static void add_escaped(struct dynbuf *out, const char *s, bool quotes)
{
    while (*s != '\0') {
        // A cut value may end in half of a character.
        size_t const n = utf8_len((const uint8_t *)s, strnlen(s, 4));
        if (n == 0 || ((uint8_t)*s < ' ' && *s != '\n')) {
            dynbuf_add_str(out, "\xef\xbf\xbd");
            s++;
            continue;
        }
        if (*s == '\\' || (quotes && *s == '"')) {
            dynbuf_add_u8(out, '\\');
        }
        if (*s == '\n') {
            dynbuf_add_str(out, "\\n");
        } else {
            dynbuf_add(out, bytes_of(s, n));
        }
        s += n;
    }
}

// {a="x",le="0.5"}; le NULL: none. Nothing at all without labels.
static void add_labels(struct dynbuf *out, const struct family *f, const struct series *s,
                       const char *le)
{
    const char *value = s->key;
    for (size_t i = 0; i < f->label_count; i++, value += strlen(value) + 1) {
        dynbuf_addf(out, "%s%s=\"", i == 0 ? "{" : ",", f->desc->labels[i]);
        add_escaped(out, value, true);
        dynbuf_add_u8(out, '"');
    }
    if (le != NULL) {
        dynbuf_addf(out, "%sle=\"%s\"", f->label_count == 0 ? "{" : ",", le);
    }
    if (f->label_count > 0 || le != NULL) {
        dynbuf_add_u8(out, '}');
    }
}

static void add_sample(struct dynbuf *out, const struct family *f, const char *suffix,
                       const struct series *s, const char *le, double v)
{
    dynbuf_addf(out, "%s%s", f->desc->name, suffix);
    add_labels(out, f, s, le);
    dynbuf_add_u8(out, ' ');
    add_number(out, v);
    dynbuf_add_u8(out, '\n');
}

static void add_histogram(struct dynbuf *out, const struct family *f, const struct series *s)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i < f->desc->bucket_count; i++) {
        char le[40];
        (void)snprintf(le, sizeof(le), "%.15g", f->desc->buckets[i]);
        so_far += s->bucket[i];
        add_sample(out, f, "_bucket", s, le, (double)so_far);
    }
    add_sample(out, f, "_bucket", s, "+Inf", (double)s->count);
    add_sample(out, f, "_sum", s, NULL, s->value);
    add_sample(out, f, "_count", s, NULL, (double)s->count);
}

void metrics_write(const struct metrics *m, struct dynbuf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < m->count; i++) {
        const struct family *const f = &m->family[i];
        if (f->series == NULL) {
            continue; // a family without samples says nothing
        }
        dynbuf_addf(out, "# HELP %s ", f->desc->name);
        add_escaped(out, f->desc->help, false);
        dynbuf_addf(out, "\n# TYPE %s %s\n", f->desc->name, types[f->desc->type]);
        // uthash keeps the order of adding.
        for (const struct series *s = f->series; s != NULL; s = s->hh.next) {
            if (f->desc->type == METRIC_HISTOGRAM) {
                add_histogram(out, f, s);
            } else {
                add_sample(out, f, "", s, NULL, s->value);
            }
        }
    }
}

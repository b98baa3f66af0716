// SPDX-License-Identifier: Apache-2.0
#include "common/svc/jsonx.h"

#include <jansson.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

// struct jsonx is json_t seen from outside; it is never defined.
static json_t *inner(const struct jsonx *j)
{
    return (json_t *)(uintptr_t)j;
}

static struct jsonx *outer(json_t *j)
{
    return (struct jsonx *)j;
}

// ---- checks before parsing ------------------------------------------------------------------

// jansson has one nesting limit of 2048 for everybody, so the depth is counted here first.
static bool too_deep(struct bytes text, unsigned max)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t const c = text.p[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max) {
                return true;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

// The value of the \uXXXX at p, or -1.
static int32_t unicode_escape(const uint8_t *p, size_t n)
{
    if (n < 6 || p[0] != '\\' || p[1] != 'u') {
        return -1;
    }
    int32_t v = 0;
    for (size_t i = 2; i < 6; i++) {
        uint8_t const c = p[i];
        int32_t d = 0;
        if (c >= '0' && c <= '9') {
            d = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            d = (c | 0x20) - 'a' + 10;
        } else {
            return -1;
        }
        v = v * 16 + d;
    }
    return v;
}

static bool is_high(int32_t v)
{
    return v >= 0xd800 && v <= 0xdbff;
}

static bool is_low(int32_t v)
{
    return v >= 0xdc00 && v <= 0xdfff;
}

// Copies the escape at p, a surrogate without its other half as \ufffd. Returns the bytes read.
static size_t repair_escape(const uint8_t *p, size_t n, struct dynbuf *out)
{
    int32_t const v = unicode_escape(p, n);
    size_t len = v >= 0 ? 6 : MIN((size_t)2, n);
    if (is_high(v) && is_low(unicode_escape(p + 6, n - 6))) {
        len = 12;
    } else if (is_high(v) || is_low(v)) {
        dynbuf_add_str(out, "\\ufffd");
        return len;
    }
    dynbuf_add(out, bytes_of(p, len));
    return len;
}

// What Go's decoder accepts silently and jansson refuses.
static void repair(struct bytes in, struct dynbuf *out)
{
    size_t i = 0;
    while (i < in.n && dynbuf_ok(out)) {
        if (in.p[i] == '\\') {
            i += repair_escape(in.p + i, in.n - i, out);
            continue;
        }
        size_t const len = utf8_len(in.p + i, in.n - i);
        if (len == 0) {
            dynbuf_add_str(out, "\xef\xbf\xbd");
            i++;
        } else {
            dynbuf_add(out, bytes_of(in.p + i, len));
            i += len;
        }
    }
}

// ---- parsing --------------------------------------------------------------------------------

static int load(struct bytes text, unsigned flags, struct jsonx **ret)
{
    size_t f = 0;
    f |= (flags & JSONX_REJECT_DUPLICATES) ? JSON_REJECT_DUPLICATES : 0u;
    f |= (flags & JSONX_ALLOW_TRAILING) ? JSON_DISABLE_EOF_CHECK : 0u;
    f |= (flags & JSONX_ALLOW_NUL) ? JSON_ALLOW_NUL : 0u;
    f |= (flags & JSONX_ANY) ? JSON_DECODE_ANY : 0u;
    json_error_t error;
    json_t *const j = json_loadb((const char *)text.p, text.n, f, &error);
    if (j == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
    }
    *ret = outer(j);
    return 0;
}

int jsonx_parse(struct bytes text, const struct jsonx_limits *limits, struct jsonx **ret)
{
    if (text.n > limits->max_bytes) {
        return -E2BIG;
    }
    if (text.n == 0) {
        return -EBADMSG;
    }
    if (too_deep(text, limits->max_depth)) {
        return -E2BIG;
    }
    if ((limits->flags & JSONX_REPAIR_TEXT) == 0) {
        return load(text, limits->flags, ret);
    }
    // One bad byte becomes three at most.
    struct dynbuf fixed;
    dynbuf_init(&fixed, text.n * 3);
    repair(text, &fixed);
    int const r = dynbuf_ok(&fixed) ? load(dynbuf_view(&fixed), limits->flags, ret) : -ENOMEM;
    dynbuf_done(&fixed);
    return r;
}

void jsonx_free(struct jsonx *j)
{
    json_decref(inner(j));
}

enum jsonx_type jsonx_type(const struct jsonx *j)
{
    switch (json_typeof(inner(j))) {
    case JSON_OBJECT:
        return JSONX_OBJECT;
    case JSON_ARRAY:
        return JSONX_ARRAY;
    case JSON_STRING:
        return JSONX_STRING;
    case JSON_INTEGER:
        return JSONX_INT;
    case JSON_REAL:
        return JSONX_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSONX_BOOL;
    case JSON_NULL:
        break;
    }
    return JSONX_NULL;
}

// ---- values ---------------------------------------------------------------------------------

int jsonx_str(const struct jsonx *j, struct bytes *ret)
{
    if (!json_is_string(inner(j))) {
        return -EINVAL;
    }
    *ret = bytes_of(json_string_value(inner(j)), json_string_length(inner(j)));
    return 0;
}

int jsonx_int(const struct jsonx *j, int64_t *ret)
{
    if (!json_is_integer(inner(j))) {
        return -EINVAL;
    }
    *ret = json_integer_value(inner(j));
    return 0;
}

int jsonx_bool(const struct jsonx *j, bool *ret)
{
    if (!json_is_boolean(inner(j))) {
        return -EINVAL;
    }
    *ret = json_is_true(inner(j));
    return 0;
}

int jsonx_real(const struct jsonx *j, double *ret)
{
    if (!json_is_number(inner(j))) {
        return -EINVAL;
    }
    *ret = json_number_value(inner(j));
    return 0;
}

// ---- members --------------------------------------------------------------------------------

const struct jsonx *jsonx_get(const struct jsonx *obj, const char *key)
{
    return outer(json_object_get(inner(obj), key));
}

// The member, if it is there and not null.
static int member(const struct jsonx *obj, const char *key, const struct jsonx **ret)
{
    if (!json_is_object(inner(obj))) {
        return -EINVAL;
    }
    const struct jsonx *const j = jsonx_get(obj, key);
    if (j == NULL || json_is_null(inner(j))) {
        return -ENOENT;
    }
    *ret = j;
    return 0;
}

int jsonx_get_str(const struct jsonx *obj, const char *key, struct bytes *ret)
{
    const struct jsonx *j = NULL;
    int const r = member(obj, key, &j);
    return r != 0 ? r : jsonx_str(j, ret);
}

int jsonx_get_cstr(const struct jsonx *obj, const char *key, const char **ret)
{
    struct bytes b;
    int const r = jsonx_get_str(obj, key, &b);
    if (r != 0) {
        return r;
    }
    if (memchr(b.p, 0, b.n) != NULL) {
        return -EINVAL;
    }
    *ret = (const char *)b.p; // jansson terminates its strings
    return 0;
}

int jsonx_get_int(const struct jsonx *obj, const char *key, int64_t *ret)
{
    const struct jsonx *j = NULL;
    int const r = member(obj, key, &j);
    return r != 0 ? r : jsonx_int(j, ret);
}

int jsonx_get_bool(const struct jsonx *obj, const char *key, bool *ret)
{
    const struct jsonx *j = NULL;
    int const r = member(obj, key, &j);
    return r != 0 ? r : jsonx_bool(j, ret);
}

int jsonx_get_real(const struct jsonx *obj, const char *key, double *ret)
{
    const struct jsonx *j = NULL;
    int const r = member(obj, key, &j);
    return r != 0 ? r : jsonx_real(j, ret);
}

static int typed_member(const struct jsonx *obj, const char *key, enum jsonx_type type,
                        const struct jsonx **ret)
{
    const struct jsonx *j = NULL;
    int const r = member(obj, key, &j);
    if (r != 0) {
        return r;
    }
    if (jsonx_type(j) != type) {
        return -EINVAL;
    }
    *ret = j;
    return 0;
}

int jsonx_get_object(const struct jsonx *obj, const char *key, const struct jsonx **ret)
{
    return typed_member(obj, key, JSONX_OBJECT, ret);
}

int jsonx_get_array(const struct jsonx *obj, const char *key, const struct jsonx **ret)
{
    return typed_member(obj, key, JSONX_ARRAY, ret);
}

static int parse_decimal(struct bytes text, int64_t *ret)
{
    bool const negative = text.n > 0 && text.p[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == text.n) {
        return -EINVAL;
    }
    int64_t v = 0; // kept negative, as the range is larger there
    for (; i < text.n; i++) {
        uint8_t const c = text.p[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, c - '0', &v)) {
            return -EINVAL;
        }
    }
    if (!negative && v == INT64_MIN) {
        return -EINVAL;
    }
    *ret = negative ? v : -v;
    return 0;
}

int jsonx_int_lenient(const struct jsonx *j, int64_t *ret)
{
    struct bytes text;
    double real = 0;
    if (jsonx_str(j, &text) == 0) {
        return parse_decimal(text, ret);
    }
    if (json_is_real(inner(j)) && jsonx_real(j, &real) == 0) {
        // 2^63 is the first double above the range; every double of that size is integral.
        bool const in_range = real >= -9223372036854775808.0 && real < 9223372036854775808.0;
        if (!in_range || (double)(int64_t)real != real) {
            return -EINVAL;
        }
        *ret = (int64_t)real;
        return 0;
    }
    return jsonx_int(j, ret);
}

// ---- walking --------------------------------------------------------------------------------

size_t jsonx_len(const struct jsonx *j)
{
    if (json_is_array(inner(j))) {
        return json_array_size(inner(j));
    }
    return json_is_object(inner(j)) ? json_object_size(inner(j)) : 0;
}

const struct jsonx *jsonx_at(const struct jsonx *arr, size_t i)
{
    return outer(json_array_get(inner(arr), i));
}

bool jsonx_next(const struct jsonx *obj, const void **pos, const char **ret_key,
                const struct jsonx **ret_value)
{
    void *const at = *pos == NULL ? json_object_iter(inner(obj))
                                  : json_object_iter_next(inner(obj), (void *)(uintptr_t)*pos);
    if (at == NULL) {
        return false;
    }
    *pos = at;
    *ret_key = json_object_iter_key(at);
    *ret_value = outer(json_object_iter_value(at));
    return true;
}

bool jsonx_only_keys(const struct jsonx *obj, const char *const *keys, const char **ret_unknown)
{
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *value = NULL;
    while (jsonx_next(obj, &pos, &key, &value)) {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0) {
            i++;
        }
        if (keys[i] == NULL) {
            *ret_unknown = key;
            return false;
        }
    }
    return true;
}

// ---- building -------------------------------------------------------------------------------

struct jsonx *jsonx_new_object(void)
{
    return outer(json_object());
}

struct jsonx *jsonx_new_array(void)
{
    return outer(json_array());
}

struct jsonx *jsonx_new_str(struct bytes v)
{
    return outer(json_stringn(v.p != NULL ? (const char *)v.p : "", v.n));
}

struct jsonx *jsonx_new_int(int64_t v)
{
    return outer(json_integer(v));
}

struct jsonx *jsonx_new_real(double v)
{
    return outer(json_real(v));
}

struct jsonx *jsonx_new_bool(bool v)
{
    return outer(json_boolean(v));
}

struct jsonx *jsonx_new_null(void)
{
    return outer(json_null());
}

// -1 of jansson's setters: no memory, a key that is not UTF-8, or a NULL value.
static int result(int r)
{
    return r == 0 ? 0 : -EINVAL;
}

int jsonx_set_cstr(struct jsonx *obj, const char *key, const char *v)
{
    return result(json_object_set_new(inner(obj), key, json_string(v)));
}

int jsonx_set_int(struct jsonx *obj, const char *key, int64_t v)
{
    return result(json_object_set_new(inner(obj), key, json_integer(v)));
}

int jsonx_set_real(struct jsonx *obj, const char *key, double v)
{
    return result(json_object_set_new(inner(obj), key, json_real(v)));
}

int jsonx_set_bool(struct jsonx *obj, const char *key, bool v)
{
    return result(json_object_set_new(inner(obj), key, json_boolean(v)));
}

int jsonx_set_null(struct jsonx *obj, const char *key)
{
    return result(json_object_set_new(inner(obj), key, json_null()));
}

int jsonx_set(struct jsonx *obj, const char *key, struct jsonx *value)
{
    return result(json_object_set_new(inner(obj), key, inner(value)));
}

int jsonx_add_str(struct jsonx *arr, struct bytes v)
{
    const char *const p = v.p != NULL ? (const char *)v.p : "";
    return result(json_array_append_new(inner(arr), json_stringn(p, v.n)));
}

int jsonx_add(struct jsonx *arr, struct jsonx *value)
{
    return result(json_array_append_new(inner(arr), inner(value)));
}

char *jsonx_dump(const struct jsonx *j, unsigned flags, size_t *ret_n)
{
    size_t const f = JSON_ENCODE_ANY | ((flags & JSONX_SORT_KEYS) ? JSON_SORT_KEYS : 0u) |
                     ((flags & JSONX_INDENT) ? JSON_INDENT(2) : JSON_COMPACT);
    size_t const n = json_dumpb(inner(j), NULL, 0, f);
    char *const text = n > 0 ? mem_alloc(n + 1) : NULL;
    if (text == NULL || json_dumpb(inner(j), text, n, f) != n) {
        mem_free(text);
        return NULL;
    }
    if (ret_n != NULL) {
        *ret_n = n;
    }
    return text;
}

// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "common/base/base64.h"
#include "common/svc/pbjson_internal.h"

// Nesting of the text: fields that we do not know may be deeper than our messages.
#define TEXT_DEPTH_MAX 64u

#define FIELDS_MAX 64u // per message, for the note of what was seen; SignalResponse has 30

struct reader {
    struct arena *arena;
};

// 1: there is no value (an enum name that we do not know).
#define NO_VALUE 1

static int read_message(struct reader *r, const ProtobufCMessageDescriptor *d,
                        const struct jsonx *obj, unsigned depth, ProtobufCMessage **ret);

static int no_memory(const struct reader *r)
{
    return r->arena->over_cap ? -E2BIG : -ENOMEM;
}

// ---- scalars --------------------------------------------------------------------------------

// An integer before it is known where it goes.
struct number {
    bool negative;
    uint64_t magnitude;
};

static int number_of_text(struct bytes text, struct number *ret)
{
    struct number v = {0};
    size_t i = 0;
    if (text.n > 0 && text.p[0] == '-') {
        v.negative = true;
        i = 1;
    }
    if (i == text.n) {
        return -EBADMSG;
    }
    for (; i < text.n; i++) {
        uint8_t const c = text.p[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(v.magnitude, 10u, &v.magnitude) ||
            __builtin_add_overflow(v.magnitude, (uint64_t)(c - '0'), &v.magnitude)) {
            return -EBADMSG;
        }
    }
    *ret = v;
    return 0;
}

// protojson takes integers as numbers, also written as 8.0 or 8e3, and as text.
static int number_of(const struct jsonx *j, struct number *ret)
{
    struct bytes text;
    int64_t i = 0;
    double real = 0;
    if (jsonx_str(j, &text) == 0) {
        return number_of_text(text, ret);
    }
    if (jsonx_int(j, &i) == 0) {
        *ret = (struct number){i < 0, i < 0 ? 0 - (uint64_t)i : (uint64_t)i};
        return 0;
    }
    // Beyond 2^63 a double is too coarse to be meant as an integer.
    if (jsonx_real(j, &real) < 0 || !(fabs(real) < 9223372036854775808.0) || trunc(real) != real) {
        return -EBADMSG;
    }
    *ret = (struct number){real < 0, (uint64_t)fabs(real)};
    return 0;
}

// Writes a signed integer of `bits` to `at`.
static int read_signed(const struct jsonx *j, unsigned bits, void *at)
{
    struct number v = {0};
    int const r = number_of(j, &v);
    uint64_t const limit = (UINT64_C(1) << (bits - 1)) - (v.negative ? 0 : 1);
    if (r < 0 || v.magnitude > limit) {
        return -EBADMSG;
    }
    int64_t const i = (int64_t)(v.negative ? 0 - v.magnitude : v.magnitude);
    if (bits == 64) {
        *(int64_t *)at = i;
    } else {
        *(int32_t *)at = (int32_t)i;
    }
    return 0;
}

static int read_unsigned(const struct jsonx *j, unsigned bits, void *at)
{
    struct number v = {0};
    int const r = number_of(j, &v);
    if (r < 0 || (v.negative && v.magnitude > 0) || (bits == 32 && v.magnitude > UINT32_MAX)) {
        return -EBADMSG;
    }
    if (bits == 64) {
        *(uint64_t *)at = v.magnitude;
    } else {
        *(uint32_t *)at = (uint32_t)v.magnitude;
    }
    return 0;
}

// Numbers, their texts, and the three values that JSON has no number for.
static int real_of(const struct jsonx *j, double *ret)
{
    struct bytes text;
    if (jsonx_str(j, &text) < 0) {
        return jsonx_real(j, ret) < 0 ? -EBADMSG : 0;
    }
    if (bytes_eq_str(text, "NaN") || bytes_eq_str(text, "Infinity") ||
        bytes_eq_str(text, "-Infinity")) {
        *ret = text.p[0] == 'N' ? (double)NAN : text.p[0] == '-' ? -HUGE_VAL : HUGE_VAL;
        return 0;
    }
    struct jsonx_limits const limits = {.max_bytes = 400, .max_depth = 1, .flags = JSONX_ANY};
    CLEANUP(jsonx_free) struct jsonx *number = NULL;
    bool const blank = text.n > 0 && (text.p[0] <= ' ' || text.p[text.n - 1] <= ' ');
    if (blank || jsonx_parse(text, &limits, &number) < 0 || jsonx_real(number, ret) < 0) {
        return -EBADMSG;
    }
    return 0;
}

static int read_real(const struct jsonx *j, ProtobufCType type, void *at)
{
    double v = 0;
    if (real_of(j, &v) < 0) {
        return -EBADMSG;
    }
    if (type == PROTOBUF_C_TYPE_DOUBLE) {
        *(double *)at = v;
        return 0;
    }
    float const f = (float)v;
    if (isinf(f) && !isinf(v)) {
        return -EBADMSG; // out of the range of a float
    }
    *(float *)at = f;
    return 0;
}

static int read_enum(const struct jsonx *j, const ProtobufCEnumDescriptor *d, int *at)
{
    struct bytes name;
    if (jsonx_str(j, &name) < 0) {
        return read_signed(j, 32, at);
    }
    // jansson terminates its strings, and a zero byte inside was refused.
    const ProtobufCEnumValue *const v =
        protobuf_c_enum_descriptor_get_value_by_name(d, (const char *)name.p);
    if (!v) {
        return NO_VALUE;
    }
    *at = v->value;
    return 0;
}

static int read_bool(const struct jsonx *j, protobuf_c_boolean *at)
{
    bool b = false;
    if (jsonx_bool(j, &b) < 0) {
        return -EBADMSG;
    }
    *at = b;
    return 0;
}

static int read_string(struct reader *r, const struct jsonx *j, char **at)
{
    struct bytes text;
    if (jsonx_str(j, &text) < 0) {
        return -EBADMSG;
    }
    *at = arena_strdup(r->arena, text);
    return *at ? 0 : no_memory(r);
}

// Either alphabet, padded or not, as protojson reads it.
static enum base64_kind base64_kind_of(struct bytes text)
{
    bool const url = text.n > 0 && (memchr(text.p, '-', text.n) || memchr(text.p, '_', text.n));
    bool const padded = text.n % 4 == 0;
    if (url) {
        return padded ? BASE64_URL : BASE64_URL_NOPAD;
    }
    return padded ? BASE64_STD : BASE64_STD_NOPAD;
}

static int read_binary(struct reader *r, const struct jsonx *j, ProtobufCBinaryData *at)
{
    struct bytes text;
    if (jsonx_str(j, &text) < 0) {
        return -EBADMSG;
    }
    struct dynbuf raw;
    dynbuf_init(&raw, text.n + 1);
    int rc = base64_decode(base64_kind_of(text), text, &raw);
    if (rc == 0) {
        at->len = raw.n;
        at->data = arena_alloc(r->arena, raw.n);
        rc = at->data ? 0 : no_memory(r);
    }
    if (rc == 0 && raw.n > 0) {
        memcpy(at->data, raw.p, raw.n);
    }
    dynbuf_done(&raw);
    return rc;
}

// ---- values ---------------------------------------------------------------------------------

// Reads one value of the type of f to `at`. NO_VALUE leaves it alone.
static int read_value(struct reader *r, const ProtobufCFieldDescriptor *f, const struct jsonx *j,
                      unsigned depth, void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_signed(j, 32, at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(j, 64, at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_unsigned(j, 32, at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(j, 64, at);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(j, f->type, at);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(j, at);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(j, f->descriptor, at);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, j, at);
    case PROTOBUF_C_TYPE_BYTES:
        return read_binary(r, j, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    ProtobufCMessage *m = NULL;
    int const rc = read_message(r, f->descriptor, j, depth + 1, &m);
    if (rc == 0) {
        *(ProtobufCMessage **)at = m;
    }
    return rc;
}

// A key of a map is text in JSON, whatever its type.
static int read_key(struct reader *r, const ProtobufCFieldDescriptor *f, const char *key, void *at)
{
    if (f->type == PROTOBUF_C_TYPE_BOOL) {
        bool const yes = strcmp(key, "true") == 0;
        *(protobuf_c_boolean *)at = yes;
        return yes || strcmp(key, "false") == 0 ? 0 : -EBADMSG;
    }
    CLEANUP(jsonx_free) struct jsonx *text = jsonx_new_str(bytes_str(key));
    return text ? read_value(r, f, text, 0, at) : -ENOMEM;
}

static void *member_at(ProtobufCMessage *m, unsigned offset)
{
    return (uint8_t *)m + offset;
}

static ProtobufCMessage *new_message(struct reader *r, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *const m = arena_alloc(r->arena, d->sizeof_message);
    if (m) {
        protobuf_c_message_init(d, m);
    }
    return m;
}

static int read_entry(struct reader *r, const ProtobufCMessageDescriptor *d, const char *key,
                      const struct jsonx *value, unsigned depth, ProtobufCMessage **ret)
{
    ProtobufCMessage *const entry = new_message(r, d);
    if (!entry) {
        return no_memory(r);
    }
    for (unsigned i = 0; i < 2; i++) {
        const ProtobufCFieldDescriptor *const f = &d->fields[i];
        void *const at = member_at(entry, f->offset);
        int const rc =
            i == PBJSON_MAP_KEY ? read_key(r, f, key, at) : read_value(r, f, value, depth, at);
        if (rc != 0) {
            return rc;
        }
        if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
            f->type != PROTOBUF_C_TYPE_MESSAGE) {
            *(protobuf_c_boolean *)member_at(entry, f->quantifier_offset) = 1;
        }
    }
    *ret = entry;
    return 0;
}

static int read_map(struct reader *r, const ProtobufCFieldDescriptor *f, const struct jsonx *obj,
                    unsigned depth, ProtobufCMessage *m)
{
    if (jsonx_type(obj) != JSONX_OBJECT) {
        return -EBADMSG;
    }
    ProtobufCMessage **const entries = arena_array(r->arena, jsonx_len(obj), sizeof(*entries));
    if (!entries) {
        return no_memory(r);
    }
    size_t n = 0;
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *value = NULL;
    while (jsonx_next(obj, &pos, &key, &value)) {
        int const rc = read_entry(r, f->descriptor, key, value, depth, &entries[n]);
        if (rc < 0) {
            return rc;
        }
        n += rc == 0 ? 1 : 0;
    }
    *(size_t *)member_at(m, f->quantifier_offset) = n;
    *(ProtobufCMessage ***)member_at(m, f->offset) = entries;
    return 0;
}

static int read_list(struct reader *r, const ProtobufCFieldDescriptor *f, const struct jsonx *list,
                     unsigned depth, ProtobufCMessage *m)
{
    if (jsonx_type(list) != JSONX_ARRAY) {
        return -EBADMSG;
    }
    size_t const size = pbjson_size_of(f->type);
    uint8_t *const items = arena_array(r->arena, jsonx_len(list), size);
    if (!items) {
        return no_memory(r);
    }
    size_t n = 0;
    for (size_t i = 0; i < jsonx_len(list); i++) {
        int const rc = read_value(r, f, jsonx_at(list, i), depth, items + n * size);
        if (rc < 0) {
            return rc;
        }
        n += rc == 0 ? 1 : 0;
    }
    *(size_t *)member_at(m, f->quantifier_offset) = n;
    *(void **)member_at(m, f->offset) = items;
    return 0;
}

// A field that is not repeated.
static int read_single(struct reader *r, const ProtobufCFieldDescriptor *f, const struct jsonx *j,
                       unsigned depth, ProtobufCMessage *m)
{
    bool const one_of = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    uint32_t *const which = one_of ? member_at(m, f->quantifier_offset) : NULL;
    struct bytes text;
    if (which && *which != 0) {
        return -EBADMSG;
    }
    // proto3 does not send an empty text either.
    bool const is_text = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES;
    if (!one_of && is_text && jsonx_str(j, &text) == 0 && text.n == 0) {
        return 0;
    }
    int const rc = read_value(r, f, j, depth, member_at(m, f->offset));
    if (rc != 0) {
        return rc < 0 ? rc : 0;
    }
    if (which) {
        *which = f->id;
    } else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
               f->type != PROTOBUF_C_TYPE_MESSAGE) {
        *(protobuf_c_boolean *)member_at(m, f->quantifier_offset) = 1;
    }
    return 0;
}

// ---- messages -------------------------------------------------------------------------------

// True if `key` is the field's name, as in the schema or as protoc's ToJsonName makes it.
static bool is_named(const char *name, const char *key)
{
    if (strcmp(name, key) == 0) {
        return true;
    }
    for (; *name; name++, key++) {
        bool const up = *name == '_';
        while (*name == '_') {
            name++;
        }
        char const c = (char)(up && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
        if (*key != c || c == 0) {
            return c == 0 && *key == 0;
        }
    }
    return *key == 0;
}

static int read_message(struct reader *r, const ProtobufCMessageDescriptor *d,
                        const struct jsonx *obj, unsigned depth, ProtobufCMessage **ret)
{
    if (depth > PBJSON_DEPTH_MAX) {
        return -E2BIG;
    }
    if (jsonx_type(obj) != JSONX_OBJECT || d->n_fields > FIELDS_MAX) {
        return -EBADMSG;
    }
    ProtobufCMessage *const m = new_message(r, d);
    if (!m) {
        return no_memory(r);
    }
    uint64_t seen = 0;
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *value = NULL;
    while (jsonx_next(obj, &pos, &key, &value)) {
        unsigned i = 0;
        while (i < d->n_fields && !is_named(d->fields[i].name, key)) {
            i++;
        }
        if (i == d->n_fields) {
            continue;
        }
        if ((seen >> i) & 1u) {
            return -EBADMSG; // as aName and a_name
        }
        seen |= UINT64_C(1) << i;
        if (jsonx_type(value) == JSONX_NULL) {
            continue;
        }
        const ProtobufCFieldDescriptor *const f = &d->fields[i];
        int rc = 0;
        if (pbjson_is_map(f)) {
            rc = read_map(r, f, value, depth, m);
        } else if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            rc = read_list(r, f, value, depth, m);
        } else {
            rc = read_single(r, f, value, depth, m);
        }
        if (rc < 0) {
            return rc;
        }
    }
    *ret = m;
    return 0;
}

int pbjson_read(const struct ProtobufCMessageDescriptor *type, struct bytes text,
                const struct pbjson_limits *limits, struct pbuf **ret)
{
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct jsonx_limits const json_limits = {.max_bytes = limits->max_bytes,
                                             .max_depth = TEXT_DEPTH_MAX,
                                             .flags = JSONX_REJECT_DUPLICATES};
    int rc = jsonx_parse(text, &json_limits, &j);
    if (rc < 0) {
        return rc;
    }
    CLEANUP(pbuf_free) struct pbuf *p = pbuf_new(limits->max_memory);
    if (!p) {
        return -ENOMEM;
    }
    struct reader r = {.arena = &p->arena};
    ProtobufCMessage *m = NULL;
    rc = read_message(&r, type, j, 1, &m);
    if (rc < 0) {
        return rc;
    }
    p->msg = m;
    *ret = STEAL(p);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/svc/pbjson_internal.h"

#define NAME_LEN_MAX 64u // the longest name of LiveKit's fields has 28 characters

struct writer {
    unsigned flags;
    int err; // the first failure
};

static struct jsonx *message_json(struct writer *w, const ProtobufCMessage *m, unsigned depth);

static struct jsonx *fail(struct writer *w, int err)
{
    w->err = w->err != 0 ? w->err : err;
    return NULL;
}

// Notes a value that could not be made.
static struct jsonx *made(struct writer *w, struct jsonx *j)
{
    return j ? j : fail(w, -EBADMSG);
}

static struct jsonx *text_json(struct writer *w, const char *s)
{
    return made(w, jsonx_new_str(s ? bytes_str(s) : bytes_of("", 0)));
}

// A JavaScript number holds 53 bits: 64 bit types are text.
static struct jsonx *decimal_json(struct writer *w, const char *sign, uint64_t magnitude)
{
    char buf[24];
    (void)snprintf(buf, sizeof(buf), "%s%" PRIu64, sign, magnitude);
    return text_json(w, buf);
}

static struct jsonx *real_json(struct writer *w, double v)
{
    if (!isfinite(v)) {
        return text_json(w, isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
    }
    return made(w, jsonx_new_real(v));
}

static struct jsonx *binary_json(struct writer *w, const ProtobufCBinaryData *b)
{
    struct dynbuf text;
    dynbuf_init(&text, BASE64_LEN(b->len) + 1);
    base64_encode(BASE64_STD, bytes_of(b->data, b->len), &text);
    struct jsonx *const j = dynbuf_ok(&text) ? jsonx_new_str(dynbuf_view(&text)) : NULL;
    dynbuf_done(&text);
    return made(w, j);
}

static struct jsonx *enum_json(struct writer *w, const ProtobufCEnumDescriptor *d, int number)
{
    const ProtobufCEnumValue *const v = protobuf_c_enum_descriptor_get_value(d, number);
    return v ? text_json(w, v->name) : made(w, jsonx_new_int(number));
}

// The value at `at`, of the type of f.
static struct jsonx *value_json(struct writer *w, const ProtobufCFieldDescriptor *f, const void *at,
                                unsigned depth)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return made(w, jsonx_new_int(*(const int32_t *)at));
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return made(w, jsonx_new_int(*(const uint32_t *)at));
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: {
        int64_t const v = *(const int64_t *)at;
        return decimal_json(w, v < 0 ? "-" : "", v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    }
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return decimal_json(w, "", *(const uint64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return real_json(w, (double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return real_json(w, *(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return made(w, jsonx_new_bool(*(const protobuf_c_boolean *)at != 0));
    case PROTOBUF_C_TYPE_ENUM:
        return enum_json(w, f->descriptor, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return text_json(w, *(const char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return binary_json(w, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    const ProtobufCMessage *const m = *(const ProtobufCMessage *const *)at;
    return m ? message_json(w, m, depth + 1) : made(w, jsonx_new_null());
}

// Where a field's value stands in a message.
static const void *field_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (const uint8_t *)m + f->offset;
}

static size_t count_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return *(const size_t *)(const void *)((const uint8_t *)m + f->quantifier_offset);
}

// The i-th value of a repeated field.
static const void *item_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t i)
{
    const uint8_t *const items = *(const uint8_t *const *)field_at(m, f);
    return items + i * pbjson_size_of(f->type);
}

static struct jsonx *list_json(struct writer *w, const ProtobufCMessage *m,
                               const ProtobufCFieldDescriptor *f, unsigned depth)
{
    struct jsonx *const list = made(w, jsonx_new_array());
    for (size_t i = 0; w->err == 0 && i < count_of(m, f); i++) {
        struct jsonx *const item = value_json(w, f, item_at(m, f, i), depth);
        if (item && jsonx_add(list, item) < 0) {
            (void)fail(w, -EBADMSG);
        }
    }
    return list;
}

// The key of a map's entry as text. Whatever its type, JSON wants a string.
static struct jsonx *key_json(struct writer *w, const ProtobufCMessage *entry,
                              const ProtobufCFieldDescriptor *f, char buf[static 24],
                              const char **ret)
{
    struct jsonx *const j = value_json(w, f, field_at(entry, f), 0);
    struct bytes text;
    int64_t number = 0;
    bool b = false;
    *ret = buf;
    if (!j) {
        return NULL;
    }
    if (jsonx_str(j, &text) == 0) {
        *ret = (const char *)text.p;
    } else if (jsonx_int(j, &number) == 0) {
        (void)snprintf(buf, 24, "%" PRId64, number);
    } else if (jsonx_bool(j, &b) == 0) {
        (void)snprintf(buf, 24, "%s", b ? "true" : "false");
    }
    return j;
}

static struct jsonx *map_json(struct writer *w, const ProtobufCMessage *m,
                              const ProtobufCFieldDescriptor *f, unsigned depth)
{
    const ProtobufCMessageDescriptor *const d = f->descriptor;
    struct jsonx *const map = made(w, jsonx_new_object());
    for (size_t i = 0; w->err == 0 && i < count_of(m, f); i++) {
        const ProtobufCMessage *const entry = *(const ProtobufCMessage *const *)item_at(m, f, i);
        const ProtobufCFieldDescriptor *const value = &d->fields[PBJSON_MAP_VALUE];
        char buf[24];
        const char *key = NULL;
        struct jsonx *const k = key_json(w, entry, &d->fields[PBJSON_MAP_KEY], buf, &key);
        struct jsonx *const v = k ? value_json(w, value, field_at(entry, value), depth) : NULL;
        if (v && jsonx_set(map, key, v) < 0) {
            (void)fail(w, -EBADMSG);
        }
        jsonx_free(k);
    }
    return map;
}

// What presence is to JSON; repeated fields are present if they are not empty.
static bool is_present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const void *const at = field_at(m, f);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return count_of(m, f) > 0;
    }
    const void *const quantifier = (const uint8_t *)m + f->quantifier_offset;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *)quantifier == f->id;
    }
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
        return *(const void *const *)at != NULL;
    }
    return f->label != PROTOBUF_C_LABEL_OPTIONAL || *(const protobuf_c_boolean *)quantifier != 0;
}

// `room_end_reason` becomes `roomEndReason`: protoc's ToJsonName.
static void json_name(const char *name, char ret[static NAME_LEN_MAX])
{
    size_t n = 0;
    bool up = false;
    for (; *name && n + 1 < NAME_LEN_MAX; name++) {
        if (*name == '_') {
            up = true;
            continue;
        }
        ret[n++] = (char)(up && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
        up = false;
    }
    ret[n] = 0;
}

static struct jsonx *field_json(struct writer *w, const ProtobufCMessage *m,
                                const ProtobufCFieldDescriptor *f, unsigned depth)
{
    if (pbjson_is_map(f)) {
        return map_json(w, m, f, depth);
    }
    return f->label == PROTOBUF_C_LABEL_REPEATED ? list_json(w, m, f, depth)
                                                 : value_json(w, f, field_at(m, f), depth);
}

static struct jsonx *message_json(struct writer *w, const ProtobufCMessage *m, unsigned depth)
{
    if (depth > PBJSON_DEPTH_MAX) {
        return fail(w, -E2BIG);
    }
    const ProtobufCMessageDescriptor *const d = m->descriptor;
    struct jsonx *const obj = made(w, jsonx_new_object());
    for (unsigned i = 0; w->err == 0 && i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *const f = &d->fields[i];
        bool const by_default =
            (w->flags & PBJSON_DEFAULTS) && !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
        if (!is_present(m, f) && !by_default) {
            continue;
        }
        char camel[NAME_LEN_MAX];
        json_name(f->name, camel);
        struct jsonx *const v = field_json(w, m, f, depth);
        bool const own_name = w->flags & PBJSON_PROTO_NAMES;
        if (w->err == 0 && jsonx_set(obj, own_name ? f->name : camel, v) < 0) {
            (void)fail(w, -EBADMSG);
        } else if (w->err != 0) {
            jsonx_free(v);
        }
    }
    if (w->err != 0) {
        jsonx_free(obj);
        return NULL;
    }
    return obj;
}

int pbjson_write(const struct ProtobufCMessage *m, unsigned flags, struct dynbuf *out)
{
    struct writer w = {.flags = flags};
    CLEANUP(jsonx_free) struct jsonx *j = message_json(&w, m, 1);
    if (!j) {
        return w.err;
    }
    size_t n = 0;
    char *const text = jsonx_dump(j, 0, &n);
    if (!text) {
        return -EBADMSG;
    }
    dynbuf_add(out, bytes_of(text, n));
    mem_free(text);
    return dynbuf_ok(out) ? 0 : -ENOBUFS;
}

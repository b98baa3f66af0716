// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the two halves of pbjson share.

#include <protobuf-c/protobuf-c.h>

#include "common/svc/jsonx.h"
#include "common/svc/pbjson.h"

#define PBJSON_MAP_KEY 0u   // index of the field `key` in an entry of a map
#define PBJSON_MAP_VALUE 1u // and of `value`

// True for a field of entries that are an object in JSON. protobuf-c keeps no trace of `map`; this is
// what protoc makes of one, and no message of ours looks like that otherwise.
static inline bool pbjson_is_map(const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE) {
        return false;
    }
    const ProtobufCMessageDescriptor *const d = f->descriptor;
    size_t const n = strlen(d->short_name);
    return d->n_fields == 2 && n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 &&
           strcmp(d->fields[PBJSON_MAP_KEY].name, "key") == 0 &&
           d->fields[PBJSON_MAP_KEY].id == 1 &&
           strcmp(d->fields[PBJSON_MAP_VALUE].name, "value") == 0 &&
           d->fields[PBJSON_MAP_VALUE].id == 2;
}

// Bytes that one value of this type takes in a message or an array.
static inline size_t pbjson_size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return 4;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Protobuf messages (protobuf-c) as JSON and back, driven by their descriptors: the JSON mapping of
// proto3 ("protojson"), in which LiveKit writes webhooks, text frames, Twirp JSON and the roomConfig
// of tokens. livekit-protocol 3.1, 6.1, 7.1. Pure.
//
// Our schema is proto2 for the sake of explicit presence (common/lk/proto/livekit.proto); what counts
// as presence in JSON is has_x, or a pointer that is not NULL.
//
// Names: a field `room_end_reason` is `roomEndReason`, or itself with PBJSON_PROTO_NAMES; both are
// read. Enums are names; an unknown number is written as number, names and numbers are read. 64 bit
// integers are decimal strings; strings, numbers and integral reals are read. bytes are base64 of the
// standard alphabet; the URL alphabet and absent padding are read as well. A map is an object: in the
// schema a repeated message named ...Entry with the fields key = 1 and value = 2, as protoc makes it.
//
// Upstream: google.golang.org/protobuf encoding/protojson. Deviations: no well-known types and no
// extensions (LiveKit's messages have none); fields are written in the order of their numbers, without
// blanks; a zero byte in text is refused.

#include "common/base/dynbuf.h"
#include "common/svc/pbuf.h"

enum {
    PBJSON_PROTO_NAMES = 1, // snake_case, as in the schema (Twirp answers)
    PBJSON_DEFAULTS = 2, // also what is not set: 0, "", false, [], {}, null for a message; but no
                         // members of a oneof (Twirp answers)
};

// Appends m (the `base` of a message) to out as one JSON object without white space, UTF-8 unescaped,
// fields in the order of their numbers. -EBADMSG text that is no UTF-8 or no memory, -E2BIG
// deeper than PBJSON_DEPTH_MAX, -ENOBUFS over out's cap; out is then not to be used.
int pbjson_write(const struct ProtobufCMessage *m, unsigned flags, struct dynbuf *out) NODISCARD;

// Nesting of messages, both ways: the deepest of LiveKit's has 6.
#define PBJSON_DEPTH_MAX 16u

struct pbjson_limits {
    size_t max_bytes;  // of the text; -E2BIG beyond
    size_t max_memory; // of the message, as in pbuf_unpack; -E2BIG beyond
};

// For what strangers send: 1 MiB of text, PBUF_CAP_DEFAULT of message.
#define PBJSON_LIMITS_DEFAULT                                                                      \
    ((struct pbjson_limits){.max_bytes = 1u << 20, .max_memory = PBUF_CAP_DEFAULT})

// Reads an object as a message of `type`; *ret is the caller's (pbuf_free) and its msg is set.
// Fields that we do not know and enum names that we do not know are skipped, null counts as absent.
// A number, bool or enum that is given is present, 0 too; an empty string leaves its field unset,
// as proto3 does on the wire.
// -EBADMSG no JSON, no object, a value of a wrong type or range, a name twice, two members of one
// oneof, text with a zero byte; -E2BIG over a limit; -ENOMEM.
int pbjson_read(const struct ProtobufCMessageDescriptor *type, struct bytes text,
                const struct pbjson_limits *limits, struct pbuf **ret) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Any message of a protobuf type, in its encoding, from arbitrary bytes: which fields are there, how
// often, with which values. Texts are mostly words that mean something where the message goes, so
// that a fuzzer gets past "not found". What comes out always decodes, but for repeated fields of a
// oneof.

#include <protobuf-c/protobuf-c.h>

#include "common/base/dynbuf.h"

struct proto_words {
    const char *words[32];
    size_t count;
};

// Takes what it needs of in; out gets at most about 128 KiB more.
void proto_words_write(const ProtobufCMessageDescriptor *type, struct rd *in,
                       const struct proto_words *words, struct dynbuf *out);

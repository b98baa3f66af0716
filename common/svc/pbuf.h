// SPDX-License-Identifier: Apache-2.0
#pragma once
// Protobuf messages (protobuf-c) whose memory is one capped arena, and their encoding into our
// buffers.
//
// A decoded message and everything in it is freed by one pbuf_free and cannot grow past its cap,
// whatever a peer sends: an empty sub-message is two bytes on the wire and a hundred in memory. A
// pbuf may move between threads, with its message. Unknown enum values survive as ints, unknown
// fields are kept and encoded again.

#include "common/base/arena.h"
#include "common/base/dynbuf.h"
#include "common/base/shared_buf.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

struct pbuf {
    void *
        msg; // the decoded message, of the type asked for; NULL in a pbuf that was made by pbuf_new
    struct arena arena;
};

// Enough for every message that real clients send (the largest seen, a JoinRequest of Chromium,
// needs 40 KB) and for 2 MiB of payload, the largest WebSocket message (livekit-protocol 1.7).
#define PBUF_CAP_DEFAULT ((size_t)4 << 20)

// Decodes `in` (copied, may go away). -EBADMSG not such a message, or text in it that is no UTF-8:
// proto3 demands it, protobuf-c does not look, and passed on to others it would make the decoders of
// their clients refuse the whole message. -E2BIG over `cap` bytes of
// memory, -ENOMEM.
int pbuf_unpack(const struct ProtobufCMessageDescriptor *type, struct bytes in, size_t cap,
                struct pbuf **ret) NODISCARD;

// An empty pbuf to build a message in: allocate its parts from pbuf->arena and set msg. NULL
// without memory.
struct pbuf *pbuf_new(size_t cap) NODISCARD;

// Accepts NULL.
void pbuf_free(struct pbuf *p);
DEFINE_CLEANUP(struct pbuf *, pbuf_free)

// Appends the encoding of m (a ProtobufCMessage; its `base` member) to out. -ENOBUFS over out's
// cap.
int pbuf_pack(const struct ProtobufCMessage *m, struct dynbuf *out) NODISCARD;

// Encodes m into a new shared buffer with one reference. -E2BIG over `max` bytes, -ENOMEM.
int pbuf_pack_shared(const struct ProtobufCMessage *m, size_t max,
                     struct shared_buf **ret) NODISCARD;

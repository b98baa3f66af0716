// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way to the generated LiveKit messages (common/lk/proto/livekit.proto) and to their memory.
// Pure.
//
// Rules for filling messages (livekit-protocol 3.1): a value that proto3 would omit (0, false, "")
// is left unset, so use LK_SET and LK_SET_STR. In decoded messages an unset number reads as 0 and
// an unset string is NULL: read it by lk_str.

#include "common/svc/pbuf.h"
#include "livekit.pb-c.h"

// Sets a number, bool or enum field with presence as proto3 has it.
#define LK_SET(m, field, value)                                                                    \
    do {                                                                                           \
        (m)->field = (value);                                                                      \
        (m)->has_##field = (m)->field != 0;                                                        \
    } while (0)

// Sets a number field that is `optional` upstream: present even when it is 0.
#define LK_SET_PRESENT(m, field, value)                                                            \
    do {                                                                                           \
        (m)->field = (value);                                                                      \
        (m)->has_##field = 1;                                                                      \
    } while (0)

// Sets a string field to borrowed text; NULL and "" leave it out.
#define LK_SET_STR(m, field, text) ((m)->field = lk_unconst_str(text))

// The same for a bytes field.
#define LK_SET_BYTES(m, field, view)                                                               \
    do {                                                                                           \
        struct bytes const lk_view_ = (view);                                                      \
        (m)->field.data = lk_unconst(lk_view_.p);                                                  \
        (m)->field.len = lk_view_.n;                                                               \
        (m)->has_##field = lk_view_.n != 0;                                                        \
    } while (0)

// protobuf-c declares what it only reads as not const; these are the one place that says so.
static inline void *lk_unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    return u.out;
}

static inline char *lk_unconst_str(const char *s)
{
    return s && *s ? (char *)lk_unconst(s) : NULL;
}

// A string field for reading: never NULL.
static inline const char *lk_str(const char *s)
{
    return s ? s : "";
}

static inline struct bytes lk_bytes(const ProtobufCBinaryData *b)
{
    return bytes_of(b->data, b->len);
}

// Decode one message from the wire with PBUF_CAP_DEFAULT; results of pbuf_unpack. The message is
// (*ret)->msg.
int lk_unpack_signal_request(struct bytes in,
                             struct pbuf **ret) NODISCARD; // Livekit__SignalRequest
int lk_unpack_signal_response(struct bytes in,
                              struct pbuf **ret) NODISCARD; // Livekit__SignalResponse

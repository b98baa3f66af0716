// SPDX-License-Identifier: Apache-2.0
// LINK: lk
//
// Both directions. First byte: which message, and whether the rest is JSON or the wire. Whatever was
// decoded can be written in each style, and what was written is read back as the same bytes on the
// wire.
#include <stdint.h>
#include <stdlib.h>

#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP ((size_t)8 << 20)

static const ProtobufCMessageDescriptor *type_of(uint8_t n)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &livekit__webhook_event__descriptor,
        &livekit__signal_request__descriptor,
        &livekit__signal_response__descriptor,
        &livekit__create_room_request__descriptor,
        &livekit__send_data_request__descriptor,
        &livekit__data_track_subscriber_handles__descriptor,
        &livekit__data_packet__descriptor,
        &livekit__connection_quality_update__descriptor,
    };
    return types[n % ARRAY_LEN(types)];
}

// Wire bytes of a message without the fields that we do not know, which JSON cannot hold.
static int wire_of(const ProtobufCMessage *m, struct dynbuf *out)
{
    dynbuf_init(out, CAP);
    return pbuf_pack(m, out);
}

static void write_read(const ProtobufCMessage *m, bool exact)
{
    for (unsigned flags = 0; flags <= (PBJSON_PROTO_NAMES | PBJSON_DEFAULTS); flags++) {
        struct dynbuf text;
        struct dynbuf a;
        struct dynbuf b;
        struct pbuf *again = NULL;
        struct pbjson_limits const limits = {.max_bytes = CAP, .max_memory = CAP};
        dynbuf_init(&text, CAP);
        if (pbjson_write(m, flags, &text) < 0) {
            dynbuf_done(&text); // text that is no UTF-8, or too deep
            return;
        }
        int const rc = pbjson_read(m->descriptor, dynbuf_view(&text), &limits, &again);
        if (rc == -EBADMSG && exact) {
            abort();
        }
        if (rc == 0 && exact && !(flags & PBJSON_DEFAULTS)) {
            if (wire_of(m, &a) < 0 || wire_of(again->msg, &b) < 0 ||
                !bytes_eq(dynbuf_view(&a), dynbuf_view(&b))) {
                abort();
            }
            dynbuf_done(&a);
            dynbuf_done(&b);
        }
        pbuf_free(again);
        dynbuf_done(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *const type = type_of(data[0]);
    struct bytes const in = bytes_of(data + 1, size - 1);
    struct pbuf *p = NULL;
    bool const json = data[0] < 128;
    int const rc = json ? pbjson_read(type, in, &PBJSON_LIMITS_DEFAULT, &p)
                        : pbuf_unpack(type, in, PBUF_CAP_DEFAULT, &p);
    if (rc == 0) {
        // From the wire come values that JSON writes alike (an empty text that is present), keys of
        // maps that stand there twice, and unknown fields.
        write_read(p->msg, json);
        pbuf_free(p);
    } else if (p != NULL) {
        abort();
    }
    return 0;
}

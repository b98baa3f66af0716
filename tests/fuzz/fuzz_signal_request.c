// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// Any bytes as a SignalRequest, SignalResponse and DataPacket: decoded within the cap, and what was
// decoded can be encoded.
#include <stdint.h>
#include <stdlib.h>

#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const ProtobufCMessageDescriptor *type, struct bytes in)
{
    size_t const cap = 256u << 10; // small, so that the cap is reached too
    CLEANUP(pbuf_free) struct pbuf *m = NULL;
    CLEANUP(pbuf_free) struct pbuf *again = NULL;
    if (pbuf_unpack(type, in, cap, &m) < 0) {
        return;
    }
    if (m->arena.used > cap) {
        abort();
    }
    struct dynbuf out;
    dynbuf_init(&out, 4u << 20);
    // The encoding need not decode again: protobuf-c takes an overlong tag of field 0 and writes it
    // short, which it refuses.
    if (pbuf_pack(m->msg, &out) < 0) {
        abort();
    }
    if (pbuf_unpack(type, dynbuf_view(&out), cap, &again) == 0 && !again->msg) {
        abort();
    }
    dynbuf_done(&out);
}

// A text frame is a request in JSON, and a response is told in JSON.
static void text_frame(struct bytes in)
{
    struct pbjson_limits const limits = {.max_bytes = 2u << 20, .max_memory = 256u << 10};
    CLEANUP(pbuf_free) struct pbuf *request = NULL;
    CLEANUP(pbuf_free) struct pbuf *response = NULL;
    struct dynbuf out;
    dynbuf_init(&out, 4u << 20);
    (void)!pbjson_read(&livekit__signal_request__descriptor, in, &limits, &request);
    if (lk_unpack_signal_response(in, &response) == 0) {
        (void)!pbjson_write(response->msg, 0, &out);
    }
    dynbuf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    round_trip(&livekit__signal_request__descriptor, bytes_of(data, size));
    round_trip(&livekit__signal_response__descriptor, bytes_of(data, size));
    round_trip(&livekit__data_packet__descriptor, bytes_of(data, size));
    round_trip(&livekit__join_request__descriptor, bytes_of(data, size));
    text_frame(bytes_of(data, size));
    return 0;
}

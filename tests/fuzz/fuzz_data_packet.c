// SPDX-License-Identifier: Apache-2.0
// LINK: room
// Any bytes as a message of a data channel: what can be decoded is prepared for others, and can be
// encoded. The first byte chooses sender and channel.
#include <stdint.h>
#include <stdlib.h>

#include "common/base/dynbuf.h"
#include "sfu/room/data_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const Livekit__DataPacket *p, const struct data_packet_sender *from)
{
    const char *const identity = lk_str(p->participant_identity);
    bool const own = strcmp(identity, from->identity) == 0;
    if (strcmp(p->participant_sid, from->sid) != 0 || (from->hidden && !from->agent && own) ||
        (!from->hidden && !from->agent && !own)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t const choice = size > 0 ? data[0] : 0;
    struct data_packet_sender const from = {
        .sid = "PA_sender",
        .identity = "sender",
        .hidden = (choice & 1) != 0,
        .agent = (choice & 2) != 0,
    };
    struct bytes const in = bytes_of(data + (size > 0), size - (size > 0));
    CLEANUP(pbuf_free) struct pbuf *b = NULL;
    Livekit__DataPacket wrapped;
    Livekit__UserPacket user;
    struct dynbuf out;
    dynbuf_init(&out, (size_t)4 << 20);
    data_packet_wrap(&wrapped, &user, in, &from);
    if (pbuf_pack(&wrapped.base, &out) < 0 && in.n < 65536) {
        abort();
    }
    dynbuf_reset(&out);
    if (pbuf_unpack(&livekit__data_packet__descriptor, in, DATA_PACKET_ARENA_CAP, &b) == 0) {
        Livekit__DataPacket *const p = b->msg;
        enum data_packet_use const use =
            data_packet_prepare(p, (choice & 4) != 0 ? DATA_LOSSY : DATA_RELIABLE, &from);
        check_names(p, &from);
        if (use == DATA_PACKET_METRICS) {
            data_packet_normalize_metrics(p->metrics, (wall_t){INT64_C(1700000000000000)},
                                          &b->arena);
        }
        if (pbuf_pack(&p->base, &out) < 0) {
            abort();
        }
    }
    dynbuf_done(&out);
    return 0;
}

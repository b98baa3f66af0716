// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/data_track_packet.h"

#define VERSION_SHIFT 5
#define FLAG_START 0x10
#define FLAG_FINAL 0x08
#define FLAG_EXTENSIONS 0x04
#define HANDLE_AT 2

// The length field, and the unit it counts in.
#define EXTENSION_LEN_SIZE 2u
#define WORD 4u

int data_track_packet_parse(struct bytes packet, struct data_track_packet *ret)
{
    struct rd r = rd_init(packet);
    uint8_t const first = rd_u8(&r);
    rd_skip(&r, 1);
    struct data_track_packet p = {
        .version = first >> VERSION_SHIFT,
        .start = (first & FLAG_START) != 0,
        .final = (first & FLAG_FINAL) != 0,
    };
    p.handle = rd_be16(&r);
    p.sequence = rd_be16(&r);
    p.frame = rd_be16(&r);
    p.timestamp = rd_be32(&r);
    if (p.version == 0 && (first & FLAG_EXTENSIONS) != 0) {
        size_t const words = (size_t)rd_be16(&r) + 1;
        p.extensions = rd_take(&r, words * WORD - EXTENSION_LEN_SIZE);
    }
    p.payload = rd_take(&r, rd_left(&r));
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    *ret = p;
    return 0;
}

void data_track_packet_set_handle(struct bytes_mut packet, uint16_t handle)
{
    assert(packet.n >= DATA_TRACK_HEADER_LEN);
    struct wr w = wr_init(packet.p + HANDLE_AT, sizeof(handle));
    wr_be16(&w, handle);
}

void data_track_packet_write(struct wr *w, const struct data_track_packet *p)
{
    size_t const block = p->extensions.n + EXTENSION_LEN_SIZE;
    bool const extended = p->extensions.n > 0;
    if (extended && (block % WORD != 0 || block / WORD - 1 > UINT16_MAX)) {
        w->err = true;
        return;
    }
    wr_u8(w, (uint8_t)((p->start ? FLAG_START : 0) | (p->final ? FLAG_FINAL : 0) |
                       (extended ? FLAG_EXTENSIONS : 0)));
    wr_u8(w, 0);
    wr_be16(w, p->handle);
    wr_be16(w, p->sequence);
    wr_be16(w, p->frame);
    wr_be32(w, p->timestamp);
    if (extended) {
        wr_be16(w, (uint16_t)(block / WORD - 1));
        wr_bytes(w, p->extensions);
    }
    wr_bytes(w, p->payload);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <stdlib.h>

#include "sfu/wire/data_track_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buf[1 << 16];

// A packet that parses is longer than its parts, keeps everything but the handle when that is
// changed, and is written back as it was where nothing reserved is set.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct data_track_packet p;
    struct data_track_packet q;
    if (size > sizeof(buf) || data_track_packet_parse(bytes_of(data, size), &p) < 0) {
        return 0;
    }
    if (DATA_TRACK_HEADER_LEN + p.extensions.n + p.payload.n > size) {
        abort();
    }
    memcpy(buf, data, size);
    data_track_packet_set_handle((struct bytes_mut){buf, size}, (uint16_t)(p.handle + 1));
    if (data_track_packet_parse(bytes_of(buf, size), &q) < 0 ||
        q.handle != (uint16_t)(p.handle + 1) || q.sequence != p.sequence ||
        memcmp(buf + 4, data + 4, size - 4) != 0 || memcmp(buf, data, 2) != 0) {
        abort();
    }
    struct wr w = wr_init(buf, sizeof(buf));
    data_track_packet_write(&w, &p);
    bool const plain = p.version == 0 && (data[0] & 3) == 0 && data[1] == 0;
    if (plain && (!wr_ok(&w) || !bytes_eq(wr_bytes_view(&w), bytes_of(data, size)))) {
        abort();
    }
    return 0;
}

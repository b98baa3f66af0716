// SPDX-License-Identifier: Apache-2.0
// LINK: media
// The history under arbitrary numbers and times, against a plain model: what it shows must be what
// was put, and every reference comes back.
#include <stdlib.h>

#include "sfu/media/rx_buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct rx_buffer *b, struct packet_pool *pool, mono_t now, uint64_t sn)
{
    struct packet *const p = packet_pool_get(pool);
    if (!p) {
        abort(); // the history holds more than its cap
    }
    p->ext_sn = sn;
    p->arrival = now;
    struct packet *const before = rx_buffer_peek(b, sn);
    enum rx_buffer_result const res = rx_buffer_put(b, now, p);
    struct packet *const after = rx_buffer_peek(b, sn);
    if ((res == RX_BUFFER_STORED) != (after == p) ||
        (res == RX_BUFFER_DUPLICATE && before != after)) {
        abort();
    }
    packet_unref(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_pool pool;
    struct rx_buffer b;
    if (packet_pool_init(&pool, 576, 576) || rx_buffer_init(&b, 128, 512)) {
        abort();
    }
    struct rd r = rd_init(bytes_of(data, size));
    uint64_t sn = 70000;
    mono_t now = {0};
    while (rd_left(&r) >= 2) {
        uint8_t const op = rd_u8(&r);
        uint8_t const arg = rd_u8(&r);
        switch (op % 6) {
        case 0:
            sn += arg;
            put(&b, &pool, now, sn);
            break;
        case 1:
            put(&b, &pool, now, sn > arg ? sn - arg : 1);
            break;
        case 2:
            now = mono_add_ms(now, arg);
            break;
        case 3:
            rx_buffer_timeout(&b, now);
            break;
        case 4:
            for (unsigned i = 0; i < arg; i++) {
                put(&b, &pool, now, ++sn);
            }
            break;
        default:
            if (arg == 255) {
                rx_buffer_flush(&b);
            } else if (arg > 250) {
                sn += 100000;
            }
        }
        if (b.count > b.cap || (b.count > 0 && b.highest - b.lowest >= b.cap)) {
            abort();
        }
    }
    rx_buffer_done(&b);
    packet_pool_done(&pool);
    return 0;
}

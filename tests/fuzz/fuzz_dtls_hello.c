// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// The input is a sequence of {length (two bytes), datagram}.
#include <stdlib.h>

#include "sfu/transport/dtls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A joined record is one well-formed, unfragmented ClientHello.
static void check_joined(struct bytes joined)
{
    struct rd rd = rd_init(joined);
    struct dtls_record_view v;
    if (dtls_record_next(&rd, &v) < 0 || rd_left(&rd) != 0 || v.type != DTLS_HANDSHAKE ||
        v.epoch != 0) {
        abort();
    }
    struct rd h = rd_init(v.payload);
    bool const hello = rd_u8(&h) == 1;
    uint32_t const len = rd_be24(&h);
    rd_skip(&h, 2);
    if (!hello || rd_be24(&h) != 0 || rd_be24(&h) != len || rd_left(&h) != len ||
        len > DTLS_HELLO_MAX) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd in = rd_init(bytes_of(data, size));
    struct dtls_hello hello;
    mono_t now = {0};
    dtls_hello_init(&hello);
    while (rd_left(&in) >= 2) {
        size_t const n = rd_be16(&in);
        struct rd datagram = rd_init(rd_take(&in, MIN(n, rd_left(&in))));
        struct dtls_record_view v;
        while (dtls_record_next(&datagram, &v) == 0) {
            struct bytes joined = {NULL, 0};
            if (dtls_hello_input(&hello, now, &v, &joined) == DTLS_HELLO_COMPLETE) {
                check_joined(joined);
            }
        }
        now = mono_add_ms(now, (int64_t)n);
    }
    dtls_hello_done(&hello);
    return 0;
}

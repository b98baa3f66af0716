// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/packet_trailer.h"

#define MAGIC "LKTS"
#define MAGIC_LEN 4u
#define TRAILER_MIN (MAGIC_LEN + 1u)

uint8_t packet_trailer_len(struct bytes payload)
{
    if (payload.n < TRAILER_MIN ||
        memcmp(payload.p + payload.n - MAGIC_LEN, MAGIC, MAGIC_LEN) != 0) {
        return 0;
    }
    uint8_t const n = (uint8_t)(payload.p[payload.n - TRAILER_MIN] ^ 0xffu);
    return n >= TRAILER_MIN && n <= payload.n ? n : 0;
}

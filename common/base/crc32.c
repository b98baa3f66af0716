// SPDX-License-Identifier: Apache-2.0
#include "common/base/crc32.h"

// Remainders of the 16 nibbles for the reflected polynomial 0xEDB88320: 64 bytes of table instead
// of 1 KiB, which stays cached beside the packet path; STUN messages are about 100 bytes.
static const uint32_t nibble[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

// Longer ones are records in stores, of which a hundred thousand are read at a start: four bytes at a
// time, by the remainders of a byte with 0 to 3 zero bytes behind it. A remainder is the sum of those
// of its bits.
#define LONG 192u
#define BIT(n, i, of) ((((unsigned)(n) >> (i)) & 1u) != 0 ? (of) : 0u)
#define SUM(n, a, b, c, d, e, f, g, h)                                                             \
    (BIT(n, 0, a) ^ BIT(n, 1, b) ^ BIT(n, 2, c) ^ BIT(n, 3, d) ^ BIT(n, 4, e) ^ BIT(n, 5, f) ^     \
     BIT(n, 6, g) ^ BIT(n, 7, h))
#define ZEROS_0(n)                                                                                 \
    SUM(n, 0x77073096u, 0xEE0E612Cu, 0x076DC419u, 0x0EDB8832u, 0x1DB71064u, 0x3B6E20C8u,           \
        0x76DC4190u, 0xEDB88320u)
#define ZEROS_1(n)                                                                                 \
    SUM(n, 0x191B3141u, 0x32366282u, 0x646CC504u, 0xC8D98A08u, 0x4AC21251u, 0x958424A2u,           \
        0xF0794F05u, 0x3B83984Bu)
#define ZEROS_2(n)                                                                                 \
    SUM(n, 0x01C26A37u, 0x0384D46Eu, 0x0709A8DCu, 0x0E1351B8u, 0x1C26A370u, 0x384D46E0u,           \
        0x709A8DC0u, 0xE1351B80u)
#define ZEROS_3(n)                                                                                 \
    SUM(n, 0xB8BC6765u, 0xAA09C88Bu, 0x8F629757u, 0xC5B428EFu, 0x5019579Fu, 0xA032AF3Eu,           \
        0x9B14583Du, 0xED59B63Bu)
#define FOUR(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3)
#define SIXTEEN(f, n) FOUR(f, n), FOUR(f, (n) + 4), FOUR(f, (n) + 8), FOUR(f, (n) + 12)
#define SIXTY_FOUR(f, n)                                                                           \
    SIXTEEN(f, n), SIXTEEN(f, (n) + 16), SIXTEEN(f, (n) + 32), SIXTEEN(f, (n) + 48)
#define ALL(f)                                                                                     \
    {                                                                                              \
        SIXTY_FOUR(f, 0), SIXTY_FOUR(f, 64), SIXTY_FOUR(f, 128), SIXTY_FOUR(f, 192)                \
    }
static const uint32_t zeros[4][256] = {ALL(ZEROS_0), ALL(ZEROS_1), ALL(ZEROS_2), ALL(ZEROS_3)};

static uint32_t add_fours(uint32_t c, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i + 4 <= n; i += 4) {
        c ^= (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 |
             (uint32_t)p[i + 3] << 24;
        c = zeros[3][c & 255] ^ zeros[2][c >> 8 & 255] ^ zeros[1][c >> 16 & 255] ^
            zeros[0][c >> 24];
    }
    return c;
}

uint32_t crc32_ieee(struct bytes data)
{
    uint32_t c = UINT32_MAX;
    size_t i = 0;
    if (data.n >= LONG) {
        c = add_fours(c, data.p, data.n);
        i = data.n & ~(size_t)3;
    }
    for (; i < data.n; i++) {
        c ^= data.p[i];
        c = nibble[c & 15] ^ (c >> 4);
        c = nibble[c & 15] ^ (c >> 4);
    }
    return ~c;
}

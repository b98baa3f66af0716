// SPDX-License-Identifier: Apache-2.0
#include "common/base/crc32.h"

// Remainders of the 16 nibbles for the reflected polynomial 0xEDB88320: 64 bytes of table instead
// of 1 KiB, which stays cached beside the packet path; STUN messages are about 100 bytes.
static const uint32_t nibble[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint32_t crc32_ieee(struct bytes data)
{
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < data.n; i++) {
        c ^= data.p[i];
        c = nibble[c & 15] ^ (c >> 4);
        c = nibble[c & 15] ^ (c >> 4);
    }
    return ~c;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <stdlib.h>

#include "sfu/wire/packet_trailer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A trailer lies within the payload, and what is left of it says its own length.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t const n = packet_trailer_len(bytes_of(data, size));
    if (n > size || (n > 0 && packet_trailer_len(bytes_of(data + size - n, n)) != n)) {
        abort();
    }
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <stdlib.h>

#include "sfu/wire/dcep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What parses is written back as the same bytes, and into no smaller buffer.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dcep_message m;
    static uint8_t buf[2 * 65535 + 64];
    if (dcep_parse(bytes_of(data, size), &m) < 0 || m.type != DCEP_OPEN) {
        return 0;
    }
    struct wr w = wr_init(buf, sizeof(buf));
    dcep_write_open(&w, &m.open);
    if (!bytes_eq(wr_bytes_view(&w), bytes_of(data, size))) {
        abort();
    }
    w = wr_init(buf, size - 1);
    dcep_write_open(&w, &m.open);
    if (wr_ok(&w)) {
        abort();
    }
    return 0;
}

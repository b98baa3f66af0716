// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <stdlib.h>

#include "sfu/wire/av1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct av1_info v;
    if (av1_parse(bytes_of(data, size), &v) == 0 && (v.key_frame && v.continues_first)) {
        abort();
    }
    return 0;
}

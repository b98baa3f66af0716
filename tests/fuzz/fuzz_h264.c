// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// NAL unit tests of H.264 and H.265: both read the same input.
#include <stdlib.h>

#include "sfu/wire/h264.h"
#include "sfu/wire/h265.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct h264_info v;
    if (h264_parse(bytes_of(data, size), &v) == 0 && v.key_frame != (v.idr || v.sps)) {
        abort();
    }
    struct h265_info w;
    if (h265_parse(bytes_of(data, size), &w) == 0 && w.tid > 6) {
        abort();
    }
    return 0;
}

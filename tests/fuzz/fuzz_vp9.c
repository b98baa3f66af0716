// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <stdlib.h>

#include "sfu/wire/vp9.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vp9_desc d;
    if (vp9_parse(bytes_of(data, size), &d) == 0 &&
        (d.len > size || d.pdiff_count > VP9_PDIFF_MAX || d.ss_spatial_count > VP9_SPATIAL_MAX)) {
        abort();
    }
    return 0;
}

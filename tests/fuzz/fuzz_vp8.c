// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// VP8 descriptors: what is read is written again, byte by byte unless reserved bits were set, and
// never into too small a buffer.
#include <stdlib.h>

#include "sfu/wire/vp8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vp8_info v;
    struct vp8_desc d;
    if (vp8_parse(bytes_of(data, size), &v) == 0 &&
        (v.desc.len > VP8_DESC_MAX || v.desc.len >= size)) {
        abort();
    }
    if (vp8_desc_parse(bytes_of(data, size), &d)) {
        return 0;
    }
    uint8_t out[VP8_DESC_MAX];
    struct wr w = wr_init(out, sizeof(out));
    vp8_desc_write(&w, &d);
    struct vp8_desc e;
    if (!wr_ok(&w) || vp8_desc_parse(wr_bytes_view(&w), &e) || e.len != wr_len(&w)) {
        abort();
    }
    if (e.picture_id != d.picture_id || e.tl0_pic_idx != d.tl0_pic_idx || e.tid != d.tid ||
        e.key_idx != d.key_idx || e.layer_sync != d.layer_sync || e.pid != d.pid ||
        e.start != d.start || e.non_ref != d.non_ref) {
        abort();
    }
    for (size_t n = 0; n < e.len; n++) {
        w = wr_init(out, n);
        vp8_desc_write(&w, &d);
        if (wr_ok(&w)) {
            abort();
        }
    }
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// Dependency descriptors: a sequence of them (each with a length byte in front) read against the
// structure in force, and rewritten.
#include <stdlib.h>

#include "sfu/wire/dd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(struct bytes in, const struct dd *d, const struct dd_structure *s)
{
    static struct dd_structure ignored;
    uint8_t out[DD_LEN_MAX];
    struct wr w = wr_init(out, sizeof(out));
    dd_rewrite(&w, in, d, s->target_count, 0x1234, true, 0x55555555);
    if (!wr_ok(&w)) {
        return; // grew over the limit of an extension
    }
    struct dd back;
    uint32_t const mask = s->target_count == 32 ? UINT32_MAX : (1u << s->target_count) - 1u;
    if (dd_parse(wr_bytes_view(&w), s, &back, &ignored) || back.frame_number != 0x1234 ||
        back.active_targets != (0x55555555u & mask) ||
        memcmp(&back.frame, &d->frame, sizeof(back.frame)) != 0) {
        abort();
    }
    size_t const len = wr_len(&w);
    for (size_t n = 0; n < len; n++) {
        w = wr_init(out, n);
        dd_rewrite(&w, in, d, s->target_count, 0x1234, true, 0x55555555);
        if (wr_ok(&w)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dd_structure s;
    bool known = false;
    struct rd r = rd_init(bytes_of(data, size));
    while (rd_left(&r) > 0) {
        size_t const len = rd_u8(&r);
        struct bytes const in = rd_take(&r, MIN(len, rd_left(&r)));
        struct dd d;
        if (dd_parse(in, known ? &s : NULL, &d, &s)) {
            continue;
        }
        known = true;
        if (s.target_count < 1 || s.target_count > DD_TARGETS_MAX ||
            s.template_count > DD_TEMPLATES_MAX || s.chain_count > s.target_count ||
            d.frame.fdiff_count > DD_FDIFFS_MAX) {
            abort();
        }
        rewrite(in, &d, &s);
    }
    return 0;
}

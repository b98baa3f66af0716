// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// Header extensions of both forms and their values. The elements that were read are written again
// and must come back, and the writer fails cleanly in every shorter buffer.
#include <stdlib.h>

#include "sfu/wire/rtp_ext.h"
#include "sfu/wire/vla.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(struct bytes v)
{
    uint8_t level;
    bool voice;
    uint16_t a;
    uint16_t b;
    struct vla vla;
    (void)rtp_ext_audio_level(v, &level, &voice);
    (void)rtp_ext_transport_cc(v, &a);
    (void)rtp_ext_playout_delay(v, &a, &b);
    if (vla_parse(v, &vla) == 0 && vla.stream_count > VLA_STREAMS_MAX) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_init(bytes_of(data, size));
    struct rtp_header h = {.has_ext = true, .ext_profile = rd_be16(&r)};
    h.ext = rd_rest(&r);
    struct rtp_ext_elem elems[64];
    size_t n = 0;
    struct rtp_ext_iter it;
    rtp_ext_iter_init(&it, &h);
    while (n < ARRAY_LEN(elems) && rtp_ext_next(&it, &elems[n])) {
        struct bytes v;
        read_values(elems[n].data);
        if (!rtp_ext_find(&h, elems[n].id, &v)) {
            abort();
        }
        n++;
    }
    read_values(h.ext);
    if (n == 0) {
        return 0;
    }
    uint8_t out[32768];
    uint16_t off[64];
    struct wr w = wr_init(out, sizeof(out));
    struct rtp_header const fixed = {.pt = 1};
    rtp_write_with_ext(&w, &fixed, elems, n, off);
    struct rtp_header back;
    if (!wr_ok(&w) || rtp_parse(wr_bytes_view(&w), &back)) {
        abort();
    }
    size_t const len = wr_len(&w);
    rtp_ext_iter_init(&it, &back);
    for (size_t i = 0; i < n; i++) {
        struct rtp_ext_elem e;
        if (!rtp_ext_next(&it, &e) || e.id != elems[i].id || !bytes_eq(e.data, elems[i].data) ||
            e.data.p != out + off[i]) {
            abort();
        }
    }
    for (size_t cap = 0; len <= 256 && cap < len; cap++) {
        w = wr_init(out, cap);
        rtp_write_with_ext(&w, &fixed, elems, n, NULL);
        if (wr_ok(&w)) {
            abort();
        }
    }
    return 0;
}

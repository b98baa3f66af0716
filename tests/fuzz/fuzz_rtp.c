// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// RTP headers: what is accepted is reproduced by the writer, which fails cleanly in every shorter
// buffer.
#include <stdlib.h>

#include "sfu/wire/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes const in = bytes_of(data, size);
    struct rtp_header h;
    if (rtp_parse(in, &h)) {
        return 0;
    }
    if ((size_t)h.header_len + h.payload_len + h.padding_len != size) {
        abort();
    }
    uint8_t out[2048];
    size_t const csrcs = h.csrc_count * 4u;
    size_t const want = h.header_len - csrcs;
    if (want > sizeof(out)) {
        return 0;
    }
    for (size_t n = want <= 128 ? 0 : want; n <= want; n++) {
        struct wr w = wr_init(out, n);
        rtp_write(&w, &h);
        if (wr_ok(&w) != (n == want)) {
            abort();
        }
    }
    // The CSRC list is not written; all else is the same but for its count.
    out[0] |= h.csrc_count;
    if (memcmp(out, data, RTP_HEADER_LEN) != 0 ||
        memcmp(out + RTP_HEADER_LEN, data + RTP_HEADER_LEN + csrcs, want - RTP_HEADER_LEN) != 0) {
        abort();
    }
    return 0;
}

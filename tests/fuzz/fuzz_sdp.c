// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
// Any text is refused or parsed; what was parsed survives writing and parsing again.
#include <stdlib.h>

#include "sfu/wire/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sdp *s = NULL;
    if (sdp_parse(bytes_of(data, size), &s) != 0) {
        return 0;
    }
    struct dynbuf out;
    // Inherited and repeated values may take more room than they did.
    dynbuf_init(&out, 4u * SDP_MAX_TEXT);
    sdp_write(&out, s);
    struct sdp *again = NULL;
    // The writer adds lines, so that a text just below a cap may end above it.
    if (dynbuf_ok(&out) && out.n <= SDP_MAX_TEXT) {
        int const err = sdp_parse(dynbuf_view(&out), &again);
        if (err != 0 ? err != -E2BIG : again->media_count != s->media_count) {
            abort();
        }
    }
    for (size_t i = 0; again != NULL && i < s->media_count; i++) {
        const struct sdp_media *const a = &s->media[i];
        const struct sdp_media *const b = &again->media[i];
        if (a->kind != b->kind || a->direction != b->direction || !bytes_eq(a->mid, b->mid) ||
            (!sdp_media_rejected(a) && a->codec_count != b->codec_count)) {
            abort();
        }
    }
    dynbuf_done(&out);
    sdp_free(again);
    sdp_free(s);
    return 0;
}

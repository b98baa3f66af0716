// SPDX-License-Identifier: Apache-2.0
#include "common/svc/gzip.h"

#include <zlib.h>

// 15 bits of window (the most) and 16: gzip header and trailer only (zlib.h, inflateInit2).
#define GZIP_WINDOW (15 + 16)

#define CHUNK 4096u

// zlib takes 32-bit lengths. Nothing we hold is near that.
#define INPUT_MAX (UINT32_C(1) << 30)

static int fail(struct dynbuf *out, int error)
{
    dynbuf_reset(out);
    return error;
}

// Inflates until the input or a member ends. 0 with *ret_end set at the end of a member.
static int inflate_some(z_stream *z, struct dynbuf *out, bool *ret_end)
{
    uint8_t chunk[CHUNK];
    for (;;) {
        z->next_out = chunk;
        z->avail_out = sizeof(chunk);
        int const r = inflate(z, Z_NO_FLUSH);
        if (r != Z_OK && r != Z_STREAM_END) {
            // Z_BUF_ERROR: the input ended inside a member.
            return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
        }
        dynbuf_add(out, bytes_of(chunk, sizeof(chunk) - z->avail_out));
        if (!dynbuf_ok(out)) {
            return -E2BIG;
        }
        if (r == Z_STREAM_END) {
            *ret_end = true;
            return 0;
        }
    }
}

int gzip_inflate(struct bytes in, struct dynbuf *out)
{
    if (in.n == 0 || in.n > INPUT_MAX) {
        return fail(out, in.n == 0 ? -EBADMSG : -E2BIG);
    }
    z_stream z = {0};
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK) {
        return fail(out, -ENOMEM);
    }
    // zlib does not write through next_in.
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    int r = 0;
    while (r == 0 && z.avail_in > 0) {
        bool end = false;
        r = inflate_some(&z, out, &end);
        if (r == 0 && end && z.avail_in > 0 && inflateReset(&z) != Z_OK) {
            r = -EBADMSG;
        }
    }
    (void)inflateEnd(&z);
    return r != 0 ? fail(out, r) : 0;
}

int gzip_deflate(struct bytes in, struct dynbuf *out)
{
    if (in.n > INPUT_MAX) {
        return fail(out, -ENOBUFS);
    }
    z_stream z = {0};
    // Level 6 and memory level 8 are zlib's own defaults.
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return fail(out, -ENOMEM);
    }
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    int r = Z_OK;
    while (r == Z_OK && dynbuf_ok(out)) {
        uint8_t chunk[CHUNK];
        z.next_out = chunk;
        z.avail_out = sizeof(chunk);
        r = deflate(&z, Z_FINISH);
        dynbuf_add(out, bytes_of(chunk, sizeof(chunk) - z.avail_out));
    }
    (void)deflateEnd(&z);
    return dynbuf_ok(out) ? 0 : fail(out, -ENOBUFS);
}

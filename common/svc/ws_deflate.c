// SPDX-License-Identifier: Apache-2.0
#include "common/svc/ws_deflate.h"

#include <zlib.h>

#include "common/base/mem.h"

// The whole window and no header (zlib.h, deflateInit2: negative is raw).
#define RAW_WINDOW (-15)

// Level 1 takes a third of the time of level 6 and makes SDP and participant lists some 10 % longer.
#define LEVEL Z_BEST_SPEED

#define CHUNK 16384u

// zlib takes 32-bit lengths. No message is near that.
#define INPUT_MAX (UINT32_C(1) << 30)

// The end of each message, which is not sent (RFC 7692 section 7.2.1).
static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

struct ws_deflate {
    z_stream packing;
    z_stream unpacking;
    uint8_t chunk[CHUNK];
};

struct ws_deflate *ws_deflate_new(void)
{
    struct ws_deflate *const d = NEW(struct ws_deflate);
    if (d == NULL) {
        return NULL;
    }
    // 8: zlib's own default for memory.
    if (deflateInit2(&d->packing, LEVEL, Z_DEFLATED, RAW_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        mem_free(d);
        return NULL;
    }
    if (inflateInit2(&d->unpacking, RAW_WINDOW) != Z_OK) {
        (void)deflateEnd(&d->packing);
        mem_free(d);
        return NULL;
    }
    return d;
}

void ws_deflate_free(struct ws_deflate *d)
{
    if (d != NULL) {
        (void)deflateEnd(&d->packing);
        (void)inflateEnd(&d->unpacking);
        mem_free(d);
    }
}

int ws_deflate_pack(struct ws_deflate *d, struct bytes message, struct dynbuf *out)
{
    z_stream *const z = &d->packing;
    size_t const before = out->n;
    if (message.n > INPUT_MAX || deflateReset(z) != Z_OK) {
        return -ENOBUFS;
    }
    // zlib does not write through next_in.
    z->next_in = (Bytef *)(uintptr_t)message.p;
    z->avail_in = (uInt)message.n;
    do {
        z->next_out = d->chunk;
        z->avail_out = CHUNK;
        (void)deflate(z, Z_SYNC_FLUSH); // cannot fail: there is always room
        dynbuf_add(out, bytes_of(d->chunk, CHUNK - z->avail_out));
    } while (z->avail_out == 0 && dynbuf_ok(out));
    if (!dynbuf_ok(out) || out->n < before + sizeof(tail)) {
        return -ENOBUFS;
    }
    out->n -= sizeof(tail);
    return 0;
}

// Inflates all of `in`.
static int unpack_some(struct ws_deflate *d, struct bytes in, struct dynbuf *out)
{
    z_stream *const z = &d->unpacking;
    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.n;
    do {
        z->next_out = d->chunk;
        z->avail_out = CHUNK;
        int const r = inflate(z, Z_SYNC_FLUSH);
        if (r == Z_MEM_ERROR) {
            return -ENOMEM;
        }
        // Z_BUF_ERROR: the input was used up before.
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) {
            return -EBADMSG;
        }
        dynbuf_add(out, bytes_of(d->chunk, CHUNK - z->avail_out));
        if (!dynbuf_ok(out)) {
            return -E2BIG;
        }
        // Blocks may follow a final one (RFC 7692 section 7.2.3.4).
        if (r == Z_STREAM_END && inflateReset(z) != Z_OK) {
            return -EBADMSG;
        }
    } while (z->avail_in > 0 || z->avail_out == 0);
    return 0;
}

int ws_deflate_unpack(struct ws_deflate *d, struct bytes payload, struct dynbuf *out)
{
    int rc = -EBADMSG;
    if (payload.n <= INPUT_MAX && inflateReset(&d->unpacking) == Z_OK) {
        rc = unpack_some(d, payload, out);
    }
    rc = rc == 0 ? unpack_some(d, bytes_of(tail, sizeof(tail)), out) : rc;
    if (rc < 0) {
        dynbuf_reset(out);
    }
    return rc;
}

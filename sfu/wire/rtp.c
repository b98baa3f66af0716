// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/rtp.h"

#define RTP_BIT_PADDING 0x20u
#define RTP_BIT_EXT 0x10u
#define RTP_BIT_MARKER 0x80u

int rtp_parse(struct bytes packet, struct rtp_header *ret)
{
    if (packet.n > UINT16_MAX) {
        return -EBADMSG;
    }
    struct rd r = rd_init(packet);
    uint8_t const b0 = rd_u8(&r);
    uint8_t const b1 = rd_u8(&r);
    struct rtp_header h = {
        .marker = (b1 & RTP_BIT_MARKER) != 0,
        .has_ext = (b0 & RTP_BIT_EXT) != 0,
        .pt = b1 & 0x7f,
        .csrc_count = b0 & 0x0f,
    };
    h.sn = rd_be16(&r);
    h.ts = rd_be32(&r);
    h.ssrc = rd_be32(&r);
    rd_skip(&r, (size_t)h.csrc_count * 4);
    if (h.has_ext) {
        h.ext_profile = rd_be16(&r);
        size_t const words = rd_be16(&r);
        h.ext = rd_take(&r, words * 4);
    }
    if (!rd_ok(&r) || b0 >> 6 != RTP_VERSION) {
        return -EBADMSG;
    }
    size_t const left = rd_left(&r);
    if (b0 & RTP_BIT_PADDING) {
        h.padding_len = left > 0 ? packet.p[packet.n - 1] : 0;
        if (h.padding_len == 0 || h.padding_len > left) {
            return -EBADMSG;
        }
    }
    h.header_len = (uint16_t)(packet.n - left);
    h.payload_len = (uint16_t)(left - h.padding_len);
    *ret = h;
    return 0;
}

void rtp_write(struct wr *w, const struct rtp_header *h)
{
    unsigned const flags =
        (h->padding_len > 0 ? RTP_BIT_PADDING : 0u) | (h->has_ext ? RTP_BIT_EXT : 0u);
    wr_u8(w, (uint8_t)((RTP_VERSION << 6) | flags));
    wr_u8(w, (uint8_t)((h->marker ? RTP_BIT_MARKER : 0u) | (h->pt & 0x7fu)));
    wr_be16(w, h->sn);
    wr_be32(w, h->ts);
    wr_be32(w, h->ssrc);
    if (!h->has_ext) {
        return;
    }
    size_t const words = (h->ext.n + 3) / 4;
    if (words > UINT16_MAX) {
        w->err = true;
        return;
    }
    wr_be16(w, h->ext_profile);
    wr_be16(w, (uint16_t)words);
    wr_bytes(w, h->ext);
    wr_fill(w, 0, words * 4 - h->ext.n);
}

void rtp_write_padding(struct wr *w, uint8_t n)
{
    if (n > 0) {
        wr_fill(w, 0, n - 1u);
        wr_u8(w, n);
    }
}

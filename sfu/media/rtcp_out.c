// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/rtcp_out.h"

#include "sfu/wire/rtcp_fb.h"

// Empty receiver report: common header and sender SSRC. Always accounted for, since the compound
// needs a report first.
#define RR_BASE_LEN (RTCP_HEADER_LEN + 4u)

void rtcp_out_init(struct rtcp_out *o, uint32_t sender_ssrc)
{
    o->rr.ssrc = sender_ssrc;
    o->rr.block_count = 0;
    o->used = RR_BASE_LEN;
    o->sr_len = 0;
    o->fb_len = 0;
}

size_t rtcp_out_left(const struct rtcp_out *o)
{
    return RTCP_OUT_CAP - o->used;
}

bool rtcp_out_is_empty(const struct rtcp_out *o)
{
    return o->rr.block_count == 0 && o->sr_len == 0 && o->fb_len == 0;
}

static struct wr fb_writer(struct rtcp_out *o)
{
    return wr_init(o->fb + o->fb_len, rtcp_out_left(o));
}

// Takes over what a writer into fb produced.
static int fb_commit(struct rtcp_out *o, const struct wr *w)
{
    if (!wr_ok(w)) {
        return -ENOBUFS;
    }
    o->fb_len += wr_len(w);
    o->used += wr_len(w);
    return 0;
}

int rtcp_out_add_sr(struct rtcp_out *o, const struct rtcp_sr *sr, struct bytes cname)
{
    struct wr w = wr_init(o->sr + o->sr_len, rtcp_out_left(o));
    struct rtcp_sr plain = *sr;
    plain.block_count = 0;
    rtcp_sr_write(&w, &plain);
    rtcp_sdes_cname_write(&w, sr->ssrc, cname);
    if (!wr_ok(&w)) {
        return -ENOBUFS;
    }
    o->sr_len += wr_len(&w);
    o->used += wr_len(&w);
    return 0;
}

int rtcp_out_add_block(struct rtcp_out *o, const struct rtcp_report_block *b)
{
    if (o->rr.block_count == RTCP_COUNT_MAX || rtcp_out_left(o) < RTCP_REPORT_BLOCK_LEN) {
        return -ENOBUFS;
    }
    o->rr.block[o->rr.block_count++] = *b;
    o->used += RTCP_REPORT_BLOCK_LEN;
    return 0;
}

int rtcp_out_add_nack(struct rtcp_out *o, uint32_t media_ssrc, const uint16_t *sns, size_t n)
{
    struct wr w = fb_writer(o);
    rtcp_nack_write(&w, o->rr.ssrc, media_ssrc, sns, n);
    return fb_commit(o, &w);
}

int rtcp_out_add_pli(struct rtcp_out *o, uint32_t media_ssrc)
{
    struct wr w = fb_writer(o);
    rtcp_pli_write(&w, o->rr.ssrc, media_ssrc);
    return fb_commit(o, &w);
}

int rtcp_out_add_xr(struct rtcp_out *o, const struct rtcp_xr *xr)
{
    struct wr w = fb_writer(o);
    rtcp_xr_write(&w, xr);
    return fb_commit(o, &w);
}

int rtcp_out_add_raw(struct rtcp_out *o, struct bytes packet)
{
    assert(packet.n % 4 == 0);
    struct wr w = fb_writer(o);
    wr_bytes(&w, packet);
    return fb_commit(o, &w);
}

int rtcp_out_finish(const struct rtcp_out *o, struct bytes_mut buf, size_t *ret_len)
{
    if (rtcp_out_is_empty(o)) {
        return -ENOENT;
    }
    struct wr w = wr_init(buf.p, buf.n);
    wr_bytes(&w, bytes_of(o->sr, o->sr_len));
    if (o->rr.block_count > 0 || o->sr_len == 0) {
        rtcp_rr_write(&w, &o->rr);
    }
    wr_bytes(&w, bytes_of(o->fb, o->fb_len));
    if (!wr_ok(&w)) {
        return -ENOBUFS;
    }
    *ret_len = wr_len(&w);
    return 0;
}

ntp_t rtcp_ntp_of_mono(mono_t t)
{
    return ntp_from_wall((wall_t){t.us});
}

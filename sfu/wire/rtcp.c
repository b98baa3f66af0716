// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/rtcp.h"

#define RTCP_VERSION 2u
#define RTCP_BIT_PADDING 0x20u
#define SDES_CNAME 1u
#define SDES_END 0u
#define SDES_CNAME_MAX 255u
#define XR_BLOCK_RRTR 4u
#define XR_BLOCK_DLRR 5u
#define XR_DLRR_LEN 12u
#define CUMULATIVE_MAX 0x7fffff
#define CUMULATIVE_MIN (-0x800000)

void rtcp_iter_init(struct rtcp_iter *it, struct bytes compound)
{
    it->r = rd_init(compound);
    it->bad = false;
}

bool rtcp_next(struct rtcp_iter *it, struct rtcp_packet *ret)
{
    struct rd *const r = &it->r;
    if (it->bad || rd_left(r) == 0) {
        return false;
    }
    const uint8_t *const start = r->p;
    uint8_t const b0 = rd_u8(r);
    uint8_t const type = rd_u8(r);
    size_t const len = (size_t)rd_be16(r) * 4;
    struct bytes body = rd_take(r, len);
    bool ok = rd_ok(r) && b0 >> 6 == RTCP_VERSION;
    if (ok && (b0 & RTCP_BIT_PADDING)) {
        // RFC 3550 section 6.4.1: the count includes itself; multiples of four there, any count in
        // RFC 4585 feedback.
        uint8_t const pad = len > 0 ? body.p[len - 1] : 0;
        ok = pad > 0 && pad <= len;
        body.n -= ok ? pad : 0;
    }
    if (!ok) {
        it->bad = true;
        return false;
    }
    *ret = (struct rtcp_packet){
        .type = type,
        .count = b0 & 0x1f,
        .body = body,
        .raw = bytes_of(start, RTCP_HEADER_LEN + len),
    };
    return true;
}

static void read_block(struct rd *r, struct rtcp_report_block *b)
{
    b->ssrc = rd_be32(r);
    b->fraction_lost = rd_u8(r);
    uint32_t const lost = rd_be24(r);
    b->cumulative_lost = (int32_t)lost - (lost & 0x800000u ? 0x1000000 : 0);
    b->highest_sn = rd_be32(r);
    b->jitter = rd_be32(r);
    b->lsr = rd_be32(r);
    b->dlsr = rd_be32(r);
}

int rtcp_sr_parse(const struct rtcp_packet *p, struct rtcp_sr *ret)
{
    struct rd r = rd_init(p->body);
    if (p->type != RTCP_SR || p->body.n < 24 + (size_t)p->count * RTCP_REPORT_BLOCK_LEN) {
        return -EBADMSG;
    }
    ret->ssrc = rd_be32(&r);
    ret->ntp.v = rd_be64(&r);
    ret->rtp_ts = rd_be32(&r);
    ret->packets = rd_be32(&r);
    ret->octets = rd_be32(&r);
    ret->block_count = p->count;
    for (size_t i = 0; i < p->count; i++) {
        read_block(&r, &ret->block[i]);
    }
    return 0;
}

int rtcp_rr_parse(const struct rtcp_packet *p, struct rtcp_rr *ret)
{
    struct rd r = rd_init(p->body);
    if (p->type != RTCP_RR || p->body.n < 4 + (size_t)p->count * RTCP_REPORT_BLOCK_LEN) {
        return -EBADMSG;
    }
    ret->ssrc = rd_be32(&r);
    ret->block_count = p->count;
    for (size_t i = 0; i < p->count; i++) {
        read_block(&r, &ret->block[i]);
    }
    return 0;
}

int rtcp_bye_parse(const struct rtcp_packet *p, struct rtcp_bye *ret)
{
    struct rd r = rd_init(p->body);
    if (p->type != RTCP_BYE || p->body.n < (size_t)p->count * 4) {
        return -EBADMSG;
    }
    ret->count = p->count;
    for (size_t i = 0; i < p->count; i++) {
        ret->ssrc[i] = rd_be32(&r);
    }
    return 0;
}

static void read_dlrr(struct rd *r, struct rtcp_xr *xr)
{
    while (rd_left(r) >= XR_DLRR_LEN) {
        struct rtcp_dlrr d;
        d.ssrc = rd_be32(r);
        d.lrr = rd_be32(r);
        d.dlrr = rd_be32(r);
        if (xr->dlrr_count < RTCP_DLRR_MAX) {
            xr->dlrr[xr->dlrr_count++] = d;
        }
    }
}

int rtcp_xr_parse(const struct rtcp_packet *p, struct rtcp_xr *ret)
{
    struct rd r = rd_init(p->body);
    struct rtcp_xr xr = {.ssrc = rd_be32(&r)};
    if (p->type != RTCP_XR) {
        return -EBADMSG;
    }
    while (rd_ok(&r) && rd_left(&r) > 0) {
        uint8_t const type = rd_u8(&r);
        rd_skip(&r, 1);
        size_t const len = (size_t)rd_be16(&r) * 4;
        struct rd block = rd_sub(&r, len);
        if (type == XR_BLOCK_RRTR) {
            xr.rrtr.v = rd_be64(&block);
            xr.has_rrtr = rd_ok(&block);
        } else if (type == XR_BLOCK_DLRR) {
            read_dlrr(&block, &xr);
        }
    }
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    *ret = xr;
    return 0;
}

// Items of one chunk up to the end item and its padding; *cname is set if there is one.
static void read_sdes_chunk(struct rd *r, struct bytes *cname)
{
    size_t const before = rd_left(r);
    for (;;) {
        uint8_t const type = rd_u8(r);
        if (type == SDES_END || !rd_ok(r)) {
            break;
        }
        struct bytes const value = rd_take(r, rd_u8(r));
        if (type == SDES_CNAME && rd_ok(r)) {
            *cname = value;
        }
    }
    // The chunk ends at the next multiple of four; the SSRC before the items is one itself.
    size_t const used = before - rd_left(r);
    rd_skip(r, (4 - used % 4) % 4);
}

int rtcp_sdes_cname(const struct rtcp_packet *p, uint32_t ssrc, struct bytes *ret_cname)
{
    if (p->type != RTCP_SDES) {
        return -ENOENT;
    }
    struct rd r = rd_init(p->body);
    for (size_t i = 0; i < p->count && rd_ok(&r); i++) {
        uint32_t const chunk_ssrc = rd_be32(&r);
        struct bytes cname = {NULL, 0};
        read_sdes_chunk(&r, &cname);
        if (rd_ok(&r) && chunk_ssrc == ssrc && cname.p) {
            *ret_cname = cname;
            return 0;
        }
    }
    return -ENOENT;
}

// ---- writing --------------------------------------------------------------------------------

// Room for a whole packet of `body` bytes, and its header. All or nothing keeps a full compound
// usable.
static bool begin(struct wr *w, uint8_t type, size_t count, size_t body)
{
    if (w->err || wr_left(w) < RTCP_HEADER_LEN + body || count > RTCP_COUNT_MAX) {
        w->err = true;
        return false;
    }
    wr_u8(w, (uint8_t)((RTCP_VERSION << 6) | count));
    wr_u8(w, type);
    wr_be16(w, (uint16_t)(body / 4));
    return true;
}

static void write_blocks(struct wr *w, const struct rtcp_report_block *b, size_t n)
{
    for (size_t i = 0; i < n; i++, b++) {
        int32_t const lost = MAX(CUMULATIVE_MIN, MIN(CUMULATIVE_MAX, b->cumulative_lost));
        wr_be32(w, b->ssrc);
        wr_u8(w, b->fraction_lost);
        wr_be24(w, (uint32_t)lost & 0xffffffu);
        wr_be32(w, b->highest_sn);
        wr_be32(w, b->jitter);
        wr_be32(w, b->lsr);
        wr_be32(w, b->dlsr);
    }
}

void rtcp_sr_write(struct wr *w, const struct rtcp_sr *sr)
{
    size_t const blocks = (size_t)sr->block_count * RTCP_REPORT_BLOCK_LEN;
    if (!begin(w, RTCP_SR, sr->block_count, 24 + blocks)) {
        return;
    }
    wr_be32(w, sr->ssrc);
    wr_be64(w, sr->ntp.v);
    wr_be32(w, sr->rtp_ts);
    wr_be32(w, sr->packets);
    wr_be32(w, sr->octets);
    write_blocks(w, sr->block, sr->block_count);
}

void rtcp_rr_write(struct wr *w, const struct rtcp_rr *rr)
{
    if (begin(w, RTCP_RR, rr->block_count, 4 + (size_t)rr->block_count * RTCP_REPORT_BLOCK_LEN)) {
        wr_be32(w, rr->ssrc);
        write_blocks(w, rr->block, rr->block_count);
    }
}

void rtcp_sdes_cname_write(struct wr *w, uint32_t ssrc, struct bytes cname)
{
    if (cname.n > SDES_CNAME_MAX) {
        w->err = true;
        return;
    }
    // SSRC, item header, text, then at least one zero: the end item.
    size_t const used = 4 + 2 + cname.n;
    size_t const body = used + (4 - used % 4);
    if (begin(w, RTCP_SDES, 1, body)) {
        wr_be32(w, ssrc);
        wr_u8(w, SDES_CNAME);
        wr_u8(w, (uint8_t)cname.n);
        wr_bytes(w, cname);
        wr_fill(w, 0, body - used);
    }
}

void rtcp_bye_write(struct wr *w, const uint32_t *ssrc, size_t n)
{
    if (begin(w, RTCP_BYE, n, n * 4)) {
        for (size_t i = 0; i < n; i++) {
            wr_be32(w, ssrc[i]);
        }
    }
}

void rtcp_xr_write(struct wr *w, const struct rtcp_xr *xr)
{
    size_t const dlrr_len = (size_t)xr->dlrr_count * XR_DLRR_LEN;
    size_t const body = 4 + (xr->has_rrtr ? 12u : 0u) + (dlrr_len > 0 ? 4 + dlrr_len : 0);
    if (body == 4 || !begin(w, RTCP_XR, 0, body)) {
        return;
    }
    wr_be32(w, xr->ssrc);
    if (xr->has_rrtr) {
        wr_u8(w, XR_BLOCK_RRTR);
        wr_u8(w, 0);
        wr_be16(w, 2);
        wr_be64(w, xr->rrtr.v);
    }
    if (dlrr_len > 0) {
        wr_u8(w, XR_BLOCK_DLRR);
        wr_u8(w, 0);
        wr_be16(w, (uint16_t)(dlrr_len / 4));
        for (size_t i = 0; i < xr->dlrr_count; i++) {
            wr_be32(w, xr->dlrr[i].ssrc);
            wr_be32(w, xr->dlrr[i].lrr);
            wr_be32(w, xr->dlrr[i].dlrr);
        }
    }
}

bool rtcp_rtt_us(ntp_t now, uint32_t last, uint32_t delay, int64_t max_us, int64_t *ret_us)
{
    if (last == 0) {
        return false;
    }
    // In 1/65536 s, on the 32-bit circle of 18 hours.
    int32_t const rtt = (int32_t)(ntp_mid32(now) - last - delay);
    int64_t const us = (int64_t)rtt * US_PER_S / 65536;
    if (rtt < 0 || us > max_us) {
        return false;
    }
    *ret_us = us;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/rtcp_fb.h"

#include "common/base/seq.h"

#define REMB_ID 0x52454d42u // "REMB"
#define REMB_MANTISSA_BITS 18u
#define RTCP_VERSION 2u

int rtcp_fb_parse(const struct rtcp_packet *p, struct rtcp_fb *ret)
{
    if (p->type != RTCP_RTPFB && p->type != RTCP_PSFB) {
        return -EBADMSG;
    }
    struct rd r = rd_init(p->body);
    struct rtcp_fb fb = {.type = p->type, .fmt = p->count};
    fb.sender_ssrc = rd_be32(&r);
    fb.media_ssrc = rd_be32(&r);
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    fb.fci = rd_rest(&r);
    *ret = fb;
    return 0;
}

// Header and the two SSRCs of a feedback packet with fci bytes of control information; all or
// nothing.
static bool begin(struct wr *w, uint8_t type, uint8_t fmt, uint32_t sender, uint32_t media,
                  size_t fci)
{
    if (w->err || wr_left(w) < 12 + fci || (8 + fci) / 4 > UINT16_MAX) {
        w->err = true;
        return false;
    }
    wr_u8(w, (uint8_t)((RTCP_VERSION << 6) | fmt));
    wr_u8(w, type);
    wr_be16(w, (uint16_t)((8 + fci) / 4));
    wr_be32(w, sender);
    wr_be32(w, media);
    return true;
}

// ---- NACK -----------------------------------------------------------------------------------

void rtcp_nack_iter_init(struct rtcp_nack_iter *it, const struct rtcp_fb *fb)
{
    bool const nack = fb->type == RTCP_RTPFB && fb->fmt == RTCP_RTPFB_NACK;
    *it = (struct rtcp_nack_iter){.r = rd_init(nack ? fb->fci : (struct bytes){NULL, 0})};
}

bool rtcp_nack_next(struct rtcp_nack_iter *it, uint16_t *ret_sn)
{
    if (it->blp == 0) {
        if (rd_left(&it->r) < 4) {
            return false;
        }
        it->pid = rd_be16(&it->r);
        it->blp = rd_be16(&it->r);
        it->bit = 0;
        *ret_sn = it->pid;
        return true;
    }
    while ((it->blp & 1u) == 0) {
        it->blp >>= 1;
        it->bit++;
    }
    it->blp >>= 1;
    it->bit++;
    *ret_sn = (uint16_t)(it->pid + it->bit);
    return true;
}

// One PID/BLP pair starting at sn[0]; returns how many numbers it covers.
static size_t nack_pair(const uint16_t *sn, size_t n, uint16_t *ret_blp)
{
    unsigned blp = 0;
    size_t i = 1;
    for (; i < n; i++) {
        unsigned const d = (uint16_t)(sn[i] - sn[0]);
        if (d > 16) {
            break;
        }
        blp |= d > 0 ? 1u << (d - 1) : 0u;
    }
    *ret_blp = (uint16_t)blp;
    return i;
}

void rtcp_nack_write(struct wr *w, uint32_t sender_ssrc, uint32_t media_ssrc, const uint16_t *sn,
                     size_t n)
{
    if (n == 0) {
        return;
    }
    uint16_t blp = 0;
    size_t pairs = 0;
    for (size_t i = 0; i < n; i += nack_pair(sn + i, n - i, &blp)) {
        pairs++;
    }
    if (!begin(w, RTCP_RTPFB, RTCP_RTPFB_NACK, sender_ssrc, media_ssrc, pairs * 4)) {
        return;
    }
    for (size_t i = 0; i < n;) {
        uint16_t const pid = sn[i];
        i += nack_pair(sn + i, n - i, &blp);
        wr_be16(w, pid);
        wr_be16(w, blp);
    }
}

// ---- PLI, FIR -------------------------------------------------------------------------------

bool rtcp_is_pli(const struct rtcp_fb *fb)
{
    return fb->type == RTCP_PSFB && fb->fmt == RTCP_PSFB_PLI;
}

void rtcp_pli_write(struct wr *w, uint32_t sender_ssrc, uint32_t media_ssrc)
{
    (void)begin(w, RTCP_PSFB, RTCP_PSFB_PLI, sender_ssrc, media_ssrc, 0);
}

int rtcp_fir_parse(const struct rtcp_fb *fb, struct rtcp_fir *ret)
{
    if (fb->type != RTCP_PSFB || fb->fmt != RTCP_PSFB_FIR || fb->fci.n < 8) {
        return -EBADMSG;
    }
    struct rd r = rd_init(fb->fci);
    struct rtcp_fir fir = {0};
    while (rd_left(&r) >= 8 && fir.count < RTCP_FIR_MAX) {
        fir.entry[fir.count].ssrc = rd_be32(&r);
        fir.entry[fir.count].seq = rd_u8(&r);
        rd_skip(&r, 3);
        fir.count++;
    }
    *ret = fir;
    return 0;
}

void rtcp_fir_write(struct wr *w, uint32_t sender_ssrc, const struct rtcp_fir_entry *entry,
                    size_t n)
{
    // RFC 5104 section 4.3.1.2: the media SSRC of the common part is 0, the entries name the
    // sources.
    if (n == 0 || !begin(w, RTCP_PSFB, RTCP_PSFB_FIR, sender_ssrc, 0, n * 8)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        wr_be32(w, entry[i].ssrc);
        wr_u8(w, entry[i].seq);
        wr_be24(w, 0);
    }
}

// ---- REMB -----------------------------------------------------------------------------------

int rtcp_remb_parse(const struct rtcp_fb *fb, struct rtcp_remb *ret)
{
    if (fb->type != RTCP_PSFB || fb->fmt != RTCP_PSFB_AFB) {
        return -EBADMSG;
    }
    struct rd r = rd_init(fb->fci);
    uint32_t const id = rd_be32(&r);
    uint8_t const count = rd_u8(&r);
    uint32_t const rate = rd_be24(&r);
    if (!rd_ok(&r) || id != REMB_ID || rd_left(&r) < (size_t)count * 4) {
        return -EBADMSG;
    }
    unsigned const exp = rate >> REMB_MANTISSA_BITS;
    uint64_t const mantissa = rate & ((1u << REMB_MANTISSA_BITS) - 1u);
    bool const overflow = mantissa != 0 && exp > (unsigned)__builtin_clzll(mantissa);
    struct rtcp_remb remb = {.bitrate = overflow ? UINT64_MAX : mantissa << exp};
    remb.ssrc_count = (uint8_t)MIN(count, RTCP_REMB_SSRC_MAX);
    for (size_t i = 0; i < remb.ssrc_count; i++) {
        remb.ssrc[i] = rd_be32(&r);
    }
    *ret = remb;
    return 0;
}

void rtcp_remb_write(struct wr *w, uint32_t sender_ssrc, const struct rtcp_remb *remb)
{
    size_t const n = MIN(remb->ssrc_count, RTCP_REMB_SSRC_MAX);
    // The draft wants media SSRC 0.
    if (!begin(w, RTCP_PSFB, RTCP_PSFB_AFB, sender_ssrc, 0, 8 + n * 4)) {
        return;
    }
    uint64_t mantissa = remb->bitrate;
    unsigned exp = 0;
    while (mantissa >> REMB_MANTISSA_BITS) {
        mantissa >>= 1;
        exp++;
    }
    wr_be32(w, REMB_ID);
    wr_u8(w, (uint8_t)n);
    wr_be24(w, (exp << REMB_MANTISSA_BITS) | (uint32_t)mantissa);
    for (size_t i = 0; i < n; i++) {
        wr_be32(w, remb->ssrc[i]);
    }
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// RTCP compounds: every packet goes through every parser; what was understood is written again,
// read again, and written into every shorter buffer, where all or nothing must happen.
#include <stdlib.h>

#include "sfu/wire/rtcp_fb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t out[2048];

// One of the writers on its parsed form.
union parsed {
    struct rtcp_sr sr;
    struct rtcp_rr rr;
    struct rtcp_bye bye;
    struct rtcp_xr xr;
    struct rtcp_fir fir;
    struct rtcp_remb remb;
    struct {
        uint16_t sn[512];
        size_t n;
    } nack;
};

enum what { SR, RR, BYE, XR, FIR, REMB, NACK, PLI };

static void put(struct wr *w, enum what what, const union parsed *p)
{
    switch (what) {
    case SR:
        rtcp_sr_write(w, &p->sr);
        break;
    case RR:
        rtcp_rr_write(w, &p->rr);
        break;
    case BYE:
        rtcp_bye_write(w, p->bye.ssrc, p->bye.count);
        break;
    case XR:
        rtcp_xr_write(w, &p->xr);
        break;
    case FIR:
        rtcp_fir_write(w, 1, p->fir.entry, p->fir.count);
        break;
    case REMB:
        rtcp_remb_write(w, 1, &p->remb);
        break;
    case NACK:
        rtcp_nack_write(w, 1, 2, p->nack.sn, p->nack.n);
        break;
    case PLI:
        rtcp_pli_write(w, 1, 2);
        break;
    }
}

static void attack_writer(enum what what, const union parsed *p)
{
    struct wr w = wr_init(out, sizeof(out));
    put(&w, what, p);
    size_t const len = wr_len(&w);
    if (!wr_ok(&w) && what != NACK) {
        abort(); // only a NACK of scattered numbers may outgrow the buffer
    }
    if (wr_ok(&w) && len > 0) {
        struct rtcp_iter it;
        struct rtcp_packet k;
        rtcp_iter_init(&it, wr_bytes_view(&w));
        if (!rtcp_next(&it, &k) || k.raw.n != len) {
            abort();
        }
        for (size_t cap = len <= 128 ? 0 : len - 1; cap < len; cap++) {
            w = wr_init(out, cap);
            put(&w, what, p);
            if (wr_ok(&w) || wr_len(&w) != 0) {
                abort();
            }
        }
    }
}

static void feedback(const struct rtcp_fb *fb)
{
    static union parsed p;
    struct rtcp_nack_iter it;
    rtcp_nack_iter_init(&it, fb);
    p.nack.n = 0;
    while (p.nack.n < ARRAY_LEN(p.nack.sn) && rtcp_nack_next(&it, &p.nack.sn[p.nack.n])) {
        p.nack.n++;
    }
    attack_writer(NACK, &p);
    if (rtcp_is_pli(fb)) {
        attack_writer(PLI, &p);
    }
    if (rtcp_fir_parse(fb, &p.fir) == 0) {
        attack_writer(FIR, &p);
    }
    if (rtcp_remb_parse(fb, &p.remb) == 0) {
        attack_writer(REMB, &p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union parsed p;
    struct rtcp_iter it;
    struct rtcp_packet k;
    struct rtcp_fb fb;
    struct bytes cname;
    rtcp_iter_init(&it, bytes_of(data, size));
    while (rtcp_next(&it, &k)) {
        if (rtcp_sr_parse(&k, &p.sr) == 0) {
            attack_writer(SR, &p);
        }
        if (rtcp_rr_parse(&k, &p.rr) == 0) {
            attack_writer(RR, &p);
        }
        if (rtcp_bye_parse(&k, &p.bye) == 0) {
            attack_writer(BYE, &p);
        }
        if (rtcp_xr_parse(&k, &p.xr) == 0) {
            attack_writer(XR, &p);
        }
        if (rtcp_sdes_cname(&k, 0x01020304, &cname) == 0) {
            struct wr w = wr_init(out, sizeof(out));
            rtcp_sdes_cname_write(&w, 1, cname);
            if (!wr_ok(&w)) {
                abort();
            }
        }
        if (rtcp_fb_parse(&k, &fb) == 0) {
            feedback(&fb);
        }
    }
    return 0;
}

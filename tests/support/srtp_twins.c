// SPDX-License-Identifier: Apache-2.0
#include "tests/support/srtp_twins.h"

#include <stdio.h>
#include <stdlib.h>

static const struct srtp_keys keys = {
    .local = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
              {1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 7}},
    .remote = {{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6},
               {2, 4, 8, 16, 32, 64, 128, 1, 3, 9, 27, 81, 243, 5}},
};

static void need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "srtp_twins: %s\n", what);
        abort();
    }
}

static void no_flush(struct outbox *o, void *user)
{
    (void)user;
    o->count = 0;
}

void srtp_twins_init(struct srtp_twins *w)
{
    need(srtp_transport_new(&keys, SRTP_INGRESS_LIBCRYPTO, &w->ours) == 0 &&
             srtp_transport_new(&keys, SRTP_INGRESS_LIBSRTP2, &w->reference) == 0 &&
             srtp_batch_new(SRTP_BATCH_LIBCRYPTO, &w->batch) == 0 &&
             srtp_egress_new(&keys.remote, &w->sender) == 0 &&
             outbox_init(&w->out, no_flush, NULL) == 0,
         "out of memory");
    w->plain_len = 0;
}

void srtp_twins_done(struct srtp_twins *w)
{
    srtp_transport_free(w->ours);
    srtp_transport_free(w->reference);
    srtp_batch_free(w->batch);
    srtp_egress_free(w->sender);
    outbox_done(&w->out);
}

size_t srtp_twins_make(struct srtp_twins *w, const struct srtp_twins_packet *p,
                       uint8_t ret[static SRTP_TWINS_PACKET_MAX])
{
    struct outbox_slot *const s = outbox_reserve(&w->out);
    struct wr wr = wr_init(s->data, SRTP_TWINS_PACKET_MAX - SRTP_RTP_OVERHEAD);
    wr_u8(&wr, (uint8_t)(0x80 | (p->ext_words >= 0 ? 0x10 : 0) | (p->csrcs & 15)));
    wr_u8(&wr, 96);
    wr_be16(&wr, (uint16_t)p->index);
    wr_be32(&wr, (uint32_t)p->index * 3000);
    wr_be32(&wr, p->ssrc);
    wr_fill(&wr, 0xc5, (size_t)(p->csrcs & 15) * 4);
    if (p->ext_words >= 0) {
        wr_be16(&wr, 0xbede);
        wr_be16(&wr, (uint16_t)p->ext_words);
        wr_fill(&wr, 0x10, (size_t)p->ext_words * 4);
    }
    s->rtp_header_len = (uint16_t)wr_len(&wr);
    wr_fill(&wr, (uint8_t)(p->index + p->ssrc), p->payload);
    need(wr_ok(&wr), "packet too long");
    s->len = (uint16_t)wr_len(&wr);
    s->rtp_roc = srtp_egress_roc(p->index);
    s->protect = OUTBOX_PROTECT_RTP;
    s->srtp = w->sender;
    outbox_commit(&w->out);
    need(srtp_batch_protect(w->batch, &w->out) == 0, "protect");
    w->out.count = 0;
    memcpy(ret, s->data, s->len);
    return s->len;
}

enum srtp_drop srtp_twins_give(struct srtp_twins *w, mono_t now, struct bytes packet)
{
    // Of the packet's size, so that the address sanitizer sees what is read behind it.
    uint8_t *const a = malloc(packet.n + 1);
    uint8_t *const b = malloc(packet.n + 1);
    need(a != NULL && b != NULL && packet.n <= SRTP_TWINS_PACKET_MAX, "packet");
    if (packet.n > 0) {
        memcpy(a, packet.p, packet.n);
        memcpy(b, packet.p, packet.n);
    }
    struct bytes_mut pa = {a, packet.n};
    struct bytes_mut pb = {b, packet.n};
    enum srtp_drop const da = srtp_transport_unprotect_rtp(w->ours, now, &pa);
    enum srtp_drop const db = srtp_transport_unprotect_rtp(w->reference, now, &pb);
    if (da != db) {
        fprintf(stderr, "libcrypto says %s, libsrtp2 %s\n", srtp_drop_name(da), srtp_drop_name(db));
    }
    need(da == db, "verdicts differ");
    need(pa.n == pb.n && bytes_eq(bytes_of(a, pa.n), bytes_of(b, pb.n)), "bytes differ");
    if (da == SRTP_OK) {
        need(pa.n == packet.n - SRTP_RTP_OVERHEAD, "length");
        memcpy(w->plain, a, pa.n);
        w->plain_len = pa.n;
    } else {
        need(bytes_eq(bytes_of(a, pa.n), packet), "a refused packet was changed");
    }
    free(a);
    free(b);
    return da;
}

int srtp_twins_bind(struct srtp_twins *w, uint32_t ssrc)
{
    int const e = srtp_transport_bind_ssrc(w->ours, ssrc);
    need(srtp_transport_bind_ssrc(w->reference, ssrc) == e, "bind differs");
    return e;
}

void srtp_twins_release(struct srtp_twins *w, uint32_t ssrc)
{
    srtp_transport_release_ssrc(w->ours, ssrc);
    srtp_transport_release_ssrc(w->reference, ssrc);
}

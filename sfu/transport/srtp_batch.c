// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/srtp_batch.h"

#include "common/base/mem.h"
#include "sfu/transport/srtp_ipsec_mb.h"

#define ROC_LEN 4
#define RTP_HEADER_MIN 12
// Back ends may write this many bytes behind the packet before the tag is cut to ten.
#define SCRATCH_LEN 12

// What a back end needs besides the session keys is made with the first packet: a transport that
// only receives never has it.
struct srtp_egress {
    _Alignas(16) uint8_t expanded[SRTP_IPSEC_MB_KEY_LEN];
    bool has_expanded;
    struct crypto_ctr *ctr; // libcrypto only
    struct srtp_kdf_keys session;
};

struct srtp_batch {
    struct srtp_ipsec_mb *mb; // NULL: libcrypto
    size_t count;
    struct srtp_ipsec_mb_job jobs[SRTP_IPSEC_MB_JOBS];
};

int srtp_batch_new(enum srtp_batch_backend backend, struct srtp_batch **ret)
{
    struct srtp_batch *const b = NEW(struct srtp_batch);
    if (b == NULL) {
        return -ENOMEM;
    }
    if (backend != SRTP_BATCH_LIBCRYPTO) {
        int const e = srtp_ipsec_mb_new(&b->mb);
        if (e < 0 && (backend == SRTP_BATCH_IPSEC_MB || e != -ENOTSUP)) {
            mem_free(b);
            return e;
        }
    }
    *ret = b;
    return 0;
}

void srtp_batch_free(struct srtp_batch *b)
{
    if (b == NULL) {
        return;
    }
    srtp_ipsec_mb_free(b->mb);
    mem_free(b);
}

const char *srtp_batch_name(const struct srtp_batch *b)
{
    return b->mb != NULL ? srtp_ipsec_mb_name(b->mb) : "libcrypto";
}

int srtp_egress_new(const struct srtp_master *master, struct srtp_egress **ret)
{
    struct srtp_egress *const e = NEW(struct srtp_egress);
    if (e == NULL) {
        return -ENOMEM;
    }
    int const err = srtp_kdf_derive(master, false, &e->session);
    if (err < 0) {
        mem_free(e);
        return err;
    }
    *ret = e;
    return 0;
}

void srtp_egress_free(struct srtp_egress *e)
{
    if (e == NULL) {
        return;
    }
    crypto_ctr_free(e->ctr);
    crypto_wipe(e, sizeof(*e));
    mem_free(e);
}

static bool slot_is_sound(const struct outbox_slot *s)
{
    return s->srtp != NULL && s->rtp_header_len >= RTP_HEADER_MIN && s->rtp_header_len <= s->len &&
           s->len + SCRATCH_LEN <= OUTBOX_DATA_CAP;
}

static void slot_iv(const struct outbox_slot *s, uint8_t ret[static CRYPTO_AES_BLOCK_LEN])
{
    struct rd r = rd_init(bytes_of(s->data, RTP_HEADER_MIN));
    rd_skip(&r, 2);
    uint64_t const index = ((uint64_t)s->rtp_roc << 16) | rd_be16(&r);
    rd_skip(&r, 4);
    srtp_kdf_iv(&s->srtp->session, rd_be32(&r), index, ret);
}

static void append_roc(const struct outbox_slot *s)
{
    struct wr w = wr_init(s->data + s->len, ROC_LEN);
    wr_be32(&w, s->rtp_roc);
}

static void slot_done(struct outbox_slot *s)
{
    s->len = (uint16_t)(s->len + SRTP_RTP_OVERHEAD);
    s->protect = OUTBOX_FINAL;
    s->srtp = NULL;
}

static void slot_broken(struct outbox_slot *s)
{
    s->len = 0;
    s->protect = OUTBOX_FINAL;
    s->srtp = NULL;
}

// ---- libcrypto ------------------------------------------------------------------------------

static int protect_one(struct outbox_slot *s)
{
    struct srtp_egress *const e = s->srtp;
    uint8_t iv[CRYPTO_AES_BLOCK_LEN];
    uint8_t tag[CRYPTO_SHA1_LEN];
    if (UNLIKELY(e->ctr == NULL)) {
        int const err = crypto_ctr_new(e->session.key, &e->ctr);
        if (err < 0) {
            return err;
        }
    }
    slot_iv(s, iv);
    struct bytes_mut const payload = {s->data + s->rtp_header_len,
                                      (size_t)(s->len - s->rtp_header_len)};
    if (payload.n > 0 && crypto_ctr_xor(e->ctr, iv, payload) < 0) {
        return -EIO;
    }
    append_roc(s);
    crypto_hmac_sha1(&e->session.hmac, bytes_of(s->data, (size_t)s->len + ROC_LEN), tag);
    memcpy(s->data + s->len, tag, SRTP_RTP_OVERHEAD);
    return 0;
}

// ---- ipsec-mb -------------------------------------------------------------------------------

static void run_jobs(struct srtp_batch *b)
{
    if (b->count > 0) {
        srtp_ipsec_mb_protect(b->mb, b->jobs, b->count);
        b->count = 0;
    }
}

static void queue_job(struct srtp_batch *b, const struct outbox_slot *s)
{
    struct srtp_egress *const e = s->srtp;
    struct srtp_ipsec_mb_job *const j = &b->jobs[b->count++];
    if (UNLIKELY(!e->has_expanded)) {
        srtp_ipsec_mb_expand(b->mb, e->session.key, e->expanded);
        e->has_expanded = true;
    }
    j->data = s->data;
    j->header_len = s->rtp_header_len;
    j->len = s->len;
    j->key = e->expanded;
    j->hmac = &e->session.hmac;
    slot_iv(s, j->iv);
    append_roc(s);
    if (b->count == SRTP_IPSEC_MB_JOBS) {
        run_jobs(b);
    }
}

size_t srtp_batch_protect(struct srtp_batch *b, struct outbox *o)
{
    size_t broken = 0;
    for (size_t i = 0; i < o->count; i++) {
        struct outbox_slot *const s = &o->slots[i];
        if (s->protect != OUTBOX_PROTECT_RTP) {
            continue;
        }
        if (!slot_is_sound(s) || (b->mb == NULL && protect_one(s) < 0)) {
            slot_broken(s);
            broken++;
            continue;
        }
        if (b->mb != NULL) {
            queue_job(b, s);
        }
        slot_done(s);
    }
    if (b->mb != NULL) {
        run_jobs(b);
    }
    return broken;
}

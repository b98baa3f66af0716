// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// What one protected packet costs: libsrtp2, and the two back ends of srtp_batch, by batch size,
// with 1 key and with 1000. What one unprotected packet costs: the two back ends of srtp_transport,
// with 1 SSRC and with all that a transport takes. CPU nanoseconds of this thread per packet, the
// best of seven rounds.
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/mem.h"
#include "sfu/transport/srtp_batch.h"
#include "sfu/transport/srtp_transport.h"

#define KEYS_MAX 1000
#define ROUNDS 7
#define PACKETS_PER_ROUND 16384

static struct srtp_master masters[KEYS_MAX];
static struct srtp_egress *egress[KEYS_MAX];
static srtp_t sessions[KEYS_MAX];
static struct outbox out;
static uint16_t
    session_sn[KEYS_MAX]; // libsrtp2 follows no jumps, so each session counts for itself
static uint16_t batch_sn;
static size_t next_key;

static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static void sink(struct outbox *o, void *user)
{
    (void)user;
    o->count = 0;
}

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS_MAX; i++) {
        uint8_t key[30];
        srtp_policy_t policy = {0};
        for (size_t k = 0; k < sizeof(key); k++) {
            key[k] = (uint8_t)(i * 31 + k * 7 + (i >> 8));
        }
        memcpy(masters[i].key, key, 16);
        memcpy(masters[i].salt, key + 16, 14);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
        policy.ssrc.type = ssrc_any_outbound;
        policy.key = key;
        policy.window_size = 1024;
        policy.allow_repeat_tx = 1;
        check(srtp_create(&sessions[i], &policy) == srtp_err_status_ok, "srtp_create");
        check(srtp_egress_new(&masters[i], &egress[i]) == 0, "srtp_egress_new");
    }
}

static void write_header(uint8_t *data, uint16_t sn)
{
    struct wr w = wr_init(data, 20);
    wr_be16(&w, 0x9060);
    wr_be16(&w, sn);
    wr_be32(&w, 90000);
    wr_be32(&w, 0x1234);
    wr_be32(&w, 0xbede0001);
    wr_be32(&w, 0x22000000);
}

static void one_flush(struct srtp_batch *b, size_t batch, size_t keys, size_t len)
{
    for (size_t i = 0; i < batch; i++) {
        struct outbox_slot *const s = outbox_reserve(&out);
        size_t const key = next_key++ % keys;
        write_header(s->data, ++batch_sn);
        s->len = (uint16_t)len;
        s->rtp_header_len = 20;
        s->rtp_roc = 0;
        s->protect = OUTBOX_PROTECT_RTP;
        s->srtp = egress[key];
        outbox_commit(&out);
    }
    check(srtp_batch_protect(b, &out) == 0, "srtp_batch_protect");
    out.count = 0;
}

static void one_by_libsrtp(size_t keys, size_t len)
{
    uint8_t *const data = out.slots[0].data;
    int n = (int)len;
    size_t const key = next_key++ % keys;
    write_header(data, ++session_sn[key]);
    check(srtp_protect(sessions[key], data, &n) == srtp_err_status_ok, "srtp_protect");
}

static double measure(struct srtp_batch *b, size_t batch, size_t keys, size_t len)
{
    int64_t best = INT64_MAX;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t const start = cpu_ns();
        for (size_t i = 0; i < PACKETS_PER_ROUND / batch; i++) {
            if (b != NULL) {
                one_flush(b, batch, keys, len);
            } else {
                one_by_libsrtp(keys, len);
            }
        }
        best = MIN(best, cpu_ns() - start);
    }
    return (double)best / (double)(PACKETS_PER_ROUND / batch * batch);
}

static void row(const char *name, struct srtp_batch *b, size_t keys, size_t len)
{
    static const size_t batches[] = {1, 2, 3, 4, 8, 16, 64, 256};
    printf("%-18s %5zu %5zu ", name, len, keys);
    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        if (b == NULL && i > 0) {
            break;
        }
        printf(" %6.0f", measure(b, batches[i], keys, len));
    }
    printf("\n");
}

// ---- unprotect ------------------------------------------------------------------------------

static struct srtp_transport *receiver(enum srtp_ingress backend)
{
    struct srtp_transport *t = NULL;
    struct srtp_keys keys = {0};
    uint8_t junk[64] = {0x80};
    struct bytes_mut p = {junk, sizeof(junk)};
    keys.remote = masters[0];
    check(srtp_transport_new(&keys, backend, &t) == 0, "srtp_transport_new");
    // With its first packet libsrtp2 is initialised, which must be done once.
    check(srtp_transport_unprotect_rtp(t, (mono_t){0}, &p) == SRTP_DROP_AUTH, "junk");
    return t;
}

// Fills the outbox with protected packets, `ssrcs` streams in turn.
static void protect_chunk(struct srtp_batch *b, size_t ssrcs, size_t len, uint32_t *io_sn)
{
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        struct outbox_slot *const s = outbox_reserve(&out);
        *io_sn += i % ssrcs == 0;
        write_header(s->data, (uint16_t)*io_sn);
        s->data[11] = (uint8_t)(i % ssrcs);
        s->len = (uint16_t)len;
        s->rtp_header_len = 20;
        s->rtp_roc = *io_sn >> 16;
        s->protect = OUTBOX_PROTECT_RTP;
        s->srtp = egress[0];
        outbox_commit(&out);
    }
    check(srtp_batch_protect(b, &out) == 0, "srtp_batch_protect");
    out.count = 0;
}

static int64_t unprotect_chunk(struct srtp_transport *t)
{
    int64_t const start = cpu_ns();
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        struct bytes_mut p = {out.slots[i].data, out.slots[i].len};
        check(srtp_transport_unprotect_rtp(t, (mono_t){0}, &p) == SRTP_OK, "unprotect");
    }
    return cpu_ns() - start;
}

static void unprotect_row(const char *name, enum srtp_ingress backend, struct srtp_batch *b,
                          size_t ssrcs, size_t len)
{
    struct srtp_transport *const t = receiver(backend);
    uint32_t sn = 0;
    int64_t best = INT64_MAX;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t sum = 0;
        for (size_t i = 0; i < PACKETS_PER_ROUND / OUTBOX_CAP; i++) {
            protect_chunk(b, ssrcs, len, &sn);
            sum += unprotect_chunk(t);
        }
        best = MIN(best, sum);
    }
    printf("%-18s %5zu %5zu  %6.0f\n", name, len, ssrcs, (double)best / PACKETS_PER_ROUND);
    srtp_transport_free(t);
}

int main(void)
{
    static const size_t lens[] = {120, 1150};
    static const size_t key_counts[] = {1, KEYS_MAX};
    struct srtp_batch *evp = NULL;
    struct srtp_batch *mb = NULL;
    check(outbox_init(&out, sink, NULL) == 0, "outbox_init");
    check(srtp_batch_new(SRTP_BATCH_LIBCRYPTO, &evp) == 0, "srtp_batch_new");
    if (srtp_batch_new(SRTP_BATCH_IPSEC_MB, &mb) != 0) {
        printf("no ipsec-mb here\n");
    }
    srtp_transport_free(receiver(SRTP_INGRESS_LIBSRTP2));
    make_keys();
    printf("%-18s %5s %5s  batch: 1      2      3      4      8     16     64    256   (ns per "
           "packet)\n",
           "", "bytes", "keys");
    for (size_t l = 0; l < ARRAY_LEN(lens); l++) {
        for (size_t k = 0; k < ARRAY_LEN(key_counts); k++) {
            row("libsrtp2", NULL, key_counts[k], lens[l]);
            row(srtp_batch_name(evp), evp, key_counts[k], lens[l]);
            if (mb != NULL) {
                row(srtp_batch_name(mb), mb, key_counts[k], lens[l]);
            }
        }
    }
    printf("\n%-18s %5s %5s  unprotect (ns per packet)\n", "", "bytes", "SSRCs");
    for (size_t l = 0; l < ARRAY_LEN(lens); l++) {
        unprotect_row("libsrtp2", SRTP_INGRESS_LIBSRTP2, evp, 1, lens[l]);
        unprotect_row("libcrypto", SRTP_INGRESS_LIBCRYPTO, evp, 1, lens[l]);
        unprotect_row("libsrtp2", SRTP_INGRESS_LIBSRTP2, evp, SRTP_TRANSPORT_SSRCS_MIN, lens[l]);
        unprotect_row("libcrypto", SRTP_INGRESS_LIBCRYPTO, evp, SRTP_TRANSPORT_SSRCS_MIN, lens[l]);
    }
    return 0;
}

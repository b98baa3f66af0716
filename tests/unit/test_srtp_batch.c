// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: srtp_ipsec_mb
// The reference is libsrtp2 itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <srtp2/srtp.h>

#include "common/base/mem.h"
#include "sfu/transport/srtp_batch.h"
#include "tests/unit/rec_file.h"

#define KEYS 40

static uint32_t seed = 12345;

static uint8_t random_byte(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 16);
}

static void fill_random(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)p)[i] = random_byte();
    }
}

static srtp_t reference(const struct srtp_master *m, srtp_ssrc_type_t type)
{
    uint8_t key[30];
    srtp_policy_t policy = {0};
    srtp_t s = NULL;
    memcpy(key, m->key, 16);
    memcpy(key + 16, m->salt, 14);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
    policy.ssrc.type = type;
    policy.key = key;
    policy.window_size = 1024;
    policy.allow_repeat_tx = 1;
    assert_int_equal(srtp_create(&s, &policy), srtp_err_status_ok);
    return s;
}

static void sink(struct outbox *o, void *user)
{
    (void)user;
    o->count = 0;
}

// Writes a packet of n bytes into the next slot: cc CSRCs, ext words of extension (none if
// negative).
static struct outbox_slot *put(struct outbox *o, struct srtp_egress *e, uint32_t ssrc,
                               uint64_t ext_sn, unsigned cc, int ext, size_t n)
{
    struct outbox_slot *const s = outbox_reserve(o);
    struct wr w = wr_init(s->data, OUTBOX_DATA_CAP);
    wr_u8(&w, (uint8_t)(0x80 | (ext >= 0 ? 0x10 : 0) | cc));
    wr_u8(&w, 96);
    wr_be16(&w, (uint16_t)ext_sn);
    wr_be32(&w, (uint32_t)ext_sn * 3000);
    wr_be32(&w, ssrc);
    for (unsigned i = 0; i < cc; i++) {
        wr_be32(&w, i);
    }
    if (ext >= 0) {
        wr_be16(&w, 0xbede);
        wr_be16(&w, (uint16_t)ext);
        wr_fill(&w, 0x11, (size_t)ext * 4);
    }
    assert_true(wr_ok(&w) && wr_len(&w) <= n);
    s->rtp_header_len = (uint16_t)wr_len(&w);
    while (wr_len(&w) < n) {
        wr_u8(&w, random_byte());
    }
    s->len = (uint16_t)n;
    s->protect = OUTBOX_PROTECT_RTP;
    s->srtp = e;
    s->rtp_roc = srtp_egress_roc(ext_sn);
    outbox_commit(o);
    return s;
}

struct fixture {
    struct srtp_batch *batch;
    struct outbox out;
    struct srtp_master master[KEYS];
    struct srtp_egress *egress[KEYS];
    srtp_t send[KEYS];
    srtp_t receive[KEYS];
};

static void fixture_init(struct fixture *f, enum srtp_batch_backend backend)
{
    assert_int_equal(srtp_batch_new(backend, &f->batch), 0);
    assert_int_equal(outbox_init(&f->out, sink, NULL), 0);
    for (size_t i = 0; i < KEYS; i++) {
        fill_random(&f->master[i], sizeof(f->master[i]));
        assert_int_equal(srtp_egress_new(&f->master[i], &f->egress[i]), 0);
        f->send[i] = reference(&f->master[i], ssrc_any_outbound);
        f->receive[i] = reference(&f->master[i], ssrc_any_inbound);
    }
}

static void fixture_done(struct fixture *f)
{
    for (size_t i = 0; i < KEYS; i++) {
        srtp_egress_free(f->egress[i]);
        srtp_dealloc(f->send[i]);
        srtp_dealloc(f->receive[i]);
    }
    srtp_batch_free(f->batch);
    outbox_done(&f->out);
}

// Protects what is in the outbox and compares with libsrtp's bytes; libsrtp must also accept it.
static void check_against_reference(struct fixture *f, const size_t *key_of)
{
    static uint8_t plain[OUTBOX_CAP][OUTBOX_DATA_CAP];
    static size_t plain_len[OUTBOX_CAP];
    size_t const n = f->out.count;
    for (size_t i = 0; i < n; i++) {
        memcpy(plain[i], f->out.slots[i].data, f->out.slots[i].len);
        plain_len[i] = f->out.slots[i].len;
    }
    assert_int_equal(srtp_batch_protect(f->batch, &f->out), 0);
    for (size_t i = 0; i < n; i++) {
        struct outbox_slot *const s = &f->out.slots[i];
        uint8_t expected[OUTBOX_DATA_CAP];
        int len = (int)plain_len[i];
        memcpy(expected, plain[i], plain_len[i]);
        assert_int_equal(srtp_protect(f->send[key_of[i]], expected, &len), srtp_err_status_ok);
        assert_int_equal(s->len, len);
        assert_int_equal(s->protect, OUTBOX_FINAL);
        assert_null(s->srtp);
        assert_memory_equal(s->data, expected, (size_t)len);
        assert_int_equal(srtp_unprotect(f->receive[key_of[i]], s->data, &len), srtp_err_status_ok);
        assert_int_equal(len, plain_len[i]);
        assert_memory_equal(s->data, plain[i], plain_len[i]);
    }
    f->out.count = 0;
}

static enum srtp_batch_backend backend_of(void **state)
{
    return *(const enum srtp_batch_backend *)*state;
}

#define SKIP_WITHOUT(backend)                                                                      \
    do {                                                                                           \
        struct srtp_batch *probe_ = NULL;                                                          \
        if (srtp_batch_new(backend, &probe_) == -ENOTSUP) {                                        \
            skip();                                                                                \
        }                                                                                          \
        srtp_batch_free(probe_);                                                                   \
    } while (0)

static void every_length_equals_libsrtp(void **state)
{
    static struct fixture f;
    size_t key_of[OUTBOX_CAP];
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    uint64_t sn[KEYS] = {0};
    for (size_t n = 12; n <= 1500; n++) {
        size_t const k = n % KEYS;
        key_of[f.out.count] = k;
        put(&f.out, f.egress[k], 0x1000, ++sn[k], 0, -1, n);
        if (f.out.count == OUTBOX_CAP) {
            check_against_reference(&f, key_of);
        }
    }
    check_against_reference(&f, key_of);
    fixture_done(&f);
}

static void every_batch_size_equals_libsrtp(void **state)
{
    static struct fixture f;
    size_t key_of[OUTBOX_CAP];
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    uint64_t sn = 7;
    for (size_t batch = 1; batch <= OUTBOX_CAP; batch += batch < 70 ? 1 : 31) {
        for (size_t i = 0; i < batch; i++) {
            key_of[i] = i % KEYS;
            put(&f.out, f.egress[i % KEYS], 0x55, sn, 0, 2, 40 + (sn * 37) % 1200);
            sn++;
        }
        check_against_reference(&f, key_of);
    }
    fixture_done(&f);
}

static void extensions_and_csrcs_stay_in_the_clear(void **state)
{
    static struct fixture f;
    size_t key_of[OUTBOX_CAP] = {0};
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    uint64_t sn = 0;
    for (unsigned cc = 0; cc <= 15; cc++) {
        for (int ext = -1; ext < 12; ext++) {
            size_t const header = 12 + cc * 4 + (ext < 0 ? 0 : 4 + (size_t)ext * 4);
            put(&f.out, f.egress[0], 0xabcdef01, sn, cc, ext, header + sn % 90);
            sn++;
        }
    }
    check_against_reference(&f, key_of);
    fixture_done(&f);
}

static void rollover_counter_follows_the_extended_number(void **state)
{
    static struct fixture f;
    size_t key_of[OUTBOX_CAP] = {0};
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    // Three wraps in steps that libsrtp can follow.
    for (uint64_t sn = 30000; sn < 4 * 65536; sn += 5000) {
        put(&f.out, f.egress[0], 0x42, sn, 0, 0, 200);
        check_against_reference(&f, key_of);
    }
    for (uint64_t sn = 4 * 65536 - 20; sn < 4 * 65536 + 20; sn++) {
        put(&f.out, f.egress[0], 0x42, sn, 0, 0, 200);
    }
    check_against_reference(&f, key_of);
    fixture_done(&f);
}

static void final_slots_are_left_alone(void **state)
{
    static struct fixture f;
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    struct addr const a = addr_v4(1, 2, 3, 4, 5);
    assert_int_equal(outbox_add(&f.out, 1, &a, bytes_str("stun")), 0);
    put(&f.out, f.egress[0], 1, 1, 0, -1, 100);
    assert_int_equal(outbox_add(&f.out, 1, &a, bytes_str("dtls")), 0);
    assert_int_equal(srtp_batch_protect(f.batch, &f.out), 0);
    assert_memory_equal(f.out.slots[0].data, "stun", 4);
    assert_int_equal(f.out.slots[0].len, 4);
    assert_int_equal(f.out.slots[1].len, 110);
    assert_int_equal(f.out.slots[2].len, 4);
    fixture_done(&f);
}

static void broken_slots_are_emptied_and_counted(void **state)
{
    static struct fixture f;
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    put(&f.out, NULL, 1, 1, 0, -1, 100);
    put(&f.out, f.egress[0], 1, 2, 0, -1, 100)->rtp_header_len = 101;
    put(&f.out, f.egress[0], 1, 3, 0, -1, 100)->rtp_header_len = 8;
    put(&f.out, f.egress[0], 1, 4, 0, -1, OUTBOX_DATA_CAP - 4);
    put(&f.out, f.egress[0], 1, 5, 0, -1, 100);
    assert_int_equal(srtp_batch_protect(f.batch, &f.out), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f.out.slots[i].len, 0);
    }
    assert_int_equal(f.out.slots[4].len, 110);
    fixture_done(&f);
}

static void protects_recorded_packets_like_the_browser(void **state)
{
    static const char *const files[] = {"tests/data/transport/srtp_chromium.rec",
                                        "tests/data/transport/srtp_firefox.rec"};
    SKIP_WITHOUT(backend_of(state));
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        static struct rec_file f;
        static struct outbox out;
        struct srtp_batch *batch = NULL;
        struct srtp_egress *client = NULL;
        struct srtp_master m;
        struct bytes d, packet = {NULL, 0};
        struct bytes expected[OUTBOX_CAP];
        char type = 0, packet_type = 0;
        assert_int_equal(srtp_batch_new(backend_of(state), &batch), 0);
        assert_int_equal(outbox_init(&out, sink, NULL), 0);
        rec_file_open(&f, files[i]);
        while (rec_file_next(&f, &type, &d)) {
            if (type == 'K') {
                memcpy(m.key, d.p, 16);
                memcpy(m.salt, d.p + 16, 14);
                assert_int_equal(srtp_egress_new(&m, &client), 0);
            } else if (type == 'C' || type == 'S') {
                packet = d;
                packet_type = type;
            } else if (type == 'P' && packet_type == 'C' && !(d.p[1] >= 192 && d.p[1] <= 223)) {
                struct outbox_slot *const s = outbox_reserve(&out);
                memcpy(s->data, d.p, d.n);
                s->len = (uint16_t)d.n;
                s->protect = OUTBOX_PROTECT_RTP;
                s->srtp = client;
                s->rtp_roc = 0;
                size_t header = 12 + 4u * (d.p[0] & 15);
                if (d.p[0] & 0x10) {
                    header += 4 + 4u * (size_t)(d.p[header + 2] << 8 | d.p[header + 3]);
                }
                s->rtp_header_len = (uint16_t)header;
                expected[out.count] = packet;
                outbox_commit(&out);
            }
        }
        assert_true(out.count >= 10);
        assert_int_equal(srtp_batch_protect(batch, &out), 0);
        for (size_t k = 0; k < out.count; k++) {
            assert_int_equal(out.slots[k].len, expected[k].n);
            assert_memory_equal(out.slots[k].data, expected[k].p, expected[k].n);
        }
        srtp_egress_free(client);
        srtp_batch_free(batch);
        outbox_done(&out);
    }
}

static void packet_path_allocates_nothing(void **state)
{
    static struct fixture f;
    SKIP_WITHOUT(backend_of(state));
    fixture_init(&f, backend_of(state));
    put(&f.out, f.egress[0], 1, 1, 0, -1, 100);
    assert_int_equal(srtp_batch_protect(f.batch, &f.out), 0);
    uint64_t const before = mem_thread_allocations();
    for (uint64_t sn = 2; sn < 50; sn++) {
        f.out.count = 0;
        put(&f.out, f.egress[0], 1, sn, 0, -1, 100);
        assert_int_equal(srtp_batch_protect(f.batch, &f.out), 0);
    }
    assert_int_equal(mem_thread_allocations(), before);
    fixture_done(&f);
}

int main(void)
{
    static enum srtp_batch_backend libcrypto = SRTP_BATCH_LIBCRYPTO;
    static enum srtp_batch_backend ipsec_mb = SRTP_BATCH_IPSEC_MB;
    static enum srtp_batch_backend automatic = SRTP_BATCH_AUTO;
#define WITH(test, how)                                                                            \
    {                                                                                              \
#test " (" #how ")", test, NULL, NULL, &(how)                                              \
    }
#define WITH_ALL(test) WITH(test, libcrypto), WITH(test, ipsec_mb), WITH(test, automatic)
    const struct CMUnitTest tests[] = {
        WITH_ALL(every_length_equals_libsrtp),
        WITH_ALL(every_batch_size_equals_libsrtp),
        WITH_ALL(extensions_and_csrcs_stay_in_the_clear),
        WITH_ALL(rollover_counter_follows_the_extended_number),
        WITH_ALL(final_slots_are_left_alone),
        WITH_ALL(broken_slots_are_emptied_and_counted),
        WITH_ALL(protects_recorded_packets_like_the_browser),
        WITH_ALL(packet_path_allocates_nothing),
    };
    assert_int_equal(srtp_init(), srtp_err_status_ok);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: srtcp_session
// The peer is played by libsrtp2 and by recorded packets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <srtp2/srtp.h>

#include "sfu/transport/srtp_transport.h"
#include "tests/unit/rec_file.h"

static const struct srtp_keys keys = {
    .local = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
              {1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 7}},
    .remote = {{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6},
               {2, 4, 8, 16, 32, 64, 128, 1, 3, 9, 27, 81, 243, 5}},
};

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
    policy.window_size = 0x7fff; // the sender must not be the one who refuses
    policy.allow_repeat_tx = 1;
    assert_int_equal(srtp_create(&s, &policy), srtp_err_status_ok);
    return s;
}

// Every test runs over both back ends; its state is which.
static enum srtp_ingress backend_of(void **state)
{
    return *(const enum srtp_ingress *)*state;
}

struct fixture {
    struct srtp_transport *t;
    srtp_t peer_out;
    srtp_t peer_in;
    uint8_t buf[2048];
};

static struct fixture *setup(void **state)
{
    static struct fixture f;
    assert_int_equal(srtp_transport_new(&keys, backend_of(state), &f.t), 0);
    f.peer_out = reference(&keys.remote, ssrc_any_outbound);
    f.peer_in = reference(&keys.local, ssrc_any_inbound);
    return &f;
}

static void teardown(struct fixture *f)
{
    srtp_transport_free(f->t);
    srtp_dealloc(f->peer_out);
    srtp_dealloc(f->peer_in);
}

static size_t make_rtp(uint8_t *buf, uint32_t ssrc, uint16_t seq, size_t payload)
{
    struct wr w = wr_init(buf, 2000);
    wr_be16(&w, 0x8060);
    wr_be16(&w, seq);
    wr_be32(&w, 1000);
    wr_be32(&w, ssrc);
    wr_fill(&w, (uint8_t)seq, payload);
    return wr_len(&w);
}

// The peer sends (ssrc, seq); what became of it.
static enum srtp_drop send_rtp(struct fixture *f, int64_t ms, uint32_t ssrc, uint16_t seq)
{
    int len = (int)make_rtp(f->buf, ssrc, seq, 100);
    assert_int_equal(srtp_protect(f->peer_out, f->buf, &len), srtp_err_status_ok);
    struct bytes_mut p = {f->buf, (size_t)len};
    enum srtp_drop const d = srtp_transport_unprotect_rtp(f->t, (mono_t){ms * 1000}, &p);
    if (d == SRTP_OK) {
        uint8_t plain[2000];
        assert_int_equal(p.n, make_rtp(plain, ssrc, seq, 100));
        assert_memory_equal(plain, p.p, p.n);
    }
    return d;
}

static void decrypts_what_libsrtp_sends(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(send_rtp(f, 0, 7 + i % 3, (uint16_t)(64000 + i / 3)),
                         SRTP_OK); // no wrap yet: 64999
    }
    for (uint32_t i = 65000; i < 67000; i++) {
        assert_int_equal(send_rtp(f, 0, 7, (uint16_t)i), SRTP_OK);
    }
    assert_int_equal(srtp_transport_counters(f->t)[SRTP_OK], 5000);
    teardown(f);
}

static void refuses_replays_and_forgeries_and_counts_them(void **state)
{
    struct fixture *const f = setup(state);
    assert_int_equal(send_rtp(f, 0, 7, 2000), SRTP_OK);
    assert_int_equal(send_rtp(f, 0, 7, 2000), SRTP_DROP_REPLAY);
    assert_int_equal(send_rtp(f, 0, 7, 1990), SRTP_OK);        // late, first time
    assert_int_equal(send_rtp(f, 0, 7, 2000 - 1023), SRTP_OK); // just inside the window
    assert_int_equal(send_rtp(f, 0, 7, 2000 - 1100), SRTP_DROP_OLD);
    int len = (int)make_rtp(f->buf, 7, 2001, 50);
    assert_int_equal(srtp_protect(f->peer_out, f->buf, &len), srtp_err_status_ok);
    f->buf[20] ^= 1;
    struct bytes_mut p = {f->buf, (size_t)len};
    assert_int_equal(srtp_transport_unprotect_rtp(f->t, (mono_t){0}, &p), SRTP_DROP_AUTH);
    assert_int_equal(p.n, (size_t)len);
    p.n = 15;
    assert_int_equal(srtp_transport_unprotect_rtp(f->t, (mono_t){0}, &p), SRTP_DROP_MALFORMED);
    const uint64_t *const c = srtp_transport_counters(f->t);
    assert_int_equal(c[SRTP_DROP_REPLAY], 1);
    assert_int_equal(c[SRTP_DROP_OLD], 1);
    assert_int_equal(c[SRTP_DROP_AUTH], 1);
    assert_int_equal(c[SRTP_DROP_MALFORMED], 1);
    teardown(f);
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *const f = setup(state);
    int len = (int)make_rtp(f->buf, 7, 1, 50);
    f->buf[0] |= 0x1f; // CSRCs and extension that are not there
    for (size_t n = 0; n < (size_t)len; n++) {
        struct bytes_mut p = {f->buf, n};
        assert_int_not_equal(srtp_transport_unprotect_rtp(f->t, (mono_t){0}, &p), SRTP_OK);
        p.n = n;
        assert_int_not_equal(srtp_transport_unprotect_rtcp(f->t, &p), SRTP_OK);
    }
    teardown(f);
}

static void number_of_ssrcs_is_bounded(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < SRTP_TRANSPORT_SSRCS_MIN; i++) {
        assert_int_equal(send_rtp(f, (int64_t)i, 100 + i, 1), SRTP_OK);
    }
    assert_int_equal(send_rtp(f, 1000, 999, 1), SRTP_DROP_SSRC_LIMIT);
    // Idle for a minute and not bound: the first ones make room. 100 is bound, so 101 goes.
    assert_int_equal(srtp_transport_bind_ssrc(f->t, 100), 0);
    assert_int_equal(send_rtp(f, SRTP_TRANSPORT_IDLE_MS + 1, 999, 2), SRTP_OK);
    assert_int_equal(send_rtp(f, SRTP_TRANSPORT_IDLE_MS + 1, 100, 2), SRTP_OK);
    assert_int_equal(send_rtp(f, SRTP_TRANSPORT_IDLE_MS + 1, 1000, 2), SRTP_DROP_SSRC_LIMIT);
    teardown(f);
}

// A client that publishes again and again, each time under a fresh SSRC.
static void released_ssrcs_make_room_at_once(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < SRTP_TRANSPORT_SSRCS_MAX; i++) {
        assert_int_equal(send_rtp(f, (int64_t)i, 100 + i, 1), SRTP_OK);
        assert_int_equal(srtp_transport_bind_ssrc(f->t, 100 + i), 0);
    }
    assert_int_equal(send_rtp(f, 3000, 9999, 1), SRTP_DROP_SSRC_LIMIT);
    srtp_transport_release_ssrc(f->t, 107);
    assert_int_equal(send_rtp(f, 3001, 107, 2), SRTP_OK); // sends again: kept
    assert_int_equal(send_rtp(f, 3002, 9999, 2), SRTP_DROP_SSRC_LIMIT);
    srtp_transport_release_ssrc(f->t, 107);
    assert_int_equal(send_rtp(f, 3003, 9999, 3), SRTP_OK);
    assert_int_equal(srtp_transport_bind_ssrc(f->t, 9999), 0);
    srtp_transport_release_ssrc(f->t, 1);
    teardown(f);
}

static void bound_ssrcs_are_never_evicted(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < SRTP_TRANSPORT_SSRCS_MAX; i++) {
        assert_int_equal(srtp_transport_bind_ssrc(f->t, i), 0);
    }
    assert_int_equal(srtp_transport_bind_ssrc(f->t, 0), 0);
    assert_int_equal(srtp_transport_bind_ssrc(f->t, 9999), -ENOBUFS);
    assert_int_equal(send_rtp(f, 3600 * 1000, 9999, 1), SRTP_DROP_SSRC_LIMIT);
    assert_int_equal(send_rtp(f, 3600 * 1000, 5, 1), SRTP_OK);
    teardown(f);
}

static void restarted_sender_is_accepted_after_a_while(void **state)
{
    struct fixture *const f = setup(state);
    assert_int_equal(send_rtp(f, 0, 7, 20000), SRTP_OK);
    srtp_dealloc(f->peer_out); // the sender starts anew
    f->peer_out = reference(&keys.remote, ssrc_any_outbound);
    int refused = 0;
    uint16_t seq = 100;
    while (send_rtp(f, refused * 20, 7, seq++) != SRTP_OK) {
        refused++;
        assert_true(refused < 60);
    }
    assert_true(refused > 50);
    teardown(f);
}

static void flood_of_old_packets_does_not_reset_a_live_stream(void **state)
{
    struct fixture *const f = setup(state);
    for (uint16_t i = 0; i < 40; i++) {
        assert_int_equal(send_rtp(f, i * 20, 7, (uint16_t)(20000 + i)), SRTP_OK);
        for (uint16_t k = 0; k < 10; k++) {
            uint8_t copy[200];
            size_t const n = make_rtp(copy, 7, (uint16_t)(10 * i + k), 150);
            struct bytes_mut p = {copy, n};
            assert_int_equal(srtp_transport_unprotect_rtp(f->t, (mono_t){i * 20000}, &p),
                             SRTP_DROP_OLD);
        }
    }
    assert_int_equal(send_rtp(f, 1000, 7, 20000), SRTP_DROP_REPLAY);
    teardown(f);
}

// ---- RTCP -----------------------------------------------------------------------------------

static size_t make_rtcp(uint8_t *buf, uint32_t ssrc, size_t words)
{
    struct wr w = wr_init(buf, 1500);
    wr_be16(&w, 0x80c9);
    wr_be16(&w, (uint16_t)(words + 1));
    wr_be32(&w, ssrc);
    wr_fill(&w, 0x5a, words * 4);
    return wr_len(&w);
}

static void libsrtp_accepts_our_rtcp(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t plain[1500];
        size_t const n = make_rtcp(f->buf, 1 + i % 3, i);
        size_t len = n;
        memcpy(plain, f->buf, n);
        assert_int_equal(srtp_transport_protect_rtcp(f->t, f->buf, sizeof(f->buf), &len), 0);
        assert_int_equal(len, n + SRTP_RTCP_OVERHEAD);
        int back = (int)len;
        assert_int_equal(srtp_unprotect_rtcp(f->peer_in, f->buf, &back), srtp_err_status_ok);
        assert_int_equal(back, n);
        assert_memory_equal(f->buf, plain, n);
    }
    teardown(f);
}

static void protecting_rtcp_needs_room_and_a_header(void **state)
{
    struct fixture *const f = setup(state);
    size_t len = make_rtcp(f->buf, 1, 1);
    assert_int_equal(srtp_transport_protect_rtcp(f->t, f->buf, len + SRTP_RTCP_OVERHEAD - 1, &len),
                     -ENOBUFS);
    assert_int_equal(len, 12);
    len = 7;
    assert_int_equal(srtp_transport_protect_rtcp(f->t, f->buf, sizeof(f->buf), &len), -EINVAL);
    teardown(f);
}

static enum srtp_drop give_rtcp(struct fixture *f, const uint8_t *p, size_t n)
{
    uint8_t copy[1600];
    memcpy(copy, p, n);
    struct bytes_mut m = {copy, n};
    return srtp_transport_unprotect_rtcp(f->t, &m);
}

static void decrypts_the_rtcp_of_libsrtp(void **state)
{
    struct fixture *const f = setup(state);
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t plain[1500];
        // More senders than places in the replay table.
        size_t const n = make_rtcp(f->buf, i % 100, i);
        int len = (int)n;
        memcpy(plain, f->buf, n);
        assert_int_equal(srtp_protect_rtcp(f->peer_out, f->buf, &len), srtp_err_status_ok);
        for (int k = 0; k < len; k += 7) { // any changed bit is noticed
            f->buf[k] ^= 4;
            assert_int_not_equal(give_rtcp(f, f->buf, (size_t)len), SRTP_OK);
            f->buf[k] ^= 4;
        }
        struct bytes_mut p = {f->buf, (size_t)len};
        assert_int_equal(srtp_transport_unprotect_rtcp(f->t, &p), SRTP_OK);
        assert_int_equal(p.n, n);
        assert_memory_equal(f->buf, plain, n);
    }
    teardown(f);
}

static void replayed_rtcp_is_refused(void **state)
{
    struct fixture *const f = setup(state);
    static uint8_t sent[100][64];
    size_t len[100];
    for (size_t i = 0; i < 100; i++) {
        int n = (int)make_rtcp(sent[i], 5, 2);
        assert_int_equal(srtp_protect_rtcp(f->peer_out, sent[i], &n), srtp_err_status_ok);
        len[i] = (size_t)n;
    }
    assert_int_equal(give_rtcp(f, sent[90], len[90]), SRTP_OK);
    assert_int_equal(give_rtcp(f, sent[90], len[90]), SRTP_DROP_REPLAY);
    assert_int_equal(give_rtcp(f, sent[89], len[89]), SRTP_OK);
    assert_int_equal(give_rtcp(f, sent[89], len[89]), SRTP_DROP_REPLAY);
    assert_int_equal(give_rtcp(f, sent[27], len[27]), SRTP_OK);
    assert_int_equal(give_rtcp(f, sent[26], len[26]), SRTP_DROP_OLD);
    assert_int_equal(give_rtcp(f, sent[99], len[99]), SRTP_OK);
    assert_int_equal(give_rtcp(f, sent[90], len[90]), SRTP_DROP_REPLAY);
    teardown(f);
}

// ---- recordings -----------------------------------------------------------------------------

// Both directions of a recorded call: we are the server for what the client sent, and the client
// for the rest.
static void decrypts_recording(const char *path, enum srtp_ingress backend)
{
    static struct rec_file f;
    struct srtp_keys k = {0};
    struct srtp_transport *server = NULL;
    struct srtp_transport *client = NULL;
    uint8_t buf[2048];
    struct bytes_mut p = {NULL, 0};
    struct bytes d;
    char type = 0;
    int count = 0;
    rec_file_open(&f, path);
    while (rec_file_next(&f, &type, &d)) {
        if (type == 'K') {
            memcpy(&k.remote, d.p, sizeof(k.remote));
        } else if (type == 'k') {
            struct srtp_keys swapped;
            memcpy(&k.local, d.p, sizeof(k.local));
            swapped.local = k.remote;
            swapped.remote = k.local;
            assert_int_equal(srtp_transport_new(&k, backend, &server), 0);
            assert_int_equal(srtp_transport_new(&swapped, backend, &client), 0);
        } else if (type == 'C' || type == 'S') {
            struct srtp_transport *const t = type == 'C' ? server : client;
            memcpy(buf, d.p, d.n);
            p = (struct bytes_mut){buf, d.n};
            bool const rtcp = d.p[1] >= 192 && d.p[1] <= 223;
            assert_int_equal(rtcp ? srtp_transport_unprotect_rtcp(t, &p)
                                  : srtp_transport_unprotect_rtp(t, (mono_t){0}, &p),
                             SRTP_OK);
        } else {
            assert_int_equal(p.n, d.n);
            assert_memory_equal(p.p, d.p, d.n);
            count++;
        }
    }
    assert_true(count >= 20);
    srtp_transport_free(server);
    srtp_transport_free(client);
}

static void decrypts_recorded_chromium(void **state)
{
    decrypts_recording("tests/data/transport/srtp_chromium.rec", backend_of(state));
}

static void decrypts_recorded_firefox(void **state)
{
    decrypts_recording("tests/data/transport/srtp_firefox.rec", backend_of(state));
}

// libsrtp2 may be initialised only once, and the transport does it with its first packet; the
// reference needs it earlier.
static void initialise_library(void)
{
    struct srtp_transport *t = NULL;
    uint8_t junk[64] = {0x80};
    struct bytes_mut p = {junk, sizeof(junk)};
    if (srtp_transport_new(&keys, SRTP_INGRESS_LIBSRTP2, &t) < 0 ||
        srtp_transport_unprotect_rtp(t, (mono_t){0}, &p) != SRTP_DROP_AUTH) {
        abort();
    }
    srtp_transport_free(t);
}

int main(void)
{
    static enum srtp_ingress libcrypto = SRTP_INGRESS_LIBCRYPTO;
    static enum srtp_ingress libsrtp2 = SRTP_INGRESS_LIBSRTP2;
#define WITH(test, how)                                                                            \
    {                                                                                              \
#test " (" #how ")", test, NULL, NULL, &(how)                                              \
    }
#define WITH_BOTH(test) WITH(test, libcrypto), WITH(test, libsrtp2)
    const struct CMUnitTest tests[] = {
        WITH_BOTH(decrypts_what_libsrtp_sends),
        WITH_BOTH(refuses_replays_and_forgeries_and_counts_them),
        WITH_BOTH(every_truncation_is_refused),
        WITH_BOTH(number_of_ssrcs_is_bounded),
        WITH_BOTH(released_ssrcs_make_room_at_once),
        WITH_BOTH(bound_ssrcs_are_never_evicted),
        WITH_BOTH(restarted_sender_is_accepted_after_a_while),
        WITH_BOTH(flood_of_old_packets_does_not_reset_a_live_stream),
        WITH_BOTH(libsrtp_accepts_our_rtcp),
        WITH_BOTH(protecting_rtcp_needs_room_and_a_header),
        WITH_BOTH(decrypts_the_rtcp_of_libsrtp),
        WITH_BOTH(replayed_rtcp_is_refused),
        WITH_BOTH(decrypts_recorded_chromium),
        WITH_BOTH(decrypts_recorded_firefox),
    };
    initialise_library();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: srtp_twins
// The session alone, and packet by packet against libsrtp2 (srtp_twins aborts where they differ).
// Recorded packets of browsers go through both in test_srtp_transport.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "sfu/transport/srtp_session.h"
#include "tests/support/srtp_twins.h"

static struct srtp_twins twins;

static int start(void **state)
{
    (void)state;
    srtp_twins_init(&twins);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    srtp_twins_done(&twins);
    return 0;
}

static enum srtp_drop send_plain(int64_t ms, uint32_t ssrc, uint64_t index)
{
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    struct srtp_twins_packet const p = {
        .ssrc = ssrc, .index = index, .ext_words = -1, .payload = 60};
    size_t const n = srtp_twins_make(&twins, &p, buf);
    return srtp_twins_give(&twins, (mono_t){ms * 1000}, bytes_of(buf, n));
}

// ---- the session alone ----------------------------------------------------------------------

static void guesses_the_index_as_rfc_3711_does(void **state)
{
    (void)state;
    static const struct {
        uint64_t highest;
        uint16_t seq;
        uint64_t index;
    } rows[] = {
        {0x00000, 0x0000, 0x00000}, {0x00000, 0x8000, 0x08000}, {0x00000, 0x8001, 0x08001},
        {0x00005, 0xffff, 0x0ffff}, // nothing before ROC 0
        {0x07fff, 0xffff, 0x0ffff}, {0x08000, 0x0000, 0x00000}, {0x08001, 0x0000, 0x10000},
        {0x0ffff, 0x0000, 0x10000}, {0x0ffff, 0x7ffe, 0x17ffe}, {0x0ffff, 0x7fff, 0x07fff},
        {0x10000, 0xffff, 0x0ffff}, {0x10000, 0x8001, 0x08001}, {0x10000, 0x8000, 0x18000},
        {0x17fff, 0xffff, 0x1ffff}, {0x28001, 0x0000, 0x30000}, {0x30002, 0xfffe, 0x2fffe},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(srtp_session_guess(rows[i].highest, rows[i].seq), rows[i].index);
    }
    assert_int_equal(srtp_session_guess(SRTP_SESSION_INDEX_MAX - 1, 0xffff),
                     SRTP_SESSION_INDEX_MAX);
    assert_true(srtp_session_guess(SRTP_SESSION_INDEX_MAX, 0) > SRTP_SESSION_INDEX_MAX);
}

static void header_ends_where_encryption_starts(void **state)
{
    (void)state;
    uint8_t buf[200] = {0x80, 96, 0x12, 0x34, 0, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd};
    struct srtp_session_header h = {0};
    for (unsigned csrcs = 0; csrcs < 16; csrcs++) {
        for (int ext = -1; ext < 5; ext++) {
            size_t const fixed = 12 + (size_t)csrcs * 4;
            size_t const len = fixed + (ext < 0 ? 0 : 4 + (size_t)ext * 4);
            buf[0] = (uint8_t)(0x80 | (ext < 0 ? 0 : 0x10) | csrcs);
            if (ext >= 0) {
                struct wr w = wr_init(buf + fixed, 4);
                wr_be32(&w, 0xbede0000 | (uint32_t)ext);
            }
            assert_true(srtp_session_parse(bytes_of(buf, len + 10), &h));
            assert_int_equal(h.len, len);
            assert_int_equal(h.ssrc, 0xaabbccdd);
            assert_int_equal(h.seq, 0x1234);
            for (size_t n = 0; n < len + 10; n++) {
                assert_false(srtp_session_parse(bytes_of(buf, n), &h));
            }
        }
    }
}

static void refuses_other_versions_cryptex_and_giants(void **state)
{
    (void)state;
    static uint8_t buf[70000] = {0x90};
    struct srtp_session_header h;
    static const uint16_t profiles[] = {0xc0de, 0xc2de};
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
        struct wr w = wr_init(buf + 12, 4);
        wr_be16(&w, profiles[i]);
        assert_false(srtp_session_parse(bytes_of(buf, 100), &h));
    }
    buf[12] = 0xbe;
    assert_true(srtp_session_parse(bytes_of(buf, 100), &h));
    assert_true(srtp_session_parse(bytes_of(buf, UINT16_MAX), &h));
    assert_false(srtp_session_parse(bytes_of(buf, UINT16_MAX + 1), &h));
    for (unsigned version = 0; version < 4; version++) {
        buf[0] = (uint8_t)(version << 6);
        assert_int_equal(srtp_session_parse(bytes_of(buf, 100), &h), version == 2);
    }
}

// The sender's keys of srtp_twins.
static struct srtp_session *lone_session(void)
{
    static const struct srtp_master remote = {{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6},
                                              {2, 4, 8, 16, 32, 64, 128, 1, 3, 9, 27, 81, 243, 5}};
    struct srtp_session *s = NULL;
    assert_int_equal(srtp_session_new(&remote, &s), 0);
    return s;
}

// forge: flips a bit of the tag.
static enum srtp_drop give_lone(struct srtp_session *s, uint32_t ssrc, uint64_t index, bool forge)
{
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    struct srtp_session_header h;
    struct srtp_twins_packet const p = {.ssrc = ssrc, .index = index, .ext_words = 1, .payload = 9};
    size_t const n = srtp_twins_make(&twins, &p, buf);
    struct bytes_mut m = {buf, n};
    buf[n - 1] ^= forge;
    assert_true(srtp_session_parse(bytes_of(buf, n), &h));
    return srtp_session_unprotect(s, &h, &m);
}

static void only_good_packets_take_a_place(void **state)
{
    (void)state;
    struct srtp_session *const s = lone_session();
    for (uint32_t i = 0; i < 3 * SRTP_SESSION_STREAMS; i++) {
        assert_int_equal(give_lone(s, i, 40000, true), SRTP_DROP_AUTH);
    }
    for (uint32_t i = 0; i < SRTP_SESSION_STREAMS; i++) {
        assert_int_equal(give_lone(s, i, 5, false), SRTP_OK);
    }
    assert_int_equal(give_lone(s, 1000, 5, true), SRTP_DROP_AUTH);
    assert_int_equal(give_lone(s, 1000, 5, false), SRTP_DROP_SSRC_LIMIT);
    srtp_session_forget(s, 2000); // has none
    srtp_session_forget(s, 7);
    assert_int_equal(give_lone(s, 1000, 5, false), SRTP_OK);
    assert_int_equal(give_lone(s, 7, 6, false), SRTP_DROP_SSRC_LIMIT);
    // The others are where they were.
    for (uint32_t i = 0; i < SRTP_SESSION_STREAMS; i++) {
        assert_int_equal(give_lone(s, i, 5, false),
                         i == 7 ? SRTP_DROP_SSRC_LIMIT : SRTP_DROP_REPLAY);
    }
    srtp_session_free(s);
}

static void forged_packets_move_no_window(void **state)
{
    (void)state;
    struct srtp_session *const s = lone_session();
    assert_int_equal(give_lone(s, 1, 65535, false), SRTP_OK);
    assert_int_equal(give_lone(s, 1, 65536 + 30000, true), SRTP_DROP_AUTH);
    assert_int_equal(give_lone(s, 1, 65534, true), SRTP_DROP_AUTH);
    assert_int_equal(give_lone(s, 1, 65534, false), SRTP_OK);
    assert_int_equal(give_lone(s, 1, 65535 - 1023, false), SRTP_OK);
    assert_int_equal(give_lone(s, 1, 65535 - 1024, false), SRTP_DROP_OLD);
    assert_int_equal(give_lone(s, 1, 65536, false), SRTP_OK);
    assert_int_equal(give_lone(s, 1, 65535 - 1023, false), SRTP_DROP_OLD);
    srtp_session_free(s);
}

static size_t library_allocations;

static void *count_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    library_allocations++;
    return malloc(n);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    library_allocations++;
    return realloc(p, n);
}

static void just_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void packet_path_allocates_nothing(void **state)
{
    (void)state;
    struct srtp_session *const s = lone_session();
    assert_int_equal(give_lone(s, 0, 1, false), SRTP_OK); // and the sender's first
    assert_true(library_allocations > 0);
    uint64_t const ours = mem_thread_allocations();
    size_t const library = library_allocations;
    for (uint32_t i = 2; i < 500; i++) {
        assert_int_equal(give_lone(s, i % SRTP_SESSION_STREAMS, i, false), SRTP_OK);
        assert_int_equal(give_lone(s, i % SRTP_SESSION_STREAMS, i, false), SRTP_DROP_REPLAY);
        assert_int_equal(give_lone(s, i % SRTP_SESSION_STREAMS, i + 1, true), SRTP_DROP_AUTH);
    }
    assert_int_equal(mem_thread_allocations(), ours);
    assert_int_equal(library_allocations, library);
    srtp_session_free(s);
}

// ---- against libsrtp2 -----------------------------------------------------------------------

static void every_flipped_bit_and_every_truncation(void **state)
{
    (void)state;
    static const struct srtp_twins_packet shapes[] = {
        {.ssrc = 1, .index = 70, .csrcs = 0, .ext_words = -1, .payload = 0},
        {.ssrc = 2, .index = 70, .csrcs = 0, .ext_words = 0, .payload = 1},
        {.ssrc = 3, .index = 70, .csrcs = 2, .ext_words = 2, .payload = 33},
        {.ssrc = 4, .index = 70, .csrcs = 15, .ext_words = -1, .payload = 16},
    };
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    for (size_t k = 0; k < ARRAY_LEN(shapes); k++) {
        size_t const n = srtp_twins_make(&twins, &shapes[k], buf);
        for (int again = 0; again < 2; again++) { // for an SSRC that is new, and one that is known
            for (size_t bit = 0; bit < n * 8; bit++) {
                buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
                assert_int_not_equal(srtp_twins_give(&twins, (mono_t){0}, bytes_of(buf, n)),
                                     SRTP_OK);
                buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            for (size_t len = 0; len < n; len++) {
                assert_int_not_equal(srtp_twins_give(&twins, (mono_t){0}, bytes_of(buf, len)),
                                     SRTP_OK);
            }
            assert_int_equal(srtp_twins_give(&twins, (mono_t){0}, bytes_of(buf, n)),
                             again == 0 ? SRTP_OK : SRTP_DROP_REPLAY);
        }
    }
}

static void every_length_decrypts_alike(void **state)
{
    (void)state;
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    for (size_t len = 0; len <= 1400; len++) {
        struct srtp_twins_packet const p = {.ssrc = 1,
                                            .index = len,
                                            .csrcs = (uint8_t)(len % 3),
                                            .ext_words = (int)(len % 4) - 1,
                                            .payload = len};
        size_t const n = srtp_twins_make(&twins, &p, buf);
        assert_int_equal(srtp_twins_give(&twins, (mono_t){0}, bytes_of(buf, n)), SRTP_OK);
        for (size_t i = twins.plain_len - len; i < twins.plain_len; i++) {
            assert_int_equal(twins.plain[i], (uint8_t)(len + 1));
        }
    }
}

// Every distance to the highest number that decides something, from every such number.
static void edges_of_window_and_rollover(void **state)
{
    (void)state;
    static const int64_t edges[] = {0,      1,      1022,   1023,   1024,   1025,   0x7ffe, 0x7fff,
                                    0x8000, 0x8001, 0x8002, 0xfbff, 0xfc00, 0xffff, 0x10000};
    static const uint64_t highs[] = {0,      1,       1023,    0x7fff,  0x8000,  0x8001,  0xfffe,
                                     0xffff, 0x10000, 0x10001, 0x17fff, 0x18000, 0x1ffff, 0x20400};
    for (size_t h = 0; h < ARRAY_LEN(highs); h++) {
        for (size_t k = 0; k < 2 * ARRAY_LEN(edges); k++) {
            int64_t const by = k % 2 == 0 ? edges[k / 2] : -edges[k / 2];
            if (by < 0 && highs[h] < (uint64_t)-by) {
                continue;
            }
            srtp_twins_done(&twins);
            srtp_twins_init(&twins);
            for (uint64_t i = 0; i < highs[h]; i += 0x7000) { // walk there
                assert_int_equal(send_plain(0, 1, i), SRTP_OK);
            }
            assert_true(send_plain(0, 1, highs[h]) != SRTP_DROP_AUTH);
            (void)send_plain(0, 1, highs[h] + (uint64_t)by);
            (void)send_plain(0, 1, highs[h] + (uint64_t)by); // again
            (void)send_plain(0, 1, highs[h] + 1);
        }
    }
}

static void restarted_senders_are_taken_up_alike(void **state)
{
    (void)state;
    for (uint32_t ssrc = 1; ssrc < 4; ssrc++) {
        int64_t const gap = ssrc == 3 ? 1 : 20; // too quick for a restart
        for (uint64_t i = 60000; i < 70000; i += 100) {
            assert_int_equal(send_plain(0, ssrc, i), SRTP_OK);
        }
        int refused = 0;
        uint64_t index = 1000 * ssrc;
        while (refused < 200 && send_plain(refused * gap, ssrc, index++) != SRTP_OK) {
            refused++;
        }
        assert_int_equal(refused < 200, ssrc != 3);
    }
}

struct source {
    uint32_t ssrc;
    uint64_t index; // of the next packet
};

struct stream_sim {
    struct rng rng;
    mono_t now;
    struct source sources[90];
    uint32_t count;
    uint32_t step; // numbers skipped at most
    uint8_t old[64][SRTP_TWINS_PACKET_MAX];
    size_t old_len[64];
    size_t verdicts[SRTP_DROP_COUNT];
    size_t past_rollover;
};

static void count_verdict(struct stream_sim *m, struct bytes packet)
{
    m->verdicts[srtp_twins_give(&twins, m->now, packet)]++;
}

static size_t random_packet(struct stream_sim *m, uint32_t ssrc, uint64_t index, uint8_t *ret)
{
    struct srtp_twins_packet const p = {.ssrc = ssrc,
                                        .index = index,
                                        .csrcs = (uint8_t)(rng_below(&m->rng, 8) == 0 ? 3 : 0),
                                        .ext_words = (int)rng_below(&m->rng, 5) - 1,
                                        .payload = rng_below(&m->rng, 200)};
    return srtp_twins_make(&twins, &p, ret);
}

static void damage(struct stream_sim *m, const struct source *s)
{
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    size_t const n = random_packet(m, s->ssrc, s->index, buf);
    if (rng_below(&m->rng, 4) == 0) {
        count_verdict(m, bytes_of(buf, rng_below(&m->rng, (uint32_t)n)));
        return;
    }
    uint32_t const bit = rng_below(&m->rng, (uint32_t)n * 8);
    buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    count_verdict(m, bytes_of(buf, n));
}

// A good packet: the next one, a late one, one from far away.
static void give_next(struct stream_sim *m, struct source *s)
{
    uint8_t buf[SRTP_TWINS_PACKET_MAX];
    uint32_t const kind = rng_below(&m->rng, 100);
    uint64_t index = s->index;
    if (kind < 20 && index > 1200) {
        index -= rng_below(&m->rng, kind < 15 ? 40 : 1200);
    } else if (kind < 22) {
        index += rng_below(&m->rng, 70000); // lost to the receiver if ahead by too much
    } else {
        s->index += 1 + (kind < 30 ? rng_below(&m->rng, m->step) : 0);
    }
    size_t const n = random_packet(m, s->ssrc, index, buf);
    enum srtp_drop const drop = srtp_twins_give(&twins, m->now, bytes_of(buf, n));
    m->verdicts[drop]++;
    m->past_rollover += drop == SRTP_OK && index >= 0x20000;
    uint32_t const slot = rng_below(&m->rng, ARRAY_LEN(m->old));
    memcpy(m->old[slot], buf, n);
    m->old_len[slot] = n;
}

static void step(struct stream_sim *m)
{
    struct source *const s = &m->sources[rng_below(&m->rng, m->count)];
    uint32_t const what = rng_below(&m->rng, 1000);
    uint32_t const slot = rng_below(&m->rng, ARRAY_LEN(m->old));
    m->now = mono_add_ms(m->now, rng_below(&m->rng, 10));
    if (what < 60) {
        count_verdict(m, bytes_of(m->old[slot], m->old_len[slot]));
    } else if (what < 130) {
        damage(m, s);
    } else if (what < 133) {
        s->index = rng_below(&m->rng, 0x10000); // restart
    } else if (what < 136) {
        s->ssrc += 1000; // a new stream from the same sender
        s->index = rng_below(&m->rng, 0x10000);
    } else if (what < 138) {
        m->now = mono_add_ms(m->now, (int64_t)rng_below(&m->rng, 61000));
    } else if (what < 145) {
        (void)srtp_twins_bind(&twins, s->ssrc);
    } else if (what < 150) {
        srtp_twins_release(&twins, s->ssrc);
    } else if (what < 152) {
        for (int i = 0; i < 70; i++) { // a burst that may complete a restart
            m->now = mono_add_ms(m->now, 20);
            give_next(m, s);
        }
    } else {
        give_next(m, s);
    }
}

static void random_streams(uint8_t seed, uint32_t sources, uint32_t skip, struct stream_sim *m)
{
    uint8_t const full_seed[RNG_SEED_LEN] = {seed};
    srtp_twins_done(&twins);
    srtp_twins_init(&twins);
    rng_seed(&m->rng, full_seed);
    m->count = sources;
    m->step = skip;
    for (uint32_t i = 0; i < sources; i++) {
        // Half of them start just before the first wrap.
        uint64_t const first = i % 2 == 0 ? 65500 : rng_below(&m->rng, 0x10000);
        m->sources[i] = (struct source){i + 1, first};
    }
    for (int i = 0; i < 6000; i++) {
        step(m);
    }
}

static void random_streams_get_the_same_verdicts(void **state)
{
    (void)state;
    static struct stream_sim m;
    for (uint8_t seed = 1; seed <= 6; seed++) {
        random_streams(seed, 5, 6000, &m);
        random_streams(seed, 90, 50, &m);
        random_streams(seed, 1, 40, &m);
    }
    // It was worth it: every verdict came often, and streams went on behind their second wrap.
    for (enum srtp_drop d = SRTP_OK; d <= SRTP_DROP_SSRC_LIMIT; d++) {
        assert_true(m.verdicts[d] > 500);
    }
    assert_int_equal(m.verdicts[SRTP_DROP_LIBRARY], 0);
    assert_true(m.past_rollover > 1000);
}

int main(void)
{
#define WITH_TWINS(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_the_index_as_rfc_3711_does),
        cmocka_unit_test(header_ends_where_encryption_starts),
        cmocka_unit_test(refuses_other_versions_cryptex_and_giants),
        WITH_TWINS(only_good_packets_take_a_place),
        WITH_TWINS(forged_packets_move_no_window),
        WITH_TWINS(packet_path_allocates_nothing),
        WITH_TWINS(every_flipped_bit_and_every_truncation),
        WITH_TWINS(every_length_decrypts_alike),
        WITH_TWINS(edges_of_window_and_rollover),
        WITH_TWINS(restarted_senders_are_taken_up_alike),
        WITH_TWINS(random_streams_get_the_same_verdicts),
    };
    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, just_free) != 1) {
        abort();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

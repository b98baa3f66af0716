// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/svc/ws_deflate.h"
#include "common/svc/ws_handshake.h"

#define CAP ((size_t)2 << 20)

static struct ws_deflate *d;
static struct dynbuf packed;
static struct dynbuf plain;

static int setup(void **state)
{
    (void)state;
    d = ws_deflate_new();
    dynbuf_init(&packed, CAP + (CAP >> 4));
    dynbuf_init(&plain, CAP);
    return d != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    dynbuf_done(&packed);
    dynbuf_done(&plain);
    ws_deflate_free(d);
    return 0;
}

static int unpack(const void *data, size_t n)
{
    dynbuf_reset(&plain);
    return ws_deflate_unpack(d, bytes_of(data, n), &plain);
}

// RFC 7692 section 7.2.3: how "Hello" may look.
static void the_examples_of_the_rfc_are_read(void **state)
{
    (void)state;
    static const struct {
        uint8_t data[16];
        size_t n;
        const char *text;
    } cases[] = {
        {{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, 7, "Hello"},
        // Not compressed inside.
        {{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, 11, "Hello"},
        // A final block.
        {{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, 8, "Hello"},
        // Two blocks.
        {{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00},
         13,
         "Hello"},
        {{0x00}, 1, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(unpack(cases[i].data, cases[i].n), 0);
        assert_int_equal(plain.n, strlen(cases[i].text));
        assert_memory_equal(plain.n > 0 ? (const char *)plain.p : "", cases[i].text, plain.n);
    }
    assert_int_equal(ws_deflate_pack(d, bytes_str("Hello"), &packed), 0);
    assert_int_equal(packed.n, 7);
    assert_memory_equal(packed.p, cases[0].data, 7);
}

static void messages_of_all_sizes_come_back(void **state)
{
    (void)state;
    uint8_t *const data = mem_alloc(CAP);
    struct rng rng;
    static const uint8_t seed[RNG_SEED_LEN] = {7};
    rng_seed(&rng, seed);
    for (size_t i = 0; i < CAP; i++) {
        data[i] = i % 3 == 0 ? (uint8_t)rng_u32(&rng) : (uint8_t)('a' + i % 7);
    }
    static const size_t sizes[] = {0,     1,     2,     100,   4096,     16383, 16384,
                                   16385, 32768, 65535, 65536, 1u << 20, CAP};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        dynbuf_reset(&packed);
        assert_int_equal(ws_deflate_pack(d, bytes_of(data, sizes[i]), &packed), 0);
        assert_true(sizes[i] < 4096 || packed.n < sizes[i]);
        assert_int_equal(unpack(packed.p, packed.n), 0);
        assert_int_equal(plain.n, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(plain.p, data, sizes[i]) == 0);
    }
    mem_free(data);
}

// Each message stands alone, also after one that was broken or cut.
static void what_is_broken_spoils_nothing(void **state)
{
    (void)state;
    static const uint8_t bad[][6] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x07}, {0x06, 1, 2, 3}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(unpack(bad[i], sizeof(bad[i])), -EBADMSG);
        assert_int_equal(plain.n, 0);
        dynbuf_reset(&packed);
        assert_int_equal(ws_deflate_pack(d, bytes_str("Hello"), &packed), 0);
        assert_int_equal(unpack(packed.p, packed.n), 0);
        assert_int_equal(plain.n, 5);
    }
    // A reference to what another message held.
    assert_int_equal(unpack((const uint8_t[]){0xf2, 0x00, 0x11, 0x00, 0x00}, 5), -EBADMSG);
}

// 64 MiB of zeros in 64 KiB: inflated up to the cap and no further.
static void bombs_are_left_alone(void **state)
{
    (void)state;
    uint8_t *const zeros = calloc(1, (size_t)64 << 20);
    assert_non_null(zeros);
    assert_int_equal(ws_deflate_pack(d, bytes_of(zeros, (size_t)64 << 20), &packed), 0);
    free(zeros);
    assert_true(packed.n < (1u << 20));
    assert_int_equal(unpack(packed.p, packed.n), -E2BIG);
    assert_int_equal(plain.n, 0);
}

static void offers_are_taken_that_we_can_keep(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        bool taken;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"permessage-deflate", true},
        {"permessage-deflate; client_max_window_bits", true}, // Chromium, Firefox
        {"Permessage-Deflate;client_max_window_bits=12", true},
        {"permessage-deflate; client_max_window_bits=\"12\"", true},
        {"permessage-deflate; client_no_context_takeover; server_no_context_takeover", true},
        {"permessage-deflate; server_max_window_bits=15", true},
        {"permessage-deflate; server_max_window_bits=10", false},
        {"permessage-deflate; server_max_window_bits=10, permessage-deflate", true},
        {"permessage-deflate; server_max_window_bits", false},
        {"permessage-deflate; client_max_window_bits=16", false},
        {"permessage-deflate; client_max_window_bits=7", false},
        {"permessage-deflate; client_no_context_takeover=1", false},
        {"permessage-deflate; new", false},
        {"permessage-deflate;", false},
        {"x-webkit-deflate-frame", false},
        {"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", true},
        {"permessage-deflated", false},
        {",,;=,\",permessage-deflate", true},
        {"permessage-deflate; client_max_window_bits=", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (ws_handshake_deflate(cases[i].offer) != cases[i].taken) {
            fail_msg("%s", cases[i].offer);
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_examples_of_the_rfc_are_read),  TEST(messages_of_all_sizes_come_back),
        TEST(what_is_broken_spoils_nothing),     TEST(bombs_are_left_alone),
        TEST(offers_are_taken_that_we_can_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

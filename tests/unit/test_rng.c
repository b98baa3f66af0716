// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"

static void output_is_the_key_stream_of_rfc_8439(void **state)
{
    (void)state;
    // Key and nonce zero, block counter 0: the second half (the first became the next key).
    static const uint8_t want[32] = {
        0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0,
        0x3f, 0xb8, 0xd8, 0x4a, 0x37, 0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18,
        0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
    };
    uint8_t const seed[RNG_SEED_LEN] = {0};
    struct rng r;
    rng_seed(&r, seed);
    uint8_t got[32];
    rng_bytes(&r, got, sizeof(got));
    assert_memory_equal(got, want, sizeof(want));
}

static void same_seed_same_numbers_however_they_are_taken(void **state)
{
    (void)state;
    uint8_t const seed[RNG_SEED_LEN] = {1, 2, 3};
    struct rng a;
    struct rng b;
    rng_seed(&a, seed);
    rng_seed(&b, seed);
    uint8_t x[1000];
    uint8_t y[1000];
    rng_bytes(&a, x, sizeof(x));
    for (size_t i = 0; i < sizeof(y); i += 8) {
        rng_bytes(&b, y + i, 3);
        rng_bytes(&b, y + i + 3, 5);
    }
    assert_memory_equal(x, y, sizeof(x));
}

static void nothing_that_was_given_out_stays_in_the_state(void **state)
{
    (void)state;
    uint8_t const seed[RNG_SEED_LEN] = {9};
    struct rng r;
    rng_seed(&r, seed);
    uint8_t got[100];
    rng_bytes(&r, got, sizeof(got));
    assert_null(memmem(&r, sizeof(r), got, 8));
    assert_null(memmem(&r, sizeof(r), got + 60, 8));
    assert_null(memmem(&r, sizeof(r), seed, sizeof(seed)));
}

static void below_stays_below_and_reaches_everything(void **state)
{
    (void)state;
    uint8_t const seed[RNG_SEED_LEN] = {5};
    struct rng r;
    rng_seed(&r, seed);
    unsigned count[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint32_t const v = rng_below(&r, 7);
        assert_true(v < 7);
        count[v]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(count[i], 850, 1150);
    }
    assert_int_equal(rng_below(&r, 1), 0);
}

static void text_is_terminated_and_alphanumeric(void **state)
{
    (void)state;
    uint8_t const seed[RNG_SEED_LEN] = {6};
    struct rng r;
    rng_seed(&r, seed);
    char t[33];
    memset(t, '!', sizeof(t));
    rng_text(&r, t, 32);
    assert_int_equal(strlen(t), 32);
    assert_int_equal(strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                     32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_is_the_key_stream_of_rfc_8439),
        cmocka_unit_test(same_seed_same_numbers_however_they_are_taken),
        cmocka_unit_test(nothing_that_was_given_out_stays_in_the_state),
        cmocka_unit_test(below_stays_below_and_reaches_everything),
        cmocka_unit_test(text_is_terminated_and_alphanumeric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

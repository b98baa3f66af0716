// SPDX-License-Identifier: Apache-2.0
// LINK: base
// COVERS: sha1 crc32
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/crc32.h"
#include "common/base/sha1.h"

static void assert_hex(const uint8_t *got, const char *want)
{
    char text[2 * SHA1_LEN + 1] = {0};
    for (size_t i = 0; i < SHA1_LEN; i++) {
        static const char digits[] = "0123456789abcdef";
        text[2 * i] = digits[got[i] >> 4];
        text[2 * i + 1] = digits[got[i] & 15];
    }
    assert_string_equal(text, want);
}

static void sha1_of_the_examples_of_rfc_3174(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *digest;
    } cases[] = {
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    };
    uint8_t d[SHA1_LEN];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sha1 s;
        sha1_init(&s);
        sha1_update(&s, bytes_str(cases[i].text));
        sha1_final(&s, d);
        assert_hex(d, cases[i].digest);
    }
}

static void sha1_does_not_depend_on_how_the_input_is_cut(void **state)
{
    (void)state;
    uint8_t a[1000];
    memset(a, 'a', sizeof(a));
    uint8_t d[SHA1_LEN];
    for (size_t step = 1; step <= sizeof(a); step += 37) {
        struct sha1 s;
        sha1_init(&s);
        for (size_t left = 1000000; left > 0;) {
            size_t const n = MIN(left, step);
            sha1_update(&s, bytes_of(a, n));
            left -= n;
        }
        sha1_final(&s, d);
        assert_hex(d, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }
}

static void hmac_of_rfc_2202(void **state)
{
    (void)state;
    static const struct {
        uint8_t key_byte; // repeated; 0: counting from 1
        size_t key_len;
        const char *key_text;
        const char *text;
        uint8_t data_byte; // repeated 50 times if text is NULL
        const char *mac;
    } cases[] = {
        {0x0b, 20, NULL, "Hi There", 0, "b617318655057264e28bc0b6fb378c8ef146be00"},
        {0, 4, "Jefe", "what do ya want for nothing?", 0,
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {0xaa, 20, NULL, NULL, 0xdd, "125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
        {0, 25, NULL, NULL, 0xcd, "4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
        {0x0c, 20, NULL, "Test With Truncation", 0, "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"},
        {0xaa, 80, NULL, "Test Using Larger Than Block-Size Key - Hash Key First", 0,
         "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
        {0xaa, 80, NULL,
         "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 0,
         "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t key[80];
        for (size_t k = 0; k < cases[i].key_len; k++) {
            key[k] = cases[i].key_byte != 0 ? cases[i].key_byte : (uint8_t)(k + 1);
        }
        uint8_t data[50];
        memset(data, cases[i].data_byte, sizeof(data));
        struct hmac_sha1 h;
        hmac_sha1_init(&h, cases[i].key_text != NULL ? bytes_str(cases[i].key_text)
                                                     : bytes_of(key, cases[i].key_len));
        hmac_sha1_update(&h, cases[i].text != NULL ? bytes_str(cases[i].text)
                                                   : bytes_of(data, sizeof(data)));
        uint8_t mac[SHA1_LEN];
        hmac_sha1_final(&h, mac);
        assert_hex(mac, cases[i].mac);
    }
}

static void crc32_has_the_check_value_of_its_catalogue(void **state)
{
    (void)state;
    assert_int_equal(crc32_ieee(bytes_str("123456789")), 0xCBF43926);
    assert_int_equal(crc32_ieee(bytes_str("")), 0);
}

// Bit by bit, as the polynomial says.
static uint32_t crc32_slowly(struct bytes data)
{
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < data.n * 8; i++) {
        uint32_t const bit = (uint32_t)data.p[i / 8] >> (i % 8) & 1u;
        c = (c >> 1) ^ (((c ^ bit) & 1u) != 0 ? 0xEDB88320u : 0u);
    }
    return ~c;
}

static void crc32_of_every_length_is_the_same_as_bit_by_bit(void **state)
{
    (void)state;
    uint8_t data[700];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * i * 7 + i / 3);
    }
    for (size_t n = 0; n <= sizeof(data); n++) {
        struct bytes const part = bytes_of(data + (sizeof(data) - n) / 2, n);
        assert_int_equal(crc32_ieee(part), crc32_slowly(part));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32_of_every_length_is_the_same_as_bit_by_bit),
        cmocka_unit_test(sha1_of_the_examples_of_rfc_3174),
        cmocka_unit_test(sha1_does_not_depend_on_how_the_input_is_cut),
        cmocka_unit_test(hmac_of_rfc_2202),
        cmocka_unit_test(crc32_has_the_check_value_of_its_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

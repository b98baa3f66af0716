// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: digest
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/svc/digest.h"
#include "common/svc/gzip.h"

static void inflate_gives_back_what_was_deflated(void **state)
{
    (void)state;
    static uint8_t text[100000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (uint8_t)(i * i >> 7);
    }
    static const size_t lengths[] = {0, 1, 4095, 4096, 4097, sizeof(text)};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct dynbuf z;
        struct dynbuf back;
        dynbuf_init(&z, 200000);
        dynbuf_init(&back, sizeof(text));
        assert_int_equal(gzip_deflate(bytes_of(text, lengths[i]), &z), 0);
        assert_int_equal(gzip_inflate(dynbuf_view(&z), &back), 0);
        assert_true(bytes_eq(dynbuf_view(&back), bytes_of(text, lengths[i])));
        dynbuf_done(&z);
        dynbuf_done(&back);
    }
}

static void inflate_refuses_broken_input_and_bombs(void **state)
{
    (void)state;
    static uint8_t zeros[100000];
    struct dynbuf z;
    struct dynbuf out;
    dynbuf_init(&z, 10000);
    dynbuf_init(&out, sizeof(zeros) - 1);
    assert_int_equal(gzip_deflate(bytes_of(zeros, sizeof(zeros)), &z), 0);
    assert_int_equal(gzip_inflate(dynbuf_view(&z), &out), -E2BIG);
    assert_int_equal(out.n, 0);
    dynbuf_done(&out);
    dynbuf_init(&out, 1u << 20);
    for (size_t n = 0; n < z.n; n++) {
        assert_int_equal(gzip_inflate(bytes_of(z.p, n), &out), -EBADMSG);
    }
    dynbuf_add_u8(&z, 'x'); // something behind the member
    assert_int_equal(gzip_inflate(dynbuf_view(&z), &out), -EBADMSG);
    assert_int_equal(gzip_inflate(bytes_str("plain text"), &out), -EBADMSG);
    dynbuf_done(&out);
    dynbuf_done(&z);
}

static void inflate_takes_several_members(void **state)
{
    (void)state;
    struct dynbuf z;
    struct dynbuf out;
    dynbuf_init(&z, 10000);
    dynbuf_init(&out, 10000);
    assert_int_equal(gzip_deflate(bytes_str("one "), &z), 0);
    assert_int_equal(gzip_deflate(bytes_str("two"), &z), 0);
    assert_int_equal(gzip_inflate(dynbuf_view(&z), &out), 0);
    assert_true(bytes_eq_str(dynbuf_view(&out), "one two"));
    dynbuf_done(&out);
    dynbuf_done(&z);
}

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(digits[p[i] >> 4], hex[2 * i]);
        assert_int_equal(digits[p[i] & 15], hex[2 * i + 1]);
    }
}

// FIPS 180 examples and RFC 4231 case 2.
static void digests_match_published_vectors(void **state)
{
    (void)state;
    uint8_t sha1[DIGEST_SHA1_LEN];
    uint8_t sha256[DIGEST_SHA256_LEN];
    digest_sha1(bytes_str("abc"), sha1);
    assert_hex(sha1, sizeof(sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_sha256(bytes_str("abc"), sha256);
    assert_hex(sha256, sizeof(sha256),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_hmac_sha256(bytes_str("Jefe"), bytes_str("what do ya want for nothing?"), sha256);
    assert_hex(sha256, sizeof(sha256),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflate_gives_back_what_was_deflated),
        cmocka_unit_test(inflate_refuses_broken_input_and_bombs),
        cmocka_unit_test(inflate_takes_several_members),
        cmocka_unit_test(digests_match_published_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

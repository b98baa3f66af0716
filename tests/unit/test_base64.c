// SPDX-License-Identifier: Apache-2.0
// LINK: base
// COVERS: shared_buf
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/base/shared_buf.h"

static void assert_encodes(enum base64_kind kind, const char *in, const char *want)
{
    struct dynbuf out;
    dynbuf_init(&out, 256);
    base64_encode(kind, bytes_str(in), &out);
    assert_string_equal(dynbuf_cstr(&out), want);
    dynbuf_reset(&out);
    assert_int_equal(base64_decode(kind, bytes_str(want), &out), 0);
    assert_true(bytes_eq_str(dynbuf_view(&out), in));
    dynbuf_done(&out);
}

static int decode(enum base64_kind kind, const char *in)
{
    struct dynbuf out;
    dynbuf_init(&out, 16);
    int const r = base64_decode(kind, bytes_str(in), &out);
    dynbuf_done(&out);
    return r;
}

static void rfc4648_vectors_in_all_variants(void **state)
{
    (void)state;
    assert_encodes(BASE64_STD, "", "");
    assert_encodes(BASE64_STD, "f", "Zg==");
    assert_encodes(BASE64_STD, "fo", "Zm8=");
    assert_encodes(BASE64_STD, "foo", "Zm9v");
    assert_encodes(BASE64_STD, "foobar", "Zm9vYmFy");
    assert_encodes(BASE64_STD_NOPAD, "f", "Zg");
    assert_encodes(BASE64_URL_NOPAD, "fo", "Zm8");
    assert_encodes(BASE64_STD, "\xfb\xff\xfe", "+//+");
    assert_encodes(BASE64_URL, "\xfb\xff\xfe\xff", "-__-_w==");
}

static void other_alphabets_and_wrong_padding_are_refused(void **state)
{
    (void)state;
    assert_int_equal(decode(BASE64_STD, "-__-"), -EBADMSG);
    assert_int_equal(decode(BASE64_URL, "+//+"), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "Zg"), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "Zg="), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "Z==="), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "===="), -EBADMSG);
    assert_int_equal(decode(BASE64_STD_NOPAD, "Zg=="), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "Zm 9v"), -EBADMSG);
    assert_int_equal(decode(BASE64_STD_NOPAD, "Z"), -EBADMSG);
    assert_int_equal(decode(BASE64_STD, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"), -ENOBUFS);
}

static void a_shared_buffer_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct shared_buf *const b = shared_buf_copy(bytes_str("hello"));
    assert_ptr_equal(shared_buf_ref(b), b);
    shared_buf_unref(b);
    assert_true(bytes_eq_str(shared_buf_view(b), "hello"));
    shared_buf_unref(b);
    shared_buf_unref(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc4648_vectors_in_all_variants),
        cmocka_unit_test(other_alphabets_and_wrong_padding_are_refused),
        cmocka_unit_test(a_shared_buffer_lives_until_its_last_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/codec.h"

static void codec_names_are_found_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(codec_by_name(bytes_str("vp8")), CODEC_VP8);
    assert_int_equal(codec_by_name(bytes_str("OPUS")), CODEC_OPUS);
    assert_int_equal(codec_by_name(bytes_str("RTX")), CODEC_RTX);
    assert_int_equal(codec_by_name(bytes_str("vp80")), CODEC_NONE);
    assert_int_equal(codec_by_name(bytes_str("")), CODEC_NONE);
    assert_int_equal(codec_by_mime(bytes_str("Video/h264")), CODEC_H264);
    assert_int_equal(codec_by_mime(bytes_str("audio/VP8")), CODEC_NONE);
    assert_int_equal(codec_by_mime(bytes_str("")), CODEC_NONE);
}

static void codec_tables_are_complete(void **state)
{
    (void)state;
    for (unsigned c = CODEC_NONE + 1; c < CODEC_COUNT; c++) {
        assert_int_equal(codec_by_name(bytes_str(codec_name((enum codec)c))), c);
        assert_true(codec_clock((enum codec)c) >= 8000);
        if (c != CODEC_RTX) {
            assert_int_equal(codec_by_mime(bytes_str(codec_mime((enum codec)c))), c);
            assert_int_not_equal(codec_kind((enum codec)c), MEDIA_NONE);
        }
    }
    assert_string_equal(codec_name((enum codec)99), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codec_names_are_found_in_any_case),
        cmocka_unit_test(codec_tables_are_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/h265.h"

static void check(const char *bytes, size_t n, int err, bool key, bool start)
{
    struct h265_info v = {0};
    assert_int_equal(h265_parse(bytes_of(bytes, n), &v), err);
    if (err == 0) {
        assert_int_equal(v.key_frame, key);
        assert_int_equal(v.nal_start, start);
    }
}

static void h265_finds_key_frames(void **state)
{
    (void)state;
    check("\x26\x01\1", 3, 0, true, true);                        // IDR_W_RADL (19)
    check("\x42\x01\1", 3, 0, true, true);                        // SPS (33)
    check("\x02\x01\1", 3, 0, false, true);                       // TRAIL_R
    check("\x62\x01\x93", 3, 0, true, true);                      // FU, start of 19
    check("\x62\x01\x13", 3, 0, false, false);                    // its middle
    check("\x60\x01\0\2\x40\x01\0\2\x42\x01", 10, 0, true, true); // AP of VPS, SPS
    check("\x60\x01\0\2\x02\x01", 6, 0, false, true);
    struct h265_info v;
    assert_int_equal(h265_parse(bytes_of("\x02\x03\1", 3), &v), 0);
    assert_int_equal(v.tid, 2);
}

static void h265_refuses_broken_units(void **state)
{
    (void)state;
    check("\x26", 1, -EBADMSG, false, false);
    check("\xa6\x01", 2, -EBADMSG, false, false); // forbidden bit
    check("\x26\x00", 2, -EBADMSG, false, false); // temporal id
    check("\x62\x01", 2, -EBADMSG, false, false);
    check("\x60\x01\0\5\x40\x01", 6, -EBADMSG, false, false);
    check("\x60\x01\0\1\x40", 5, -EBADMSG, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h265_finds_key_frames),
        cmocka_unit_test(h265_refuses_broken_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/wire/packet_trailer.h"

// appendPacketTrailer of client-sdk-js with frameId 7: tag 2, four bytes.
#define TRAILER "\xfd\xfb\xff\xff\xff\xf8\xf4LKTS"

static void trailers_are_found(void **state)
{
    (void)state;
    assert_int_equal(packet_trailer_len(bytes_of("frame" TRAILER, 16)), 11);
    assert_int_equal(packet_trailer_len(bytes_of(TRAILER, 11)), 11);
    assert_int_equal(packet_trailer_len(bytes_of("x\xfaLKTS", 6)), 5); // says nothing
    uint8_t longest[255] = {0};
    memcpy(longest + 251, "LKTS", 4);
    assert_int_equal(packet_trailer_len(bytes_of(longest, 255)), 255);
}

static void everything_else_is_none(void **state)
{
    (void)state;
    assert_int_equal(packet_trailer_len(bytes_of(NULL, 0)), 0);
    assert_int_equal(packet_trailer_len(bytes_of("LKTS", 4)), 0);
    assert_int_equal(packet_trailer_len(bytes_of("frame" TRAILER "x", 17)), 0);
    assert_int_equal(packet_trailer_len(bytes_of(TRAILER + 1, 10)), 0); // longer than what is there
    assert_int_equal(packet_trailer_len(bytes_of("frame\xfbLKTS", 10)), 0); // shorter than its end
    assert_int_equal(packet_trailer_len(bytes_of("frame\xf4LKTX", 10)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trailers_are_found),
        cmocka_unit_test(everything_else_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

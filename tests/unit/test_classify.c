// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/classify.h"
#include "tests/data/stun/browsers.h"

static enum packet_class classify(uint8_t first, uint8_t second, size_t n)
{
    uint8_t d[64] = {first, second};
    return classify_packet(bytes_of(d, n));
}

static void first_byte_decides(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        enum packet_class want = PACKET_CLASS_UNKNOWN;
        if (b >= 20 && b <= 63) {
            want = PACKET_CLASS_DTLS;
        } else if (b >= 64 && b <= 79) {
            want = PACKET_CLASS_TURN_CHANNEL;
        } else if (b >= 128 && b <= 191) {
            want = PACKET_CLASS_RTP;
        }
        assert_int_equal(classify((uint8_t)b, 96, 64), want);
    }
}

static void second_byte_tells_rtcp(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        bool const rtcp = b >= 192 && b <= 223;
        assert_int_equal(classify(0x80, (uint8_t)b, 64),
                         rtcp ? PACKET_CLASS_RTCP : PACKET_CLASS_RTP);
    }
}

static void too_short_is_unknown(void **state)
{
    (void)state;
    assert_int_equal(classify(0x80, 96, 11), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify(0x80, 96, 12), PACKET_CLASS_RTP);
    assert_int_equal(classify(0x80, 200, 7), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify(0x80, 200, 8), PACKET_CLASS_RTCP);
    assert_int_equal(classify(22, 0, 12), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify(0x40, 0, 3), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify(0, 0, 0), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify(0x80, 0, 1), PACKET_CLASS_UNKNOWN);
}

static void stun_needs_cookie_and_exact_length(void **state)
{
    (void)state;
    uint8_t d[160];
    size_t const n = recorded_stun[0].len;
    memcpy(d, recorded_stun[0].data, n);
    assert_int_equal(classify_packet(bytes_of(d, n)), PACKET_CLASS_STUN);
    assert_int_equal(classify_packet(bytes_of(d, n - 1)), PACKET_CLASS_UNKNOWN);
    assert_int_equal(classify_packet(bytes_of(d, 19)), PACKET_CLASS_UNKNOWN);
    d[5] ^= 1;
    assert_int_equal(classify_packet(bytes_of(d, n)), PACKET_CLASS_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_byte_decides),
        cmocka_unit_test(second_byte_tells_rtcp),
        cmocka_unit_test(too_short_is_unknown),
        cmocka_unit_test(stun_needs_cookie_and_exact_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

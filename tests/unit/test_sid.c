// SPDX-License-Identifier: Apache-2.0
// LINK: lk
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lk/sid.h"

static void ids_have_prefix_and_twelve_characters_of_the_alphabet(void **state)
{
    (void)state;
    char sid[SID_SIZE];
    uint8_t rnd[SID_RANDOM_LEN];
    for (unsigned k = 0; k < 256; k++) {
        memset(rnd, (int)k, sizeof(rnd));
        rnd[k % SID_RANDOM_LEN] ^= 0x5a;
        sid_make(SID_PARTICIPANT, rnd, sid);
        assert_int_equal(strlen(sid), 15);
        assert_memory_equal(sid, "PA_", 3);
        assert_int_equal(
            strspn(sid + 3, "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"), 12);
    }
}

static void different_randomness_gives_different_ids(void **state)
{
    (void)state;
    char a[SID_SIZE];
    char b[SID_SIZE];
    uint8_t rnd[SID_RANDOM_LEN] = {0};
    sid_make(SID_ROOM, rnd, a);
    assert_string_equal(a, "RM_222222222222");
    rnd[SID_RANDOM_LEN - 1] = 1;
    sid_make(SID_ROOM, rnd, b);
    assert_string_equal(b, "RM_322222222222");
}

static void track_ids_tell_kind_and_source(void **state)
{
    (void)state;
    static const uint8_t rnd[SID_RANDOM_LEN] = {1, 2, 3};
    char sid[SID_SIZE];
    assert_memory_equal(sid_make_track(1, 1, rnd, sid), "TR_VC", 5);
    assert_int_equal(strlen(sid), 17);
    assert_memory_equal(sid_make_track(0, 2, rnd, sid), "TR_AM", 5);
    assert_memory_equal(sid_make_track(1, 3, rnd, sid), "TR_VS", 5);
    assert_memory_equal(sid_make_track(0, 4, rnd, sid), "TR_As", 5);
    sid_make_track(0, 0, rnd, sid);
    assert_int_equal(strlen(sid), 16);
    sid_make_track(7, 99, rnd, sid);
    assert_int_equal(strlen(sid), 15);
}

static void a_prefix_alone_is_no_id(void **state)
{
    (void)state;
    assert_true(sid_has_prefix("TR_x", SID_TRACK));
    assert_false(sid_has_prefix("TR_", SID_TRACK));
    assert_false(sid_has_prefix("PA_x", SID_TRACK));
    assert_false(sid_has_prefix("", SID_TRACK));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_have_prefix_and_twelve_characters_of_the_alphabet),
        cmocka_unit_test(different_randomness_gives_different_ids),
        cmocka_unit_test(track_ids_tell_kind_and_source),
        cmocka_unit_test(a_prefix_alone_is_no_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: base
// COVERS: addr bytes dynbuf handle hash mem mem_text
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/addr.h"
#include "common/base/dynbuf.h"
#include "common/base/handle.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/mono.h"
#include "common/base/seq.h"

static void reader_past_the_end_is_sticky(void **state)
{
    (void)state;
    static const uint8_t in[] = {1, 2, 3};
    struct rd r = rd_init(bytes_of(in, sizeof(in)));
    assert_int_equal(rd_be16(&r), 0x0102);
    assert_int_equal(rd_be16(&r), 0);
    assert_false(rd_ok(&r));
    assert_int_equal(rd_u8(&r), 0);
    assert_int_equal(rd_left(&r), 0);
}

static void sub_reader_cannot_leave_its_part(void **state)
{
    (void)state;
    static const uint8_t in[] = {0, 0, 0, 7, 9};
    struct rd r = rd_init(bytes_of(in, sizeof(in)));
    struct rd s = rd_sub(&r, 4);
    assert_int_equal(rd_be32(&s), 7);
    assert_int_equal(rd_u8(&s), 0);
    assert_false(rd_ok(&s));
    assert_true(rd_ok(&r));
    assert_int_equal(rd_u8(&r), 9);
}

static void writer_never_passes_its_end(void **state)
{
    (void)state;
    uint8_t buf[8];
    for (size_t cap = 0; cap < 7; cap++) {
        memset(buf, 0xee, sizeof(buf));
        struct wr w = wr_init(buf, cap);
        size_t const at = wr_mark16(&w);
        wr_be32(&w, 0x01020304);
        wr_u8(&w, 5);
        wr_patch16(&w, at, 5);
        assert_false(wr_ok(&w));
        for (size_t i = cap; i < sizeof(buf); i++) {
            assert_int_equal(buf[i], 0xee);
        }
    }
    struct wr w = wr_init(buf, 7);
    size_t const at = wr_mark16(&w);
    wr_be32(&w, 0x01020304);
    wr_u8(&w, 5);
    wr_patch16(&w, at, 0x0a0b);
    assert_true(wr_ok(&w));
    assert_memory_equal(buf, "\x0a\x0b\x01\x02\x03\x04\x05", 7);
}

static void sequence_numbers_wrap(void **state)
{
    (void)state;
    assert_true(seq16_newer(0, 65535));
    assert_false(seq16_newer(65535, 0));
    assert_int_equal(seq16_extend(65535, 0), 65536);
    assert_int_equal(seq16_extend(65536, 65535), 65535);
    assert_true(seq32_newer(5, 0xfffffff0));
}

static void ntp_differences_are_exact_to_a_microsecond(void **state)
{
    (void)state;
    ntp_t const a = ntp_from_wall((wall_t){1700000000123456});
    ntp_t const b = ntp_add_us(a, 2500000);
    assert_in_range(ntp_diff_us(b, a), 2499999, 2500001);
    assert_in_range(-ntp_diff_us(a, b), 2499999, 2500001);
    assert_true(mono_is_never(mono_add_us(MONO_NEVER, 5)));
}

static void addresses_parse_and_print(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } good[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:db8::8:800:200C:417A", "2001:db8::8:800:200c:417a"},
        {"fe80:0:0:0:1:0:0:0", "fe80::1:0:0:0"},
        {"::ffff:1.2.3.4", "::ffff:102:304"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct addr a;
        char buf[ADDR_STRLEN];
        assert_int_equal(addr_parse_ip(bytes_str(good[i].in), &a), 0);
        assert_string_equal(addr_format_ip(&a, buf), good[i].out);
    }
    static const char *const bad[] = {"",
                                      "1.2.3",
                                      "1.2.3.256",
                                      "01.2.3.4",
                                      "1.2.3.4.",
                                      "1.2.3.4:5",
                                      "a.b.c.d",
                                      "1:2:3",
                                      ":::",
                                      "1::2::3",
                                      "12345::",
                                      "::1%lo",
                                      "[::1]",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1.2.3",
                                      "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct addr a;
        assert_int_equal(addr_parse_ip(bytes_str(bad[i]), &a), -EINVAL);
    }
}

static void address_classes_see_through_mapped_v4(void **state)
{
    (void)state;
    static const struct {
        const char *ip;
        bool loopback, private, link_local;
    } t[] = {
        {"127.8.8.8", true, false, false},       {"::ffff:127.0.0.1", true, false, false},
        {"10.1.1.1", false, true, false},        {"172.31.0.1", false, true, false},
        {"172.32.0.1", false, false, false},     {"100.64.0.1", false, true, false},
        {"169.254.169.254", false, false, true}, {"fe80::1", false, false, true},
        {"fd00::1", false, true, false},         {"8.8.8.8", false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct addr a;
        assert_int_equal(addr_parse_ip(bytes_str(t[i].ip), &a), 0);
        assert_int_equal(addr_is_loopback(&a), t[i].loopback);
        assert_int_equal(addr_is_private(&a), t[i].private);
        assert_int_equal(addr_is_link_local(&a), t[i].link_local);
    }
}

static void stale_handles_find_nothing(void **state)
{
    (void)state;
    struct handle_table t;
    handle_table_init(&t, 20);
    int objs[20];
    handle_t h[20];
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(handle_table_add(&t, &objs[i], &h[i]), 0);
    }
    handle_t over;
    assert_int_equal(handle_table_add(&t, &objs[0], &over), -ENOBUFS);
    assert_ptr_equal(handle_table_remove(&t, h[3]), &objs[3]);
    assert_null(handle_table_get(&t, h[3]));
    assert_null(handle_table_remove(&t, h[3]));
    assert_int_equal(handle_table_add(&t, &objs[3], &over), 0);
    assert_int_equal(over.index, h[3].index);
    assert_null(handle_table_get(&t, h[3]));
    assert_ptr_equal(handle_table_get(&t, over), &objs[3]);
    assert_null(handle_table_get(&t, HANDLE_NONE));
    uint32_t pos = 0;
    size_t n = 0;
    while (handle_table_next(&t, &pos) != NULL) {
        n++;
    }
    assert_int_equal(n, 20);
    handle_table_done(&t);
}

static void dynbuf_refuses_to_pass_its_maximum(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, 1000);
    for (int i = 0; i < 100; i++) {
        dynbuf_addf(&b, "%09d,", i);
    }
    assert_true(dynbuf_ok(&b));
    assert_int_equal(b.n, 1000);
    assert_non_null(dynbuf_cstr(&b));
    dynbuf_add_u8(&b, 'x');
    assert_false(dynbuf_ok(&b));
    assert_null(dynbuf_cstr(&b));
    dynbuf_reset(&b);
    dynbuf_addf(&b, "%0700d", 1);
    assert_true(dynbuf_ok(&b));
    assert_int_equal(b.n, 700);
    dynbuf_done(&b);
}

static void hashes_depend_on_the_key(void **state)
{
    (void)state;
    uint64_t const a = hash_bytes("abc", 3);
    uint8_t key[16] = {1};
    hash_set_key(key);
    assert_true(hash_bytes("abc", 3) != a);
    struct addr const x = addr_v4(1, 2, 3, 4, 5);
    assert_true(addr_hash(&x, 1) != addr_hash(&x, 2));
}

static void allocations_are_counted_and_zeroed(void **state)
{
    (void)state;
    uint64_t const before = mem_thread_allocations();
    uint8_t *const p = mem_array(10, 10);
    assert_non_null(p);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(p[i], 0);
    }
    mem_free(p);
    assert_null(mem_array(SIZE_MAX / 2, 4));
    assert_int_equal(mem_thread_allocations(), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_past_the_end_is_sticky),
        cmocka_unit_test(sub_reader_cannot_leave_its_part),
        cmocka_unit_test(writer_never_passes_its_end),
        cmocka_unit_test(sequence_numbers_wrap),
        cmocka_unit_test(ntp_differences_are_exact_to_a_microsecond),
        cmocka_unit_test(addresses_parse_and_print),
        cmocka_unit_test(address_classes_see_through_mapped_v4),
        cmocka_unit_test(stale_handles_find_nothing),
        cmocka_unit_test(dynbuf_refuses_to_pass_its_maximum),
        cmocka_unit_test(hashes_depend_on_the_key),
        cmocka_unit_test(allocations_are_counted_and_zeroed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

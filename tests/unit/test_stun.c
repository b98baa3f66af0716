// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/stun.h"
#include "tests/data/stun/browsers.h"

// RFC 5769 sections 2.1 to 2.3; password of all three.
static const char rfc_pwd[] = "VOkJxbRl1RmTxUk/WvJxBt";

static const uint8_t rfc_request[] = {
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73,
    0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09,
    0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14,
    0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
    0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
};

static const uint8_t rfc_response_v4[] = {
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
    0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
    0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9,
    0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96,
};

static const uint8_t rfc_response_v6[] = {
    0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
    0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa,
    0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14,
    0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82, 0x92, 0xc2, 0x75,
    0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
};

static struct stun_msg parse(const uint8_t *p, size_t n)
{
    struct stun_msg m;
    memset(&m, 0, sizeof(m));
    assert_int_equal(stun_parse(bytes_of(p, n), &m), 0);
    return m;
}

static void request_of_rfc_5769(void **state)
{
    (void)state;
    struct stun_msg const m = parse(rfc_request, sizeof(rfc_request));
    assert_int_equal(m.cls, STUN_REQUEST);
    assert_int_equal(m.method, STUN_BINDING);
    assert_true(stun_check_integrity(&m, bytes_str(rfc_pwd)));
    assert_false(stun_check_integrity(&m, bytes_str("wrong")));
    struct bytes ours;
    struct bytes theirs;
    assert_int_equal(stun_get_username(&m, &ours, &theirs), 0);
    assert_true(bytes_eq_str(ours, "evtj"));
    assert_true(bytes_eq_str(theirs, "h6vY"));
    uint32_t priority = 0;
    assert_int_equal(stun_get_u32(&m, STUN_ATTR_PRIORITY, &priority), 0);
    assert_int_equal(priority, 0x6e0001ff);
    uint64_t tie = 0;
    assert_int_equal(stun_get_u64(&m, STUN_ATTR_ICE_CONTROLLED, &tie), 0);
    assert_true(tie == UINT64_C(0x932ff9b151263b36));
    assert_false(stun_has(&m, STUN_ATTR_USE_CANDIDATE));
}

static void responses_of_rfc_5769(void **state)
{
    (void)state;
    struct addr a;
    struct stun_msg m = parse(rfc_response_v4, sizeof(rfc_response_v4));
    assert_int_equal(m.cls, STUN_SUCCESS);
    assert_true(stun_check_integrity(&m, bytes_str(rfc_pwd)));
    assert_int_equal(stun_get_xor_addr(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &a), 0);
    struct addr const want4 = addr_v4(192, 0, 2, 1, 32853);
    assert_true(addr_eq(&a, &want4));

    m = parse(rfc_response_v6, sizeof(rfc_response_v6));
    assert_true(stun_check_integrity(&m, bytes_str(rfc_pwd)));
    assert_int_equal(stun_get_xor_addr(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &a), 0);
    struct addr want6;
    assert_int_equal(addr_parse_ip(bytes_str("2001:db8:1234:5678:11:2233:4455:6677"), &want6), 0);
    want6.port = 32853;
    assert_true(addr_eq(&a, &want6));
}

static void every_changed_bit_is_noticed(void **state)
{
    (void)state;
    uint8_t d[sizeof(rfc_response_v4)];
    for (size_t i = 0; i < sizeof(d) * 8; i++) {
        memcpy(d, rfc_response_v4, sizeof(d));
        d[i / 8] ^= (uint8_t)(1u << (i % 8));
        struct stun_msg m;
        // Without its FINGERPRINT a message is still protected by MESSAGE-INTEGRITY.
        bool const accepted = stun_parse(bytes_of(d, sizeof(d)), &m) == 0 &&
                              stun_check_integrity(&m, bytes_str(rfc_pwd));
        bool const in_fingerprint_type = i / 8 == sizeof(d) - 8 || i / 8 == sizeof(d) - 7;
        assert_true(!accepted || in_fingerprint_type);
    }
}

static void recorded_checks_of_browsers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(recorded_stun); i++) {
        const struct recorded_stun *const r = &recorded_stun[i];
        struct stun_msg const m = parse(r->data, r->len);
        assert_true(m.fingerprint_at != 0);
        assert_true(stun_check_integrity(&m, bytes_str(r->pwd)));
        uint16_t unknown[4];
        static const uint16_t known[] = {STUN_ATTR_USERNAME, STUN_ATTR_PRIORITY,
                                         STUN_ATTR_USE_CANDIDATE, STUN_ATTR_XOR_MAPPED_ADDRESS};
        assert_int_equal(stun_unknown_attrs(&m, known, ARRAY_LEN(known), unknown, 4), 0);
        if (m.cls == STUN_REQUEST) {
            struct bytes ufrag;
            assert_int_equal(stun_peek_local_ufrag(m.raw, &ufrag), 0);
            assert_int_equal(ufrag.n, 16);
            assert_true(stun_has(&m, STUN_ATTR_ICE_CONTROLLING));
        } else {
            struct bytes ufrag;
            assert_int_equal(stun_peek_local_ufrag(m.raw, &ufrag), -ENOENT);
        }
    }
}

static void our_answer_equals_the_recorded_one(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < ARRAY_LEN(recorded_stun); i += 2) {
        struct stun_msg const req = parse(recorded_stun[i].data, recorded_stun[i].len);
        struct stun_msg const answer = parse(recorded_stun[i + 1].data, recorded_stun[i + 1].len);
        struct addr mapped;
        assert_int_equal(stun_get_xor_addr(&answer, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped), 0);
        uint8_t buf[STUN_MAX_LEN];
        struct wr w = wr_init(buf, sizeof(buf));
        stun_write_binding_success(&w, &req, &mapped, bytes_str(recorded_stun[i].pwd));
        assert_true(bytes_eq(wr_bytes_view(&w), answer.raw));
    }
}

static void message_type_interleaves_method_and_class(void **state)
{
    (void)state;
    static const struct {
        enum stun_class cls;
        enum stun_method method;
        uint16_t type;
    } cases[] = {
        {STUN_REQUEST, STUN_BINDING, 0x0001},
        {STUN_SUCCESS, STUN_BINDING, 0x0101},
        {STUN_ERROR, STUN_BINDING, 0x0111},
        {STUN_INDICATION, STUN_BINDING, 0x0011},
        {STUN_ERROR, STUN_ALLOCATE, 0x0113},
        {STUN_INDICATION, STUN_SEND, 0x0016},
        {STUN_INDICATION, STUN_DATA, 0x0017},
        {STUN_SUCCESS, STUN_CHANNEL_BIND, 0x0109},
        {STUN_REQUEST, (enum stun_method)0xFFF, 0x3EEF},
    };
    uint8_t const txid[STUN_TXID_LEN] = {1, 2, 3};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buf[STUN_HEADER_LEN];
        struct wr w = wr_init(buf, sizeof(buf));
        stun_begin(&w, cases[i].cls, cases[i].method, txid);
        assert_int_equal((buf[0] << 8) | buf[1], cases[i].type);
        struct stun_msg const m = parse(buf, sizeof(buf));
        assert_int_equal(m.cls, cases[i].cls);
        assert_int_equal(m.method, cases[i].method);
        assert_memory_equal(m.txid, txid, sizeof(txid));
    }
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    uint8_t const txid[STUN_TXID_LEN] = {9, 8, 7, 6};
    uint8_t buf[STUN_MAX_LEN];
    size_t full = 0;
    for (size_t cap = sizeof(buf); cap != SIZE_MAX; cap = cap == sizeof(buf) ? full - 1 : cap - 1) {
        struct wr w = wr_init(buf, cap);
        stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
        stun_put_username(&w, bytes_str("them"), bytes_str("us"));
        stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
        stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLING, 77);
        stun_put_error(&w, 420);
        uint16_t const types[] = {1, 2, 3};
        stun_put_unknown_attrs(&w, types, 3);
        stun_end_integrity(&w, bytes_str("key"));
        stun_end_fingerprint(&w);
        if (cap < sizeof(buf)) {
            assert_false(wr_ok(&w));
            continue;
        }
        assert_true(wr_ok(&w));
        full = wr_len(&w);
        struct stun_msg const m = parse(buf, full);
        assert_true(stun_check_integrity(&m, bytes_str("key")));
        uint16_t code = 0;
        assert_int_equal(stun_get_error(&m, &code), 0);
        assert_int_equal(code, 420);
        struct bytes v;
        assert_true(stun_find(&m, STUN_ATTR_UNKNOWN_ATTRIBUTES, &v));
        assert_int_equal(v.n, 6);
        assert_true(stun_has(&m, STUN_ATTR_USE_CANDIDATE));
    }
}

static void attributes_behind_message_integrity_do_not_count(void **state)
{
    (void)state;
    uint8_t const txid[STUN_TXID_LEN] = {0};
    uint8_t buf[STUN_MAX_LEN];
    struct wr w = wr_init(buf, sizeof(buf));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 1);
    stun_end_integrity(&w, bytes_str("key"));
    stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
    stun_end_fingerprint(&w);
    struct stun_msg const m = parse(buf, wr_len(&w));
    assert_true(stun_check_integrity(&m, bytes_str("key")));
    assert_false(stun_has(&m, STUN_ATTR_USE_CANDIDATE));
    assert_true(stun_has(&m, STUN_ATTR_PRIORITY));
}

static void unknown_required_attributes_are_listed(void **state)
{
    (void)state;
    uint8_t const txid[STUN_TXID_LEN] = {0};
    uint8_t buf[STUN_MAX_LEN];
    struct wr w = wr_init(buf, sizeof(buf));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, 0x7ffe, 1);
    stun_put_u32(&w, 0xc057, 1); // comprehension-optional: Chromium's network info
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 1);
    stun_put_u32(&w, 0x0033, 1);
    struct stun_msg const m = parse(buf, wr_len(&w));
    static const uint16_t known[] = {STUN_ATTR_PRIORITY};
    uint16_t unknown[4];
    assert_int_equal(stun_unknown_attrs(&m, known, 1, unknown, 4), 2);
    assert_int_equal(unknown[0], 0x7ffe);
    assert_int_equal(unknown[1], 0x0033);
    assert_int_equal(stun_unknown_attrs(&m, known, 1, unknown, 1), 1);
}

static void attribute_past_the_end_is_refused(void **state)
{
    (void)state;
    uint8_t const txid[STUN_TXID_LEN] = {0};
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof(buf));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 1);
    struct stun_msg m;
    buf[STUN_HEADER_LEN + 3] = 5; // needs eight bytes with padding, four are there
    assert_int_equal(stun_parse(wr_bytes_view(&w), &m), -EBADMSG);
    buf[STUN_HEADER_LEN + 3] = 4;
    assert_int_equal(stun_parse(wr_bytes_view(&w), &m), 0);
    buf[STUN_HEADER_LEN + 2] = 0xff;
    assert_int_equal(stun_parse(wr_bytes_view(&w), &m), -EBADMSG);
}

static void values_of_wrong_size_are_refused(void **state)
{
    (void)state;
    uint8_t const txid[STUN_TXID_LEN] = {0};
    uint8_t buf[STUN_MAX_LEN];
    struct wr w = wr_init(buf, sizeof(buf));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put(&w, STUN_ATTR_PRIORITY, bytes_str("abc"));
    stun_put(&w, STUN_ATTR_ICE_CONTROLLING, bytes_str("abcd"));
    stun_put(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, bytes_str("abcdefgh"));
    stun_put(&w, STUN_ATTR_USERNAME, bytes_str("nocolon"));
    stun_put(&w, STUN_ATTR_ERROR_CODE, bytes_str("abc"));
    struct stun_msg const m = parse(buf, wr_len(&w));
    uint32_t a;
    uint64_t b;
    uint16_t code;
    struct addr addr;
    struct bytes x;
    struct bytes y;
    assert_int_equal(stun_get_u32(&m, STUN_ATTR_PRIORITY, &a), -EBADMSG);
    assert_int_equal(stun_get_u64(&m, STUN_ATTR_ICE_CONTROLLING, &b), -EBADMSG);
    assert_int_equal(stun_get_xor_addr(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &addr), -EBADMSG);
    assert_int_equal(stun_get_username(&m, &x, &y), -EBADMSG);
    assert_int_equal(stun_get_error(&m, &code), -EBADMSG);
    assert_int_equal(stun_get_u32(&m, STUN_ATTR_LIFETIME, &a), -ENOENT);
    assert_int_equal(stun_peek_local_ufrag(m.raw, &x), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_of_rfc_5769),
        cmocka_unit_test(responses_of_rfc_5769),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(recorded_checks_of_browsers),
        cmocka_unit_test(our_answer_equals_the_recorded_one),
        cmocka_unit_test(message_type_interleaves_method_and_class),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(attributes_behind_message_integrity_do_not_count),
        cmocka_unit_test(unknown_required_attributes_are_listed),
        cmocka_unit_test(attribute_past_the_end_is_refused),
        cmocka_unit_test(values_of_wrong_size_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/dcep.h"

// What Chromium sends for `_lossy` (unordered, maxRetransmits 0, priority 256).
static const uint8_t lossy[] = {3, 0x81, 1, 0,   0,   0,   0,   0,   0,
                                6, 0,    0, '_', 'l', 'o', 's', 's', 'y'};

static void parses_open(void **state)
{
    (void)state;
    struct dcep_message m;
    assert_int_equal(dcep_parse(bytes_of(lossy, sizeof(lossy)), &m), 0);
    assert_int_equal(m.type, DCEP_OPEN);
    assert_int_equal(m.open.reliability_kind, DCEP_REXMIT);
    assert_true(m.open.unordered);
    assert_int_equal(m.open.priority, 256);
    assert_int_equal(m.open.reliability, 0);
    assert_true(bytes_eq_str(m.open.label, "_lossy"));
    assert_int_equal(m.open.protocol.n, 0);
}

static void writes_what_it_parses(void **state)
{
    (void)state;
    struct dcep_message m;
    uint8_t buf[64];
    assert_int_equal(dcep_parse(bytes_of(lossy, sizeof(lossy)), &m), 0);
    struct wr w = wr_init(buf, sizeof(buf));
    dcep_write_open(&w, &m.open);
    assert_true(bytes_eq(wr_bytes_view(&w), bytes_of(lossy, sizeof(lossy))));
}

static void writes_fail_in_every_shorter_buffer(void **state)
{
    (void)state;
    struct dcep_message m;
    uint8_t buf[sizeof(lossy)];
    assert_int_equal(dcep_parse(bytes_of(lossy, sizeof(lossy)), &m), 0);
    for (size_t n = 0; n < sizeof(lossy); n++) {
        struct wr w = wr_init(buf, n);
        dcep_write_open(&w, &m.open);
        assert_false(wr_ok(&w));
    }
}

static void rejects_every_truncation(void **state)
{
    (void)state;
    struct dcep_message m;
    for (size_t n = 0; n < sizeof(lossy); n++) {
        assert_int_equal(dcep_parse(bytes_of(lossy, n), &m), -EBADMSG);
    }
}

static void rejects_trailing_bytes_and_unknown_types(void **state)
{
    (void)state;
    struct dcep_message m;
    uint8_t copy[sizeof(lossy) + 1] = {0};
    memcpy(copy, lossy, sizeof(lossy));
    assert_int_equal(dcep_parse(bytes_of(copy, sizeof(copy)), &m), -EBADMSG);
    copy[1] = 0x03;
    assert_int_equal(dcep_parse(bytes_of(copy, sizeof(lossy)), &m), -ENOTSUP);
    copy[0] = 9;
    assert_int_equal(dcep_parse(bytes_of(copy, sizeof(lossy)), &m), -ENOTSUP);
}

static void acknowledges(void **state)
{
    (void)state;
    struct dcep_message m;
    uint8_t buf[4];
    struct wr w = wr_init(buf, sizeof(buf));
    dcep_write_ack(&w);
    assert_int_equal(wr_len(&w), 1);
    assert_int_equal(dcep_parse(wr_bytes_view(&w), &m), 0);
    assert_int_equal(m.type, DCEP_ACK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_open),
        cmocka_unit_test(writes_what_it_parses),
        cmocka_unit_test(writes_fail_in_every_shorter_buffer),
        cmocka_unit_test(rejects_every_truncation),
        cmocka_unit_test(rejects_trailing_bytes_and_unknown_types),
        cmocka_unit_test(acknowledges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/data_track_packet.h"

// Recording 10-data-tracks-v1: what alice sent, and what bob got of it.
static const uint8_t sent[] = {0x18, 0, 0, 0x01, 0, 0, 0, 0, 0xf6, 0xf7, 0xb4, 0x68, 1, 2, 3, 0};
static const uint8_t got[] = {0x18, 0, 0, 0xdb, 0, 0, 0, 0, 0xf6, 0xf7, 0xb4, 0x68, 1, 2, 3, 0};
// With extensions of two words: tag 1, three bytes, one of padding.
static const uint8_t extended[] = {0x14, 0, 0x12, 0x34, 0, 7, 0, 9, 0, 0,  0,
                                   1,    0, 1,    1,    3, 9, 9, 9, 0, 'x'};

static void recorded_packets_are_understood(void **state)
{
    (void)state;
    struct data_track_packet p;
    assert_int_equal(data_track_packet_parse(bytes_of(sent, sizeof(sent)), &p), 0);
    assert_int_equal(p.version, 0);
    assert_true(p.start && p.final);
    assert_int_equal(p.handle, 1);
    assert_int_equal(p.sequence, 0);
    assert_int_equal(p.frame, 0);
    assert_int_equal(p.timestamp, 0xf6f7b468);
    assert_int_equal(p.extensions.n, 0);
    assert_int_equal(p.payload.n, 4);
}

static void only_the_handle_is_changed(void **state)
{
    (void)state;
    uint8_t buf[sizeof(sent)];
    memcpy(buf, sent, sizeof(buf));
    data_track_packet_set_handle((struct bytes_mut){buf, sizeof(buf)}, 219);
    assert_memory_equal(buf, got, sizeof(got));
}

static void extensions_are_skipped(void **state)
{
    (void)state;
    struct data_track_packet p;
    assert_int_equal(data_track_packet_parse(bytes_of(extended, sizeof(extended)), &p), 0);
    assert_true(p.start && !p.final);
    assert_int_equal(p.handle, 0x1234);
    assert_int_equal(p.sequence, 7);
    assert_int_equal(p.frame, 9);
    assert_int_equal(p.extensions.n, 6);
    assert_int_equal(p.payload.n, 1);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct data_track_packet p;
    for (size_t n = 0; n < sizeof(extended) - 1; n++) {
        assert_int_equal(data_track_packet_parse(bytes_of(extended, n), &p), -EBADMSG);
    }
    assert_int_equal(data_track_packet_parse(bytes_of(extended, sizeof(extended) - 1), &p), 0);
    for (size_t n = 0; n < DATA_TRACK_HEADER_LEN; n++) {
        assert_int_equal(data_track_packet_parse(bytes_of(sent, n), &p), -EBADMSG);
    }
}

static void later_versions_pass(void **state)
{
    (void)state;
    uint8_t buf[DATA_TRACK_HEADER_LEN] = {0x24, 0, 0, 5};
    struct data_track_packet p;
    assert_int_equal(data_track_packet_parse(bytes_of(buf, sizeof(buf)), &p), 0);
    assert_int_equal(p.version, 1);
    assert_int_equal(p.handle, 5);
}

static void what_is_written_parses_to_the_same(void **state)
{
    (void)state;
    struct data_track_packet p;
    uint8_t buf[64];
    assert_int_equal(data_track_packet_parse(bytes_of(extended, sizeof(extended)), &p), 0);
    struct wr w = wr_init(buf, sizeof(buf));
    data_track_packet_write(&w, &p);
    assert_true(bytes_eq(wr_bytes_view(&w), bytes_of(extended, sizeof(extended))));
    for (size_t n = 0; n < sizeof(extended); n++) {
        w = wr_init(buf, n);
        data_track_packet_write(&w, &p);
        assert_false(wr_ok(&w));
    }
    p.extensions.n = 5; // no whole number of words
    w = wr_init(buf, sizeof(buf));
    data_track_packet_write(&w, &p);
    assert_false(wr_ok(&w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_packets_are_understood),
        cmocka_unit_test(only_the_handle_is_changed),
        cmocka_unit_test(extensions_are_skipped),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(later_versions_pass),
        cmocka_unit_test(what_is_written_parses_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

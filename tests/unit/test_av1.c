// SPDX-License-Identifier: Apache-2.0
// LINK: wire
// SUPPORT: pcap
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/av1.h"
#include "sfu/wire/rtp.h"
#include "tests/support/pcap.h"

static void av1_reads_aggregation_and_obu_header(void **state)
{
    (void)state;
    struct av1_info v;
    // W=2, N; first element of two bytes: sequence header with layer ids.
    assert_int_equal(av1_parse(bytes_of("\x28\x02\x0c\x48\x32", 5), &v), 0);
    assert_true(v.new_sequence && v.key_frame && v.has_obu && v.has_layer);
    assert_int_equal(v.element_count, 2);
    assert_int_equal(v.obu_type, AV1_OBU_SEQUENCE_HEADER);
    assert_int_equal(v.tid, 2);
    assert_int_equal(v.sid, 1);
    // W=1: the only element has no length. Continuation: no header.
    assert_int_equal(av1_parse(bytes_of("\x90\x30", 2), &v), 0);
    assert_true(v.continues_first && !v.has_obu && !v.key_frame);
    assert_int_equal(av1_parse(bytes_of("\x50\x30", 2), &v), 0);
    assert_true(v.last_continues && v.has_obu && v.obu_type == AV1_OBU_FRAME);
}

static void av1_refuses_broken_packets(void **state)
{
    (void)state;
    struct av1_info v;
    assert_int_equal(av1_parse(bytes_of("", 0), &v), -EBADMSG);
    assert_int_equal(av1_parse(bytes_of("\x10", 1), &v), -EBADMSG);
    assert_int_equal(av1_parse(bytes_of("\x20\x05\x30", 3), &v), -EBADMSG);
    assert_int_equal(av1_parse(bytes_of("\x20\x00\x30", 3), &v), -EBADMSG);
    assert_int_equal(av1_parse(bytes_of("\x10\x80", 2), &v), -EBADMSG); // forbidden bit
    assert_int_equal(av1_parse(bytes_of("\x10\x34", 2), &v), -EBADMSG); // extension cut off
    assert_int_equal(av1_parse(bytes_of("\x98\x30", 2), &v), -EBADMSG); // N and Z
    assert_int_equal(av1_parse(bytes_of("\x00\xff\xff\xff\xff\xff\x7f", 7), &v), -EBADMSG);
}

static void scan(const char *name, uint8_t pt)
{
    struct pcap_file f;
    struct pcap_packet p;
    unsigned media = 0;
    unsigned keys = 0;
    pcap_file_open(&f, name);
    while (pcap_file_next(&f, &p)) {
        struct rtp_header h;
        struct av1_info v;
        if (p.rtcp || rtp_parse(p.data, &h) || h.pt != pt || h.payload_len == 0) {
            continue;
        }
        int const err = av1_parse(rtp_payload(p.data, &h), &v);
        assert_int_equal(err, 0);
        assert_true(media > 0 || v.key_frame); // begins with a sequence
        assert_true(!v.key_frame || v.obu_type == AV1_OBU_SEQUENCE_HEADER);
        media++;
        keys += v.key_frame;
    }
    pcap_file_close(&f);
    assert_true(media > 5 && keys > 0);
}

static void av1_reads_browsers(void **state)
{
    (void)state;
    scan("cr-av1-l3t3key.pcap", 45);
    scan("ff-av1.pcap", 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(av1_reads_aggregation_and_obu_header),
        cmocka_unit_test(av1_refuses_broken_packets),
        cmocka_unit_test(av1_reads_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/dtls_hello.h"
#include "tests/unit/rec_file.h"

#define HEADERS (DTLS_RECORD_HEADER_LEN + DTLS_HANDSHAKE_HEADER_LEN)

// A ClientHello record with the fragment [off, off + n) of a message whose byte i is i * 7.
static struct dtls_record_view make(uint8_t *buf, uint64_t seq, uint16_t msg_seq, uint32_t total,
                                    uint32_t off, uint32_t n)
{
    struct wr w = wr_init(buf, 4096);
    wr_u8(&w, DTLS_HANDSHAKE);
    wr_be16(&w, 0xfeff);
    wr_be64(&w, seq);
    wr_be16(&w, (uint16_t)(DTLS_HANDSHAKE_HEADER_LEN + n));
    wr_u8(&w, 1);
    wr_be24(&w, total);
    wr_be16(&w, msg_seq);
    wr_be24(&w, off);
    wr_be24(&w, n);
    for (uint32_t i = 0; i < n; i++) {
        wr_u8(&w, (uint8_t)((off + i) * 7));
    }
    struct rd rd = rd_init(wr_bytes_view(&w));
    struct dtls_record_view v;
    assert_int_equal(dtls_record_next(&rd, &v), 0);
    return v;
}

static void check_joined(struct bytes r, uint64_t seq, uint16_t msg_seq, uint32_t total)
{
    struct rd rd = rd_init(r);
    struct dtls_record_view v;
    assert_int_equal(dtls_record_next(&rd, &v), 0);
    assert_int_equal(rd_left(&rd), 0);
    assert_int_equal(v.type, DTLS_HANDSHAKE);
    assert_int_equal(v.version, 0xfeff);
    assert_int_equal(v.epoch, 0);
    assert_int_equal(v.seq, seq);
    struct rd h = rd_init(v.payload);
    assert_int_equal(rd_u8(&h), 1);
    assert_int_equal(rd_be24(&h), total);
    assert_int_equal(rd_be16(&h), msg_seq);
    assert_int_equal(rd_be24(&h), 0);
    assert_int_equal(rd_be24(&h), total);
    for (uint32_t i = 0; i < total; i++) {
        assert_int_equal(rd_u8(&h), (uint8_t)(i * 7));
    }
    assert_true(rd_ok(&h));
    assert_int_equal(rd_left(&h), 0);
}

static enum dtls_hello_result feed(struct dtls_hello *h, int64_t ms, uint64_t seq, uint16_t msg_seq,
                                   uint32_t total, uint32_t off, uint32_t n, struct bytes *ret)
{
    uint8_t buf[4096];
    struct dtls_record_view const v = make(buf, seq, msg_seq, total, off, n);
    return dtls_hello_input(h, (mono_t){ms * 1000}, &v, ret);
}

static void joins_fragments_in_any_order(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 10, 0, 1000, 600, 400, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 1, 9, 0, 1000, 0, 200, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 2, 11, 0, 1000, 200, 400, &r), DTLS_HELLO_COMPLETE);
    check_joined(r, 11, 0, 1000);
    dtls_hello_done(&h);
}

static void accepts_duplicates_and_overlaps(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 0, 0, 1000, 0, 500, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 0, 0, 0, 1000, 0, 500, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 0, 1, 0, 1000, 300, 400, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 0, 2, 0, 1000, 650, 350, &r), DTLS_HELLO_COMPLETE);
    check_joined(r, 2, 0, 1000);
    // A repeat of the whole flight yields it once more, so that the server repeats its answer.
    assert_int_equal(feed(&h, 50, 3, 0, 1000, 0, 500, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 50, 4, 0, 1000, 500, 500, &r), DTLS_HELLO_COMPLETE);
    check_joined(r, 4, 0, 1000);
    dtls_hello_done(&h);
}

static void starts_again_for_another_hello(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 0, 0, 1000, 0, 500, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 1, 1, 1, 1000, 500, 500, &r),
                     DTLS_HELLO_PARTIAL);                                       // other message_seq
    assert_int_equal(feed(&h, 2, 2, 1, 900, 500, 400, &r), DTLS_HELLO_PARTIAL); // other length
    assert_int_equal(feed(&h, 3, 3, 1, 900, 0, 500, &r), DTLS_HELLO_COMPLETE);
    check_joined(r, 3, 1, 900);
    dtls_hello_done(&h);
}

static void contradicting_overlap_starts_again(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    uint8_t buf[4096];
    dtls_hello_init(&h);
    struct dtls_record_view v = make(buf, 0, 0, 600, 0, 300);
    buf[HEADERS + 5] ^= 1;
    assert_int_equal(dtls_hello_input(&h, (mono_t){0}, &v, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 0, 1, 0, 600, 0, 300, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 0, 2, 0, 600, 300, 300, &r), DTLS_HELLO_COMPLETE);
    check_joined(r, 2, 0, 600);
    dtls_hello_done(&h);
}

static void forgets_fragments_after_two_seconds(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 0, 0, 600, 0, 300, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 2000, 1, 0, 600, 300, 300, &r), DTLS_HELLO_PARTIAL);
    assert_int_equal(feed(&h, 2100, 2, 0, 600, 0, 300, &r), DTLS_HELLO_COMPLETE);
    dtls_hello_done(&h);
}

static void passes_everything_else_through(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    uint8_t buf[4096];
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 0, 0, 300, 0, 300, &r), DTLS_HELLO_PASS); // not fragmented
    struct dtls_record_view v = make(buf, 0, 0, 600, 0, 300);
    v.epoch = 1;
    assert_int_equal(dtls_hello_input(&h, (mono_t){0}, &v, &r), DTLS_HELLO_PASS);
    v = make(buf, 0, 0, 600, 0, 300);
    buf[DTLS_RECORD_HEADER_LEN] = 11; // Certificate
    assert_int_equal(dtls_hello_input(&h, (mono_t){0}, &v, &r), DTLS_HELLO_PASS);
    assert_null(h.buf);
    dtls_hello_done(&h);
}

static void rejects_bad_fragments(void **state)
{
    (void)state;
    struct dtls_hello h;
    struct bytes r;
    uint8_t buf[4096];
    dtls_hello_init(&h);
    assert_int_equal(feed(&h, 0, 0, 0, DTLS_HELLO_MAX + 1, 0, 300, &r), DTLS_HELLO_REJECT);
    assert_int_equal(feed(&h, 0, 0, 0, 500, 300, 300, &r), DTLS_HELLO_REJECT); // beyond the end
    struct dtls_record_view v = make(buf, 0, 0, 600, 0, 300);
    v.payload.n--; // shorter than it says
    assert_int_equal(dtls_hello_input(&h, (mono_t){0}, &v, &r), DTLS_HELLO_REJECT);
    assert_null(h.buf);
    dtls_hello_done(&h);
}

static void joins_recorded_hello(const char *path, uint32_t body_len)
{
    static struct rec_file f;
    struct dtls_hello h;
    struct bytes r = {NULL, 0};
    char type = 0;
    struct bytes d;
    int complete = 0;
    dtls_hello_init(&h);
    rec_file_open(&f, path);
    while (rec_file_next(&f, &type, &d)) {
        struct rd rd = rd_init(d);
        struct dtls_record_view v;
        assert_int_equal(dtls_record_next(&rd, &v), 0);
        enum dtls_hello_result const e = dtls_hello_input(&h, (mono_t){0}, &v, &r);
        assert_int_equal(rd_left(&rd), 0);
        if (e == DTLS_HELLO_COMPLETE) {
            complete++;
            assert_int_equal(r.n, HEADERS + body_len);
        } else {
            assert_int_equal(e, DTLS_HELLO_PARTIAL);
        }
    }
    assert_int_equal(complete, 1);
    dtls_hello_done(&h);
}

static void joins_the_hello_of_chromium(void **state)
{
    (void)state;
    joins_recorded_hello("tests/data/transport/hello_chromium.rec", 1413);
}

static void joins_the_hello_of_firefox(void **state)
{
    (void)state;
    joins_recorded_hello("tests/data/transport/hello_firefox.rec", 1461);
}

static void splits_a_datagram_into_records(void **state)
{
    (void)state;
    static const uint8_t d[] = {20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1,    //
                                23, 0xfe, 0xfd, 0, 1, 1, 0, 0, 0, 0, 2, 0, 2, 7, 8, //
                                22, 0xfe};
    struct rd rd = rd_init(bytes_of(d, sizeof(d)));
    struct dtls_record_view v;
    assert_int_equal(dtls_record_next(&rd, &v), 0);
    assert_int_equal(v.type, 20);
    assert_int_equal(v.seq, 9);
    assert_int_equal(v.payload.n, 1);
    assert_int_equal(dtls_record_next(&rd, &v), 0);
    assert_int_equal(v.epoch, 1);
    assert_int_equal(v.seq, UINT64_C(0x010000000002));
    assert_int_equal(v.raw.n, 15);
    assert_int_equal(dtls_record_next(&rd, &v), -EBADMSG);
    assert_int_equal(dtls_record_next(&rd, &v), -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_fragments_in_any_order),
        cmocka_unit_test(accepts_duplicates_and_overlaps),
        cmocka_unit_test(starts_again_for_another_hello),
        cmocka_unit_test(contradicting_overlap_starts_again),
        cmocka_unit_test(forgets_fragments_after_two_seconds),
        cmocka_unit_test(passes_everything_else_through),
        cmocka_unit_test(rejects_bad_fragments),
        cmocka_unit_test(joins_the_hello_of_chromium),
        cmocka_unit_test(joins_the_hello_of_firefox),
        cmocka_unit_test(splits_a_datagram_into_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

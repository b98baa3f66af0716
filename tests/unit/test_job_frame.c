// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "jwt-service/leave/job_frame.h"

static void put(struct dynbuf *out, unsigned i)
{
    char identity[32];
    (void)snprintf(identity, sizeof(identity), "identity-%u", i);
    job_frame_put(&(struct job_record){.room = "room",
                                       .identity = identity,
                                       .delay_id = "syd",
                                       .server_name = "example.org",
                                       .delay_timeout_ns = i,
                                       .restarted_at = {(int64_t)i * 1000},
                                       .state = JOB_CONNECTED},
                  out);
    assert_true(dynbuf_ok(out));
}

static void on_frame(void *user, const struct job_frame *f, size_t offset)
{
    (void)offset;
    uint64_t *const seen = user;
    assert_int_equal(f->kind, JOB_FRAME_PUT);
    assert_string_equal(f->record.server_name, "example.org");
    *seen |= UINT64_C(1) << f->record.delay_timeout_ns;
}

static uint64_t scan(struct bytes in, struct job_scan *ret)
{
    uint64_t seen = 0;
    // A copy of exactly this size, so that the sanitizer sees any read beyond it.
    uint8_t *const copy = mem_alloc(in.n);
    memcpy(copy, in.p, in.n);
    job_frame_scan(bytes_of(copy, in.n), on_frame, &seen, ret);
    mem_free(copy);
    return seen;
}

static void frames_are_read_back(void **state)
{
    (void)state;
    struct dynbuf b;
    struct job_frame f;
    dynbuf_init(&b, 1u << 16);
    put(&b, 7);
    job_frame_remove("room", "identity-7", &b);
    assert_int_equal(job_frame_read(dynbuf_view(&b), &f), 0);
    assert_int_equal(f.kind, JOB_FRAME_PUT);
    assert_string_equal(f.record.identity, "identity-7");
    assert_string_equal(f.record.sid, "");
    assert_int_equal(f.record.restarted_at.us, 7000);
    assert_int_equal(f.record.state, JOB_CONNECTED);
    size_t const first = f.len;
    assert_int_equal(job_frame_read(bytes_of(b.p + first, b.n - first), &f), 0);
    assert_int_equal(f.kind, JOB_FRAME_REMOVE);
    assert_string_equal(f.record.identity, "identity-7");
    assert_int_equal(first + f.len, b.n);
    dynbuf_done(&b);
}

static void a_file_cut_at_any_byte_gives_all_whole_records(void **state)
{
    (void)state;
    struct dynbuf b;
    size_t ends[6] = {0};
    dynbuf_init(&b, 1u << 16);
    for (unsigned i = 0; i < 6; i++) {
        put(&b, i);
        ends[i] = b.n;
    }
    for (size_t cut = 0; cut <= b.n; cut++) {
        struct job_scan s;
        size_t whole = 0;
        while (whole < 6 && ends[whole] <= cut) {
            whole++;
        }
        assert_int_equal(scan(bytes_of(b.p, cut), &s), (UINT64_C(1) << whole) - 1);
        assert_int_equal(s.frames, whole);
        assert_int_equal(s.gaps, 0);
        assert_int_equal(s.end, whole > 0 ? ends[whole - 1] : 0);
        assert_int_equal(s.tail, cut - s.end);
    }
    dynbuf_done(&b);
}

static void damage_costs_only_the_frame_it_touches(void **state)
{
    (void)state;
    struct dynbuf b;
    size_t ends[5] = {0};
    dynbuf_init(&b, 1u << 16);
    for (unsigned i = 0; i < 5; i++) {
        put(&b, i);
        ends[i] = b.n;
    }
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    for (size_t at = 0; at < b.n; at++) {
        for (size_t k = 0; k < ARRAY_LEN(flips); k++) {
            struct job_scan s;
            unsigned hit = 0;
            while (ends[hit] <= at) {
                hit++;
            }
            b.p[at] ^= flips[k];
            assert_int_equal(scan(dynbuf_view(&b), &s), 0x1f & ~(1u << hit));
            assert_int_equal(s.frames, 4);
            assert_int_equal(s.gaps, hit < 4);
            size_t const len = ends[hit] - (hit > 0 ? ends[hit - 1] : 0);
            assert_int_equal(s.gap_bytes + s.tail, len);
            b.p[at] ^= flips[k];
        }
    }
    dynbuf_done(&b);
}

static void pieces_lost_in_the_middle_are_one_gap(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, 1u << 16);
    put(&b, 0);
    size_t const at = b.n;
    put(&b, 1);
    put(&b, 2);
    memset(b.p + at + 5, 0, b.n - at - 10); // a hole, as some file systems leave after a crash
    put(&b, 3);
    struct job_scan s;
    assert_int_equal(scan(dynbuf_view(&b), &s), 1u << 0 | 1u << 3);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.tail, 0);
    dynbuf_done(&b);
}

static void foreign_bytes_are_no_frames(void **state)
{
    (void)state;
    struct job_frame f;
    struct job_scan s;
    assert_int_equal(job_frame_read(bytes_of("", 0), &f), -EAGAIN);
    assert_int_equal(job_frame_read(bytes_of("\xff"
                                             "fJ",
                                             3),
                                    &f),
                     -EAGAIN);
    assert_int_equal(job_frame_read(bytes_of("\xff"
                                             "fJx",
                                             4),
                                    &f),
                     -EBADMSG);
    // A length beyond all bounds.
    assert_int_equal(job_frame_read(bytes_of("\xff"
                                             "fJ\xfe\0\0\0\0\xff\xff\xff\xff",
                                             12),
                                    &f),
                     -EBADMSG);
    assert_int_equal(scan(bytes_str("SQLite format 3"), &s), 0);
    assert_int_equal(s.frames, 0);
    assert_int_equal(s.tail, 15);
}

static void texts_of_any_allowed_length_fit(void **state)
{
    (void)state;
    struct dynbuf b;
    struct job_frame f;
    char *const text = mem_alloc(JOB_RECORD_MAX);
    memset(text, 'i', JOB_RECORD_MAX - 20);
    struct job_record const r = {
        .room = "r", .identity = text, .delay_id = "d", .server_name = "s"};
    assert_int_equal(job_record_check(&r), 0);
    dynbuf_init(&b, JOB_FRAME_MAX);
    job_frame_put(&r, &b);
    assert_true(dynbuf_ok(&b));
    assert_int_equal(job_frame_read(dynbuf_view(&b), &f), 0);
    assert_string_equal(f.record.identity, text);
    dynbuf_done(&b);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_read_back),
        cmocka_unit_test(a_file_cut_at_any_byte_gives_all_whole_records),
        cmocka_unit_test(damage_costs_only_the_frame_it_touches),
        cmocka_unit_test(pieces_lost_in_the_middle_are_one_gap),
        cmocka_unit_test(foreign_bytes_are_no_frames),
        cmocka_unit_test(texts_of_any_allowed_length_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

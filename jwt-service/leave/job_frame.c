// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_frame.h"

#include <string.h>

#include "common/base/crc32.h"

static const uint8_t marker[4] = {0xff, 'f', 'J', 0xfe};

#define CRC_AT 4
#define LENGTH_AT 8

// kind, state, timeout, time, eight texts of at least a length and a zero.
#define PAYLOAD_MIN (1u + 1u + 8u + 8u + 8u * 3u)

static void add_be(struct dynbuf *out, uint64_t v, unsigned bytes)
{
    while (bytes > 0) {
        bytes--;
        dynbuf_add_u8(out, (uint8_t)(v >> (8 * bytes)));
    }
}

static void add_text(struct dynbuf *out, const char *s)
{
    size_t const n = s != NULL ? strlen(s) : 0;
    if (n > UINT16_MAX) {
        out->err = true;
        return;
    }
    add_be(out, n, 2);
    dynbuf_add(out, bytes_of(s, n));
    dynbuf_add_u8(out, 0);
}

static void add_frame(enum job_frame_kind kind, const struct job_record *r, struct dynbuf *out)
{
    size_t const start = out->n;
    dynbuf_add(out, bytes_of(marker, sizeof(marker)));
    add_be(out, 0, 8); // CRC and length, known below
    dynbuf_add_u8(out, (uint8_t)kind);
    dynbuf_add_u8(out, (uint8_t)r->state);
    add_be(out, (uint64_t)r->delay_timeout_ns, 8);
    add_be(out, (uint64_t)r->restarted_at.us, 8);
    const char *const texts[] = {r->room,        r->identity, r->other_identity, r->delay_id,
                                 r->server_name, r->user_id,  r->owner_user_id,  r->sid};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        add_text(out, texts[i]);
    }
    if (!dynbuf_ok(out) || out->n - start > JOB_FRAME_MAX) {
        out->err = true;
        return;
    }
    uint8_t *const p = out->p + start;
    size_t const n = out->n - start;
    struct wr w = wr_init(p + LENGTH_AT, 4);
    wr_be32(&w, (uint32_t)(n - JOB_FRAME_HEAD));
    w = wr_init(p + CRC_AT, 4);
    wr_be32(&w, crc32_ieee(bytes_of(p + LENGTH_AT, n - LENGTH_AT)));
}

void job_frame_put(const struct job_record *r, struct dynbuf *out)
{
    add_frame(JOB_FRAME_PUT, r, out);
}

void job_frame_remove(const char *room, const char *identity, struct dynbuf *out)
{
    struct job_record const r = {.room = room, .identity = identity};
    add_frame(JOB_FRAME_REMOVE, &r, out);
}

static const char *take_text(struct rd *r)
{
    struct bytes const b = rd_take(r, rd_be16(r));
    if (rd_u8(r) != 0 || (b.n > 0 && memchr(b.p, 0, b.n) != NULL)) {
        rd_fail(r);
    }
    return rd_ok(r) ? (const char *)b.p : "";
}

// The payload of a frame whose CRC is right.
static int read_payload(struct bytes payload, struct job_frame *ret)
{
    struct rd r = rd_init(payload);
    struct job_frame f = {.kind = (enum job_frame_kind)rd_u8(&r)};
    uint8_t const state = rd_u8(&r);
    f.record.delay_timeout_ns = (int64_t)rd_be64(&r);
    f.record.restarted_at = (wall_t){(int64_t)rd_be64(&r)};
    const char **const texts[] = {
        &f.record.room,        &f.record.identity, &f.record.other_identity, &f.record.delay_id,
        &f.record.server_name, &f.record.user_id,  &f.record.owner_user_id,  &f.record.sid};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i] = take_text(&r);
    }
    if (!rd_ok(&r) || rd_left(&r) != 0 || state >= JOB_STATE_COUNT ||
        (f.kind != JOB_FRAME_PUT && f.kind != JOB_FRAME_REMOVE)) {
        return -EBADMSG;
    }
    f.record.state = (enum job_state)state;
    if (f.kind == JOB_FRAME_PUT && job_record_check(&f.record) != 0) {
        return -EBADMSG;
    }
    f.len = JOB_FRAME_HEAD + payload.n;
    *ret = f;
    return 0;
}

int job_frame_read(struct bytes in, struct job_frame *ret)
{
    size_t const n = MIN(in.n, sizeof(marker));
    if (n == 0 || memcmp(in.p, marker, n) != 0) {
        return n == 0 ? -EAGAIN : -EBADMSG;
    }
    if (in.n < JOB_FRAME_HEAD) {
        return -EAGAIN;
    }
    struct rd r = rd_init(bytes_of(in.p + CRC_AT, in.n - CRC_AT));
    uint32_t const crc = rd_be32(&r);
    uint32_t const len = rd_be32(&r);
    if (len < PAYLOAD_MIN || len > JOB_FRAME_MAX - JOB_FRAME_HEAD) {
        return -EBADMSG;
    }
    if (rd_left(&r) < len) {
        return -EAGAIN;
    }
    if (crc32_ieee(bytes_of(in.p + LENGTH_AT, JOB_FRAME_HEAD - LENGTH_AT + len)) != crc) {
        return -EBADMSG;
    }
    return read_payload(rd_take(&r, len), ret);
}

// Offset of the next marker at or after `at`; in.n if there is none.
static size_t next_marker(struct bytes in, size_t at)
{
    const uint8_t *const hit =
        at < in.n ? memmem(in.p + at, in.n - at, marker, sizeof(marker)) : NULL;
    return hit != NULL ? (size_t)(hit - in.p) : in.n;
}

void job_frame_scan(struct bytes in,
                    void (*fn)(void *user, const struct job_frame *f, size_t offset), void *user,
                    struct job_scan *ret)
{
    struct job_scan s = {0};
    size_t at = 0;
    size_t gap = 0; // bytes since the last whole frame
    while (at < in.n) {
        struct job_frame f;
        if (job_frame_read(bytes_of(in.p + at, in.n - at), &f) != 0) {
            // What looks cut off may be a damaged length with whole frames behind it.
            size_t const next = next_marker(in, at + 1);
            gap += next - at;
            at = next;
            continue;
        }
        s.gaps += gap > 0;
        s.gap_bytes += gap;
        gap = 0;
        fn(user, &f, at);
        s.frames++;
        at += f.len;
        s.end = at;
    }
    s.tail = gap;
    *ret = s;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/twcc.h"

#include "common/base/seq.h"

#define TWCC_FIXED_LEN 8u // base, count, reference, feedback count
#define SYMBOL_LOST 0u
#define SYMBOL_SMALL 1u
#define SYMBOL_LARGE 2u
#define RUN_MAX 0x1fffu
#define VECTOR1_LEN 14u
#define VECTOR2_LEN 7u
#define REFERENCE_MASK ((1u << TWCC_REFERENCE_BITS) - 1u)
#define UNITS_PER_REFERENCE (TWCC_REFERENCE_UNIT_US / TWCC_DELTA_UNIT_US)

// ---- reading --------------------------------------------------------------------------------

// How many symbols a chunk holds.
static unsigned chunk_len(uint16_t chunk)
{
    if ((chunk & 0x8000u) == 0) {
        return chunk & RUN_MAX;
    }
    return chunk & 0x4000u ? VECTOR2_LEN : VECTOR1_LEN;
}

// Symbol `i` of a chunk.
static unsigned chunk_symbol(unsigned chunk, unsigned i)
{
    if ((chunk & 0x8000u) == 0) {
        return (chunk >> 13) & 3u;
    }
    if (chunk & 0x4000u) {
        return (chunk >> (2 * (VECTOR2_LEN - 1 - i))) & 3u;
    }
    return (chunk >> (VECTOR1_LEN - 1 - i)) & 1u;
}

// Bytes of deltas that the first n symbols of a chunk ask for; SIZE_MAX if one is reserved.
static size_t chunk_delta_len(uint16_t chunk, unsigned n)
{
    if ((chunk & 0x8000u) == 0) {
        unsigned const s = chunk_symbol(chunk, 0);
        return s > SYMBOL_LARGE ? SIZE_MAX : (size_t)s * n;
    }
    size_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned const s = chunk_symbol(chunk, i);
        if (s > SYMBOL_LARGE) {
            return SIZE_MAX;
        }
        sum += s; // a small delta is one byte, a large one two
    }
    return sum;
}

int twcc_parse(const struct rtcp_fb *fb, struct twcc_feedback *ret)
{
    if (fb->type != RTCP_RTPFB || fb->fmt != RTCP_RTPFB_TWCC) {
        return -EBADMSG;
    }
    struct rd r = rd_init(fb->fci);
    struct twcc_feedback f = {.sender_ssrc = fb->sender_ssrc, .media_ssrc = fb->media_ssrc};
    f.base_sn = rd_be16(&r);
    f.status_count = rd_be16(&r);
    f.reference = rd_be24(&r);
    f.fb_count = rd_u8(&r);
    const uint8_t *const chunks = r.p;
    unsigned left = f.status_count;
    size_t delta_len = 0;
    while (left > 0 && rd_ok(&r)) {
        uint16_t const chunk = rd_be16(&r);
        unsigned const n = MIN(chunk_len(chunk), left);
        size_t const len = chunk_delta_len(chunk, n);
        if (n == 0 || len == SIZE_MAX) {
            return -EBADMSG; // an empty run would let one packet keep us busy for nothing
        }
        left -= n;
        delta_len += len;
    }
    if (!rd_ok(&r) || f.status_count == 0) {
        return -EBADMSG;
    }
    f.chunks = bytes_of(chunks, (size_t)(r.p - chunks));
    f.deltas = rd_take(&r, delta_len);
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    *ret = f;
    return 0;
}

void twcc_iter_init(struct twcc_iter *it, const struct twcc_feedback *f)
{
    *it = (struct twcc_iter){
        .chunks = rd_init(f->chunks),
        .deltas = rd_init(f->deltas),
        .sn = f->base_sn,
        .left = f->status_count,
        .time_us = (int64_t)f->reference * TWCC_REFERENCE_UNIT_US,
    };
}

bool twcc_next(struct twcc_iter *it, struct twcc_status *ret)
{
    if (it->left == 0) {
        return false;
    }
    if (it->chunk_left == 0) {
        it->chunk = rd_be16(&it->chunks);
        it->chunk_left = (uint16_t)chunk_len(it->chunk);
    }
    unsigned const symbol = chunk_symbol(it->chunk, chunk_len(it->chunk) - it->chunk_left);
    it->chunk_left--;
    it->left--;
    *ret = (struct twcc_status){.sn = it->sn++, .received = symbol != SYMBOL_LOST};
    if (symbol == SYMBOL_SMALL) {
        it->time_us += (int64_t)rd_u8(&it->deltas) * TWCC_DELTA_UNIT_US;
    } else if (symbol == SYMBOL_LARGE) {
        it->time_us += (int64_t)(int16_t)rd_be16(&it->deltas) * TWCC_DELTA_UNIT_US;
    }
    ret->arrival_us = it->time_us;
    return true;
}

// ---- writing --------------------------------------------------------------------------------

void twcc_builder_init(struct twcc_builder *b, uint16_t base_sn, int64_t first_arrival_us,
                       uint8_t fb_count)
{
    int64_t const reference = first_arrival_us / TWCC_REFERENCE_UNIT_US;
    b->base_sn = base_sn;
    b->fb_count = fb_count;
    b->count = 0;
    b->delta_bytes = 0;
    b->reference = (uint32_t)reference & REFERENCE_MASK;
    b->last_units = reference * UNITS_PER_REFERENCE;
}

int twcc_builder_add(struct twcc_builder *b, uint16_t sn, int64_t arrival_us)
{
    int32_t const at = seq16_diff(sn, b->base_sn);
    if (at < b->count) {
        return -EINVAL;
    }
    if ((uint32_t)at >= TWCC_STATUS_MAX) {
        return -E2BIG;
    }
    // Differences of quantised times: errors stay below one unit however many packets follow.
    int64_t const units = arrival_us / TWCC_DELTA_UNIT_US;
    int64_t const delta = units - b->last_units;
    if (delta < INT16_MIN || delta > INT16_MAX) {
        return -E2BIG;
    }
    memset(&b->symbol[b->count], SYMBOL_LOST, (size_t)at - b->count);
    bool const small = delta >= 0 && delta <= UINT8_MAX;
    b->symbol[at] = small ? SYMBOL_SMALL : SYMBOL_LARGE;
    b->delta[at] = (int16_t)delta;
    b->delta_bytes = (uint16_t)(b->delta_bytes + (small ? 1u : 2u));
    b->count = (uint16_t)(at + 1);
    b->last_units = units;
    return 0;
}

// The next chunk for the symbols from `at`; returns how many it covers.
static unsigned next_chunk(const struct twcc_builder *b, unsigned at, uint16_t *ret_chunk)
{
    unsigned const left = b->count - at;
    const uint8_t *const s = b->symbol + at;
    unsigned run = 1;
    while (run < left && s[run] == s[0]) {
        run++;
    }
    // A run pays if it covers more than a vector would, or all that is left.
    if (run == left || run >= VECTOR1_LEN || (run >= VECTOR2_LEN && s[0] == SYMBOL_LARGE)) {
        *ret_chunk = (uint16_t)((unsigned)s[0] << 13 | run);
        return run;
    }
    unsigned const n1 = MIN(left, VECTOR1_LEN);
    bool one_bit = true;
    for (unsigned i = 0; i < n1; i++) {
        one_bit = one_bit && s[i] != SYMBOL_LARGE;
    }
    unsigned const n = one_bit ? n1 : MIN(left, VECTOR2_LEN);
    unsigned chunk = one_bit ? 0x8000u : 0xc000u;
    for (unsigned i = 0; i < n; i++) {
        chunk |= one_bit ? (unsigned)s[i] << (VECTOR1_LEN - 1 - i)
                         : (unsigned)s[i] << (2 * (VECTOR2_LEN - 1 - i));
    }
    *ret_chunk = (uint16_t)chunk;
    return n;
}

void twcc_builder_write(const struct twcc_builder *b, struct wr *w, uint32_t sender_ssrc,
                        uint32_t media_ssrc)
{
    if (b->count == 0) {
        return;
    }
    uint16_t chunk = 0;
    size_t chunks = 0;
    for (unsigned at = 0; at < b->count; at += next_chunk(b, at, &chunk)) {
        chunks++;
    }
    size_t const used = 12 + TWCC_FIXED_LEN + chunks * 2 + b->delta_bytes;
    size_t const pad = (4 - used % 4) % 4;
    if (w->err || wr_left(w) < used + pad) {
        w->err = true;
        return;
    }
    wr_u8(w, (uint8_t)(0x80u | (pad > 0 ? 0x20u : 0u) | RTCP_RTPFB_TWCC));
    wr_u8(w, RTCP_RTPFB);
    wr_be16(w, (uint16_t)((used + pad) / 4 - 1));
    wr_be32(w, sender_ssrc);
    wr_be32(w, media_ssrc);
    wr_be16(w, b->base_sn);
    wr_be16(w, b->count);
    wr_be24(w, b->reference);
    wr_u8(w, b->fb_count);
    for (unsigned at = 0; at < b->count;) {
        at += next_chunk(b, at, &chunk);
        wr_be16(w, chunk);
    }
    for (unsigned i = 0; i < b->count; i++) {
        if (b->symbol[i] == SYMBOL_SMALL) {
            wr_u8(w, (uint8_t)b->delta[i]);
        } else if (b->symbol[i] == SYMBOL_LARGE) {
            wr_be16(w, (uint16_t)b->delta[i]);
        }
    }
    if (pad > 0) {
        wr_fill(w, 0, pad - 1);
        wr_u8(w, (uint8_t)pad);
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/dd.h"

#include "common/base/bits.h"

// AV1 RTP payload specification, appendix A.8.
#define NEXT_SAME 0u
#define NEXT_TEMPORAL 1u
#define NEXT_SPATIAL 2u
#define NEXT_END 3u

int dd_parse_mandatory(struct bytes data, struct dd *ret)
{
    struct rdbits r = rdbits_init(data);
    struct dd d = {0};
    d.start_of_frame = rdbits_flag(&r);
    d.end_of_frame = rdbits_flag(&r);
    d.template_id = (uint8_t)rdbits_get(&r, 6);
    d.frame_number = (uint16_t)rdbits_get(&r, 16);
    if (!rdbits_ok(&r)) {
        return -EBADMSG;
    }
    *ret = d;
    return 0;
}

// ---- structure ------------------------------------------------------------------------------

static void read_layers(struct rdbits *r, struct dd_structure *s)
{
    unsigned spatial = 0;
    unsigned temporal = 0;
    for (;;) {
        if (s->template_count == DD_TEMPLATES_MAX || spatial >= DD_SPATIAL_MAX ||
            temporal >= DD_TEMPORAL_MAX || !rdbits_ok(r)) {
            r->err = true;
            return;
        }
        s->templates[s->template_count].spatial = (uint8_t)spatial;
        s->templates[s->template_count].temporal = (uint8_t)temporal;
        s->template_count++;
        switch (rdbits_get(r, 2)) {
        case NEXT_SAME:
            break;
        case NEXT_TEMPORAL:
            temporal++;
            break;
        case NEXT_SPATIAL:
            spatial++;
            temporal = 0;
            break;
        default: // NEXT_END
            s->spatial_count = (uint8_t)(spatial + 1);
            return;
        }
    }
}

static void read_template_fdiffs(struct rdbits *r, struct dd_frame *f)
{
    while (rdbits_flag(r)) {
        if (f->fdiff_count == DD_FDIFFS_MAX) {
            r->err = true;
            return;
        }
        f->fdiff[f->fdiff_count++] = (uint16_t)(rdbits_get(r, 4) + 1);
    }
}

static void read_chains(struct rdbits *r, struct dd_structure *s)
{
    s->chain_count = (uint8_t)rdbits_ns(r, s->target_count + 1u);
    if (s->chain_count == 0) {
        return;
    }
    for (unsigned t = 0; t < s->target_count; t++) {
        s->target_chain[t] = (uint8_t)rdbits_ns(r, s->chain_count);
    }
    for (unsigned i = 0; i < s->template_count; i++) {
        for (unsigned c = 0; c < s->chain_count; c++) {
            s->templates[i].chain_diff[c] = (uint8_t)rdbits_get(r, 4);
        }
    }
}

// The layers of a decode target are the highest ones among the templates that are part of it.
static void derive_target_layers(struct dd_structure *s)
{
    for (unsigned t = 0; t < s->target_count; t++) {
        for (unsigned i = 0; i < s->template_count; i++) {
            const struct dd_frame *const f = &s->templates[i];
            if (f->dti[t] != DD_DTI_NOT_PRESENT) {
                s->target_spatial[t] = MAX(s->target_spatial[t], f->spatial);
                s->target_temporal[t] = MAX(s->target_temporal[t], f->temporal);
            }
        }
    }
}

static void read_structure(struct rdbits *r, struct dd_structure *s)
{
    s->template_id_offset = (uint8_t)rdbits_get(r, 6);
    s->target_count = (uint8_t)(rdbits_get(r, 5) + 1);
    read_layers(r, s);
    for (unsigned i = 0; i < s->template_count && rdbits_ok(r); i++) {
        for (unsigned t = 0; t < s->target_count; t++) {
            s->templates[i].dti[t] = (uint8_t)rdbits_get(r, 2);
        }
    }
    for (unsigned i = 0; i < s->template_count && rdbits_ok(r); i++) {
        read_template_fdiffs(r, &s->templates[i]);
    }
    if (!rdbits_ok(r)) {
        return;
    }
    read_chains(r, s);
    if (rdbits_flag(r)) {
        s->resolution_count = s->spatial_count;
        for (unsigned i = 0; i < s->resolution_count; i++) {
            // Minus one on the wire; 65536 does not occur and would wrap to 0.
            s->width[i] = (uint16_t)(rdbits_get(r, 16) + 1);
            s->height[i] = (uint16_t)(rdbits_get(r, 16) + 1);
        }
    }
    derive_target_layers(s);
}

// ---- frame ----------------------------------------------------------------------------------

static void read_custom_fdiffs(struct rdbits *r, struct dd_frame *f)
{
    f->fdiff_count = 0;
    for (;;) {
        unsigned const size = rdbits_get(r, 2);
        if (size == 0) {
            return;
        }
        if (f->fdiff_count == DD_FDIFFS_MAX) {
            r->err = true;
            return;
        }
        f->fdiff[f->fdiff_count++] = (uint16_t)(rdbits_get(r, 4 * size) + 1);
    }
}

struct dd_flags {
    bool dtis;
    bool fdiffs;
    bool chains;
};

static int read_frame(struct rdbits *r, const struct dd_structure *s, struct dd_flags flags,
                      struct dd *d)
{
    unsigned const index =
        (d->template_id + DD_TEMPLATES_MAX - s->template_id_offset) % DD_TEMPLATES_MAX;
    if (index >= s->template_count) {
        return -ENOENT;
    }
    d->frame = s->templates[index];
    if (flags.dtis) {
        for (unsigned t = 0; t < s->target_count; t++) {
            d->frame.dti[t] = (uint8_t)rdbits_get(r, 2);
        }
    }
    if (flags.fdiffs) {
        read_custom_fdiffs(r, &d->frame);
    }
    if (flags.chains) {
        for (unsigned c = 0; c < s->chain_count; c++) {
            d->frame.chain_diff[c] = (uint8_t)rdbits_get(r, 8);
        }
    }
    return rdbits_ok(r) ? 0 : -EBADMSG;
}

static uint32_t all_targets(unsigned count)
{
    return count >= 32 ? UINT32_MAX : (1u << count) - 1u;
}

// What follows the flags and the structure.
static int read_rest(struct rdbits *r, const struct dd_structure *s, struct dd_flags flags,
                     struct dd *d)
{
    d->bit_structure_end = r->pos > DD_MANDATORY_LEN * 8 ? (uint16_t)r->pos : 0;
    if (d->has_active) {
        d->active_targets = rdbits_get(r, s->target_count); // lowest bit = target 0
    } else if (d->has_structure) {
        d->active_targets = all_targets(s->target_count);
    }
    d->bit_custom = (uint16_t)r->pos;
    int const err = read_frame(r, s, flags, d);
    d->bit_end = (uint16_t)r->pos;
    return err;
}

// Apart and not inlined: a structure is 7 KB of stack that only key frames should pay for.
static __attribute__((noinline)) int parse_with_structure(struct rdbits *r, struct dd_flags flags,
                                                          struct dd *d,
                                                          struct dd_structure *ret_structure)
{
    struct dd_structure fresh = {0};
    read_structure(r, &fresh);
    if (!rdbits_ok(r)) {
        return -EBADMSG;
    }
    int const err = read_rest(r, &fresh, flags, d);
    if (err == 0) {
        *ret_structure = fresh;
    }
    return err;
}

int dd_parse(struct bytes data, const struct dd_structure *known, struct dd *ret,
             struct dd_structure *ret_structure)
{
    struct dd d;
    int err = dd_parse_mandatory(data, &d);
    if (err) {
        return err;
    }
    struct rdbits r = rdbits_init(data);
    (void)rdbits_get(&r, 24);
    struct dd_flags flags = {false, false, false};
    if (data.n > DD_MANDATORY_LEN) {
        d.has_structure = rdbits_flag(&r);
        d.has_active = rdbits_flag(&r);
        flags.dtis = rdbits_flag(&r);
        flags.fdiffs = rdbits_flag(&r);
        flags.chains = rdbits_flag(&r);
    }
    if (d.has_structure) {
        err = parse_with_structure(&r, flags, &d, ret_structure);
    } else {
        err = known ? read_rest(&r, known, flags, &d) : -ENOENT;
    }
    if (err) {
        return err;
    }
    *ret = d;
    return 0;
}

// ---- rewriting ------------------------------------------------------------------------------

// Copies the bits [from, to) of the original.
static void copy_bits(struct wrbits *w, struct bytes data, size_t from, size_t to)
{
    struct rdbits r = rdbits_init(bytes_of(data.p, data.n));
    r.pos = MIN(from, r.end);
    while (from < to && rdbits_ok(&r)) {
        unsigned const n = (unsigned)MIN(to - from, 32);
        wrbits_put(w, rdbits_get(&r, n), n);
        from += n;
    }
    w->err = w->err || r.err;
}

void dd_rewrite(struct wr *w, struct bytes data, const struct dd *d, uint8_t target_count,
                uint16_t frame_number, bool set_active, uint32_t active_targets)
{
    uint8_t out[DD_LEN_MAX];
    struct wrbits b = wrbits_init(out, sizeof(out));
    bool const extended = d->bit_structure_end != 0;
    bool const active = set_active || d->has_active;
    wrbits_put(&b, d->start_of_frame, 1);
    wrbits_put(&b, d->end_of_frame, 1);
    wrbits_put(&b, d->template_id, 6);
    wrbits_put(&b, frame_number, 16);
    if (extended || set_active) {
        wrbits_put(&b, d->has_structure, 1);
        wrbits_put(&b, active, 1);
    }
    if (extended) {
        copy_bits(&b, data, 26, d->bit_structure_end); // the three custom flags and the structure
    } else if (set_active) {
        wrbits_put(&b, 0, 3);
    }
    uint32_t const mask = set_active ? active_targets : d->active_targets;
    if (active) {
        wrbits_put(&b, mask, MIN(target_count, DD_TARGETS_MAX));
    }
    if (extended) {
        copy_bits(&b, data, d->bit_custom, d->bit_end);
    }
    if (!wrbits_ok(&b)) {
        w->err = true;
        return;
    }
    wr_bytes(w, bytes_of(out, wrbits_len(&b)));
}

// SPDX-License-Identifier: Apache-2.0
#include "common/base/rate.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#define TOKENS_MAX 1000000u
#define KEYS_MAX ((size_t)1 << 24)

// Of one key. Free (and full): full_at in the past.
struct bucket {
    uint64_t key;
    int64_t full_at; // microseconds of mono_t
};

struct rate {
    struct rate_limit limit;
    int64_t token_us; // time in which one token comes
    size_t sets;      // power of two
    struct bucket *v; // sets * RATE_WAYS
};

// Up to six digits and, if asked for, three behind a point, in thousandths. Moves *text past it.
static int parse_number(struct bytes *text, bool fraction, uint32_t *ret)
{
    uint32_t v = 0;
    size_t i = 0;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
        if (i == 7) {
            return -EINVAL;
        }
        v = v * 10 + (uint32_t)(text->p[i] - '0');
    }
    if (i == 0 || v > TOKENS_MAX) {
        return -EINVAL;
    }
    v *= 1000;
    if (fraction && i < text->n && text->p[i] == '.') {
        uint32_t unit = 1000;
        size_t const first = ++i;
        for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
            unit /= 10;
            if (unit == 0) {
                return -EINVAL;
            }
            v += (uint32_t)(text->p[i] - '0') * unit;
        }
        if (i == first) {
            return -EINVAL;
        }
    }
    *text = bytes_of(text->p + i, text->n - i);
    *ret = v;
    return 0;
}

int rate_limit_parse(struct bytes text, struct rate_limit *ret)
{
    struct rate_limit l = {0};
    if (bytes_eq_str(text, "off")) {
        *ret = l;
        return 0;
    }
    uint32_t burst = 0;
    if (parse_number(&text, true, &l.per_1000s) < 0) {
        return -EINVAL;
    }
    if (text.n == 0) {
        l.burst = MAX(MIN((uint32_t)((uint64_t)l.per_1000s * 3 / 1000), TOKENS_MAX), 1u);
    } else {
        struct bytes rest = bytes_of(text.p + 1, text.n - 1);
        if (text.p[0] != '/' || parse_number(&rest, false, &burst) < 0 || rest.n != 0 ||
            (burst == 0 && l.per_1000s != 0)) {
            return -EINVAL;
        }
        l.burst = burst / 1000;
    }
    *ret = l;
    return 0;
}

static void set_limit(struct rate *r, struct rate_limit limit)
{
    r->limit = limit;
    r->limit.burst = MAX(limit.burst, 1u);
    r->token_us = limit.per_1000s > 0 ? MAX(US_PER_S * 1000 / limit.per_1000s, 1) : 0;
}

struct rate *rate_new(struct rate_limit limit, size_t keys)
{
    struct rate *const r = NEW(struct rate);
    if (!r) {
        return NULL;
    }
    r->sets = 1;
    while (r->sets * RATE_WAYS < MIN(keys, KEYS_MAX)) {
        r->sets *= 2;
    }
    r->v = mem_array(r->sets * RATE_WAYS, sizeof(*r->v));
    if (!r->v) {
        mem_free(r);
        return NULL;
    }
    set_limit(r, limit);
    return r;
}

void rate_free(struct rate *r)
{
    if (r) {
        mem_free(r->v);
        mem_free(r);
    }
}

void rate_set_limit(struct rate *r, struct rate_limit limit)
{
    set_limit(r, limit);
}

// The bucket of this key, or the place for it: the one nearest to being full.
static struct bucket *place_of(const struct rate *r, uint64_t key)
{
    struct bucket *const set = r->v + (key & (r->sets - 1)) * RATE_WAYS;
    struct bucket *best = set;
    for (size_t i = 0; i < RATE_WAYS; i++) {
        if (set[i].key == key) {
            return &set[i];
        }
        best = set[i].full_at < best->full_at ? &set[i] : best;
    }
    return best;
}

// When the bucket would be full again if it gave a token now; -1 if it has none, then *ret_retry_ms
// is set.
static int64_t after_take(const struct rate *r, mono_t now, uint64_t key, const struct bucket *b,
                          int64_t *ret_retry_ms)
{
    int64_t const full_at = b->key == key ? MAX(b->full_at, now.us) : now.us;
    int64_t const then = full_at + r->token_us;
    int64_t const wait_us = then - now.us - r->token_us * r->limit.burst;
    if (wait_us <= 0) {
        return then;
    }
    *ret_retry_ms = (wait_us + US_PER_MS - 1) / US_PER_MS;
    return -1;
}

bool rate_take(struct rate *r, mono_t now, struct bytes key, int64_t *ret_retry_ms)
{
    if (r->token_us == 0) {
        return true;
    }
    uint64_t const k = hash_bytes(key.p, key.n);
    struct bucket *const b = place_of(r, k);
    int64_t const then = after_take(r, now, k, b, ret_retry_ms);
    if (then < 0) {
        return false;
    }
    *b = (struct bucket){.key = k, .full_at = then};
    return true;
}

bool rate_peek(const struct rate *r, mono_t now, struct bytes key, int64_t *ret_retry_ms)
{
    uint64_t const k = hash_bytes(key.p, key.n);
    return r->token_us == 0 || after_take(r, now, k, place_of(r, k), ret_retry_ms) >= 0;
}

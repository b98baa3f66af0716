// SPDX-License-Identifier: Apache-2.0
#include "common/lk/keys.h"

#include "common/base/mem.h"

struct api_keys {
    struct api_key pairs[API_KEYS_MAX];
    size_t n;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trim(struct bytes b)
{
    while (b.n > 0 && is_blank(b.p[0])) {
        b.p++;
        b.n--;
    }
    while (b.n > 0 && is_blank(b.p[b.n - 1])) {
        b.n--;
    }
    return b;
}

static struct bytes unquote(struct bytes b)
{
    if (b.n >= 2 && (b.p[0] == '"' || b.p[0] == '\'') && b.p[b.n - 1] == b.p[0]) {
        return bytes_of(b.p + 1, b.n - 2);
    }
    return b;
}

static bool has_control(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] < 0x20 || b.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static void wipe_free(char *s)
{
    if (s) {
        explicit_bzero(s, strlen(s));
        mem_free(s);
    }
}

struct api_keys *api_keys_new(void)
{
    return NEW(struct api_keys);
}

void api_keys_free(struct api_keys *k)
{
    if (!k) {
        return;
    }
    for (size_t i = 0; i < k->n; i++) {
        mem_free(k->pairs[i].key);
        wipe_free(k->pairs[i].secret);
    }
    mem_free(k);
}

int api_keys_add(struct api_keys *k, struct bytes key, struct bytes secret)
{
    key = trim(key);
    secret = trim(secret);
    if (key.n == 0 || secret.n == 0 || has_control(key) || has_control(secret) ||
        api_keys_find(k, key)) {
        return -EINVAL;
    }
    if (k->n == API_KEYS_MAX) {
        return -E2BIG;
    }
    struct api_key pair = {.key = mem_strndup((const char *)key.p, key.n),
                           .secret = mem_strndup((const char *)secret.p, secret.n)};
    if (!pair.key || !pair.secret) {
        mem_free(pair.key);
        wipe_free(pair.secret);
        return -ENOMEM;
    }
    k->pairs[k->n++] = pair;
    return 0;
}

// One line of a key file. Empty lines and comments are fine and add nothing.
static int api_keys_parse_line(struct api_keys *k, struct bytes line)
{
    line = trim(line);
    if (line.n == 0 || line.p[0] == '#') {
        return 0;
    }
    const uint8_t *const colon = memchr(line.p, ':', line.n);
    if (!colon) {
        return -EINVAL;
    }
    size_t const n = (size_t)(colon - line.p);
    return api_keys_add(k, unquote(trim(bytes_of(line.p, n))),
                        unquote(trim(bytes_of(colon + 1, line.n - n - 1))));
}

int api_keys_parse(struct api_keys *k, struct bytes text, unsigned *ret_line)
{
    size_t const before = k->n;
    unsigned line_no = 0;
    while (text.n > 0) {
        const uint8_t *const nl = memchr(text.p, '\n', text.n);
        size_t const n = nl ? (size_t)(nl - text.p) : text.n;
        line_no++;
        int const r = api_keys_parse_line(k, bytes_of(text.p, n));
        if (r < 0) {
            *ret_line = line_no;
            return r;
        }
        size_t const step = nl ? n + 1 : n;
        text = bytes_of(text.p + step, text.n - step);
    }
    if (k->n == before) {
        *ret_line = 0;
        return -EINVAL;
    }
    return 0;
}

size_t api_keys_count(const struct api_keys *k)
{
    return k->n;
}

const struct api_key *api_keys_first(const struct api_keys *k)
{
    return k->n > 0 ? &k->pairs[0] : NULL;
}

const struct api_key *api_keys_at(const struct api_keys *k, size_t i)
{
    return i < k->n ? &k->pairs[i] : NULL;
}

const struct api_key *api_keys_find(const struct api_keys *k, struct bytes key)
{
    for (size_t i = 0; i < k->n; i++) {
        if (bytes_eq_str(key, k->pairs[i].key)) {
            return &k->pairs[i];
        }
    }
    return NULL;
}

bool api_key_is_weak(const struct api_key *k)
{
    return strlen(k->secret) < API_KEYS_SECRET_WEAK_BELOW;
}

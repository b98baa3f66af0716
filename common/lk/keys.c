// SPDX-License-Identifier: Apache-2.0
#include "common/lk/keys.h"

#include "common/base/mem.h"
#include "common/base/utc.h"

struct slot {
    struct api_key pair;
    wall_t grace_until; // of api_keys_replace
};

struct api_keys {
    struct slot pairs[API_KEYS_MAX];
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
        mem_free(k->pairs[i].pair.key);
        wipe_free(k->pairs[i].pair.secret);
    }
    mem_free(k);
}

static const struct slot *find(const struct api_keys *k, struct bytes key)
{
    for (size_t i = 0; i < k->n; i++) {
        if (bytes_eq_str(key, k->pairs[i].pair.key)) {
            return &k->pairs[i];
        }
    }
    return NULL;
}

// `pair` but for its texts, which are copied.
static int add(struct api_keys *k, struct bytes key, struct bytes secret, struct api_key pair)
{
    if (key.n == 0 || secret.n == 0 || has_control(key) || has_control(secret) || find(k, key)) {
        return -EINVAL;
    }
    if (k->n == API_KEYS_MAX) {
        return -E2BIG;
    }
    pair.key = mem_strndup((const char *)key.p, key.n);
    pair.secret = mem_strndup((const char *)secret.p, secret.n);
    if (!pair.key || !pair.secret) {
        mem_free(pair.key);
        wipe_free(pair.secret);
        return -ENOMEM;
    }
    k->pairs[k->n++] = (struct slot){.pair = pair};
    return 0;
}

int api_keys_add(struct api_keys *k, struct bytes key, struct bytes secret)
{
    return add(k, trim(key), trim(secret), (struct api_key){.retires = API_KEY_NEVER});
}

// ---- reading --------------------------------------------------------------------------------

// Where the comment of a line begins, as in YAML: a # at the start or after a blank, from `at` on.
static size_t comment_at(struct bytes line, size_t at)
{
    for (; at < line.n; at++) {
        if (line.p[at] == '#' && (at == 0 || is_blank(line.p[at - 1]))) {
            break;
        }
    }
    return at;
}

// The length of a quoted text with its quotes, 0 if it does not end.
static size_t quoted_len(struct bytes b)
{
    uint8_t const quote = b.p[0];
    for (size_t i = 1; i < b.n; i++) {
        if (quote == '"' && b.p[i] == '\\') {
            i++;
        } else if (b.p[i] == quote && quote == '\'' && i + 1 < b.n && b.p[i + 1] == quote) {
            i++;
        } else if (b.p[i] == quote) {
            return i + 1;
        }
    }
    return 0;
}

static bool is_quoted(struct bytes b)
{
    return b.n > 0 && (b.p[0] == '"' || b.p[0] == '\'');
}

// Removes the quotes of a text that quoted_len has measured, into out, which holds b.n bytes at
// least. -EINVAL: an escape that we do not know.
static int unquote(struct bytes b, uint8_t *out, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 1; i + 1 < b.n; i++) {
        if (b.p[0] == '"' && b.p[i] == '\\') {
            i++;
            if (b.p[i] != '"' && b.p[i] != '\\') {
                return -EINVAL;
            }
        } else if (b.p[0] == '\'' && b.p[i] == '\'') {
            i++;
        }
        out[n++] = b.p[i];
    }
    *ret_n = n;
    return 0;
}

// The next word of a comment; commas and semicolons end one as well.
static struct bytes next_word(struct bytes *b)
{
    size_t n = 0;
    while (b->n > 0 && (is_blank(b->p[0]) || b->p[0] == ',' || b->p[0] == ';' || b->p[0] == '#')) {
        *b = bytes_of(b->p + 1, b->n - 1);
    }
    while (n < b->n && !is_blank(b->p[n]) && b->p[n] != ',' && b->p[n] != ';') {
        n++;
    }
    struct bytes const word = bytes_of(b->p, n);
    *b = bytes_of(b->p + n, b->n - n);
    return word;
}

// The times in the comment of a pair. A word of ours before something that begins like a time but
// is none would change what the operator meant in silence: -EINVAL.
static int read_comment(struct bytes comment, struct api_key *pair)
{
    struct bytes word = next_word(&comment);
    while (word.n > 0) {
        wall_t *const field = bytes_eq_str(word, "added")     ? &pair->added
                              : bytes_eq_str(word, "signs")   ? &pair->signs
                              : bytes_eq_str(word, "retires") ? &pair->retires
                                                              : NULL;
        word = next_word(&comment);
        if (field && word.n > 0 && word.p[0] >= '0' && word.p[0] <= '9') {
            if (utc_parse(word, field) < 0) {
                return -EINVAL;
            }
            word = next_word(&comment);
        }
    }
    return 0;
}

// The texts of a line, quotes still on.
struct line {
    struct bytes key;
    struct bytes secret;
    struct bytes comment;
};

static int split_line(struct bytes line, struct line *ret)
{
    size_t const from = is_quoted(line) ? quoted_len(line) : 0;
    const uint8_t *const colon = memchr(line.p + from, ':', line.n - from);
    if (!colon) {
        return -EINVAL;
    }
    ret->key = trim(bytes_of(line.p, (size_t)(colon - line.p)));
    struct bytes rest = trim(bytes_of(colon + 1, line.n - (size_t)(colon - line.p) - 1));
    size_t const quoted = is_quoted(rest) ? quoted_len(rest) : 0;
    size_t const end = comment_at(rest, quoted);
    ret->secret = trim(bytes_of(rest.p, end));
    ret->comment = bytes_of(rest.p + end, rest.n - end);
    // Nothing but the comment may stand behind the quotes.
    bool const whole = (!is_quoted(rest) || (quoted > 0 && ret->secret.n == quoted)) &&
                       (!is_quoted(line) || (from > 0 && ret->key.n == from));
    return whole ? 0 : -EINVAL;
}

// Editors of some systems begin a file with this mark; in files put together it stands in front of
// other lines as well.
static struct bytes without_bom(struct bytes line)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    bool const has = line.n >= sizeof(bom) && memcmp(line.p, bom, sizeof(bom)) == 0;
    return has ? bytes_of(line.p + sizeof(bom), line.n - sizeof(bom)) : line;
}

// One line of a key file. Empty lines and comments are fine and add nothing.
static int parse_line(struct api_keys *k, struct bytes line, uint8_t *scratch)
{
    struct line parts;
    struct api_key pair = {.retires = API_KEY_NEVER};
    line = trim(without_bom(line));
    if (line.n == 0 || line.p[0] == '#' || bytes_eq_str(line, "---")) {
        return 0;
    }
    int r = split_line(line, &parts);
    r = r < 0 ? r : read_comment(parts.comment, &pair);
    if (r == 0 && is_quoted(parts.key)) {
        r = unquote(parts.key, scratch, &parts.key.n);
        parts.key.p = scratch;
        scratch += parts.key.n;
    }
    if (r == 0 && is_quoted(parts.secret)) {
        r = unquote(parts.secret, scratch, &parts.secret.n);
        parts.secret.p = scratch;
    }
    return r < 0 ? r : add(k, parts.key, parts.secret, pair);
}

int api_keys_parse(struct api_keys *k, struct bytes text, unsigned *ret_line)
{
    size_t const before = k->n;
    size_t const size = text.n;
    unsigned line_no = 0;
    uint8_t *const scratch = mem_alloc(size + 1);
    int r = scratch ? 0 : -ENOMEM;
    while (r == 0 && text.n > 0) {
        const uint8_t *const nl = memchr(text.p, '\n', text.n);
        size_t const n = nl ? (size_t)(nl - text.p) : text.n;
        size_t const step = nl ? n + 1 : n;
        line_no++;
        r = parse_line(k, bytes_of(text.p, n), scratch);
        text = bytes_of(text.p + step, text.n - step);
    }
    if (scratch) {
        explicit_bzero(scratch, size);
    }
    mem_free(scratch);
    if (r == 0 && k->n == before) {
        line_no = 0;
        r = -EINVAL;
    }
    if (r < 0) {
        *ret_line = line_no;
    }
    return r;
}

// ---- replacing ------------------------------------------------------------------------------

static bool same_text(const struct api_key *a, const struct api_key *b)
{
    return strcmp(a->key, b->key) == 0 && strcmp(a->secret, b->secret) == 0;
}

void api_keys_replace(struct api_keys *k, struct api_keys *from, wall_t now, int64_t grace_us)
{
    for (size_t i = 0; i < from->n; i++) {
        struct slot *const new = &from->pairs[i];
        const struct slot *const old = find(k, bytes_str(new->pair.key));
        bool const known = old && same_text(&old->pair, &new->pair);
        new->grace_until = known ? old->grace_until : (wall_t){now.us + grace_us};
    }
    struct api_keys const swap = *k;
    *k = *from;
    *from = swap;
}

bool api_keys_equal(const struct api_keys *a, const struct api_keys *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; i < a->n && equal; i++) {
        const struct api_key *const x = &a->pairs[i].pair;
        const struct api_key *const y = &b->pairs[i].pair;
        equal = same_text(x, y) && x->added.us == y->added.us && x->signs.us == y->signs.us &&
                x->retires.us == y->retires.us;
    }
    return equal;
}

// ---- asking ---------------------------------------------------------------------------------

// When this key may sign.
static int64_t due_us(const struct slot *s)
{
    return MAX(s->pair.signs.us, s->grace_until.us);
}

const struct api_key *api_keys_signer(const struct api_keys *k, wall_t now)
{
    const struct slot *soonest = NULL;
    for (size_t i = 0; i < k->n; i++) {
        const struct slot *const s = &k->pairs[i];
        if (api_key_is_retired(&s->pair, now)) {
            continue;
        }
        if (due_us(s) <= now.us) {
            return &s->pair;
        }
        if (!soonest || due_us(s) < due_us(soonest)) {
            soonest = s;
        }
    }
    return soonest ? &soonest->pair : NULL;
}

const struct api_key *api_keys_find(const struct api_keys *k, struct bytes key, wall_t now)
{
    const struct slot *const s = find(k, key);
    return s && !api_key_is_retired(&s->pair, now) ? &s->pair : NULL;
}

bool api_keys_is_retired(const struct api_keys *k, struct bytes key, wall_t now)
{
    const struct slot *const s = find(k, key);
    return s && api_key_is_retired(&s->pair, now);
}

wall_t api_keys_next_change(const struct api_keys *k, wall_t now)
{
    wall_t next = API_KEY_NEVER;
    for (size_t i = 0; i < k->n; i++) {
        const struct slot *const s = &k->pairs[i];
        int64_t const moments[] = {due_us(s), s->pair.retires.us};
        for (size_t m = 0; m < ARRAY_LEN(moments); m++) {
            if (moments[m] > now.us && moments[m] < next.us) {
                next.us = moments[m];
            }
        }
    }
    return next;
}

size_t api_keys_count(const struct api_keys *k)
{
    return k->n;
}

const struct api_key *api_keys_first(const struct api_keys *k)
{
    return api_keys_at(k, 0);
}

const struct api_key *api_keys_at(const struct api_keys *k, size_t i)
{
    return i < k->n ? &k->pairs[i].pair : NULL;
}

bool api_key_is_weak(const struct api_key *k)
{
    return strlen(k->secret) < API_KEYS_SECRET_WEAK_BELOW;
}

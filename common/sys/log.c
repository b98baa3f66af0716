// SPDX-License-Identifier: Apache-2.0
#include "common/sys/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/sys/clock.h"
#include "common/sys/random.h"

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int redact_now = LOG_REDACT_NONE;
static _Atomic int format_now = LOG_FORMAT_AUTO; // AUTO until the first line decides
static _Atomic uint64_t redact_key;              // 0: not drawn yet
static void (*sink_fn)(void *user, enum log_level level, struct bytes line);
static void *sink_user;

static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

void log_setup(const struct log_settings *s)
{
    atomic_store(&level_now, (int)s->level);
    atomic_store(&redact_now, (int)s->redact);
    atomic_store(&format_now, (int)s->format);
}

bool log_level_parse(const char *text, enum log_level *ret)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    if (strcasecmp(text, "warning") == 0) {
        *ret = LOG_LEVEL_WARN;
        return true;
    }
    return false;
}

void log_set_sink(void (*fn)(void *user, enum log_level level, struct bytes line), void *user)
{
    sink_fn = fn;
    sink_user = user;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&level_now, memory_order_relaxed);
}

static bool as_json(void)
{
    int f = atomic_load_explicit(&format_now, memory_order_relaxed);
    if (f == LOG_FORMAT_AUTO) {
        f = sink_fn == NULL && isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
        atomic_store_explicit(&format_now, f, memory_order_relaxed);
    }
    return f == LOG_FORMAT_JSON;
}

// ---- one line -------------------------------------------------------------------------------

// Room that is always kept for what closes the line.
#define LINE_TAIL 64
// Longest single value, so that one cannot push all others out.
#define VALUE_MAX 1024

struct line {
    char p[LOG_LINE_MAX];
    size_t n;
    bool json;
};

static void put(struct line *l, const char *s, size_t n)
{
    if (n <= sizeof(l->p) - LINE_TAIL - l->n) {
        memcpy(l->p + l->n, s, n);
        l->n += n;
    }
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

static bool is_continuation(uint8_t c)
{
    return (c & 0xc0u) == 0x80u;
}

// Length of the valid UTF-8 sequence at p, 0 if there is none (RFC 3629: no overlong forms, no
// surrogates).
static size_t utf8_len(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf && n >= 2 && is_continuation(p[1])) {
        return 2;
    }
    if ((p[0] & 0xf0u) == 0xe0 && n >= 3 && is_continuation(p[1]) && is_continuation(p[2])) {
        bool const overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool const surrogate = p[0] == 0xed && p[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4 && n >= 4 && is_continuation(p[1]) && is_continuation(p[2]) &&
        is_continuation(p[3])) {
        bool const overlong = p[0] == 0xf0 && p[1] < 0x90;
        bool const too_high = p[0] == 0xf4 && p[1] > 0x8f;
        return overlong || too_high ? 0 : 4;
    }
    return 0;
}

// Quoted with JSON's escapes, in both formats: a log line is one line, and cannot drive a terminal.
static void put_quoted(struct line *l, struct bytes v)
{
    put(l, "\"", 1);
    size_t const limit = MIN(v.n, VALUE_MAX);
    size_t i = 0;
    while (i < limit) {
        uint8_t const c = v.p[i];
        size_t const len = utf8_len(v.p + i, v.n - i);
        char esc[8];
        if (len == 0) {
            put_str(l, "\\ufffd");
            i++;
        } else if (c == '"' || c == '\\') {
            esc[0] = '\\';
            esc[1] = (char)c;
            put(l, esc, 2);
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(esc, sizeof(esc), "\\u%04x", c);
            put_str(l, esc);
            i++;
        } else {
            put(l, (const char *)v.p + i, len);
            i += len;
        }
        if (l->n > sizeof(l->p) - LINE_TAIL - 16) {
            break;
        }
    }
    put_str(l, i < v.n ? "...\"" : "\"");
}

// Text format: plain if nothing in it could be misread.
static void put_text_value(struct line *l, struct bytes v)
{
    bool plain = v.n > 0 && v.n < VALUE_MAX;
    for (size_t i = 0; plain && i < v.n; i++) {
        plain = v.p[i] > ' ' && v.p[i] < 0x7f && v.p[i] != '"' && v.p[i] != '\\' && v.p[i] != '=';
    }
    if (plain && !l->json) {
        put(l, (const char *)v.p, v.n);
    } else {
        put_quoted(l, v);
    }
}

static uint64_t redaction_key(void)
{
    uint64_t key = atomic_load(&redact_key);
    if (key == 0) {
        uint64_t const fresh = rand_u64() | 1u;
        // Whoever comes first wins; key is then what it drew.
        key = atomic_compare_exchange_strong(&redact_key, &key, fresh) ? fresh : key;
    }
    return key;
}

// A keyed mix of eight bytes at a time (the finaliser of MurmurHash3). It keeps lines relatable
// and, without the key that never leaves the process, people apart.
static uint64_t redaction_hash(struct bytes v)
{
    uint64_t h = redaction_key();
    for (size_t i = 0; i <= v.n; i += 8) {
        uint64_t w = v.n;
        if (i < v.n) {
            memcpy(&w, v.p + i, MIN((size_t)8, v.n - i));
        }
        h ^= w;
        h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
        h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
        h ^= h >> 33;
    }
    return h;
}

static void put_private(struct line *l, struct bytes v)
{
    switch (atomic_load_explicit(&redact_now, memory_order_relaxed)) {
    case LOG_REDACT_NONE:
        put_text_value(l, v);
        break;
    case LOG_REDACT_HASH: {
        char hex[20];
        (void)snprintf(hex, sizeof(hex), "#%012llx", (unsigned long long)(redaction_hash(v) >> 16));
        put_text_value(l, bytes_str(hex));
        break;
    }
    default:
        put_text_value(l, bytes_str("-"));
        break;
    }
}

static void put_addr(struct line *l, const struct addr *a)
{
    char text[ADDR_STRLEN];
    if (a == NULL) {
        put_text_value(l, bytes_str("-"));
        return;
    }
    (void)addr_format(a, text);
    put_private(l, bytes_str(text));
}

static void put_number(struct line *l, const struct log_kv *kv)
{
    char n[40];
    if (kv->type == LOG_KV_I64) {
        (void)snprintf(n, sizeof(n), "%lld", (long long)kv->v.i64);
    } else if (kv->type == LOG_KV_U64) {
        (void)snprintf(n, sizeof(n), "%llu", (unsigned long long)kv->v.u64);
    } else if (isfinite(kv->v.f64)) {
        (void)snprintf(n, sizeof(n), "%.9g", kv->v.f64);
    } else {
        (void)snprintf(n, sizeof(n), "null"); // JSON has no infinity
    }
    put_str(l, n);
}

static void put_errno(struct line *l, int64_t e)
{
    char buf[64];
    int const code = e < 0 ? (int)-e : (int)e;
    put_text_value(l, bytes_str(strerror_r(code, buf, sizeof(buf))));
}

static void put_value(struct line *l, const struct log_kv *kv)
{
    switch (kv->type) {
    case LOG_KV_STR:
        put_text_value(l, bytes_str(kv->v.str != NULL ? kv->v.str : ""));
        break;
    case LOG_KV_BYTES:
        put_text_value(l, kv->v.bytes);
        break;
    case LOG_KV_I64:
    case LOG_KV_U64:
    case LOG_KV_F64:
        put_number(l, kv);
        break;
    case LOG_KV_BOOL:
        put_str(l, kv->v.b ? "true" : "false");
        break;
    case LOG_KV_ADDR:
        put_addr(l, kv->v.addr);
        break;
    case LOG_KV_ID:
        put_private(l, bytes_str(kv->v.str != NULL ? kv->v.str : ""));
        break;
    case LOG_KV_ERRNO:
        put_errno(l, kv->v.i64);
        break;
    case LOG_KV_NONE:
        break;
    }
}

static void put_pair(struct line *l, const struct log_kv *kv)
{
    if (kv->type == LOG_KV_NONE || l->n + strlen(kv->key) + 32 > sizeof(l->p) - LINE_TAIL) {
        return;
    }
    put_str(l, l->json ? ",\"" : " ");
    put_str(l, kv->key);
    put_str(l, l->json ? "\":" : "=");
    put_value(l, kv);
}

static void put_head(struct line *l, enum log_level level, const char *event)
{
    wall_t const now = clock_wall();
    time_t const s = (time_t)(now.us / US_PER_S);
    struct tm tm;
    (void)gmtime_r(&s, &tm);
    char head[160];
    const char *const form =
        l->json
            ? "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\",\"event\":\"%s\""
            : "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %-5s %s";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // one of the two literals above
    (void)snprintf(head, sizeof(head), form, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                   tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now.us % US_PER_S / US_PER_MS),
                   level_names[level], event);
#pragma GCC diagnostic pop
    put_str(l, head);
}

// ---- call sites -----------------------------------------------------------------------------

// True if this line may pass; *ret_held is then how many were held back before it.
static bool site_passes(struct log_site *site, uint32_t *ret_held)
{
    int64_t const s = clock_mono().us / US_PER_S + 1; // never 0, the value of a fresh site
    *ret_held = 0;
    int64_t window = atomic_load_explicit(&site->window_s, memory_order_relaxed);
    if (window != s && atomic_compare_exchange_strong(&site->window_s, &window, s)) {
        atomic_store(&site->passed, 0);
        *ret_held = atomic_exchange(&site->held, 0);
    }
    uint32_t const burst = site->burst > 0 ? site->burst : LOG_SITE_BURST;
    if (atomic_fetch_add(&site->passed, 1) < burst) {
        return true;
    }
    atomic_fetch_add(&site->held, 1);
    return false;
}

void log_write(struct log_site *site, enum log_level level, const struct log_ctx *ctx,
               const char *event, const struct log_kv *kv, size_t n)
{
    uint32_t held = 0;
    if (!site_passes(site, &held)) {
        return;
    }
    struct line l;
    l.n = 0;
    l.json = as_json();
    put_head(&l, level, event);
    for (size_t i = 0; ctx != NULL && i < ctx->count; i++) {
        put_pair(&l, &(struct log_kv){.key = ctx->pair[i].key,
                                      .type = (enum log_kv_type)ctx->pair[i].type,
                                      .v.str = ctx->text + ctx->pair[i].at});
    }
    for (size_t i = 0; i < n; i++) {
        put_pair(&l, &kv[i]);
    }
    if (held > 0) {
        put_pair(&l, &KV_U64("suppressed", held));
    }
    // The tail was kept free by put().
    if (l.json) {
        l.p[l.n++] = '}';
    }
    if (sink_fn != NULL) {
        sink_fn(sink_user, level, bytes_of(l.p, l.n));
        return;
    }
    l.p[l.n++] = '\n';
    // A log that cannot be written has nobody to tell.
    ssize_t const w = write(STDERR_FILENO, l.p, l.n);
    (void)w;
}

// ---- contexts -------------------------------------------------------------------------------

void log_ctx_init(struct log_ctx *c, const struct log_ctx *parent)
{
    if (parent != NULL) {
        *c = *parent;
        return;
    }
    *c = (struct log_ctx){.count = 0};
}

void log_ctx_bind(struct log_ctx *c, struct log_kv kv)
{
    if (c->count >= LOG_CTX_PAIRS || (kv.type != LOG_KV_STR && kv.type != LOG_KV_ID)) {
        return;
    }
    const char *const v = kv.v.str != NULL ? kv.v.str : "";
    size_t const room = sizeof(c->text) - c->used;
    size_t const n = MIN(strlen(v), room - 1);
    memcpy(c->text + c->used, v, n);
    c->text[c->used + n] = 0;
    c->pair[c->count].key = kv.key;
    c->pair[c->count].at = c->used;
    c->pair[c->count].type = (uint8_t)kv.type;
    c->count++;
    // The last byte stays for a terminator, so that room is never 0.
    c->used = (uint16_t)MIN(c->used + n + 1, sizeof(c->text) - 1);
}

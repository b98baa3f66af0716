// SPDX-License-Identifier: Apache-2.0
#include "common/svc/redis_url.h"

#include <stdio.h>
#include <string.h>

#define PORT_DEFAULT 6379
// go-redis Options: DialTimeout, ReadTimeout.
#define DIAL_TIMEOUT_MS 5000
#define READ_TIMEOUT_MS 3000
// Longer than any operator means; keeps sums far from overflow.
#define TIMEOUT_MAX_MS 3600000
// Redis counts databases in an int; its configuration allows no more than that.
#define DB_MAX 2147483647

static int fail(char err[static REDIS_URL_ERROR_MAX], const char *text)
{
    (void)snprintf(err, REDIS_URL_ERROR_MAX, "%s", text);
    return -EINVAL;
}

// Cuts `in` at the first c: the part before it, and what is behind it in *rest ({NULL, 0} and true
// as the result of !found when there is none).
static bool cut(struct bytes in, char c, struct bytes *ret_head, struct bytes *ret_rest)
{
    const uint8_t *const at = in.n > 0 ? memchr(in.p, c, in.n) : NULL;
    if (at == NULL) {
        *ret_head = in;
        *ret_rest = bytes_of(NULL, 0);
        return false;
    }
    size_t const n = (size_t)(at - in.p);
    *ret_head = bytes_of(in.p, n);
    *ret_rest = bytes_of(at + 1, in.n - n - 1);
    return true;
}

static bool cut_last(struct bytes in, char c, struct bytes *ret_head, struct bytes *ret_rest)
{
    const uint8_t *const at = in.n > 0 ? memrchr(in.p, c, in.n) : NULL;
    if (at == NULL) {
        return false;
    }
    size_t const n = (size_t)(at - in.p);
    *ret_head = bytes_of(in.p, n);
    *ret_rest = bytes_of(at + 1, in.n - n - 1);
    return true;
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum decode_kind {
    DECODE_SECRET, // user and password may hold anything but a zero byte
    DECODE_TEXT,   // no control characters: it may be shown
    DECODE_QUERY,  // as text, and + is a space
};

// Percent-decodes into a zero-terminated text. -EINVAL: bad escape, a byte that is not allowed, too
// long.
static int decode(struct bytes in, enum decode_kind kind, char *ret, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (c == '%') {
            int const hi = i + 2 < in.n ? hex(in.p[i + 1]) : -1;
            int const lo = i + 2 < in.n ? hex(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                return -EINVAL;
            }
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && kind == DECODE_QUERY) {
            c = ' ';
        }
        bool const shown = kind != DECODE_SECRET;
        if (c == 0 || (shown && (c < 0x20 || c == 0x7f)) || n + 1 >= cap) {
            return -EINVAL;
        }
        ret[n++] = (char)c;
    }
    ret[n] = '\0';
    return 0;
}

// strconv.Atoi within [0, max].
static int read_number(struct bytes text, int64_t max, int64_t *ret)
{
    int64_t v = 0;
    size_t i = text.n > 1 && text.p[0] == '+' ? 1 : 0;
    if (i == text.n) {
        return -EINVAL;
    }
    for (; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || v > max) {
            return -EINVAL;
        }
        v = v * 10 + (text.p[i] - '0');
    }
    if (v > max) {
        return -EINVAL;
    }
    *ret = v;
    return 0;
}

// Nanoseconds of a unit at the start of *in, which is moved behind it; 0: none.
static int64_t read_unit(struct bytes *in)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"\xc2\xb5s", 1000},
                 {"\xce\xbcs", 1000},
                 {"ms", 1000000},
                 {"s", INT64_C(1000000000)},
                 {"m", INT64_C(60000000000)},
                 {"h", INT64_C(3600000000000)}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t const n = strlen(units[i].name);
        if (in->n >= n && memcmp(in->p, units[i].name, n) == 0) {
            *in = bytes_of(in->p + n, in->n - n);
            return units[i].ns;
        }
    }
    return 0;
}

// A Go duration ("1m30s", "1.5s"), or whole seconds; what is not positive (Go: no limit) leaves *ret
// as it is.
static int read_duration(struct bytes in, int64_t *ret)
{
    bool const minus = in.n > 0 && in.p[0] == '-';
    if (minus || (in.n > 0 && in.p[0] == '+')) {
        in = bytes_of(in.p + 1, in.n - 1);
    }
    double ms = 0;
    int64_t seconds = 0;
    if (read_number(in, TIMEOUT_MAX_MS, &seconds) == 0) {
        ms = (double)seconds * 1000;
        in.n = 0;
    } else if (in.n == 0) {
        return -EINVAL;
    }
    while (in.n > 0) {
        double v = 0;
        double scale = 0;
        size_t i = 0;
        size_t digits = 0;
        for (; i < in.n && ((in.p[i] >= '0' && in.p[i] <= '9') || (in.p[i] == '.' && scale == 0));
             i++) {
            if (in.p[i] == '.') {
                scale = 1;
                continue;
            }
            v = v * 10 + (in.p[i] - '0');
            scale *= 10;
            digits++;
        }
        in = bytes_of(in.p + i, in.n - i);
        int64_t const unit = read_unit(&in);
        if (digits == 0 || unit == 0) {
            return -EINVAL;
        }
        ms += v / (scale > 0 ? scale : 1) * ((double)unit / 1e6);
    }
    if (!minus && ms > 0) {
        *ret = ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : ms < 1 ? 1 : (int64_t)ms;
    }
    return 0;
}

static int read_bool(struct bytes in, bool *ret)
{
    *ret = bytes_eq_str(in, "1") || bytes_eq_str(in, "true");
    return *ret || in.n == 0 || bytes_eq_str(in, "0") || bytes_eq_str(in, "false") ? 0 : -EINVAL;
}

enum option_type {
    OPTION_DB,
    OPTION_TEXT,
    OPTION_NUMBER,
    OPTION_DURATION,
    OPTION_BOOL,
    OPTION_DIAL,
    OPTION_READ,
    OPTION_SKIP_VERIFY,
};

// What go-redis v9.21 knows; the names after "db" that are not used here tune its pool.
static const struct {
    const char *name;
    enum option_type type;
} options[] = {{"db", OPTION_DB},
               {"protocol", OPTION_NUMBER},
               {"client_name", OPTION_TEXT},
               {"max_retries", OPTION_NUMBER},
               {"min_retry_backoff", OPTION_DURATION},
               {"max_retry_backoff", OPTION_DURATION},
               {"dial_timeout", OPTION_DIAL},
               {"read_timeout", OPTION_READ},
               {"write_timeout", OPTION_DURATION},
               {"pool_fifo", OPTION_BOOL},
               {"pool_size", OPTION_NUMBER},
               {"pool_timeout", OPTION_DURATION},
               {"min_idle_conns", OPTION_NUMBER},
               {"max_idle_conns", OPTION_NUMBER},
               {"max_active_conns", OPTION_NUMBER},
               {"conn_max_idle_time", OPTION_DURATION},
               {"idle_timeout", OPTION_DURATION},
               {"conn_max_lifetime", OPTION_DURATION},
               {"conn_max_lifetime_jitter", OPTION_DURATION},
               {"max_conn_age", OPTION_DURATION},
               {"skip_verify", OPTION_SKIP_VERIFY}};

static int set_option(struct redis_url *u, enum option_type type, struct bytes value)
{
    int64_t v = 0;
    bool b = false;
    int r = 0;
    switch (type) {
    case OPTION_DB:
        r = value.n > 0 ? read_number(value, DB_MAX, &v) : 0;
        u->db = r == 0 && value.n > 0 ? (unsigned)v : u->db;
        return r;
    case OPTION_TEXT:
        return 0;
    case OPTION_NUMBER:
        // -1 switches some of them off.
        if (value.n > 0 && value.p[0] == '-') {
            value = bytes_of(value.p + 1, value.n - 1);
        }
        return value.n > 0 ? read_number(value, DB_MAX, &v) : 0;
    case OPTION_DURATION:
        return value.n > 0 ? read_duration(value, &v) : 0;
    case OPTION_BOOL:
        return read_bool(value, &b);
    case OPTION_DIAL:
        return value.n > 0 ? read_duration(value, &u->dial_timeout_ms) : 0;
    case OPTION_READ:
        return value.n > 0 ? read_duration(value, &u->read_timeout_ms) : 0;
    case OPTION_SKIP_VERIFY:
        return read_bool(value, &u->skip_verify);
    }
    return -EINVAL;
}

static int read_query(struct redis_url *u, struct bytes query, char *err)
{
    while (query.n > 0) {
        struct bytes pair;
        struct bytes rest;
        struct bytes key;
        struct bytes value;
        char name[64];
        char text[REDIS_URL_TEXT_MAX];
        (void)cut(query, '&', &pair, &rest);
        query = rest;
        if (pair.n == 0) {
            continue;
        }
        (void)cut(pair, '=', &key, &value);
        if (decode(key, DECODE_QUERY, name, sizeof(name)) != 0 ||
            decode(value, DECODE_QUERY, text, sizeof(text)) != 0) {
            return fail(err, "redis: parameter that cannot be read");
        }
        size_t i = 0;
        while (i < ARRAY_LEN(options) && strcmp(options[i].name, name) != 0) {
            i++;
        }
        if (i == ARRAY_LEN(options)) {
            (void)snprintf(err, REDIS_URL_ERROR_MAX, "redis: unexpected option: %s", name);
            return -EINVAL;
        }
        if (set_option(u, options[i].type, bytes_str(text)) != 0) {
            (void)snprintf(err, REDIS_URL_ERROR_MAX, "redis: invalid %s", name);
            return -EINVAL;
        }
    }
    return 0;
}

static int read_user(struct redis_url *u, struct bytes info, char *err)
{
    struct bytes name;
    struct bytes password;
    (void)cut(info, ':', &name, &password);
    if (decode(name, DECODE_SECRET, u->user, sizeof(u->user)) != 0 ||
        decode(password, DECODE_SECRET, u->password, sizeof(u->password)) != 0) {
        return fail(err, "redis: user or password with a bad percent escape");
    }
    return 0;
}

static int read_host(struct redis_url *u, struct bytes at, char *err)
{
    struct bytes host = at;
    struct bytes port = bytes_of(NULL, 0);
    if (at.n > 0 && at.p[0] == '[') {
        if (!cut(bytes_of(at.p + 1, at.n - 1), ']', &host, &port) ||
            (port.n > 0 && port.p[0] != ':')) {
            return fail(err, "redis: brackets of the host do not match");
        }
        port = port.n > 0 ? bytes_of(port.p + 1, port.n - 1) : port;
    } else {
        (void)cut(at, ':', &host, &port);
    }
    int64_t v = PORT_DEFAULT;
    if (port.n > 0 && (port.p[0] == '+' || read_number(port, 65535, &v) != 0 || v == 0)) {
        return fail(err, "redis: invalid port");
    }
    u->port = (uint16_t)v;
    if (decode(host.n > 0 ? host : bytes_str("localhost"), DECODE_TEXT, u->host, sizeof(u->host)) !=
            0 ||
        strpbrk(u->host, " /\\@") != NULL) {
        return fail(err, "redis: invalid host");
    }
    return 0;
}

// "/3": the database.
static int read_path(struct redis_url *u, struct bytes path, char *err)
{
    char text[64];
    if (decode(path, DECODE_TEXT, text, sizeof(text)) != 0) {
        return fail(err, "redis: invalid URL path");
    }
    struct bytes p = bytes_str(text);
    while (p.n > 0 && p.p[0] == '/') {
        p = bytes_of(p.p + 1, p.n - 1);
    }
    while (p.n > 0 && p.p[p.n - 1] == '/') {
        p.n--;
    }
    int64_t v = 0;
    if (p.n > 0 && memchr(p.p, '/', p.n) != NULL) {
        return fail(err, "redis: invalid URL path: more than the database number");
    }
    if (p.n > 0 && read_number(p, DB_MAX, &v) != 0) {
        return fail(err, "redis: invalid database number");
    }
    u->db = (unsigned)v;
    return 0;
}

static bool scheme_is(struct bytes s, const char *name)
{
    return s.n == strlen(name) && strncasecmp((const char *)s.p, name, s.n) == 0;
}

static int read_parts(struct redis_url *u, const char *text, char *err)
{
    struct bytes scheme;
    struct bytes rest;
    struct bytes fragment;
    struct bytes query;
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return fail(err, "redis: control character in the URL");
        }
    }
    if (!cut(bytes_str(text), ':', &scheme, &rest)) {
        return fail(err, "redis: no URL scheme, use redis://, rediss:// or unix://");
    }
    u->tls = scheme_is(scheme, "rediss");
    u->local = scheme_is(scheme, "unix");
    if (!u->tls && !u->local && !scheme_is(scheme, "redis")) {
        return fail(err, "redis: invalid URL scheme, use redis://, rediss:// or unix://");
    }
    (void)cut(rest, '#', &rest, &fragment);
    (void)cut(rest, '?', &rest, &query);
    struct bytes authority = bytes_of(NULL, 0);
    if (rest.n >= 2 && memcmp(rest.p, "//", 2) == 0) {
        rest = bytes_of(rest.p + 2, rest.n - 2);
        const uint8_t *const slash = rest.n > 0 ? memchr(rest.p, '/', rest.n) : NULL;
        size_t const n = slash != NULL ? (size_t)(slash - rest.p) : rest.n;
        authority = bytes_of(rest.p, n);
        rest = bytes_of(rest.p + n, rest.n - n);
    } else if (!u->local) {
        return fail(err, "redis: \"//\" is missing after the scheme");
    }
    struct bytes info;
    struct bytes host = authority;
    int r = 0;
    if (cut_last(authority, '@', &info, &host)) {
        r = read_user(u, info, err);
    }
    if (r == 0 && u->local) {
        if (decode(rest, DECODE_TEXT, u->host, sizeof(u->host)) != 0 || u->host[0] == '\0') {
            return fail(err, "redis: empty unix socket path");
        }
    } else if (r == 0) {
        r = read_host(u, host, err);
        r = r == 0 ? read_path(u, rest, err) : r;
    }
    return r == 0 ? read_query(u, query, err) : r;
}

int redis_url_parse(const char *text, struct redis_url *ret, char err[static REDIS_URL_ERROR_MAX])
{
    struct redis_url u = {.dial_timeout_ms = DIAL_TIMEOUT_MS, .read_timeout_ms = READ_TIMEOUT_MS};
    int const r = read_parts(&u, text, err);
    if (r == 0) {
        *ret = u;
    }
    redis_url_wipe(&u);
    return r;
}

const char *redis_url_show(const struct redis_url *u, char buf[static REDIS_URL_SHOWN_MAX])
{
    if (u->local) {
        (void)snprintf(buf, REDIS_URL_SHOWN_MAX, "unix://%s?db=%u", u->host, u->db);
        return buf;
    }
    bool const v6 = strchr(u->host, ':') != NULL;
    (void)snprintf(buf, REDIS_URL_SHOWN_MAX, "redis%s://%s%s%s:%u/%u", u->tls ? "s" : "",
                   v6 ? "[" : "", u->host, v6 ? "]" : "", u->port, u->db);
    return buf;
}

void redis_url_wipe(struct redis_url *u)
{
    explicit_bzero(u->user, sizeof(u->user));
    explicit_bzero(u->password, sizeof(u->password));
}

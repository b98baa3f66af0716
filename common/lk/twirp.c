// SPDX-License-Identifier: Apache-2.0
#include "common/lk/twirp.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"

// twirp v8.1.3 errors.go: ServerHTTPStatusFromErrorCode.
static const struct {
    const char *name;
    int http;
} codes[TWIRP_CODE_COUNT] = {
    [TWIRP_OK] = {"", 200},
    [TWIRP_CANCELED] = {"canceled", 408},
    [TWIRP_UNKNOWN] = {"unknown", 500},
    [TWIRP_INVALID_ARGUMENT] = {"invalid_argument", 400},
    [TWIRP_MALFORMED] = {"malformed", 400},
    [TWIRP_DEADLINE_EXCEEDED] = {"deadline_exceeded", 408},
    [TWIRP_NOT_FOUND] = {"not_found", 404},
    [TWIRP_BAD_ROUTE] = {"bad_route", 404},
    [TWIRP_ALREADY_EXISTS] = {"already_exists", 409},
    [TWIRP_PERMISSION_DENIED] = {"permission_denied", 403},
    [TWIRP_UNAUTHENTICATED] = {"unauthenticated", 401},
    [TWIRP_RESOURCE_EXHAUSTED] = {"resource_exhausted", 429},
    [TWIRP_FAILED_PRECONDITION] = {"failed_precondition", 412},
    [TWIRP_ABORTED] = {"aborted", 409},
    [TWIRP_OUT_OF_RANGE] = {"out_of_range", 400},
    [TWIRP_UNIMPLEMENTED] = {"unimplemented", 501},
    [TWIRP_INTERNAL] = {"internal", 500},
    [TWIRP_UNAVAILABLE] = {"unavailable", 503},
    [TWIRP_DATA_LOSS] = {"data_loss", 500},
};

const char *twirp_code_name(enum twirp_code code)
{
    return (unsigned)code < TWIRP_CODE_COUNT ? codes[code].name : codes[TWIRP_UNKNOWN].name;
}

int twirp_code_http(enum twirp_code code)
{
    return (unsigned)code < TWIRP_CODE_COUNT ? codes[code].http : codes[TWIRP_UNKNOWN].http;
}

enum twirp_code twirp_code_of_name(struct bytes name)
{
    for (int c = TWIRP_OK + 1; c < TWIRP_CODE_COUNT; c++) {
        if (bytes_eq_str(name, codes[c].name)) {
            return (enum twirp_code)c;
        }
    }
    return TWIRP_UNKNOWN;
}

// Copies text that may come from a peer: cut at the end of a character, control characters blanked.
static void copy_text(char *to, size_t cap, struct bytes text)
{
    size_t n = MIN(text.n, cap - 1);
    while (n > 0 && n < text.n && (text.p[n] & 0xc0) == 0x80) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = text.p[i] < 0x20 || text.p[i] == 0x7f ? ' ' : (char)text.p[i];
    }
    to[n] = '\0';
}

struct twirp_error twirp_error_of(enum twirp_code code, const char *fmt, ...)
{
    struct twirp_error e = {.code = code};
    char text[sizeof(e.msg) * 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    copy_text(e.msg, sizeof(e.msg), bytes_str(text));
    return e;
}

// ---- server ---------------------------------------------------------------------------------

int twirp_split_path(struct bytes path, struct bytes *ret_service, struct bytes *ret_method)
{
    static const char marker[] = "/twirp/";
    size_t const m = sizeof(marker) - 1;
    const uint8_t *const at = path.n ? memmem(path.p, path.n, marker, m) : NULL;
    if (!at) {
        return -ENOENT;
    }
    struct bytes const rest = bytes_of(at + m, path.n - (size_t)(at - path.p) - m);
    const uint8_t *const slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    if (!slash || slash == rest.p) {
        return -ENOENT;
    }
    struct bytes const service = bytes_of(rest.p, (size_t)(slash - rest.p));
    struct bytes const method = bytes_of(slash + 1, rest.n - service.n - 1);
    if (method.n == 0 || memchr(method.p, '/', method.n)) {
        return -ENOENT;
    }
    *ret_service = service;
    *ret_method = method;
    return 0;
}

static struct twirp_error bad_route(const char *http_method, struct bytes path, const char *text)
{
    struct twirp_error e = twirp_error_of(TWIRP_BAD_ROUTE, "%s", text);
    (void)snprintf(e.meta_key, sizeof(e.meta_key), "twirp_invalid_route");
    char route[sizeof(e.meta_value) * 2];
    (void)snprintf(route, sizeof(route), "%s %.*s", http_method,
                   (int)MIN(path.n, sizeof(e.meta_value)), (const char *)path.p);
    copy_text(e.meta_value, sizeof(e.meta_value), bytes_str(route));
    return e;
}

int twirp_parse_request(const char *http_method, struct bytes path, struct bytes content_type,
                        struct twirp_call *ret, struct twirp_error *ret_error)
{
    struct twirp_call call = {0};
    int const r = twirp_split_path(path, &call.service, &call.method);
    if (r < 0) {
        return r;
    }
    char text[200];
    if (strcmp(http_method, "POST") != 0) {
        (void)snprintf(text, sizeof(text), "unsupported method \"%.16s\" (only POST is allowed)",
                       http_method);
        *ret_error = bad_route(http_method, path, text);
        return -EINVAL;
    }
    const uint8_t *const semi = content_type.n ? memchr(content_type.p, ';', content_type.n) : NULL;
    struct bytes type =
        bytes_of(content_type.p, semi ? (size_t)(semi - content_type.p) : content_type.n);
    while (type.n > 0 && type.p[type.n - 1] == ' ') {
        type.n--;
    }
    if (type.n == strlen(TWIRP_CONTENT_PROTOBUF) &&
        strncasecmp((const char *)type.p, TWIRP_CONTENT_PROTOBUF, type.n) == 0) {
        call.format = TWIRP_PROTOBUF;
    } else if (type.n == strlen(TWIRP_CONTENT_JSON) &&
               strncasecmp((const char *)type.p, TWIRP_CONTENT_JSON, type.n) == 0) {
        call.format = TWIRP_JSON;
    } else {
        (void)snprintf(text, sizeof(text), "unexpected Content-Type: \"%.*s\"",
                       (int)MIN(content_type.n, 100u),
                       content_type.n ? (const char *)content_type.p : "");
        *ret_error = bad_route(http_method, path, text);
        return -EINVAL;
    }
    *ret = call;
    return 0;
}

struct twirp_error twirp_no_handler(struct bytes path)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "no handler for path \"%.*s\"", (int)MIN(path.n, 200u),
                   (const char *)path.p);
    return bad_route("POST", path, text);
}

struct twirp_error twirp_bad_body(enum twirp_format format)
{
    return twirp_error_of(TWIRP_MALFORMED, "the %s request could not be decoded",
                          format == TWIRP_JSON ? "json" : "protobuf");
}

static int error_json(enum twirp_code code, const char *msg, const struct twirp_error *meta_of,
                      struct jsonx *j)
{
    int r = jsonx_set_cstr(j, "code", twirp_code_name(code));
    r = r < 0 ? r : jsonx_set_cstr(j, "msg", msg);
    if (r < 0 || meta_of == NULL || !meta_of->meta_key[0]) {
        return r;
    }
    struct jsonx *const meta = jsonx_new_object();
    r = meta ? jsonx_set_cstr(meta, meta_of->meta_key, meta_of->meta_value) : -ENOMEM;
    if (r < 0) {
        jsonx_free(meta);
        return r;
    }
    return jsonx_set(j, "meta", meta);
}

static void write_error(enum twirp_code code, const char *msg, const struct twirp_error *meta_of,
                        struct dynbuf *out)
{
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    size_t n = 0;
    char *const text = j && error_json(code, msg, meta_of, j) == 0 ? jsonx_dump(j, 0, &n) : NULL;
    if (text) {
        dynbuf_add(out, bytes_of(text, n));
    } else {
        // No memory, or a message that is not UTF-8: the code alone still tells what to do.
        dynbuf_addf(out, "{\"code\":\"%s\",\"msg\":\"\"}", twirp_code_name(code));
    }
    mem_free(text);
}

void twirp_error_write(const struct twirp_error *e, struct dynbuf *out)
{
    write_error(e->code, e->msg, e, out);
}

void twirp_error_write_text(enum twirp_code code, const char *msg, struct dynbuf *out)
{
    write_error(code, msg, NULL, out);
}

// ---- client ---------------------------------------------------------------------------------

int twirp_url(const char *base, const char *service, const char *method, struct dynbuf *out)
{
    static const struct {
        const char *from;
        const char *to;
    } schemes[] = {{"ws://", "http://"},
                   {"wss://", "https://"},
                   {"http://", "http://"},
                   {"https://", "https://"}};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t const n = strlen(schemes[i].from);
        if (strncasecmp(base, schemes[i].from, n) != 0) {
            continue;
        }
        struct bytes rest = bytes_str(base + n);
        while (rest.n > 0 && rest.p[rest.n - 1] == '/') {
            rest.n--;
        }
        if (rest.n == 0 || memchr(rest.p, '?', rest.n) || memchr(rest.p, '#', rest.n)) {
            return -EINVAL;
        }
        dynbuf_add_str(out, schemes[i].to);
        dynbuf_add(out, rest);
        dynbuf_addf(out, "/twirp/%s/%s", service, method);
        return 0;
    }
    return -EINVAL;
}

// twirp v8.1.3 client template, twirpErrorFromIntermediary.
static enum twirp_code code_of_status(int status)
{
    if (status >= 300 && status <= 399) {
        return TWIRP_INTERNAL;
    }
    switch (status) {
    case 400:
        return TWIRP_INTERNAL;
    case 401:
        return TWIRP_UNAUTHENTICATED;
    case 403:
        return TWIRP_PERMISSION_DENIED;
    case 404:
        return TWIRP_BAD_ROUTE;
    case 429:
        return TWIRP_RESOURCE_EXHAUSTED;
    case 502:
    case 503:
    case 504:
        return TWIRP_UNAVAILABLE;
    default:
        return TWIRP_UNKNOWN;
    }
}

struct twirp_error twirp_error_parse(int http_status, struct bytes body)
{
    // 64 KiB: an error is a sentence; a proxy's page may be longer and is of no use.
    struct jsonx_limits const limits = {.max_bytes = 64u << 10, .max_depth = 8};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes code = {0};
    struct bytes msg = {0};
    if (jsonx_parse(body, &limits, &j) < 0 || jsonx_get_str(j, "code", &code) < 0 || code.n == 0) {
        return twirp_error_of(code_of_status(http_status), "HTTP status %d without a Twirp error",
                              http_status);
    }
    struct twirp_error e = {.code = twirp_code_of_name(code)};
    if (jsonx_get_str(j, "msg", &msg) == 0) {
        copy_text(e.msg, sizeof(e.msg), msg);
    }
    return e;
}

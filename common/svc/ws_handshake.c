// SPDX-License-Identifier: Apache-2.0
#include "common/svc/ws_handshake.h"

#include <strings.h>

#include "common/base/base64.h"
#include "common/svc/digest.h"
#include "common/svc/ws_deflate.h"

// RFC 6455 section 1.3.
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#define KEY_BYTES 16

// Longest answer head a client takes.
#define HEAD_MAX (64u << 10)

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

// True if the comma separated list has the token, in any case.
static bool has_token(const char *list, size_t n, const char *token)
{
    size_t const len = strlen(token);
    size_t i = 0;
    while (i < n) {
        size_t end = i;
        while (end < n && list[end] != ',') {
            end++;
        }
        size_t a = i;
        size_t b = end;
        while (a < b && is_space(list[a])) {
            a++;
        }
        while (b > a && is_space(list[b - 1])) {
            b--;
        }
        if (b - a == len && strncasecmp(list + a, token, len) == 0) {
            return true;
        }
        i = end + 1;
    }
    return false;
}

bool ws_handshake_wanted(const char *upgrade, const char *connection)
{
    return upgrade != NULL && connection != NULL &&
           has_token(upgrade, strlen(upgrade), "websocket") &&
           has_token(connection, strlen(connection), "upgrade");
}

// ---- extensions -----------------------------------------------------------------------------

// The text up to one of the ends, without white space around it; *p is then at that end.
static struct bytes next_word(const char **p, const char *ends)
{
    size_t n = strcspn(*p, ends);
    const char *at = *p;
    *p += n;
    while (n > 0 && is_space(*at)) {
        at++;
        n--;
    }
    while (n > 0 && is_space(at[n - 1])) {
        n--;
    }
    return bytes_of(at, n);
}

static bool word_is(struct bytes word, const char *text)
{
    return word.n == strlen(text) && strncasecmp((const char *)word.p, text, word.n) == 0;
}

// One parameter: "client_max_window_bits" or "client_max_window_bits=12" (the client limits itself, or
// could). A server window below 15 is refused, as we compress with the whole one.
static bool parameter_fits(struct bytes name, struct bytes value, bool has_value)
{
    if (word_is(name, "server_no_context_takeover") ||
        word_is(name, "client_no_context_takeover")) {
        return !has_value;
    }
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        value = bytes_of(value.p + 1, value.n - 2);
    }
    if (word_is(name, "server_max_window_bits")) {
        return word_is(value, "15");
    }
    if (word_is(name, "client_max_window_bits")) {
        bool const one = value.n == 1 && (value.p[0] == '8' || value.p[0] == '9');
        bool const two =
            value.n == 2 && value.p[0] == '1' && value.p[1] >= '0' && value.p[1] <= '5';
        return !has_value || one || two;
    }
    return false;
}

bool ws_handshake_deflate(const char *extensions)
{
    const char *p = extensions != NULL ? extensions : "";
    while (*p != 0) {
        bool fits = word_is(next_word(&p, ";,"), "permessage-deflate");
        while (*p == ';') {
            p++;
            struct bytes const name = next_word(&p, "=;,");
            struct bytes value = {0};
            bool const has_value = *p == '=';
            if (has_value) {
                p++;
                value = next_word(&p, ";,");
            }
            fits = parameter_fits(name, value, has_value) && fits;
        }
        if (fits) {
            return true;
        }
        p += *p == ',';
    }
    return false;
}

// ---- the key --------------------------------------------------------------------------------

static void accept_of(const char *key, char ret[static WS_ACCEPT_LEN])
{
    char text[WS_KEY_LEN + sizeof(GUID)];
    memcpy(text, key, WS_KEY_LEN - 1);
    memcpy(text + WS_KEY_LEN - 1, GUID, sizeof(GUID));
    uint8_t hash[DIGEST_SHA1_LEN];
    digest_sha1(bytes_of(text, WS_KEY_LEN - 1 + sizeof(GUID) - 1), hash);
    struct dynbuf b;
    dynbuf_init(&b, WS_ACCEPT_LEN);
    base64_encode(BASE64_STD, bytes_of(hash, sizeof(hash)), &b);
    ret[0] = 0;
    if (dynbuf_ok(&b) && b.n == WS_ACCEPT_LEN - 1) {
        memcpy(ret, b.p, b.n);
        ret[b.n] = 0;
    }
    dynbuf_done(&b);
}

int ws_handshake_accept(const char *version, const char *key, char ret[static WS_ACCEPT_LEN])
{
    if (version == NULL || strcmp(version, "13") != 0) {
        return -EPROTO;
    }
    if (key == NULL || strlen(key) != WS_KEY_LEN - 1) {
        return -EBADMSG;
    }
    struct dynbuf raw;
    dynbuf_init(&raw, KEY_BYTES + 2);
    int const r = base64_decode(BASE64_STD, bytes_str(key), &raw);
    bool const good = r == 0 && raw.n == KEY_BYTES;
    dynbuf_done(&raw);
    if (!good) {
        return -EBADMSG;
    }
    accept_of(key, ret);
    return ret[0] != 0 ? 0 : -ENOMEM;
}

void ws_handshake_request(const char *host, const char *target, const uint8_t random[static 16],
                          const char *extra, struct dynbuf *out, char ret_key[static WS_KEY_LEN])
{
    struct dynbuf key;
    dynbuf_init(&key, WS_KEY_LEN);
    base64_encode(BASE64_STD, bytes_of(random, KEY_BYTES), &key);
    const char *const text = dynbuf_cstr(&key);
    memset(ret_key, 0, WS_KEY_LEN);
    if (text != NULL) {
        memcpy(ret_key, text, WS_KEY_LEN - 1);
    }
    dynbuf_done(&key);
    dynbuf_addf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                target, host);
    dynbuf_addf(out, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", ret_key);
    if (extra != NULL) {
        dynbuf_add_str(out, extra);
    }
    dynbuf_add_str(out, "\r\n");
}

// ---- reading the answer ---------------------------------------------------------------------

// The next line without CRLF; the reader must hold the complete head.
static struct bytes next_line(struct rd *r)
{
    const uint8_t *const end = memchr(r->p, '\n', rd_left(r));
    if (end == NULL) {
        return rd_rest(r);
    }
    struct bytes line = rd_take(r, (size_t)(end - r->p));
    rd_skip(r, 1);
    if (line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
    }
    return line;
}

// If line is the header `name`, its value without white space around it.
static bool header_value(struct bytes line, const char *name, struct bytes *ret)
{
    size_t const n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n) != 0) {
        return false;
    }
    struct bytes v = bytes_of(line.p + n + 1, line.n - n - 1);
    while (v.n > 0 && is_space((char)v.p[0])) {
        v.p++;
        v.n--;
    }
    while (v.n > 0 && is_space((char)v.p[v.n - 1])) {
        v.n--;
    }
    *ret = v;
    return true;
}

static bool decimal(struct bytes text, size_t max, size_t *ret)
{
    size_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        v = v * 10 + (size_t)(text.p[i] - '0');
        if (v > max) {
            return false;
        }
    }
    *ret = v;
    return text.n > 0;
}

// "HTTP/1.1 101 Switching Protocols"
static bool read_status(struct bytes line, unsigned *ret)
{
    size_t v = 0;
    if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || line.p[8] != ' ' ||
        !decimal(bytes_of(line.p + 9, 3), 999, &v)) {
        return false;
    }
    *ret = (unsigned)v;
    return true;
}

// Length of the head including its empty line, 0 if it is not complete.
static size_t head_length(struct bytes in)
{
    for (size_t i = 0; i + 4 <= in.n && i < HEAD_MAX; i++) {
        if (memcmp(in.p + i, "\r\n\r\n", 4) == 0) {
            return i + 4;
        }
    }
    return 0;
}

int ws_handshake_read(struct bytes in, const char *key, struct ws_handshake_reply *ret)
{
    size_t const head = head_length(in);
    if (head == 0) {
        return in.n >= HEAD_MAX ? -EBADMSG : -EAGAIN;
    }
    struct ws_handshake_reply reply = {.head_len = head};
    struct rd r = rd_init(bytes_of(in.p, head));
    if (!read_status(next_line(&r), &reply.status)) {
        return -EBADMSG;
    }
    char expected[WS_ACCEPT_LEN];
    accept_of(key, expected);
    bool upgrade = false;
    bool connection = false;
    bool accept = false;
    while (rd_left(&r) > 0) {
        struct bytes const line = next_line(&r);
        struct bytes v;
        if (header_value(line, "Upgrade", &v)) {
            upgrade = has_token((const char *)v.p, v.n, "websocket");
        } else if (header_value(line, "Connection", &v)) {
            connection = has_token((const char *)v.p, v.n, "upgrade");
        } else if (header_value(line, "Sec-WebSocket-Accept", &v)) {
            accept = bytes_eq_str(v, expected);
        } else if (header_value(line, "Sec-WebSocket-Extensions", &v)) {
            reply.deflate = bytes_eq_str(v, WS_DEFLATE_ANSWER);
        } else if (header_value(line, "Content-Length", &v) &&
                   !decimal(v, (size_t)1 << 30, &reply.body_len)) {
            return -EBADMSG;
        }
    }
    reply.accepted = reply.status == 101 && upgrade && connection && accept;
    *ret = reply;
    return 0;
}

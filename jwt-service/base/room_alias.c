// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/room_alias.h"

#include "common/base/base64.h"
#include "common/svc/digest.h"

// Far above what the request limits let through; only a bound for the buffer.
#define HASH_INPUT_MAX (64u << 10)

// The escapes of RFC 8785 section 3.2.2.2 (what ECMAScript writes).
static void add_json_string(struct dynbuf *b, const char *s)
{
    dynbuf_add_u8(b, '"');
    for (const char *p = s; *p; p++) {
        uint8_t const c = (uint8_t)*p;
        static const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                         {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
        char esc = 0;
        for (size_t i = 0; i < ARRAY_LEN(shorts); i++) {
            esc = shorts[i][0] == *p ? shorts[i][1] : esc;
        }
        if (esc) {
            dynbuf_add_u8(b, '\\');
            dynbuf_add_u8(b, (uint8_t)esc);
        } else if (c < 0x20) {
            dynbuf_addf(b, "\\u%04x", (unsigned)c);
        } else {
            dynbuf_add_u8(b, c);
        }
    }
    dynbuf_add_u8(b, '"');
}

int room_alias_hash(const char *const *parts, size_t n, char ret[static ROOM_ALIAS_SIZE])
{
    struct dynbuf json;
    struct dynbuf text;
    dynbuf_init(&json, HASH_INPUT_MAX);
    dynbuf_init(&text, ROOM_ALIAS_SIZE);
    dynbuf_add_u8(&json, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            dynbuf_add_u8(&json, ',');
        }
        add_json_string(&json, parts[i]);
    }
    dynbuf_add_u8(&json, ']');
    uint8_t digest[DIGEST_SHA256_LEN];
    digest_sha256(dynbuf_view(&json), digest);
    base64_encode(BASE64_STD_NOPAD, bytes_of(digest, sizeof(digest)), &text);
    bool const ok = dynbuf_ok(&json) && dynbuf_ok(&text) && text.n == ROOM_ALIAS_SIZE - 1;
    if (ok) {
        memcpy(ret, text.p, text.n);
        ret[text.n] = '\0';
    }
    dynbuf_done(&json);
    dynbuf_done(&text);
    return ok ? 0 : -ENOMEM;
}

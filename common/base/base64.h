// SPDX-License-Identifier: Apache-2.0
#pragma once
// Base64 (RFC 4648) in the variants that the protocols mix: standard alphabet with padding (webhook
// sha256), standard without (room and identity hashes), URL alphabet with (join_request) and
// without padding (JWT). Pure.

#include "common/base/dynbuf.h"

enum base64_kind {
    BASE64_STD,       // + / and =
    BASE64_STD_NOPAD, // + /
    BASE64_URL,       // - _ and =
    BASE64_URL_NOPAD, // - _
};

// Most characters that n bytes can become, terminating zero not included.
#define BASE64_LEN(n) (((size_t)(n) + 2) / 3 * 4)

// Appends the text to out (check dynbuf_ok afterwards).
void base64_encode(enum base64_kind kind, struct bytes in, struct dynbuf *out);

// Appends the bytes to out. Strict: only the alphabet of the kind, padding exactly where the kind
// wants it, no white space. -EBADMSG on anything else, and then out may hold a part. -ENOBUFS when
// out is over its cap. Unused bits of the last character may be set: Go, Node and browsers accept
// that too.
int base64_decode(enum base64_kind kind, struct bytes in, struct dynbuf *out) NODISCARD;

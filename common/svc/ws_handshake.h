// SPDX-License-Identifier: Apache-2.0
#pragma once
// The opening handshake of RFC 6455 section 4, both sides. Pure (no I/O).

#include "common/base/dynbuf.h"

// 28 base64 characters of a SHA-1 and the terminating zero.
#define WS_ACCEPT_LEN 29
// 24 base64 characters of 16 random bytes and the terminating zero.
#define WS_KEY_LEN 25

// True if the headers ask for a WebSocket: Upgrade names websocket and Connection names upgrade, as
// tokens of a list in any case. Any pointer may be NULL.
bool ws_handshake_wanted(const char *upgrade, const char *connection);

// Checks version 13 and the form of the key (base64 of 16 bytes), and computes
// Sec-WebSocket-Accept. -EPROTO: another version (answer 426 with Sec-WebSocket-Version: 13).
// -EBADMSG: no or a bad key.
int ws_handshake_accept(const char *version, const char *key,
                        char ret[static WS_ACCEPT_LEN]) NODISCARD;

// Whether one of the extensions that a client offers (Sec-WebSocket-Extensions, all lines joined by
// commas; may be NULL) is a permessage-deflate that WS_DEFLATE_ANSWER answers (RFC 7692 section 7.1).
// Offers that demand a smaller window of the server, and unknown or malformed parameters, are not.
bool ws_handshake_deflate(const char *extensions);

// Client: appends the request. random: 16 bytes; extra: further header lines, each ending in CRLF,
// or NULL. *ret_key is needed to check the answer.
void ws_handshake_request(const char *host, const char *target, const uint8_t random[static 16],
                          const char *extra, struct dynbuf *out, char ret_key[static WS_KEY_LEN]);

struct ws_handshake_reply {
    unsigned status;
    size_t head_len; // bytes of status line and headers including the empty line
    size_t body_len; // Content-Length, 0 if there is none
    bool accepted;   // 101 with the right headers
    bool deflate;    // with permessage-deflate as WS_DEFLATE_ANSWER says
};

// Client: reads the answer from what arrived so far. -EAGAIN: not complete yet. -EBADMSG: not HTTP.
// Anything but 101 is a valid reply with accepted false (its body follows).
int ws_handshake_read(struct bytes in, const char *key, struct ws_handshake_reply *ret) NODISCARD;

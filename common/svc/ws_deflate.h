// SPDX-License-Identifier: Apache-2.0
#pragma once
// Messages of permessage-deflate (RFC 7692 section 7.2) without context takeover: each stands alone, so
// that one pair of zlib's states (some 300 KB) serves all WebSockets of a thread, and what was
// compressed once can be sent to many. Pure; one thread.

#include "common/base/dynbuf.h"

struct ws_deflate;

// What the handshake answers to an offer that ws_handshake_deflate takes. Both sides forget what they
// compressed before, as livekit answers (livekit-protocol 1.7).
#define WS_DEFLATE_ANSWER                                                                          \
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

struct ws_deflate *ws_deflate_new(void) NODISCARD; // NULL without memory
void ws_deflate_free(struct ws_deflate *d);        // accepts NULL
DEFINE_CLEANUP(struct ws_deflate *, ws_deflate_free)

// Appends the payload of a compressed message. -ENOBUFS over out's cap.
int ws_deflate_pack(struct ws_deflate *d, struct bytes message, struct dynbuf *out) NODISCARD;

// Appends the message of a compressed payload. -E2BIG over out's cap (nothing beyond it is inflated),
// -EBADMSG no such payload, -ENOMEM. out is empty after a failure.
int ws_deflate_unpack(struct ws_deflate *d, struct bytes payload, struct dynbuf *out) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// WebSocket messages as SignalRequests and SignalResponses. Binary ones are protobuf, text ones are
// protojson (livekit-protocol 1.7, 3.1); a client that sends text is answered in text until it sends
// a binary message again.
//
// livekit pkg/service/wsprotocol.go. Deviation: fields and members that we do not know are skipped in
// text as well, where the original closes the socket: a newer client may say more than we know.
//
// Signalling thread.

#include "common/base/dynbuf.h"
#include "common/svc/pbuf.h"
#include "common/svc/ws.h"

// A response as text: names of fields and escapes make it some times longer than on the wire.
#define SIGNAL_FRAME_TEXT_MAX ((size_t)4 << 20)

// Decodes a client's message; *ret is the caller's (pbuf_free), its msg a Livekit__SignalRequest.
// -EBADMSG: neither protobuf nor JSON of such a message, for which the socket is closed; -E2BIG: it
// needs more memory than PBUF_CAP_DEFAULT, likewise; -ENOMEM.
int signal_frame_decode(enum ws_kind kind, struct bytes data, struct pbuf **ret) NODISCARD;

// Appends the encoded SignalResponse `wire` as text to out. -EBADMSG: it has no such form (it is no
// message of ours), -ENOBUFS over out's cap, -E2BIG, -ENOMEM. The caller sends it in binary
// then, which loses nothing.
int signal_frame_text(struct bytes wire, struct dynbuf *out) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A WebSocket (RFC 6455) on a connected, non-blocking socket of our loop (wslay behind it), server
// or client side. The handshake is in ws_handshake.h. permessage-deflate is in ws_deflate.h. Owner
// thread of the loop.

#include "common/base/bytes.h"
#include "common/sys/loop.h"

struct ws;
struct ws_deflate;

enum ws_kind {
    WS_TEXT,
    WS_BINARY,
};

// Why it ended. code: what the peer's close frame said; 1005: a close frame without code; 1006:
// none came (RFC 6455 section 7.4.1); local: we ended it.
struct ws_end {
    uint16_t code;
    bool local;
    bool too_slow;      // the peer left more than queue_max unread
    const char *reason; // constant text for logs: "peer closed", "too slow", "protocol error", ...
};

struct ws_conf {
    bool client;        // masks what it sends
    size_t message_max; // 0: 2 MiB; a longer message ends the connection with 1009
    // Messages of the peer may be compressed, and ours (ws_send_packed). Borrowed, shared by all
    // connections of the thread. NULL: it was not negotiated, such messages are a protocol error.
    // Before inflating as after it, message_max holds; what cannot be inflated ends with 1007.
    struct ws_deflate *deflate;
    size_t queue_max; // 0: 4 MiB; a peer that reads so slowly that more waits is cut off
    int64_t
        ping_ms; // a peer that was silent for so long is pinged; 0: 10 s (livekit's value, which
                 // pings whoever speaks as well); negative: none
    int64_t close_ms; // 0: 2 s; how long a closing connection waits for the peer
    // One message. It may call ws_send, ws_close and ws_free.
    void (*on_message)(void *user, enum ws_kind kind, struct bytes data);
    // The connection is over, once; the socket is released. Call ws_free (here or later). Not
    // called after ws_free.
    void (*on_end)(void *user, const struct ws_end *end);
    // How to give the socket back; NULL: close(fd).
    void (*release)(void *arg, int fd);
    void *release_arg;
    void *user;
};

// Takes over fd. early: bytes that were read behind the handshake, copied. Events come from the
// loop only, never from inside this call. -ENOMEM: fd is still the caller's.
int ws_new(struct loop *l, int fd, struct bytes early, const struct ws_conf *conf,
           struct ws **ret) NODISCARD;

// Ends at once without a close frame if it is still open. NULL is fine. May be called in its own
// callbacks.
void ws_free(struct ws *w);
DEFINE_CLEANUP(struct ws *, ws_free)

// Queues a message, which is copied, and writes what the socket takes. -EPIPE: closing or closed.
// -ENOBUFS: queue_max would be passed: the connection is being cut off, on_end will follow.
int ws_send(struct ws *w, enum ws_kind kind, struct bytes data) NODISCARD;

// The same for a message that ws_deflate_pack has compressed; only where it was negotiated
// (conf.deflate is set).
int ws_send_packed(struct ws *w, enum ws_kind kind, struct bytes packed) NODISCARD;

// What compresses messages for ws_send_packed: conf.deflate, NULL where it was not negotiated.
struct ws_deflate *ws_deflate_of(const struct ws *w);

// Reads nothing more, or goes on. What is read already (some KB) still arrives as messages, which this
// may be called in. Nothing happens while closing.
void ws_pause(struct ws *w, bool paused);

// Bytes that wait to be written.
size_t ws_queued(const struct ws *w);

// Sends what is queued, then a close frame with this code and no reason, then waits for the peer's,
// at most close_ms in all. on_end follows. Does nothing if it is closing already.
void ws_close(struct ws *w, uint16_t code);

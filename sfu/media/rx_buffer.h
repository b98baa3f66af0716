// SPDX-License-Identifier: Apache-2.0
#pragma once
// History of one encoding: the packets of the last 1.2 seconds by extended sequence number, from
// which subscribers' NACKs are answered. It is no jitter buffer: packets are forwarded when they
// arrive. Media-plane 4.4.
//
// A power-of-two ring of packet references; a slot is valid if its packet carries the sequence
// number asked for. Nothing is allocated on the packet path: when the ring is too small for the
// time it should cover, rx_buffer_timeout grows it.
//
// Pure. Thread: the worker that owns the packets.
// Upstream: livekit pkg/sfu/buffer (bucket of 300..500 packets by count; ours is by time,
// media-plane 4.4).

#include "sfu/media/packet_pool.h"

#define RX_BUFFER_WINDOW_US                                                                        \
    INT64_C(1200000) // a NACK storm of a browser repeats for about a second (media-plane 4.5, 5.8)
#define RX_BUFFER_MIN 128u  // 2.5 s of 20 ms audio
#define RX_BUFFER_MAX 1024u // 1.2 s at 8.5 Mbit/s of full packets

struct rx_buffer {
    struct packet **slot;
    uint32_t cap; // power of two
    uint32_t max;
    uint32_t count;
    bool started;
    bool crowded;     // a packet younger than the window was pushed out since the last timeout
    uint64_t lowest;  // numbers below are too old
    uint64_t oldest;  // no packet in [lowest, oldest)
    uint64_t highest; // highest number put
};

enum rx_buffer_result {
    RX_BUFFER_STORED,
    RX_BUFFER_DUPLICATE,
    RX_BUFFER_TOO_OLD, // below the window
};

// cap and max: powers of two, RX_BUFFER_MIN <= cap <= max <= RX_BUFFER_MAX. -EINVAL, -ENOMEM.
int rx_buffer_init(struct rx_buffer *b, uint32_t cap, uint32_t max) NODISCARD;
void rx_buffer_done(struct rx_buffer *b); // gives up all references

// Enters p under p->ext_sn (not 0). When stored, one reference is taken; the caller keeps its own.
// Lets go of packets that left the window at `now`.
enum rx_buffer_result rx_buffer_put(struct rx_buffer *b, mono_t now, struct packet *p);

// The packet, borrowed (packet_ref it to keep it), or NULL.
struct packet *rx_buffer_peek(const struct rx_buffer *b, uint64_t ext_sn);

// Lets go of packets that left the window, and grows the ring if it was too small. Call it about
// every 100 ms, outside of the packet path. A failed allocation changes nothing.
void rx_buffer_timeout(struct rx_buffer *b, mono_t now);

// Stream restart: forgets everything.
void rx_buffer_flush(struct rx_buffer *b);

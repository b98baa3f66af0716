// SPDX-License-Identifier: Apache-2.0
#pragma once
// Packets on their way in: reference counted buffers that recvmmsg fills directly and that stay in
// the history of a receiver until nobody can ask for them any more.
//
// A pool belongs to one worker thread; counts are plain integers. The parsed metadata (struct
// packet) lives in its own dense array, apart from the payload bytes, because fan-out reads
// metadata of every packet but touches the payload only to copy it. Two buffer classes exist so
// that a history of audio packets costs 128 bytes a packet, not two kilobytes (media-plane 11.5).
//
// Nothing here allocates on the packet path: packet_pool_get takes from the free lists and fails
// (counted) when they are empty; the owner calls packet_pool_grow once a loop turn, outside of the
// packet path. Built with AddressSanitizer, free buffers and free metadata are poisoned.
//
// Pure. Thread: the owner of the pool.

#include "common/base/bytes.h"
#include "common/base/mono.h"
#include "sfu/wire/vp8.h"

// Room in front of the datagram for TURN or RFC 4571 framing that is stripped in place.
#define PACKET_HEADROOM 64

// Largest datagram taken in: 1500-byte Ethernet MTU and some tunnels' slack, a multiple of the
// cache line.
#define PACKET_DATA_CAP 1600

// Datagrams up to this size may move to the small class: 20 ms of Opus at 96 kbit/s (240 bytes)
// with its extensions.
#define PACKET_SMALL_CAP 320

#define PACKET_NO_TEMPORAL 0xff
#define PACKET_NO_AUDIO_LEVEL 0xff

// What is known of a packet without touching its payload again. Filled once at ingress
// (packet_info.h), then immutable.
struct packet_info {
    uint8_t encoding;     // index of the encoding within its receiver (simulcast layer, 0 = lowest)
    uint8_t spatial;      // spatial layer: the encoding for simulcast, SID for SVC
    uint8_t temporal;     // TID, or PACKET_NO_TEMPORAL
    bool key_frame : 1;   // the packet belongs to a key frame as far as the clear bytes tell
    bool frame_start : 1; // first packet of a frame (of a spatial layer)
    bool frame_end : 1;   // last packet of a frame (of a spatial layer)
    bool layer_sync : 1;  // switching up to this temporal layer is possible here (VP8 Y, VP9 U)
    bool padding_only : 1;    // no payload: consumes a sequence number, is never forwarded
    bool recovered : 1;       // came by RTX, or out of a later RED packet
    bool red_filled : 1;      // it came after its hole had been filled (red_holes.h)
    bool late : 1;            // newer packets of the encoding had come before it
    bool audio_voice : 1;     // V bit of the audio level extension
    uint8_t epoch;            // of the encoding's sequence (receiver_epoch, low bits)
    uint8_t audio_level;      // -dBov 0..127, or PACKET_NO_AUDIO_LEVEL
    uint8_t capture_time_len; // abs-capture-time: 8 or 16, 0 if absent
    uint8_t dd_len;           // dependency descriptor, 0 if absent
    uint8_t codec;       // enum codec of the payload: a section may carry several (Opus and RED)
    uint8_t trailer_len; // of the payload: appended to the frame (packet_trailer.h), 0 if none
    uint8_t red_holes;   // numbers directly before it that its redundant blocks fill (red_holes.h)
    uint16_t capture_time_off; // offsets from packet.data
    uint16_t dd_off;
    uint16_t payload_off;     // first payload byte
    uint16_t payload_len;     // without padding
    uint16_t red_primary_off; // RED: where the primary block starts in the payload; 0 if unreadable
    uint16_t width, height;   // on key frames whose dimensions are readable, else 0
    struct vp8_desc vp8;      // len 0: no VP8 descriptor (other codec, padding, malformed)
};

struct packet {
    // Written by the pool.
    struct packet_pool *pool;
    uint32_t refs;
    bool small;      // buffer class
    uint8_t *buffer; // where the buffer starts; data may have moved

    // Written by whoever receives the datagram (worker, transport). data may be moved forward when
    // framing is stripped.
    uint16_t len;
    uint8_t *data;
    mono_t arrival;

    // Written by the media layer at ingress.
    uint64_t ext_sn; // extended sequence number within the encoding; 0 is never used
    uint32_t ssrc;   // of the media stream (for RTX: after decapsulation)
    uint32_t ts;
    uint16_t sn;
    uint8_t pt;
    bool marker;
    struct packet_info info;
};

struct packet_pool_stats {
    uint32_t packets, packets_free; // metadata entries
    uint32_t large, large_free;
    uint32_t small, small_free;
    uint64_t exhausted; // packet_pool_get that found nothing
};

struct packet_pool_slab;

// Free lists are arrays of pointers (last in, first out: the warm one is reused first), so that
// freed memory can be poisoned as a whole.
struct packet_pool_list {
    void **items;
    uint32_t count;
    uint32_t total;
    uint32_t max;
};

struct packet_pool {
    struct packet_pool_list packets, large, small;
    struct packet_pool_slab *slabs;
    uint64_t exhausted;
};

// Prepares for up to `max_packets` packets (rounded up to whole slabs of 64) and preallocates
// `initial`. Each class of buffers may grow to max_packets. -ENOMEM, -EINVAL (max_packets 0 or
// initial > max_packets).
int packet_pool_init(struct packet_pool *pool, uint32_t max_packets, uint32_t initial) NODISCARD;

// Frees all slabs. Every packet must have been returned (asserted).
void packet_pool_done(struct packet_pool *pool);

// A packet with one reference, a buffer of the large class, data = start behind PACKET_HEADROOM and
// PACKET_DATA_CAP writable bytes, len 0, metadata zeroed. NULL (counted) when empty.
struct packet *packet_pool_get(struct packet_pool *pool) NODISCARD;

// Adds slabs until at least `want_free` packets, and as many buffers of each class, are free or the
// maximum is reached. Call outside of the packet path. -ENOMEM when the system refused, -ENOBUFS at
// the maximum.
int packet_pool_grow(struct packet_pool *pool, uint32_t want_free) NODISCARD;

// Moves the bytes of a packet into a small buffer if they fit and one is free; else does nothing.
// Only by the sole owner of the packet, before views into its data exist. Keeps no headroom.
void packet_compact(struct packet *p);

void packet_pool_get_stats(const struct packet_pool *pool, struct packet_pool_stats *ret);

static inline struct packet *packet_ref(struct packet *p)
{
    p->refs++;
    return p;
}

void packet_release_(struct packet *p);

// Gives up one reference; accepts NULL. The last one returns packet and buffer to the pool.
static inline void packet_unref(struct packet *p)
{
    if (p && --p->refs == 0) {
        packet_release_(p);
    }
}

// The raw RTP packet.
static inline struct bytes packet_bytes(const struct packet *p)
{
    return (struct bytes){p->data, p->len};
}

// Payload without RTP header and padding.
static inline struct bytes packet_payload(const struct packet *p)
{
    return (struct bytes){p->data + p->info.payload_off, p->info.payload_len};
}

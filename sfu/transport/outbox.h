// SPDX-License-Identifier: Apache-2.0
#pragma once
// Datagrams on their way out: a fixed set of reusable buffers that every module below the worker
// writes into.
//
// One outbox per worker (simulations: one per endpoint), one thread. Slots are few so that they
// stay in the cache, and when all are used the outbox empties itself through its sink. The sink is
// the only callback below the worker: it protects what is marked for SRTP and sends (or, in a
// simulation, moves packets into the virtual network); it never calls back into any module, so
// nothing is re-entrant.
//
// Pure.

#include "common/base/addr.h"
#include "common/base/bytes.h"
#include "common/base/mono.h"

// 256 slots are 0.4 MB: within the L2 cache of a current core (measured: 64 to 256 slots cost the
// same per packet, 1024 twice as much).
#define OUTBOX_CAP 256

// Largest datagram: 1472 bytes of UDP payload on Ethernet, rounded up to a multiple of the cache
// line.
#define OUTBOX_DATA_CAP 1536

// Room in front of the data for framing that is added later (RFC 4571 length, TURN ChannelData
// header).
#define OUTBOX_HEADROOM 64

// Bytes that SRTP protection may append (10-byte tag; SRTCP: 4-byte index as well); keep them free
// behind len.
#define OUTBOX_TAILROOM 32

struct srtp_egress;

enum outbox_protect {
    OUTBOX_FINAL,       // bytes leave as they are
    OUTBOX_PROTECT_RTP, // data holds a plain RTP packet, protected with srtp at flush
};

struct outbox_slot {
    struct addr dst;
    uint8_t local;   // index of the local socket it leaves by
    uint8_t protect; // enum outbox_protect
    uint16_t len;
    uint16_t rtp_header_len; // OUTBOX_PROTECT_RTP: header incl. extensions, where encryption starts
    uint32_t rtp_roc;        // OUTBOX_PROTECT_RTP: rollover counter of this packet
    struct srtp_egress *srtp; // OUTBOX_PROTECT_RTP: borrowed until the flush
    uint8_t *data;            // OUTBOX_DATA_CAP bytes
};

struct outbox {
    struct outbox_slot slots[OUTBOX_CAP];
    size_t count; // slots [0, count) are committed, in order of sending
    void (*flush)(struct outbox *o, void *user);
    void *user;
    uint8_t *storage; // one block behind all slots
};

// Allocates the buffers. flush must send or drop everything and leave count = 0. -ENOMEM.
int outbox_init(struct outbox *o, void (*flush)(struct outbox *, void *), void *user) NODISCARD;
void outbox_done(struct outbox *o);

// The next free slot (never NULL), with dst/len/protect cleared. It is sent only after
// outbox_commit; another reserve before that returns the same slot. Flushes first when full:
// pointers into earlier slots are then dead.
struct outbox_slot *outbox_reserve(struct outbox *o);

static inline void outbox_commit(struct outbox *o)
{
    o->count++;
}

// Copies a finished datagram in. -EMSGSIZE if it does not fit.
int outbox_add(struct outbox *o, uint8_t local, const struct addr *dst,
               struct bytes data) NODISCARD;

// Empties the outbox now.
void outbox_flush(struct outbox *o);

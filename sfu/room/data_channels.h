// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data channels of a participant: which channel is which label, what waits to be sent, and who
// has to slow down because of it.
//
//     SCTP event ──► data_channels_event ──► data_router (packets), data tracks
//     data_channels_send ──► channel, or the queue of the receiver ──WRITABLE──► channel
//
// Everything for a participant goes over its primary transport (livekit-protocol 3.8.1): v1 the
// only one, on the channels that the client opened; v0 the subscriber transport, on channels that
// we open as soon as SCTP is up; v0 without canSubscribe the publisher transport. What comes in is
// taken from any transport. Channels are known by their label, never by their number.
//
// Reliable messages are never dropped while the receiver keeps up: what SCTP does not take waits in
// a queue of references. A queue over DATA_CONGESTED_BYTES stops the reading of whoever fills it,
// so that SCTP's own window slows that sender down; a queue over DATA_QUEUE_MAX, or one that holds
// senders up and hardly moves for DATA_STALL_MS, ends the receiver's session: it is sent
// Leave{RECONNECT, STATE_MISMATCH} and comes back with empty queues, and nobody else suffers.
// LiveKit's server drops a reader that is too slow likewise, but never slows the sender.
//
// Before the channel is open (a joiner's transport is still connecting, livekit-protocol 4.1)
// reliable messages are held, the newest DATA_HOLD_MAX bytes for DATA_HOLD_MS, and sent in order
// when it opens. LiveKit's server holds 2 s and 100 kB; joins over bad networks take longer.
//
// Unreliable messages are dropped and counted instead of waiting behind DATA_LOSSY_BYTES or
// DATA_LOSSY_MS of others.
//
// Owner thread: the room's worker.

#include "common/base/shared_buf.h"
#include "common/base/timer_heap.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/data_pace.h"

struct participant;
struct pc_transport;
struct sctp_event;

enum data_kind {
    DATA_RELIABLE, // "_reliable": DataPacket
    DATA_LOSSY,    // "_lossy": DataPacket
    DATA_TRACK,    // "_data_track": data track packets
    DATA_KIND_COUNT,
};

// An association that ends while its transport lives does not come back, and neither would data: the
// session is ended like that of a stuck receiver, unless it ends by itself (a client that closes its
// connection ends the association first).
#define DATA_LOST_MS 10000

struct data_item; // a message that waits

// Embedded in struct participant; zeroed by its creation.
struct data_channels {
    struct {
        bool open;
        uint16_t id;
    } out[DATA_KIND_COUNT];
    struct data_item *head, *tail; // reliable
    size_t queued;                 // bytes in them
    size_t drained;                // of them since stall_at was set
    bool congested;
    bool cut;    // to be ended, see data_channels_timeout
    bool absent; // DATA_HOLD_MS went by without a channel
    bool resume; // reading goes on with the next timeout
    bool paced;  // reading stopped until paced_until
    mono_t paced_until;
    struct data_pace pace;

    struct participant *waiting;               // whose reading stopped because of this queue
    struct participant *waits_for;             // because of whose queue reading stopped
    struct participant *wait_prev, *wait_next; // among waits_for->data.waiting

    mono_t stall_at, hold_until; // only while something waits
    bool lost;                   // channels were open, the association is gone
    mono_t lost_at;              // when that ends the session

    size_t accepted, acked;  // bytes SCTP has taken, and the peer acknowledged when last looked
    size_t reliable_in_sctp; // of those on their way, at most so many are reliable
    mono_t progress_at;      // when acked last moved

    struct timer timer; // ROOM_TIMER_DATA
};

// An event of t's SCTP association. Messages go to data_router; nothing here frees t.
void data_channels_event(struct pc_transport *t, const struct sctp_event *e);

// Sends one message over the channel of that kind. data: borrowed, referenced while it waits.
//   RELIABLE: 0 sent, or waits; -EMSGSIZE over what the receiver takes (dropped, counted); -ENOTCONN
//     it opens no channel (dropped, counted); -ENOMEM (counted).
//   others: 0 sent; -EAGAIN too much is waiting (dropped, counted); -ENOTCONN not open (dropped,
//     counted); -EMSGSIZE.
// Never ends a session: a receiver over its limits goes with the next timer.
int data_channels_send(struct participant *to, enum data_kind kind,
                       struct shared_buf *data) NODISCARD;

// The same for bytes that go to this receiver alone; not for RELIABLE.
int data_channels_send_bytes(struct participant *to, enum data_kind kind,
                             struct bytes message) NODISCARD;

// A reliable message of `from` has gone to `to`: if its queue is congested, from's reading stops
// until it is not. Idempotent.
void data_channels_slow(struct participant *from, struct participant *to);

// A message of n bytes from `from` was sent to so many: its reading stops for a while if it sends more
// than its share (data_pace.h).
void data_channels_spend(struct participant *from, size_t receivers, size_t n);

// ROOM_TIMER_DATA fired: ends a receiver that is over its limits (p is closed then), lets a sender
// go on, gives up what is held.
void data_channels_timeout(struct participant *p);

// A reliable message from p or to it was lost for lack of memory (counted: env->no_memory). Its session is
// ended in the next turn like that of a stuck receiver: nothing reliable is lost unnoticed.
void data_channels_lost(struct participant *p);

// The session ends: what waits is given up, senders that waited go on. Idempotent.
void data_channels_close(struct participant *p);

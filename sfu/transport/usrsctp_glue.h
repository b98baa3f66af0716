// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only place that calls usrsctp (RFC 9260 in user space), used by sctp_transport alone.
//
// usrsctp keeps its state per process and calls back while it holds locks of its own. Here one lock
// of ours surrounds every call, so callbacks run under it too and only append to queues; no thread
// is ever inside the library beside another one. A call takes some microseconds, and data channels
// are low-rate.
//
// An association is known to usrsctp by an integer that is never used again, not by a pointer: it
// puts that "address" into cookies that the peer sees, and late timers may still speak of an
// association that is gone (the look-up then finds nothing).
//
// The stack is started with the first hub and never stopped: usrsctp cannot be while anything
// lingers in it.
//
// Thread: a hub and its associations belong to one thread; several hubs may be used at the same
// time.

#include "common/base/bytes.h"
#include "common/base/mono.h"

struct usrsctp_glue_hub;
struct usrsctp_glue_assoc;

struct usrsctp_glue_packet {
    struct usrsctp_glue_packet *next;
    size_t len;
    uint8_t data[];
};

enum usrsctp_glue_kind {
    USRSCTP_GLUE_UP,
    USRSCTP_GLUE_DOWN,
    USRSCTP_GLUE_MESSAGE,      // or a part of one: eor tells
    USRSCTP_GLUE_RESET_IN,     // the peer has reset its direction of stream sid
    USRSCTP_GLUE_RESET_OUT,    // ours is reset
    USRSCTP_GLUE_RESET_FAILED, // of stream sid, ours
};

struct usrsctp_glue_item {
    struct usrsctp_glue_item *next;
    enum usrsctp_glue_kind kind;
    uint16_t sid;
    uint32_t ppid; // host order
    bool eor;
    uint8_t *data; // owned; mem_free
    size_t len;
};

struct usrsctp_glue_params {
    uint16_t port; // both sides
    uint16_t mtu;  // of SCTP packets
    uint16_t streams;
    uint32_t send_buffer;
    uint32_t receive_buffer; // what is not taken fills it, and the peer's window closes
    uint32_t heartbeat_ms;   // 0: no heartbeats of ours
};

struct usrsctp_glue_message {
    uint16_t sid;
    uint32_t ppid;
    bool unordered;
    uint8_t
        reliability_kind; // as enum dcep_reliability: 0 reliable, 1 retransmissions, 2 milliseconds
    uint32_t reliability;
    struct bytes data;
};

// See sctp_hub_new, sctp_hub_tick, sctp_hub_next_ready. next_ready returns what was given to
// usrsctp_glue_open.
int usrsctp_glue_hub_new(void (*wake)(void *user), void *user,
                         struct usrsctp_glue_hub **ret) NODISCARD;
void usrsctp_glue_hub_free(struct usrsctp_glue_hub *h);
void usrsctp_glue_tick(struct usrsctp_glue_hub *h, mono_t now, int64_t granularity_ms);
void *usrsctp_glue_next_ready(struct usrsctp_glue_hub *h);

// Makes an association and sends INIT. user comes back from usrsctp_glue_next_ready. -ENOMEM, -EIO.
int usrsctp_glue_open(struct usrsctp_glue_hub *h, void *user,
                      const struct usrsctp_glue_params *params,
                      struct usrsctp_glue_assoc **ret) NODISCARD;
// Ends it without a word to the peer (there is DTLS and signalling for that). Accepts NULL.
void usrsctp_glue_close(struct usrsctp_glue_assoc *a);

void usrsctp_glue_input(struct usrsctp_glue_assoc *a, struct bytes packet);

// Packets of the hub's associations that were dropped on their way out: no memory, or too many at once.
uint64_t usrsctp_glue_packets_dropped(const struct usrsctp_glue_hub *h);

// The oldest packet or item; the caller frees it with mem_free (usrsctp_glue_item_free). NULL if
// there is none. Items are read from the stack as they are taken: whoever takes none closes the
// peer's window. Taking may make a packet that opens it again.
struct usrsctp_glue_packet *usrsctp_glue_take_packet(struct usrsctp_glue_assoc *a);
struct usrsctp_glue_item *usrsctp_glue_take_item(struct usrsctp_glue_assoc *a);

// An item was lost for lack of memory: what comes after it is not to be trusted.
bool usrsctp_glue_is_broken(const struct usrsctp_glue_assoc *a);
void usrsctp_glue_item_free(struct usrsctp_glue_item *i); // accepts NULL

// -EAGAIN when the send buffer is full, -EIO otherwise.
int usrsctp_glue_send(struct usrsctp_glue_assoc *a, const struct usrsctp_glue_message *m) NODISCARD;

// Resets our direction of the stream. -EAGAIN while another reset is under way, -EIO.
int usrsctp_glue_reset_stream(struct usrsctp_glue_assoc *a, uint16_t sid) NODISCARD;

// Bytes accepted that are not acknowledged yet.
size_t usrsctp_glue_queued(struct usrsctp_glue_assoc *a);

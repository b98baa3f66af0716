// SPDX-License-Identifier: Apache-2.0
#pragma once
// SCTP over DTLS and the data channels on it (RFC 8261, 8831, 8832), shaped like the other
// transports: bytes in, datagrams and events out.
//
// usrsctp is one stack per process with one lock (ours, in usrsctp_glue): every call below takes it
// for some microseconds. A transport belongs to a hub, and a hub to one thread. Retransmission
// timers are process-wide: whichever hub ticks drives those of all, and what it makes for another
// thread's transport is queued there; then that hub's wake function runs, and its owner asks
// sctp_hub_next_ready.
//
//     NEW ──start──► CONNECTING ──► UP ──► DOWN          (DOWN never affects media)
//
// Thread: all functions of a hub and its transports on the hub's thread. Several hubs may run at
// the same time.

#include "common/base/mono.h"
#include "sfu/transport/data_channel.h"

// Port of both sides (a=sctp-port).
#define SCTP_PORT 5000

// Without the SCTP common header (12 bytes), so a packet has 1200 bytes at most and its DTLS record
// 1237, as mediasoup does; path MTU discovery is off.
#define SCTP_MTU 1188

// a=max-message-size that we announce: LiveKit's data buffers are 65535 bytes.
#define SCTP_MAX_MESSAGE 65535

// Timer granularity. usrsctp looks at every timer of every association at each tick, and each
// association has one at least (for its cookie secret), mostly out of the processor's cache: 0.2 to
// 0.4 us each. So many associations tick less often, up to the second value: a core spends 2 % at
// most on up to 2500 of them while data moves. What is delayed are acknowledgements of odd packets
// (20 ms), and repetitions by fractions of their 400 ms.
#define SCTP_TICK_MS 10
#define SCTP_TICK_MAX_MS 50
#define SCTP_TICK_ASSOCS_PER_MS 50
// While nothing but heartbeats moves: then the shortest timer that runs is a second.
#define SCTP_TICK_IDLE_MS 250

struct sctp_hub;
struct sctp_transport;

// ---- hub ------------------------------------------------------------------------------------

// wake(user) is called from any thread, possibly with the lock held, when a transport of this hub
// became ready by another thread's tick: it may only signal (uv_async_send). NULL if there is only
// one hub in the process. -ENOMEM.
int sctp_hub_new(void (*wake)(void *user), void *user, struct sctp_hub **ret) NODISCARD;
// Transports that start from now on send a HEARTBEAT after so long, as browsers do every 30 s; 0, the
// default: none. For clients of tests and of the load generator.
void sctp_hub_set_heartbeats(struct sctp_hub *h, uint32_t ms);
// Its transports must be gone. Accepts NULL.
void sctp_hub_free(struct sctp_hub *h);

// Advances all SCTP timers of the process to now. Cheap when another hub did it less than a tick
// ago.
void sctp_hub_tick(struct sctp_hub *h, mono_t now);
// When to tick next: SCTP_TICK_MS to SCTP_TICK_MAX_MS or SCTP_TICK_IDLE_MS after the last one while the
// hub has transports, else MONO_NEVER.
mono_t sctp_hub_deadline(const struct sctp_hub *h);

// Packets that never left, for lack of memory or because too many were made at once; SCTP repeats them.
uint64_t sctp_hub_packets_dropped(const struct sctp_hub *h);

// A transport with output or events that the owner has not seen yet (made by a tick here or
// elsewhere), NULL when there is none. The caller drains it then: sctp_transport_next_output,
// sctp_transport_poll_event.
struct sctp_transport *sctp_hub_next_ready(struct sctp_hub *h);

// ---- life -----------------------------------------------------------------------------------

// No memory of usrsctp is used before sctp_transport_start. user: the owner's object, see
// sctp_transport_user. -ENOMEM.
int sctp_transport_new(struct sctp_hub *h, void *user, struct sctp_transport **ret) NODISCARD;
// Aborts the association. Accepts NULL.
void sctp_transport_free(struct sctp_transport *t);
void *sctp_transport_user(const struct sctp_transport *t);

enum sctp_state {
    SCTP_STATE_NEW,
    SCTP_STATE_CONNECTING,
    SCTP_STATE_UP,
    SCTP_STATE_DOWN,
    SCTP_STATE_COUNT,
};
enum sctp_state sctp_transport_state(const struct sctp_transport *t);

// Sends INIT; both sides do (RFC 9260 section 5.2.1 resolves the collision). Call when DTLS is
// connected, before feeding early data. dtls_client: our channels get even stream ids, else odd
// ones. remote_max_message: the peer's a=max-message-size (0: no limit; 65536 when absent). -EPROTO
// if started, -ENOMEM, -EIO.
int sctp_transport_start(struct sctp_transport *t, bool dtls_client,
                         uint32_t remote_max_message) NODISCARD;

// ---- in and out -----------------------------------------------------------------------------

// One SCTP packet (one record of DTLS application data). Drain output and events afterwards.
void sctp_transport_input(struct sctp_transport *t, struct bytes packet);

// Off: messages stay unread in the association, whose receive window closes, so that the peer stops
// sending. Channels that open or close meanwhile are seen when reading goes on. On is the default;
// poll events after switching it on, then drain output (the window opens).
void sctp_transport_set_reading(struct sctp_transport *t, bool on);

// The next packet to be sent as one DTLS record; false when there is none. Valid until the next
// call on t.
bool sctp_transport_next_output(struct sctp_transport *t, struct bytes *ret);

enum sctp_event_kind {
    SCTP_EVENT_UP,
    SCTP_EVENT_DOWN,           // association lost or refused
    SCTP_EVENT_CHANNEL_OPEN,   // the peer opened it (DCEP OPEN, acknowledged), or it acknowledged
                               // ours
    SCTP_EVENT_CHANNEL_CLOSED, // both directions are reset
    SCTP_EVENT_MESSAGE,        // data/binary
    SCTP_EVENT_WRITABLE,       // there is room again after -EAGAIN
};

struct sctp_event {
    enum sctp_event_kind kind;
    uint16_t channel;    // stream id (CHANNEL_*, MESSAGE)
    bool opened_by_peer; // CHANNEL_OPEN
    bool binary;         // MESSAGE: PPID binary, else UTF-8 text
    bool broken;         // DOWN: for lack of memory here, and the peer does not know
    struct bytes data;   // MESSAGE: valid until the next poll
};

bool sctp_transport_poll_event(struct sctp_transport *t, struct sctp_event *ret);

// ---- data channels --------------------------------------------------------------------------

// Opens a channel and announces it by DCEP; may be called after start and before UP (it is
// announced then). Text is copied. -ENOBUFS: no free id or DATA_CHANNELS_MAX reached; -EINVAL:
// label too long; -EPROTO: not started, or down.
int sctp_transport_open_channel(struct sctp_transport *t, const struct data_channel_params *params,
                                uint16_t *ret_id) NODISCARD;

// Outgoing stream reset (RFC 6525); CHANNEL_CLOSED follows. -ENOENT. Clients close channels, we
// never do: for their half in tests.
int sctp_transport_close_channel(struct sctp_transport *t, uint16_t id) NODISCARD;

// The channel of that id or label; NULL if there is none. Borrowed until it is closed.
const struct data_channel *sctp_transport_channel(const struct sctp_transport *t, uint16_t id);
const struct data_channel *sctp_transport_find_channel(const struct sctp_transport *t,
                                                       struct bytes label);

// Sends one message. -ENOENT no such channel, -ENOTCONN not up or channel not open yet, -EMSGSIZE
// over the peer's limit or SCTP_MAX_MESSAGE, -EAGAIN no room in the send buffer:
// SCTP_EVENT_WRITABLE follows when half of it is free.
int sctp_transport_send(struct sctp_transport *t, uint16_t id, bool binary,
                        struct bytes message) NODISCARD;

// Bytes accepted by sctp_transport_send that the peer has not acknowledged yet.
size_t sctp_transport_buffered(const struct sctp_transport *t);

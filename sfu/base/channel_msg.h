// SPDX-License-Identifier: Apache-2.0
#pragma once
// What crosses between the signalling thread and the media workers. A message owns everything it
// points to; posting it through a mailbox moves the ownership.
//
// Signalling thread: WebSockets, HTTP, tokens, which worker has which room. Worker: rooms, whole.
// A WebSocket is named by its session handle (signalling thread's table), a pending HTTP API call
// by its call handle. After CHANNEL_SESSION_CLOSED (either direction) nothing more is said about
// that handle.

#include "common/base/bytes.h"
#include "common/base/handle.h"
#include "common/base/mono.h"
#include "common/base/shared_buf.h"
#include "common/lk/access_token.h"

// A decoded protobuf message with the memory it lives in (common/svc/pbuf.h); pbuf->msg is of the
// type named beside it.
struct pbuf;

enum channel_msg_type {
    // To a worker.
    CHANNEL_JOIN,           // a client connected
    CHANNEL_REQUEST,        // a decoded SignalRequest
    CHANNEL_SESSION_CLOSED, // its WebSocket is gone
    CHANNEL_API,            // a room service call
    CHANNEL_SHUTDOWN,       // say goodbye, then end
    CHANNEL_LOG_STATS,      // tell the log what you do and have dropped

    // To the signalling thread.
    CHANNEL_SEND,          // bytes for a WebSocket
    CHANNEL_CLOSE,         // flush, then close it; as the first word: refuse the connect request
    CHANNEL_CLAIMS,        // name, metadata or permission changed: a new refresh token
    CHANNEL_API_REPLY,     // answer of a room service call
    CHANNEL_ROOM_ENDED,    // the room is gone from this worker
    CHANNEL_ROOM_INFO,     // who is in it, for ListRooms and placement
    CHANNEL_EVENT,         // something that webhooks tell
    CHANNEL_SHUTDOWN_DONE, // this worker holds no room any more

    CHANNEL_MSG_COUNT,
};

// What the registry knows of a room without asking its worker.
struct channel_room_info {
    char *name;
    struct shared_buf *room; // the Room message, encoded, as ListRooms shows it
    // RoomConfiguration with nothing but the agents that it was made with, encoded; NULL: none.
    struct shared_buf *agents;
    uint32_t num_participants;
    uint32_t num_publishers;
};

// A validated connect request.
struct channel_join {
    char *room_name;
    struct access_token
        *token; // verified claims: identity, name, metadata, attributes, kind, video grant
    bool v1;    // single peer connection
    // v0 parameters are put into the same message as v1's, with v0's defaults applied
    // (auto_subscribe true).
    struct pbuf *request;          // Livekit__JoinRequest
    char *client_address;          // for ClientInfo.address and the log
    struct channel_credit *credit; // of the session; a reference. NULL: it never pings
};

enum room_api_method {
    ROOM_API_CREATE_ROOM,
    ROOM_API_DELETE_ROOM,
    ROOM_API_LIST_PARTICIPANTS,
    ROOM_API_GET_PARTICIPANT,
    ROOM_API_REMOVE_PARTICIPANT,
    ROOM_API_UPDATE_PARTICIPANT,
    ROOM_API_MUTE_PUBLISHED_TRACK,
    ROOM_API_UPDATE_SUBSCRIPTIONS,
    ROOM_API_SEND_DATA,
    ROOM_API_UPDATE_ROOM_METADATA,
    ROOM_API_PERFORM_RPC,
    ROOM_API_MOVE_PARTICIPANT,
    ROOM_API_METHOD_COUNT,
};

// A room service call on its way to the room. The request is the method's own protobuf message,
// still encoded: the room decodes what it understands (sfu/room/room_api.c).
struct channel_api {
    enum room_api_method method;
    char *room_name;
    uint8_t *request;
    size_t request_len;
};

// `error` NULL: body is the encoded response message. Else a Twirp code ("not_found") with a text.
struct channel_api_reply {
    const char *error;    // static string
    const char *argument; // static string: what of the request is wrong, for meta; or NULL
    char *error_msg;
    struct shared_buf *body;
};

// What of one session is under way: messages that were charged to it and are not freed yet; and when
// its client pinged last, as the signalling thread answers that itself. The way back of back-pressure
// from a worker and the way of these news to it, without messages. Any thread.
struct channel_credit;

struct channel_msg {
    struct channel_msg *next;      // mailbox link
    struct channel_credit *credit; // charged for this message, NULL: none
    size_t charged;                // bytes
    enum channel_msg_type type;
    uint32_t worker; // the worker it is for, or comes from
    handle_t handle; // session, or API call
    union {
        struct channel_join join;
        struct pbuf *request; // Livekit__SignalRequest
        struct channel_api api;
        struct {
            struct shared_buf *data; // one encoded SignalResponse
        } send;
        struct {
            uint16_t code; // WebSocket close code, normally 1000
            // What the connect request is answered if the session was told nothing yet; 0: 500
            // "connection closed by media". Not looked at later.
            uint16_t http_status;
            const char *http_text; // static string
        } close;
        struct {
            struct access_token *token; // claims as they are now
        } claims;
        struct channel_api_reply api_reply;
        struct {
            struct shared_buf *data; // an encoded WebhookEvent
        } event;
        struct channel_room_info room_info; // also CHANNEL_ROOM_ENDED: only the name
    } u;
};

// A zeroed message, NULL without memory.
struct channel_msg *channel_msg_new(enum channel_msg_type type, handle_t handle) NODISCARD;

struct channel_credit *channel_credit_new(void) NODISCARD; // one reference; NULL without memory
struct channel_credit *channel_credit_ref(struct channel_credit *c); // accepts NULL
void channel_credit_unref(struct channel_credit *c);                 // accepts NULL
// The client pinged now. Accepts NULL.
void channel_credit_note_ping(struct channel_credit *c, mono_t now);
// When it did last; 0: never. Accepts NULL.
mono_t channel_credit_pinged(const struct channel_credit *c);
uint32_t channel_credit_messages(const struct channel_credit *c);
size_t channel_credit_bytes(const struct channel_credit *c);

// Charges m, which was not charged before, to c until it is freed.
void channel_msg_charge(struct channel_msg *m, struct channel_credit *c, size_t bytes);

// Frees a message and everything it owns (accepts NULL). Used by the receiver when it is done, and
// by a mailbox that is closed with messages inside.
void channel_msg_free(struct channel_msg *m);

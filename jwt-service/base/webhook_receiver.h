// SPDX-License-Identifier: Apache-2.0
#pragma once
// Webhooks of the SFU (LiveKit's or foci-sfu) as events that delegated leaves live by.
// authorization-service 1.10, livekit-protocol 7. Pure.
//
// Upstream: lk-jwt-service handler.go (handleSfuWebhook). Deviations: a refused request is answered
// with its status (there 200 whatever comes), and an event without room or participant is one that
// does not interest us (there the handler dies of it).

#include "common/lk/webhook_sign.h"

enum sfu_event_type {
    SFU_EVENT_JOINED,  // participant_joined: media is connected
    SFU_EVENT_LEFT,    // participant_left: was connected, is gone for good
    SFU_EVENT_ABORTED, // participant_connection_aborted: is gone without having been connected
    SFU_EVENT_ROOM_FINISHED, // nobody is in it any more
    SFU_EVENT_OTHER,         // valid, but nothing for us; also any of the above without its room or
                             // participant
    SFU_EVENT_TYPE_COUNT,
};

// livekit-protocol 3.7, DisconnectReason: the ones that a decision hangs on.
enum {
    SFU_REASON_UNKNOWN = 0,
    SFU_REASON_CLIENT_INITIATED = 1,
    SFU_REASON_DUPLICATE_IDENTITY = 2,
    SFU_REASON_STATE_MISMATCH = 6,
    SFU_REASON_MIGRATION = 8,
};

// One event. Strings are never NULL; "" where the SFU said nothing (a LiveKit server always names
// room and participant sid, hand-made requests do not).
struct sfu_event {
    enum sfu_event_type type;
    const char *name;     // as the SFU calls it, "participant_joined"
    const char *id;       // EV_..., the same for a repetition; not unique in hand-made requests
    const char *room;     // name: the hashed alias
    const char *identity; // "" for room_finished
    const char *sid;      // of the participant's session
    int reason;           // DisconnectReason by number; 0 unknown or not said
    int64_t created_at_s; // unix seconds, 0 not said
    void *memory;         // what owns the strings; NULL in an event made of literals
};

// Frees the strings; harmless on a zeroed event.
void sfu_event_done(struct sfu_event *e);

// Stable name of a type for logs and counters: "joined".
const char *sfu_event_type_name(enum sfu_event_type t);

// Largest body that is read (authorization-service 1.10): a participant's metadata, attributes and
// tracks travel in it.
#define WEBHOOK_BODY_MAX ((size_t)8 << 20)

// What becomes of a request. `status` is its answer: 200 taken (also an event of no interest), 401
// token or digest, 400 body, 500 no memory; `refusal` has the text for the log. While the service
// shuts down the caller answers 503 without asking here, so that the SFU repeats.
struct webhook_verdict {
    int status;
    struct webhook_refusal refusal; // why and token: 401 only
};

// Verifies and reads a request. `authorization`: value of the header, empty if there is none. True:
// *ret_event is set and the caller's (sfu_event_done), status 200. False: *ret_verdict says what to
// answer. ret_verdict is written in both cases.
bool webhook_verify(const struct api_keys *keys, wall_t now, struct bytes authorization,
                    struct bytes body, struct sfu_event *ret_event,
                    struct webhook_verdict *ret_verdict) NODISCARD;

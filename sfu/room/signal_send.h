// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a participant is told: one function per SignalResponse. Encoded here, handed to the
// signalling thread in order. A participant whose WebSocket is gone is told nothing (a resume
// brings the whole state).
//
// When memory runs out the session is ended, so that its client joins anew (signal_post.h).
//
// Owner thread: the room's worker.

#include "sfu/room/room.h"

typedef struct Livekit__AddTrackRequest Livekit__AddTrackRequest;
typedef struct Livekit__MuteTrackRequest Livekit__MuteTrackRequest;
typedef struct Livekit__RequestResponse Livekit__RequestResponse;

struct jsep;
struct pc_transport;

enum request_result { // RequestResponse.Reason
    REQUEST_OK = 0,
    REQUEST_NOT_FOUND = 1,
    REQUEST_NOT_ALLOWED = 2,
    REQUEST_LIMIT_EXCEEDED = 3,
    REQUEST_QUEUED = 4,
    REQUEST_UNSUPPORTED_TYPE = 5,
    REQUEST_UNCLASSIFIED_ERROR = 6,
    REQUEST_INVALID_HANDLE = 7,
    REQUEST_INVALID_NAME = 8,
    REQUEST_DUPLICATE_HANDLE = 9,
    REQUEST_DUPLICATE_NAME = 10,
    REQUEST_INVALID_REQUEST = 11,
};

enum subscription_error { // SubscriptionError
    SUBSCRIPTION_ERROR_UNKNOWN = 0,
    SUBSCRIPTION_ERROR_CODEC_UNSUPPORTED = 1,
    SUBSCRIPTION_ERROR_TRACK_NOT_FOUND = 2,
};

struct speaker_entry {
    const char *sid;
    float level;
    bool active;
};

void signal_send_join(struct participant *p);
void signal_send_reconnect(struct participant *p);
void signal_send_description(struct participant *p, bool offer, const char *sdp, uint32_t id,
                             const struct jsep *j);
void signal_send_track_published(struct participant *p, const char *cid,
                                 const struct published_track *t);
void signal_send_track_unpublished(struct participant *p, const char *track_sid);
void signal_send_track_subscribed(struct participant *p, const char *track_sid);
void signal_send_subscription_error(struct participant *p, const char *track_sid,
                                    enum subscription_error error);
void signal_send_sections_requirement(struct participant *p, uint32_t audios, uint32_t videos);
void signal_send_leave(struct participant *p, enum disconnect_reason reason,
                       enum leave_action action);
void signal_send_speakers(struct participant *p, const struct speaker_entry *v, size_t n);
// The same message for several, encoded; NULL without memory (counted).
struct shared_buf *signal_pack_speakers(struct room_env *env, const struct speaker_entry *v,
                                        size_t n);
void signal_send_room_update(struct participant *p);

// RequestResponse for a request that carries an id, and for those that are matched by their echo.
void signal_send_request_response(struct participant *p, uint32_t request_id,
                                  enum request_result result, const char *text);
// Any other: the caller fills id, text and echo; the reason is set here. Not sent to clients that do
// not know the message, nor its OK.
void signal_send_request_result(struct participant *p, Livekit__RequestResponse *r,
                                enum request_result result);
// The same for requests whose client does not wait for the answer yet (late_response.h).
void signal_send_late_request_result(struct participant *p, Livekit__RequestResponse *r,
                                     enum request_result result);
void signal_send_add_track_response(struct participant *p, Livekit__AddTrackRequest *echo,
                                    enum request_result result);
void signal_send_mute_response(struct participant *p, Livekit__MuteTrackRequest *echo,
                               enum request_result result);

// Ends the WebSocket after what was sent before.
void signal_send_close(struct participant *p);

// A LeaveRequest for a session that has no participant (a resume of an unknown one), then close.
void signal_send_refusal(struct room_env *env, handle_t session, enum disconnect_reason reason,
                         enum leave_action action, int32_t protocol);

// Refuses a session that was told nothing yet by what its connect request is answered; its WebSocket
// is never opened (livekit-protocol 1.4). text is static and becomes the body. A session that was
// told something is closed.
void signal_send_refusal_http(struct room_env *env, handle_t session, unsigned status,
                              const char *text);

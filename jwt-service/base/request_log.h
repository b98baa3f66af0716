// SPDX-License-Identifier: Apache-2.0
#pragma once
// One log line for each request: what was asked, what was answered, which step failed and why, and
// how long each step took (authorization-service 9.6, 9.29, 9.30; the event is "request").
//
// Collected while the request is under way, in a struct that is part of the call; nothing is
// allocated. Users, rooms, identities and the client's address go through the log's redaction; the
// server's name and the hashed room on the SFU are written as they are. Owner thread: the loop's.

#include "common/base/mono.h"
#include "common/sys/log.h"

enum request_endpoint {
    REQUEST_SFU_GET,
    REQUEST_GET_TOKEN,
    REQUEST_DELEGATE,
    REQUEST_WEBHOOK,
    REQUEST_HEALTHZ,
    REQUEST_READYZ,
    REQUEST_METRICS,
    REQUEST_AS_GET_TOKEN, // application-service mode (authorization-service 11.3)
    REQUEST_AS_DELEGATE,
    REQUEST_AS_FEDERATION,
    REQUEST_AS_PING,
    REQUEST_OTHER, // no endpoint of ours
    REQUEST_ENDPOINT_COUNT,
};

enum request_step {
    REQUEST_STEP_PARSE,
    REQUEST_STEP_LIMITS,
    REQUEST_STEP_OPENID,
    REQUEST_STEP_MEMBERSHIP, // application-service mode
    REQUEST_STEP_POLICY,
    REQUEST_STEP_MINT,
    REQUEST_STEP_CS_DISCOVERY,
    REQUEST_STEP_CREATE_ROOM,
    REQUEST_STEP_DELEGATE,
    REQUEST_STEP_RELAY, // to another site
    REQUEST_STEP_COUNT, // also: no step
};

// What became of a request, for the log and as label of the metric.
enum request_result {
    REQUEST_OK,
    REQUEST_BAD,          // 400 of the body
    REQUEST_UNAUTHORIZED, // the OpenID check, a webhook's signature, a wrong token
    REQUEST_DENIED,       // policy or membership
    REQUEST_LIMITED,      // 429
    REQUEST_TOO_LARGE,    // 413
    REQUEST_NOT_FOUND,    // 404
    REQUEST_BAD_METHOD,   // 405
    REQUEST_CS_API,       // no client-server API was found
    REQUEST_SFU_FAILED,   // CreateRoom
    REQUEST_NOT_DELEGATED,
    REQUEST_UNAVAILABLE, // 503
    REQUEST_INTERNAL,
    REQUEST_GONE, // the client left, or we ended, before the answer
    REQUEST_RESULT_COUNT,
};

#define REQUEST_LOG_ID_SIZE 17
#define REQUEST_LOG_TEXT_MAX 255

// Lines a second and level; floods beyond that are counted and told ("suppressed"). Far more than
// LOG_SITE_BURST, because who got a token is what an operator looks for afterwards.
#define REQUEST_LOG_BURST 2000

// Fields are written by request_log_* and by the owner where it says "set". Strings are borrowed
// and must live until request_log_write; NULL: not known.
struct request_log {
    char id[REQUEST_LOG_ID_SIZE];
    enum request_endpoint endpoint;
    const char *method;
    struct addr client;
    mono_t started;

    const char *server_name; // set: of the homeserver
    const char *user;        // set: Matrix user id, once it is proven
    const char *room_id;     // set: Matrix room id
    const char *room;        // set: on the SFU
    const char *identity;    // set: on the SFU
    const char *rule;        // set: of the access policy

    int64_t begun_us[REQUEST_STEP_COUNT]; // since `started`; -1: never begun
    int64_t took_us[REQUEST_STEP_COUNT];  // -1: not ended
    enum request_step failed;             // REQUEST_STEP_COUNT: none
    const char *cause;                    // class of the failure, a constant: "dns", "tls", ...
    char text[REQUEST_LOG_TEXT_MAX + 1];  // for the operator
};

// Begins. id: 16 hexadecimal digits that also stand in the answer's X-Request-Id. method is copied
// if it is one of the usual ones and else written as "other". client: already behind trusted
// proxies; NULL: unknown.
void request_log_start(struct request_log *l, mono_t now, const char *id,
                       enum request_endpoint endpoint, const char *method,
                       const struct addr *client);

// A step begins or ends; steps may overlap. Ending one that was not begun is harmless.
void request_log_begin(struct request_log *l, enum request_step step, mono_t now);
void request_log_end(struct request_log *l, enum request_step step, mono_t now);

// The step failed (it also ends). The first failure counts. cause: a constant of few values, also a
// label of the metric; text (copied, cut; NULL: none): one line for the operator, no secrets.
void request_log_fail(struct request_log *l, enum request_step step, mono_t now, const char *cause,
                      const char *text);

// What status and failed step mean; status 0: never answered. Pure.
enum request_result request_log_result(const struct request_log *l, unsigned status);

// Level of the line: health checks, readiness, metrics and preflights debug; a refused OpenID token and not
// being ready warn; other status 5xx error; all else info. Pure.
enum log_level request_log_level(const struct request_log *l, unsigned status);

// Writes the line. errcode NULL: the answer has none. Steps that were begun and not ended are
// written as long as they took until now.
void request_log_write(const struct request_log *l, mono_t now, unsigned status,
                       const char *errcode);

// Stable names, for lines and labels: "sfu_get", "openid", "unauthorized".
const char *request_endpoint_name(enum request_endpoint e);
const char *request_step_name(enum request_step s); // REQUEST_STEP_COUNT: ""
const char *request_result_name(enum request_result r);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What happens to a request of the application-service endpoints between its parsing and its token:
//
//   is the user in the room? ─► whose SFU? ─┬─ another site's: relayed to it, answered
//                                           └─ ours: a grant, for token_call
//   delegation: is the user in the room? ─► is the delayed event hers and of this room? ─► a grant
//
// Owner thread: the loop's. Nothing waits; each step ends in a callback.

#include "jwt-service/appservice/as_auth.h"
#include "jwt-service/appservice/as_requests.h"
#include "jwt-service/appservice/federation_relay.h"
#include "jwt-service/appservice/membership.h"
#include "jwt-service/base/request_log.h"
#include "jwt-service/base/token_issuer.h"
#include "jwt-service/leave/delayed_event_client.h"

struct as_flow;
struct as_flow_call;

struct as_flow_conf {
    struct loop *loop;
    struct membership *membership;
    struct federation_relay *relay;
    struct delayed_event_client *delayed; // with the as_token
    const char *server_name;              // of our homeserver; borrowed
    const char *livekit_url;              // what clients must name; borrowed
};

// How a request ends here. Strings are valid during the callback only.
struct as_outcome {
    enum matrix_error error;      // not MATRIX_OK: to be answered
    enum request_step failed;     // the step that failed; REQUEST_STEP_COUNT: none
    const char *cause;            // what failed in it, for log and metric
    const char *text;             // one line for the operator, NULL: none
    const char *relayed_jwt;      // MATRIX_OK and not NULL: to be answered as it is
    struct token_subject subject; // MATRIX_OK: room and identity on our SFU
    int64_t delay_ms;             // MATRIX_OK, AS_CLIENT_DELEGATE: of the delayed event
};

// NULL without memory. conf's objects must outlive it.
struct as_flow *as_flow_new(const struct as_flow_conf *conf) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void as_flow_free(struct as_flow *f);
DEFINE_CLEANUP(struct as_flow *, as_flow_free)

// Checks what needs no call. caller: the value of AS_USER_HEADER or AS_ORIGIN_HEADER, may be NULL.
// *ret_user_id: for whom it is, borrowed from caller or r. MATRIX_OK or what to answer. Pure.
enum matrix_error as_flow_admit(const struct as_flow *f, const struct as_request *r,
                                const char *caller, const char **ret_user_id);

// True if the request is for another site's SFU.
bool as_flow_is_foreign(const struct as_flow *f, const struct as_request *r);

// Goes through the steps for an admitted request; r, user_id and log (which gets the steps' times)
// must stay until fn. fn is called once from the loop, never from inside this call; *ret is valid
// until then. -ENOMEM.
int as_flow_start(struct as_flow *f, const struct as_request *r, const char *user_id,
                  struct request_log *log, void (*fn)(void *user, const struct as_outcome *outcome),
                  void *user, struct as_flow_call **ret) NODISCARD;

// fn will not be called.
void as_flow_cancel(struct as_flow_call *c);

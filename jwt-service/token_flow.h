// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is the same for all who come for a token, once it is known who they are, which room they want
// and which identity they have there (authorization-service 1.3, steps 7 to 11):
//
//   policy ─► may delegate? ─► JWT minted ─► client-server API found ─► room created ─► leave taken
//             (if asked)                     (if a leave is handed over)  (full access)   over
//
// The first failure ends it. Owner thread: the loop's. Nothing waits; each step ends in a callback.

#include "jwt-service/access_policy.h"
#include "jwt-service/auth_metrics.h"
#include "jwt-service/base/matrix_error.h"
#include "jwt-service/base/sfu_client.h"
#include "jwt-service/base/token_issuer.h"
#include "jwt-service/leave/cs_discovery.h"
#include "jwt-service/leave/delayed_leave_manager.h"

struct token_flow;
struct token_flow_call;

struct token_flow_conf {
    struct loop *loop;
    const struct api_keys *keys;
    struct sfu_client *sfu;
    struct cs_discovery *cs;
    struct leave_manager *leaves;              // NULL: nothing is delegated
    const struct access_policy *const *policy; // where the rules in force are; *policy may be NULL
    struct access_defaults defaults;
    struct metrics *metrics;
    bool can_update_metadata; // grant canUpdateOwnMetadata (authorization-service 11.2)
};

// Who comes, borrowed until fn.
struct token_grant {
    const char *user_id;
    const char *server_name; // of the homeserver that vouches
    const char *room_id;     // Matrix room id
    struct token_subject subject;
    const char *other_identity; // the one of the other generation, "" if unknown
    bool full_access;
    bool only_delegate;   // no token: POST .../delegate_delayed_leave
    bool always_create;   // application-service mode: for everybody
    bool never_publish;   // application-service mode: callers from other sites
    const char *delay_id; // "": nothing is handed over
    int64_t delay_timeout_ms;
    bool as_user; // manage the delayed event as this user; false: by its bare id
};

struct token_outcome {
    enum matrix_error error;
    int64_t retry_after_ms; // MATRIX_LIMITED
    const char *jwt;        // MATRIX_OK and not only_delegate
    int64_t lifetime_s;     // MATRIX_OK: of such a token
};

// NULL without memory. conf's objects must outlive it.
struct token_flow *token_flow_new(const struct token_flow_conf *conf) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void token_flow_free(struct token_flow *f);
DEFINE_CLEANUP(struct token_flow *, token_flow_free)

// Starts. Times and failures of the steps go to log, which lives as long as the call. fn is called
// once, possibly from inside this call; *ret is set before and valid until then. It may stand in what
// fn frees: nothing is written to it afterwards. -ENOMEM: fn is not called.
int token_flow_start(struct token_flow *f, const struct token_grant *grant, struct request_log *log,
                     void (*fn)(void *user, const struct token_outcome *outcome), void *user,
                     struct token_flow_call **ret) NODISCARD;

// fn will not be called. A leave that was handed over stays so.
void token_flow_cancel(struct token_flow_call *c);

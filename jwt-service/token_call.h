// SPDX-License-Identifier: Apache-2.0
#pragma once
// POST /sfu/get, /get_token and /delegate_delayed_leave (authorization-service 1.3): reads the body,
// asks the homeserver whose OpenID token it is, and lets token_flow do the rest. Owner thread: the
// loop's. Nothing waits; each step ends in a callback.

#include "common/svc/httpd.h"
#include "jwt-service/ingress_limits.h"
#include "jwt-service/openid/openid_verifier.h"
#include "jwt-service/token_flow.h"

// Requests at once. Each holds a few KiB and a connection; more get 429.
#define TOKEN_CALLS_MAX 16384

struct auth_config;
struct token_calls;

struct token_calls_conf {
    struct loop *loop;
    const struct auth_config *config;
    struct openid_verifier *openid;
    struct token_flow *flow;
    struct ingress_limits *limits;
    const struct access_policy *const *policy; // as in token_flow_conf
    const struct access_defaults *defaults;
    struct metrics *metrics;
};

// NULL without memory. conf's objects must outlive it.
struct token_calls *token_calls_new(const struct token_calls_conf *conf) NODISCARD;
// Every request must have been answered (httpd_free sees to that). Accepts NULL.
void token_calls_free(struct token_calls *t);
DEFINE_CLEANUP(struct token_calls *, token_calls_free)

// Requests under way.
size_t token_calls_in_flight(const struct token_calls *t);

// What lines and counters call an endpoint.
enum request_endpoint token_call_endpoint(enum token_endpoint endpoint);

// Serves one POST; it will be answered.
void token_call_start(struct token_calls *t, enum token_endpoint endpoint, struct httpd_req *req);

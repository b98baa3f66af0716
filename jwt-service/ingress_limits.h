// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much one client address, one named server and one user may ask for (authorization-service
// 9.3). Pure: `now` is a parameter. One thread.
//
// Call ingress_limits_address first thing, ingress_limits_server once the body is read and
// ingress_limits_user once it is known whose the OpenID token is; the first that says no is
// answered with 429 and Retry-After.

#include "common/base/cidr.h"
#include "common/base/rate.h"

// authorization-service 9.3; FOCI_JWT_LIMIT_ADDRESS and the like, as texts for rate_limit_parse.
#define INGRESS_ADDRESS_DEFAULT "10/30"
#define INGRESS_SERVER_DEFAULT "20/60"
#define INGRESS_USER_DEFAULT "2/10"

struct ingress_limits_conf {
    struct rate_limit address; // IPv6: of its /64, which is what one customer gets
    struct rate_limit server;
    struct rate_limit user;
    // Not limited by address, beside loopback: the trusted proxies, which stand for everybody
    // where they name no client. NULL: none. Borrowed.
    const struct cidr_set *exempt;
    size_t keys; // remembered of each kind, 0: 16384 (256 KiB each, as they come to be used)
};

struct ingress_limits;

// NULL without memory.
struct ingress_limits *ingress_limits_new(const struct ingress_limits_conf *conf) NODISCARD;
void ingress_limits_free(struct ingress_limits *l); // accepts NULL
DEFINE_CLEANUP(struct ingress_limits *, ingress_limits_free)

// Each counts one request. True: go on. False: *ret_retry_ms, at least 1, is for retry_after_ms.
bool ingress_limits_address(struct ingress_limits *l, mono_t now, const struct addr *client,
                            int64_t *ret_retry_ms) NODISCARD;
// A server that the operator named is not limited: pass named. Letter case and port make no
// difference.
bool ingress_limits_server(struct ingress_limits *l, mono_t now, const char *server_name,
                           bool named, int64_t *ret_retry_ms) NODISCARD;
bool ingress_limits_user(struct ingress_limits *l, mono_t now, const char *user_id,
                         int64_t *ret_retry_ms) NODISCARD;

// Other limits from now on. Settings are read once, at the start: for tests.
void ingress_limits_set(struct ingress_limits *l, const struct ingress_limits_conf *conf);

// Whole seconds for a Retry-After header: rounded up, at least 1.
static inline int64_t ingress_retry_after_s(int64_t retry_ms)
{
    return retry_ms <= 1000 ? 1 : (retry_ms + 999) / 1000;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The HTTP face of foci-jwt: /sfu/get, /get_token, /healthz, with CORS on every status
// (authorization-service section 1). Owner thread: the loop's.
//
// A token request goes: parsed ─► OpenID token checked ─► JWT minted ─► room created (full access)
// ─► answered; the first failure answers. Nothing here waits: each step ends in a callback.
//
// Other paths are 404, /delegate_delayed_leave among them on purpose: to clients anything else
// would mean that leaves are taken over (authorization-service 8.6).

#include "common/svc/httpd.h"
#include "jwt-service/auth_config.h"
#include "jwt-service/openid_verifier.h"
#include "jwt-service/sfu_client.h"

// Token requests at once. Each holds about 20 KiB and a connection; more get 429.
#define ROUTES_IN_FLIGHT_MAX 4096

struct routes;

struct routes_conf {
    struct loop *loop;
    const struct auth_config *config;
    struct openid_verifier *openid;
    struct sfu_client *sfu;
};

// NULL without memory. conf's objects must outlive it.
struct routes *routes_new(const struct routes_conf *conf) NODISCARD;

// Every request must have been answered (httpd_free sees to that). Accepts NULL.
void routes_free(struct routes *r);
DEFINE_CLEANUP(struct routes *, routes_free)

// Opens the listeners of the configuration; errors of httpd_new.
int routes_listen(struct routes *r, struct httpd **ret, size_t *ret_failed) NODISCARD;

// Token requests under way.
size_t routes_in_flight(const struct routes *r);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The HTTP face of application-service mode: what the homeserver hands over to us (MSC4195, MSC4512)
// and its ping (authorization-service 11.3). Owner thread: the loop's.
//
//   POST /_matrix/client/{unstable/io.element.msc4195,v1}/rtc/livekit/get_token
//   POST /_matrix/client/{unstable/io.element.msc4195,v1}/rtc/livekit/delegate_delayed_leave
//   POST /_matrix/federation/{unstable/io.element.msc4195,v1}/rtc/livekit/get_token
//   POST /_matrix/app/v1/ping
//
// Everything else under /_matrix/client/ and /_matrix/federation/, and without the mode all of it, is
// 404 M_UNRECOGNIZED, on which clients fall back to OpenID.

#include "common/svc/httpd.h"
#include "jwt-service/appservice/as_flow.h"
#include "jwt-service/appservice/membership_monitor.h"
#include "jwt-service/auth_config.h"
#include "jwt-service/ingress_limits.h"
#include "jwt-service/token_flow.h"

// Requests at once; they come from one homeserver, which waits 30 s for each. More get 429.
#define AS_CALLS_MAX 4096

#define AS_ROUTES_COUNT 9 // at most

struct as_routes;

struct as_routes_conf {
    struct loop *loop;
    const struct auth_config *config; // without config->as everything is 404
    struct as_flow *flow;             // NULL without config->as
    struct token_flow *tokens;
    struct ingress_limits *limits;
    struct membership_monitor *monitor; // gets to know the tokens; NULL: none
    struct metrics *metrics;
    bool delegate; // leaves are taken over; false: that endpoint does not exist
};

// NULL without memory. conf's objects must outlive it.
struct as_routes *as_routes_new(const struct as_routes_conf *conf) NODISCARD;
// Every request must have been answered (httpd_free sees to that). Accepts NULL.
void as_routes_free(struct as_routes *r);
DEFINE_CLEANUP(struct as_routes *, as_routes_free)

// Writes the routes, to stand before all others (paths of other endpoints match under any prefix).
// Returns how many.
size_t as_routes_table(struct as_routes *r, struct httpd_route ret[static AS_ROUTES_COUNT]);

// Requests under way; tests see by it that none is forgotten.
size_t as_routes_in_flight(const struct as_routes *r);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The HTTP face of foci-jwt (authorization-service section 1): which path is whose, CORS on every
// status that browsers see, and the small endpoints themselves. Owner thread: the loop's.
//
//   /sfu/get /get_token /delegate_delayed_leave   token_call.h
//   /_matrix/...                                  as_routes.h, with application-service mode only
//   /sfu_webhook                                  events of the SFU, for delegated leaves
//   /healthz /readyz /metrics                     for operators
//
// Everything else is 404. So is /delegate_delayed_leave where leaves are not taken over: clients
// take any other answer for a promise to do so (authorization-service 8.6).

#include "common/svc/httpd.h"
#include "jwt-service/appservice/membership_monitor.h"
#include "jwt-service/as_routes.h"
#include "jwt-service/readiness.h"
#include "jwt-service/token_call.h"

struct routes;

struct routes_conf {
    struct loop *loop;
    const struct auth_config *config;
    struct token_calls *calls;
    struct leave_manager *leaves;       // NULL: nothing is delegated
    struct membership_monitor *monitor; // NULL: nobody is
    struct as_routes *as;
    struct readiness *readiness;
    struct metrics *metrics;
    // Called before the metrics are written, to set what is known only when asked.
    void (*refresh_metrics)(void *user);
    void *user;
};

// NULL without memory. conf's objects must outlive it.
struct routes *routes_new(const struct routes_conf *conf) NODISCARD;
// Every request must have been answered (httpd_free sees to that). Accepts NULL.
void routes_free(struct routes *r);
DEFINE_CLEANUP(struct routes *, routes_free)

// Opens the listeners of the configuration; errors of httpd_new. *ret_metrics: the second one, NULL
// if none is configured. *ret_item: the setting whose address *ret_failed could not be opened.
int routes_listen(struct routes *r, struct httpd **ret, struct httpd **ret_metrics,
                  size_t *ret_failed, size_t *ret_item) NODISCARD;

// From now on webhooks are answered 503, so that the SFU repeats them to whoever comes after us.
void routes_stopping(struct routes *r);

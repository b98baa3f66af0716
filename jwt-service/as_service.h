// SPDX-License-Identifier: Apache-2.0
#pragma once
// Application-service mode as a whole: makes its parts, in the order in which they need each other,
// and frees them. Owner thread: the loop's.

#include "jwt-service/as_routes.h"

struct as_service;

struct as_service_conf {
    struct loop *loop;
    const struct auth_config *config; // config->as may be NULL: then only 404 is answered
    struct httpc *http;
    struct cs_discovery *discovery;
    struct delayed_event_client *delayed; // with the as_token
    struct sfu_client *sfu;
    struct token_flow *tokens;
    struct ingress_limits *limits;
    struct metrics *metrics;
    bool delegate;
};

// NULL without memory. conf's objects must outlive it.
struct as_service *as_service_new(const struct as_service_conf *conf) NODISCARD;
// Every request must have been answered. Accepts NULL.
void as_service_free(struct as_service *s);
DEFINE_CLEANUP(struct as_service *, as_service_free)

// What the HTTP server needs of it.
struct as_routes *as_service_routes(struct as_service *s);
// What is told about participants; NULL without the mode.
struct membership_monitor *as_service_monitor(struct as_service *s);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What service.c (life: start, reload, stop) and service_parts.c (which parts there are) share. One
// thread.

#include "common/app/key_watch.h"
#include "common/svc/dns_cache.h"
#include "common/sys/filewatch.h"
#include "common/sys/startup_pages.h"
#include "jwt-service/as_service.h"
#include "jwt-service/leave/job_store.h"
#include "jwt-service/routes.h"
#include "jwt-service/service.h"

#define CHECKED_SIGNALS 3

struct service {
    struct auth_config *config;
    struct loop *loop;
    struct dns *dns;
    struct dns_cache *dns_cache;
    struct httpc *http;        // homeservers, whoever named them
    struct httpc *http_sfu;    // never waits behind homeservers
    struct httpc *http_leaves; // nor do leaves
    struct metrics *metrics;
    struct ingress_limits *limits;
    struct access_policy *policy; // in force; NULL: no rules
    struct filewatch *policy_watch;
    struct key_watch *key_watch;
    struct server_discovery *discovery;
    struct openid_verifier *openid;
    struct sfu_client *sfu;
    struct cs_discovery *cs;
    struct cs_override *cs_overrides;
    struct delayed_event_client *delayed;
    struct job_store *store;
    struct leave_manager *leaves;
    struct token_flow *flow;
    struct token_calls *calls;
    struct as_service *as;
    struct readiness *readiness;
    struct routes *routes;
    struct httpd *httpd;
    struct httpd *httpd_operators;
    struct loop_signal *signals[CHECKED_SIGNALS];
    struct startup_pages *startup_pages;
    struct loop_timer *stop_timer;
    mono_t stop_at;
    bool stopping;
    bool leaves_safe;
    int status;
};

// Makes everything but the listeners, each part after those it needs. 0, the exit status when that
// is impossible and was told, -ENOMEM.
int service_make_parts(struct service *s) NODISCARD;
// Frees what is there, also of a service that is half made.
void service_free_parts(struct service *s);

// Handlers of the parts.
void service_on_stop_timer(void *user);
void service_on_signal(void *user, int signum);
void service_refresh_metrics(void *user);
void service_on_policy_file(void *user);
void service_on_keys_read(void *user, bool ok);

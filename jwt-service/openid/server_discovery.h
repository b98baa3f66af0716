// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds out where a Matrix server name is served: makes the look-ups that server_route.h asks for
// and keeps what they say (authorization-service 5.3 to 5.5). Owner thread: the loop's.
//
// Many requests for one name share one look-up. A document that was good is used for up to 48 hours
// when it cannot be fetched again.

#include "common/svc/httpc.h"
#include "jwt-service/openid/server_route.h"

struct server_discovery;
struct server_query;

struct server_discovery_conf {
    struct loop *loop;
    struct httpc *http;
    struct dns *dns;
};

// NULL without memory. conf's objects must outlive it.
struct server_discovery *server_discovery_new(const struct server_discovery_conf *conf) NODISCARD;
// Drops what is under way; waiting queries are never told. Accepts NULL.
void server_discovery_free(struct server_discovery *d);
DEFINE_CLEANUP(struct server_discovery *, server_discovery_free)

// Fills *ret if no look-up is needed (literals, ports) or its result is known, and says in
// *ret_from_cache (may be NULL) which of the two it was. -ENOENT otherwise.
int server_discovery_known(struct server_discovery *d, const struct server_name *name,
                           struct server_route *ret, bool *ret_from_cache) NODISCARD;

// Looks it up. `trusted`: the operator named this server, so the address policy does not apply. fn
// is called once from the loop, never from inside this call, and always with a route: without any
// record it is port 8448. *ret is valid until fn. -ENOMEM.
int server_discovery_start(struct server_discovery *d, const struct server_name *name, bool trusted,
                           void (*fn)(void *user, const struct server_route *route), void *user,
                           struct server_query **ret) NODISCARD;

// fn will not be called; the look-up goes on for others and for the cache.
void server_discovery_cancel(struct server_query *q);

// What is known led nowhere: the next look-up asks again.
void server_discovery_forget(struct server_discovery *d, const struct server_name *name);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where to connect for a Matrix server name: the resolution algorithm of authorization-service 5.3
// (matrix-spec server-server-api, "Resolving server names") as a machine without I/O. It says which
// look-up it wants next; server_discovery.c makes it and hands in the answer. Pure.
//
//   begin ──literal or port──────────────────────────────────────────► DONE
//     └► WELL_KNOWN ──m.server is literal or has a port──────────────► DONE
//            └► SRV_FED ──records───────────────────────────────────► DONE
//                  └► SRV_OLD ──records, or port 8448───────────────► DONE

#include "common/base/http_date.h"
#include "common/svc/dns.h"
#include "jwt-service/openid/server_name.h"

enum server_route_step {
    SERVER_ROUTE_DONE,
    SERVER_ROUTE_WELL_KNOWN, // GET https://<host>/.well-known/matrix/server
    SERVER_ROUTE_SRV_FED,    // SRV _matrix-fed._tcp.<host>
    SERVER_ROUTE_SRV_OLD,    // SRV _matrix._tcp.<host>, deprecated
};

#define SERVER_ROUTE_TARGETS 8 // more SRV targets than these are left out: nobody has that many
#define SERVER_DEFAULT_PORT 8448

struct server_target {
    char host[SERVER_NAME_MAX + 1]; // IPv6 without brackets
    uint16_t port;
    bool is_v6;
};

// The result: targets to try in order. Name in the certificate and Host header are the same for
// all.
struct server_route {
    char tls_name[SERVER_NAME_MAX + 1]; // without brackets
    bool tls_is_v6;
    char host_header[SERVER_NAME_TEXT];
    size_t count;
    struct server_target targets[SERVER_ROUTE_TARGETS];
};

struct server_lookup {
    enum server_route_step step;
    struct server_name name; // the one being resolved: the given one, later m.server
    struct server_route route;
    int64_t ttl_s;  // how long the route may be kept, as far as DNS and the steps say
    bool temporary; // a look-up failed in a way that may not last
};

// Starts with a valid name; l->step says what is wanted.
void server_lookup_begin(struct server_lookup *l, const struct server_name *name);

// The answer to SERVER_ROUTE_WELL_KNOWN: the body of a 200, or {NULL, 0} if there was none.
// Anything that is no usable document counts as none. Returns true if m.server was taken from it.
bool server_lookup_well_known(struct server_lookup *l, struct bytes body);

// The same with a name that was delegated to before and is known to be good: for a document that
// cannot be fetched any more.
void server_lookup_delegate(struct server_lookup *l, const struct server_name *delegated);

// The answer to one of the SRV steps.
void server_lookup_srv(struct server_lookup *l, const struct dns_srvs *srvs);

// The DNS name to ask for in a SRV step.
#define SERVER_SRV_NAME (SERVER_NAME_MAX + 24)
void server_lookup_srv_name(const struct server_lookup *l, char ret[static SERVER_SRV_NAME]);

// Seconds a document may be kept by its headers (see http_date_freshness_s, NULL: missing), clamped
// to 5 minutes .. 48 hours; 24 hours if they say nothing (authorization-service 5.5).
int64_t server_well_known_ttl_s(const char *cache_control, const char *expires, const char *date,
                                wall_t now);

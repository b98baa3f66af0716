// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/server_route.h"

#include <stdio.h>

#include "common/svc/jsonx.h"

// authorization-service 5.5.
#define WELL_KNOWN_TTL_MIN_S INT64_C(300)
#define WELL_KNOWN_TTL_DEFAULT_S INT64_C(86400)
#define WELL_KNOWN_TTL_MAX_S INT64_C(172800)
#define DNS_TTL_MIN_S INT64_C(30)
#define DNS_TTL_MAX_S INT64_C(3600)

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static void add_target(struct server_route *r, const char *host, bool is_v6, uint16_t port)
{
    if (r->count == SERVER_ROUTE_TARGETS) {
        return;
    }
    struct server_target *const t = &r->targets[r->count++];
    *t = (struct server_target){.port = port, .is_v6 = is_v6};
    memcpy(t->host, host, strnlen(host, SERVER_NAME_MAX));
}

// Certificate name and Host header follow the name that is being resolved (table in 5.3).
static void set_identity(struct server_lookup *l)
{
    struct server_route *const r = &l->route;
    memcpy(r->tls_name, l->name.host, sizeof(r->tls_name));
    r->tls_is_v6 = l->name.is_v6;
    server_name_format(l->name.host, l->name.is_v6, l->name.port, r->host_header);
}

static void finish(struct server_lookup *l, uint16_t port)
{
    set_identity(l);
    add_target(&l->route, l->name.host, l->name.is_v6, port);
    l->step = SERVER_ROUTE_DONE;
}

static bool is_direct(const struct server_name *n)
{
    return n->is_ip || n->port != 0;
}

static uint16_t port_of(const struct server_name *n)
{
    return n->port != 0 ? n->port : SERVER_DEFAULT_PORT;
}

void server_lookup_begin(struct server_lookup *l, const struct server_name *name)
{
    *l = (struct server_lookup){.name = *name, .ttl_s = WELL_KNOWN_TTL_MAX_S};
    if (is_direct(name)) {
        finish(l, port_of(name));
    } else {
        l->step = SERVER_ROUTE_WELL_KNOWN;
    }
}

static int parse_well_known(struct bytes body, struct server_name *ret)
{
    // Read as laxly as the original does: unknown keys, and bytes after the value, are none of
    // ours.
    struct jsonx_limits const limits = {
        .max_bytes = 50u << 10, .max_depth = 16, .flags = JSONX_ALLOW_TRAILING};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes name = {0};
    if (body.n == 0 || jsonx_parse(body, &limits, &j) < 0 ||
        jsonx_get_str(j, "m.server", &name) < 0) {
        return -EINVAL;
    }
    return server_name_parse(name, ret);
}

void server_lookup_delegate(struct server_lookup *l, const struct server_name *delegated)
{
    assert(l->step == SERVER_ROUTE_WELL_KNOWN);
    l->name = *delegated; // never looked up by well-known again
    if (is_direct(delegated)) {
        finish(l, port_of(delegated));
    } else {
        l->step = SERVER_ROUTE_SRV_FED;
    }
}

bool server_lookup_well_known(struct server_lookup *l, struct bytes body)
{
    assert(l->step == SERVER_ROUTE_WELL_KNOWN);
    struct server_name delegated;
    if (parse_well_known(body, &delegated) < 0) {
        l->step = SERVER_ROUTE_SRV_FED;
        return false;
    }
    server_lookup_delegate(l, &delegated);
    return true;
}

void server_lookup_srv(struct server_lookup *l, const struct dns_srvs *srvs)
{
    assert(l->step == SERVER_ROUTE_SRV_FED || l->step == SERVER_ROUTE_SRV_OLD);
    bool const answered = srvs->status == DNS_OK || srvs->status == DNS_NOT_FOUND;
    int64_t const ttl =
        srvs->status == DNS_OK ? clamp(srvs->ttl_s, DNS_TTL_MIN_S, DNS_TTL_MAX_S) : DNS_TTL_MIN_S;
    l->ttl_s = MIN(l->ttl_s, ttl);
    l->temporary = l->temporary || !answered;
    for (size_t i = 0; srvs->status == DNS_OK && i < srvs->count; i++) {
        struct server_name target;
        // "" stands for ".": not offered here (RFC 2782). A name we could not connect to is no
        // target.
        if (server_name_parse(bytes_str(srvs->srv[i].target), &target) == 0 && target.port == 0 &&
            srvs->srv[i].port != 0) {
            add_target(&l->route, target.host, target.is_v6, srvs->srv[i].port);
        }
    }
    if (l->route.count > 0) {
        set_identity(l);
        l->step = SERVER_ROUTE_DONE;
    } else if (l->step == SERVER_ROUTE_SRV_FED) {
        // Also after a failed look-up: the specification only asks for "not found", but waiting for
        // a broken name server helps nobody.
        l->step = SERVER_ROUTE_SRV_OLD;
    } else {
        finish(l, SERVER_DEFAULT_PORT);
    }
}

void server_lookup_srv_name(const struct server_lookup *l, char ret[static SERVER_SRV_NAME])
{
    (void)snprintf(ret, SERVER_SRV_NAME, "%s._tcp.%s",
                   l->step == SERVER_ROUTE_SRV_OLD ? "_matrix" : "_matrix-fed", l->name.host);
}

int64_t server_well_known_ttl_s(const char *cache_control, const char *expires, const char *date,
                                wall_t now)
{
    int64_t const age = http_date_freshness_s(cache_control, expires, date, now);
    return age < 0 ? WELL_KNOWN_TTL_DEFAULT_S
                   : clamp(age, WELL_KNOWN_TTL_MIN_S, WELL_KNOWN_TTL_MAX_S);
}

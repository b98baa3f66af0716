// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/server_discovery.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/sys/log.h"

// 3 KiB each. A busy public service sees some thousands of servers.
#define DISCOVERY_ENTRIES_MAX 4096
#define WELL_KNOWN_BODY_MAX (50u << 10) // authorization-service 5.4, as all the rest of the fetch
#define WELL_KNOWN_TOTAL_MS 5000
#define WELL_KNOWN_CONNECT_MS 3000
#define WELL_KNOWN_REDIRECTS 5
#define WELL_KNOWN_FAILED_S INT64_C(60) // doubles up to an hour (5.5)
#define WELL_KNOWN_FAILED_MAX_S INT64_C(3600)
#define WELL_KNOWN_STALE_S INT64_C(172800)

struct server_query {
    struct server_pending *pending;
    void (*fn)(void *user, const struct server_route *route);
    void *user;
    struct server_query *prev;
    struct server_query *next;
};

// A look-up under way.
struct server_pending {
    struct server_lookup lookup;
    struct server_query *queries;
    struct httpc_call *call;
    struct dns_query *dns;
    struct loop_timer *kick; // begins the look-up in a turn of its own
    bool trusted;
};

struct server_entry {
    char name[SERVER_NAME_MAX + 1];
    struct server_discovery *owner;
    struct server_pending *pending; // NULL: route is what is known
    struct server_route route;
    mono_t expires;
    unsigned failures;            // of the well-known fetch, in a row
    struct server_name delegated; // last good m.server
    mono_t delegated_until;
    UT_hash_handle hh;
};

struct server_discovery {
    struct server_discovery_conf conf;
    struct server_entry *entries; // by name, oldest use first
};

struct server_discovery *server_discovery_new(const struct server_discovery_conf *conf)
{
    struct server_discovery *const d = NEW(struct server_discovery);
    if (d) {
        d->conf = *conf;
    }
    return d;
}

static void pending_free(struct server_pending *p)
{
    if (!p) {
        return;
    }
    if (p->call) {
        httpc_cancel(p->call);
    }
    if (p->dns) {
        dns_cancel(p->dns);
    }
    if (p->kick) {
        loop_timer_free(p->kick);
    }
    struct server_query *q = NULL;
    struct server_query *tmp = NULL;
    DL_FOREACH_SAFE(p->queries, q, tmp)
    {
        mem_free(q);
    }
    mem_free(p);
}

static void entry_drop(struct server_discovery *d, struct server_entry *e)
{
    HASH_DEL(d->entries, e);
    pending_free(e->pending);
    mem_free(e);
}

void server_discovery_free(struct server_discovery *d)
{
    if (!d) {
        return;
    }
    struct server_entry *e = NULL;
    struct server_entry *tmp = NULL;
    HASH_ITER(hh, d->entries, e, tmp)
    {
        entry_drop(d, e);
    }
    mem_free(d);
}

static struct server_entry *entry_find(struct server_discovery *d, const char *name)
{
    struct server_entry *e = NULL;
    HASH_FIND(hh, d->entries, name, strlen(name), e);
    return e;
}

// Makes room for one more: the entry that was not used for longest, unless somebody waits for it.
static void evict(struct server_discovery *d)
{
    struct server_entry *e = NULL;
    struct server_entry *tmp = NULL;
    if (HASH_COUNT(d->entries) < DISCOVERY_ENTRIES_MAX) {
        return;
    }
    HASH_ITER(hh, d->entries, e, tmp)
    {
        if (!e->pending) {
            entry_drop(d, e);
            return;
        }
    }
}

static struct server_entry *entry_get(struct server_discovery *d, const struct server_name *name)
{
    struct server_entry *e = entry_find(d, name->host);
    if (e) {
        // To the end: the hash keeps the order of insertion, which serves as order of use.
        HASH_DEL(d->entries, e);
    } else {
        evict(d);
        e = NEW(struct server_entry);
        if (!e) {
            return NULL;
        }
        memcpy(e->name, name->host, sizeof(e->name));
        e->owner = d;
    }
    HASH_ADD_KEYPTR(hh, d->entries, e->name, strlen(e->name), e);
    if (!entry_find(d, name->host)) {
        pending_free(e->pending);
        mem_free(e);
        return NULL;
    }
    return e;
}

static bool needs_look_up(const struct server_name *n)
{
    return !n->is_ip && n->port == 0;
}

int server_discovery_known(struct server_discovery *d, const struct server_name *name,
                           struct server_route *ret, bool *ret_from_cache)
{
    if (!needs_look_up(name)) {
        struct server_lookup l;
        server_lookup_begin(&l, name);
        *ret = l.route;
        if (ret_from_cache) {
            *ret_from_cache = false;
        }
        return 0;
    }
    const struct server_entry *const e = entry_find(d, name->host);
    if (!e || e->route.count == 0 || mono_reached(e->expires, loop_now(d->conf.loop))) {
        return -ENOENT;
    }
    *ret = e->route;
    if (ret_from_cache) {
        *ret_from_cache = true;
    }
    return 0;
}

static void advance(struct server_entry *e);

static void finish(struct server_entry *e)
{
    struct server_pending *const p = e->pending;
    e->pending = NULL;
    e->route = p->lookup.route;
    e->expires = mono_add_ms(loop_now(e->owner->conf.loop), p->lookup.ttl_s * 1000);
    struct server_route const route = e->route; // a callback may change the cache
    struct server_query *q = NULL;
    while ((q = p->queries) != NULL) {
        DL_DELETE(p->queries, q);
        q->fn(q->user, &route);
        mem_free(q);
    }
    pending_free(p);
}

static void on_srv(void *user, const struct dns_srvs *srvs)
{
    struct server_entry *const e = user;
    e->pending->dns = NULL;
    server_lookup_srv(&e->pending->lookup, srvs);
    advance(e);
}

static void start_srv(struct server_entry *e)
{
    struct server_pending *const p = e->pending;
    char name[SERVER_SRV_NAME];
    server_lookup_srv_name(&p->lookup, name);
    if (dns_resolve_srv(e->owner->conf.dns, name, on_srv, e, &p->dns) < 0) {
        static const struct dns_srvs none = {.status = DNS_TEMPORARY};
        p->dns = NULL;
        server_lookup_srv(&p->lookup, &none);
        advance(e);
    }
}

// The document could not be had: the last good one serves on, else the search continues without.
static void no_well_known(struct server_entry *e)
{
    struct server_lookup *const l = &e->pending->lookup;
    unsigned const doublings = MIN(e->failures, 6u);
    l->ttl_s = MIN(l->ttl_s, MIN(WELL_KNOWN_FAILED_S << doublings, WELL_KNOWN_FAILED_MAX_S));
    e->failures++;
    if (e->delegated.host[0] && !mono_reached(e->delegated_until, loop_now(e->owner->conf.loop))) {
        server_lookup_delegate(l, &e->delegated);
    } else {
        (void)server_lookup_well_known(l, bytes_of(NULL, 0));
    }
}

static void on_well_known(void *user, const struct httpc_result *r)
{
    struct server_entry *const e = user;
    struct server_lookup *const l = &e->pending->lookup;
    e->pending->call = NULL;
    bool const usable = r->step == HTTPC_OK && r->status == 200 && r->body.n > 0;
    if (r->step == HTTPC_OK && r->status == 404) {
        e->delegated = (struct server_name){0}; // taken back, not just out of reach
    }
    if (r->step != HTTPC_OK) {
        log_debug(NULL, "discovery.no_well_known", KV_STR("server", e->name),
                  KV_STR("step", httpc_step_name(r->step)), KV_STR("text", r->text));
    }
    if (usable && server_lookup_well_known(l, r->body)) {
        e->failures = 0;
        e->delegated = l->name;
        e->delegated_until = mono_add_ms(loop_now(e->owner->conf.loop), WELL_KNOWN_STALE_S * 1000);
        l->ttl_s = MIN(l->ttl_s, server_well_known_ttl_s(httpc_result_header(r, "Cache-Control")));
    } else if (l->step == SERVER_ROUTE_WELL_KNOWN) {
        no_well_known(e);
    } else {
        // A document without a usable m.server: as if there was none.
        l->ttl_s = MIN(l->ttl_s, WELL_KNOWN_FAILED_S);
    }
    advance(e);
}

static void start_well_known(struct server_entry *e)
{
    struct server_pending *const p = e->pending;
    char url[SERVER_NAME_MAX + 64];
    (void)snprintf(url, sizeof(url), "https://%s/.well-known/matrix/server", e->name);
    struct httpc_request const req = {
        .url = url,
        .connect_ms = WELL_KNOWN_CONNECT_MS,
        .total_ms = WELL_KNOWN_TOTAL_MS,
        .max_body = WELL_KNOWN_BODY_MAX,
        .max_redirects = WELL_KNOWN_REDIRECTS,
        .redirect_https_only = true,
        .trusted = p->trusted,
        .on_done = on_well_known,
        .user = e,
    };
    if (httpc_start(e->owner->conf.http, &req, &p->call) < 0) {
        p->call = NULL;
        no_well_known(e);
        advance(e);
    }
}

// Does what the machine wants next.
static void advance(struct server_entry *e)
{
    switch (e->pending->lookup.step) {
    case SERVER_ROUTE_DONE:
        finish(e);
        return;
    case SERVER_ROUTE_WELL_KNOWN:
        start_well_known(e);
        return;
    case SERVER_ROUTE_SRV_FED:
    case SERVER_ROUTE_SRV_OLD:
        start_srv(e);
        return;
    }
}

static void on_kick(void *user)
{
    advance(user);
}

static int begin(struct server_entry *e, const struct server_name *name, bool trusted)
{
    struct server_pending *const p = NEW(struct server_pending);
    if (!p) {
        return -ENOMEM;
    }
    p->kick = loop_timer_new(e->owner->conf.loop, on_kick, e);
    if (!p->kick) {
        mem_free(p);
        return -ENOMEM;
    }
    p->trusted = trusted;
    server_lookup_begin(&p->lookup, name);
    loop_timer_set_ms(p->kick, 0);
    e->pending = p;
    return 0;
}

int server_discovery_start(struct server_discovery *d, const struct server_name *name, bool trusted,
                           void (*fn)(void *user, const struct server_route *route), void *user,
                           struct server_query **ret)
{
    assert(needs_look_up(name));
    struct server_query *const q = NEW(struct server_query);
    struct server_entry *const e = q ? entry_get(d, name) : NULL;
    if (!e || (!e->pending && begin(e, name, trusted) < 0)) {
        mem_free(q);
        return -ENOMEM;
    }
    *q = (struct server_query){.pending = e->pending, .fn = fn, .user = user};
    DL_APPEND(e->pending->queries, q);
    *ret = q;
    return 0;
}

void server_discovery_cancel(struct server_query *q)
{
    DL_DELETE(q->pending->queries, q);
    mem_free(q);
}

void server_discovery_forget(struct server_discovery *d, const struct server_name *name)
{
    struct server_entry *const e = entry_find(d, name->host);
    if (e) {
        e->expires = (mono_t){INT64_MIN};
    }
}

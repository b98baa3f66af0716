// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/server_discovery.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/sys/log.h"

#define DISCOVERY_ENTRIES_MAX 10000     // authorization-service 5.5; about 1 KiB each
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

// A route without the targets that it does not have.
struct kept_route {
    size_t size;
    uint8_t bytes[];
};

// The document and the route each have their own time: SRV records are asked for again within the
// hour while the document may be good for a day, and one that cannot be had is not asked for with
// each look-up either.
struct server_entry {
    UT_hash_handle hh;
    struct server_discovery *owner;
    struct server_pending *pending; // NULL: route is what is known
    struct kept_route *route;       // NULL: nothing
    mono_t expires;                 // of route
    struct server_name *delegated;  // last good m.server, NULL: none
    mono_t delegated_until;         // until then it serves when there is no newer one
    mono_t fetch_after;             // not sooner
    unsigned failures;              // to fetch it, in a row
    char name[];
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

static void entry_free(struct server_entry *e)
{
    pending_free(e->pending);
    mem_free(e->route);
    mem_free(e->delegated);
    mem_free(e);
}

static void entry_drop(struct server_discovery *d, struct server_entry *e)
{
    HASH_DEL(d->entries, e);
    entry_free(e);
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

// Puts e at the end: the hash keeps the order of insertion, which serves as order of use. NULL
// without memory; e is gone then.
static struct server_entry *put_last(struct server_discovery *d, struct server_entry *e)
{
    HASH_ADD_KEYPTR(hh, d->entries, e->name, strlen(e->name), e);
    if (entry_find(d, e->name) != e) {
        entry_free(e);
        return NULL;
    }
    return e;
}

static struct server_entry *entry_get(struct server_discovery *d, const struct server_name *name)
{
    struct server_entry *e = entry_find(d, name->host);
    if (e && e->pending) {
        return e;
    }
    if (e) {
        HASH_DEL(d->entries, e);
    } else {
        size_t const n = strlen(name->host);
        evict(d);
        e = mem_alloc(sizeof(*e) + n + 1);
        if (!e) {
            return NULL;
        }
        memcpy(e->name, name->host, n);
        e->owner = d;
        e->fetch_after = (mono_t){INT64_MIN};
    }
    return put_last(d, e);
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
    struct server_entry *const e = entry_find(d, name->host);
    if (!e || !e->route || mono_reached(e->expires, loop_now(d->conf.loop))) {
        return -ENOENT;
    }
    *ret = (struct server_route){0};
    memcpy(ret, e->route->bytes, e->route->size);
    if (!e->pending) {
        HASH_DEL(d->entries, e);
        (void)put_last(d, e);
    }
    if (ret_from_cache) {
        *ret_from_cache = true;
    }
    return 0;
}

static void advance(struct server_entry *e);

static void keep_route(struct server_entry *e, const struct server_route *r)
{
    size_t const n = offsetof(struct server_route, targets) + r->count * sizeof(r->targets[0]);
    mem_free(e->route);
    e->route = mem_alloc(sizeof(*e->route) + n);
    if (e->route) {
        e->route->size = n;
        memcpy(e->route->bytes, r, n);
    }
}

static void finish(struct server_entry *e)
{
    struct server_pending *const p = e->pending;
    e->pending = NULL;
    keep_route(e, &p->lookup.route);
    e->expires = mono_add_ms(loop_now(e->owner->conf.loop), p->lookup.ttl_s * 1000);
    struct server_route const route = p->lookup.route; // a callback may change the cache
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

// ---- the document ---------------------------------------------------------------------------

static mono_t after_s(const struct server_entry *e, int64_t seconds)
{
    return mono_add_ms(loop_now(e->owner->conf.loop), seconds * 1000);
}

// Goes on with the last good document if there is one, else without.
static void use_known(struct server_entry *e)
{
    struct server_lookup *const l = &e->pending->lookup;
    int64_t const left_ms = mono_diff_ms(e->fetch_after, loop_now(e->owner->conf.loop));
    l->ttl_s = MIN(l->ttl_s, MAX(left_ms / 1000, 1));
    if (e->delegated && !mono_reached(e->delegated_until, loop_now(e->owner->conf.loop))) {
        server_lookup_delegate(l, e->delegated);
    } else {
        (void)server_lookup_well_known(l, bytes_of(NULL, 0));
    }
}

static void no_well_known(struct server_entry *e)
{
    unsigned const doublings = MIN(e->failures, 6u);
    e->failures++;
    e->fetch_after = after_s(e, MIN(WELL_KNOWN_FAILED_S << doublings, WELL_KNOWN_FAILED_MAX_S));
    use_known(e);
}

static void keep_document(struct server_entry *e, const struct httpc_result *r)
{
    struct server_lookup *const l = &e->pending->lookup;
    int64_t const ttl = server_well_known_ttl_s(
        httpc_result_header(r, "Cache-Control"), httpc_result_header(r, "Expires"),
        httpc_result_header(r, "Date"), loop_wall(e->owner->conf.loop));
    e->failures = 0;
    l->ttl_s = MIN(l->ttl_s, ttl);
    e->delegated = e->delegated ? e->delegated : NEW(struct server_name);
    if (e->delegated) {
        *e->delegated = l->name;
        e->delegated_until = after_s(e, WELL_KNOWN_STALE_S);
        e->fetch_after = after_s(e, ttl);
    }
}

static void on_well_known(void *user, const struct httpc_result *r)
{
    struct server_entry *const e = user;
    struct server_lookup *const l = &e->pending->lookup;
    e->pending->call = NULL;
    bool const usable = r->step == HTTPC_OK && r->status == 200 && r->body.n > 0;
    if (r->step == HTTPC_OK && r->status == 404) {
        mem_free(e->delegated); // taken back, not just out of reach
        e->delegated = NULL;
    }
    if (r->step != HTTPC_OK) {
        log_debug(NULL, "discovery.no_well_known", KV_STR("server", e->name),
                  KV_STR("step", httpc_step_name(r->step)), KV_STR("text", r->text));
    }
    if (usable && server_lookup_well_known(l, r->body)) {
        keep_document(e, r);
    } else {
        // One without a usable m.server counts as none.
        l->step = SERVER_ROUTE_WELL_KNOWN;
        no_well_known(e);
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
        if (mono_reached(e->fetch_after, loop_now(e->owner->conf.loop))) {
            start_well_known(e);
            return;
        }
        use_known(e);
        advance(e); // once: the document is never asked for again
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
    if (!e) {
        return;
    }
    e->expires = (mono_t){INT64_MIN};
    if (e->failures == 0) { // else the document did not lead there
        e->fetch_after = (mono_t){INT64_MIN};
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "common/svc/dns_cache.h"

#include <strings.h>

#include "common/base/hash.h"

// authorization-service 5.5.
#define TTL_MIN_S 30u
#define TTL_MAX_S 3600u
#define TTL_NEGATIVE_S 30u

struct dns_cache_query {
    struct dns_cache_query *prev, *next;
    struct entry *entry;
    void (*fn)(void *user, const struct dns_addrs *r);
    void *user;
};

struct entry {
    UT_hash_handle hh;
    struct dns_cache *owner;
    struct dns_query *pending; // NULL: addrs is what is known
    struct dns_cache_query *queries;
    mono_t expires;
    enum dns_status status;
    size_t count;
    struct addr *addrs;
    char name[]; // in lower case
};

struct dns_cache {
    struct loop *loop;
    struct dns *dns;
    struct entry *entries; // by name; the one not used for longest comes first
};

struct dns_cache *dns_cache_new(struct loop *l, struct dns *dns)
{
    struct dns_cache *const c = NEW(struct dns_cache);
    if (c) {
        c->loop = l;
        c->dns = dns;
    }
    return c;
}

static void drop(struct dns_cache *c, struct entry *e)
{
    struct dns_cache_query *q = NULL;
    struct dns_cache_query *tmp = NULL;
    HASH_DEL(c->entries, e);
    if (e->pending) {
        dns_cancel(e->pending);
    }
    DL_FOREACH_SAFE(e->queries, q, tmp)
    {
        mem_free(q);
    }
    mem_free(e->addrs);
    mem_free(e);
}

void dns_cache_free(struct dns_cache *c)
{
    struct entry *e = NULL;
    struct entry *tmp = NULL;
    if (!c) {
        return;
    }
    HASH_ITER(hh, c->entries, e, tmp)
    {
        drop(c, e);
    }
    mem_free(c);
}

// DNS compares without letter case, and one trailing dot says nothing here.
static int fold(const char *name, char ret[static DNS_NAME_MAX])
{
    size_t n = strlen(name);
    n -= n > 1 && name[n - 1] == '.';
    if (n == 0 || n >= DNS_NAME_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
    }
    ret[n] = '\0';
    return 0;
}

static struct entry *find(struct dns_cache *c, const char *folded)
{
    struct entry *e = NULL;
    HASH_FIND(hh, c->entries, folded, strlen(folded), e);
    return e;
}

// To the end of the order of use. False: it could not be put back and is gone.
static bool put_last(struct dns_cache *c, struct entry *e)
{
    HASH_ADD_KEYPTR(hh, c->entries, e->name, strlen(e->name), e);
    return find(c, e->name) == e;
}

static void make_room(struct dns_cache *c)
{
    struct entry *e = NULL;
    struct entry *tmp = NULL;
    if (HASH_COUNT(c->entries) < DNS_CACHE_MAX) {
        return;
    }
    HASH_ITER(hh, c->entries, e, tmp)
    {
        if (!e->pending) {
            drop(c, e);
            return;
        }
    }
}

static struct entry *add(struct dns_cache *c, const char *folded)
{
    size_t const n = strlen(folded);
    make_room(c);
    struct entry *const e = mem_alloc(sizeof(*e) + n + 1);
    if (!e) {
        return NULL;
    }
    e->owner = c;
    memcpy(e->name, folded, n + 1);
    if (!put_last(c, e)) {
        mem_free(e);
        return NULL;
    }
    return e;
}

int dns_cache_known(struct dns_cache *c, const char *name, struct dns_addrs *ret, bool *ret_cached)
{
    char folded[DNS_NAME_MAX];
    struct addr literal;
    bool const is_literal = addr_parse_ip(bytes_str(name), &literal) == 0;
    if (is_literal) {
        *ret = (struct dns_addrs){.status = DNS_OK, .count = 1, .addrs = {literal}};
    } else {
        struct entry *const e = fold(name, folded) == 0 ? find(c, folded) : NULL;
        if (!e || e->pending || mono_reached(e->expires, loop_now(c->loop))) {
            return -ENOENT;
        }
        *ret = (struct dns_addrs){.status = e->status, .count = e->count};
        memcpy(ret->addrs, e->addrs, e->count * sizeof(*e->addrs));
        HASH_DEL(c->entries, e);
        if (!put_last(c, e)) {
            mem_free(e->addrs);
            mem_free(e);
        }
    }
    if (ret_cached) {
        *ret_cached = !is_literal;
    }
    return 0;
}

static void keep(struct entry *e, const struct dns_addrs *r)
{
    uint32_t ttl = r->status == DNS_OK ? r->ttl_s : TTL_NEGATIVE_S;
    ttl = MIN(MAX(ttl, TTL_MIN_S), TTL_MAX_S);
    mem_free(e->addrs);
    e->addrs = mem_array(MAX(r->count, (size_t)1), sizeof(*e->addrs));
    e->status = r->status;
    e->count = r->count;
    if (e->addrs) {
        memcpy(e->addrs, r->addrs, r->count * sizeof(*e->addrs));
        e->expires = mono_add_ms(loop_now(e->owner->loop), (int64_t)ttl * 1000);
    } else {
        e->count = 0;
        e->expires = (mono_t){INT64_MIN}; // not kept
    }
}

static void on_addrs(void *user, const struct dns_addrs *r)
{
    struct entry *const e = user;
    e->pending = NULL;
    keep(e, r);
    // A callback may ask anew and may push this entry out: who is to be told leaves it first.
    struct dns_cache_query *told = e->queries;
    struct dns_cache_query *q = NULL;
    e->queries = NULL;
    DL_FOREACH(told, q)
    {
        q->entry = NULL;
    }
    while ((q = told) != NULL) {
        DL_DELETE(told, q);
        if (q->fn) {
            q->fn(q->user, r);
        }
        mem_free(q);
    }
}

int dns_cache_start(struct dns_cache *c, const char *name,
                    void (*fn)(void *user, const struct dns_addrs *r), void *user,
                    struct dns_cache_query **ret)
{
    char folded[DNS_NAME_MAX];
    if (fold(name, folded) < 0) {
        return -EINVAL;
    }
    struct dns_cache_query *const q = NEW(struct dns_cache_query);
    struct entry *e = find(c, folded);
    e = q && !e ? add(c, folded) : e;
    if (!q || !e) {
        mem_free(q);
        return -ENOMEM;
    }
    int const r = e->pending ? 0 : dns_resolve(c->dns, folded, on_addrs, e, &e->pending);
    if (r < 0) {
        e->pending = NULL;
        if (!e->addrs) {
            drop(c, e);
        }
        mem_free(q);
        return r;
    }
    *q = (struct dns_cache_query){.entry = e, .fn = fn, .user = user};
    DL_APPEND(e->queries, q);
    *ret = q;
    return 0;
}

void dns_cache_cancel(struct dns_cache_query *q)
{
    if (q->entry) {
        DL_DELETE(q->entry->queries, q);
        mem_free(q);
    } else {
        q->fn = NULL; // others are being told just now; freed with them
    }
}

void dns_cache_forget(struct dns_cache *c, const char *name)
{
    char folded[DNS_NAME_MAX];
    struct entry *const e = fold(name, folded) == 0 ? find(c, folded) : NULL;
    if (e) {
        e->expires = (mono_t){INT64_MIN};
    }
}

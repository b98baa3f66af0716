// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/flow_table.h"

#include "common/base/hash.h"

// RFC 8839 section 5.4 allows 256 characters; ours are short.
#define UFRAG_MAX 32

// First size of the address table: a worker with a small meeting never grows it.
#define FIRST_BUCKETS 64u

struct flow_ufrag {
    UT_hash_handle hh;
    struct flow_owner *owner;
    struct flow_ufrag *prev, *next; // owner->ufrags
    char text[UFRAG_MAX + 1];
};

struct flow_addr {
    struct flow_addr *chain; // of its bucket
    struct flow_owner *owner;
    struct flow_addr *prev, *next; // owner->addrs
    struct addr addr;
};

void flow_table_init(struct flow_table *t, uint64_t seed)
{
    *t = (struct flow_table){.seed = seed};
}

static void drop_ufrag(struct flow_table *t, struct flow_ufrag *u)
{
    HASH_DEL(t->ufrags, u);
    DL_DELETE(u->owner->ufrags, u);
    mem_free(u);
}

void flow_table_done(struct flow_table *t)
{
    struct flow_ufrag *u = NULL;
    struct flow_ufrag *next = NULL;
    HASH_ITER(hh, t->ufrags, u, next)
    {
        drop_ufrag(t, u);
    }
    for (size_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i] != NULL) {
            struct flow_addr *const a = t->buckets[i];
            t->buckets[i] = a->chain;
            DL_DELETE(a->owner->addrs, a);
            mem_free(a);
        }
    }
    mem_free(t->buckets);
    flow_table_init(t, t->seed);
}

static struct flow_ufrag *find_ufrag(const struct flow_table *t, const void *p, size_t n)
{
    struct flow_ufrag *u = NULL;
    HASH_FIND(hh, t->ufrags, p, n, u);
    return u;
}

int flow_table_add_ufrag(struct flow_table *t, const char *ufrag, struct flow_owner *owner)
{
    size_t const n = strlen(ufrag);
    if (n == 0 || n > UFRAG_MAX) {
        return -EINVAL;
    }
    if (find_ufrag(t, ufrag, n) != NULL) {
        return -EEXIST;
    }
    struct flow_ufrag *const u = NEW(struct flow_ufrag);
    if (u == NULL) {
        return -ENOMEM;
    }
    u->owner = owner;
    memcpy(u->text, ufrag, n);
    HASH_ADD_KEYPTR(hh, t->ufrags, u->text, n, u);
    if (find_ufrag(t, ufrag, n) == NULL) {
        mem_free(u);
        return -ENOMEM;
    }
    DL_APPEND(owner->ufrags, u);
    return 0;
}

void flow_table_remove_ufrag(struct flow_table *t, const char *ufrag)
{
    struct flow_ufrag *const u = find_ufrag(t, ufrag, strlen(ufrag));
    if (u != NULL) {
        drop_ufrag(t, u);
    }
}

void *flow_table_by_ufrag(const struct flow_table *t, struct bytes ufrag)
{
    struct flow_ufrag *const u = find_ufrag(t, ufrag.p, ufrag.n);
    return u != NULL ? u->owner->user : NULL;
}

// The link that points to the entry of a, or to the end of its chain. The table must have buckets.
static struct flow_addr **find_addr(const struct flow_table *t, const struct addr *a)
{
    struct flow_addr **link = &t->buckets[addr_hash(a, t->seed) & (t->bucket_count - 1)];
    while (*link != NULL && !addr_eq(&(*link)->addr, a)) {
        link = &(*link)->chain;
    }
    return link;
}

// Doubles the table; entries are moved, not allocated.
static int grow(struct flow_table *t)
{
    size_t const count = t->bucket_count == 0 ? FIRST_BUCKETS : t->bucket_count * 2;
    struct flow_addr **const buckets = mem_array(count, sizeof(*buckets));
    if (buckets == NULL) {
        // A full table still works, only slower; an empty one cannot.
        return t->bucket_count == 0 ? -ENOMEM : 0;
    }
    for (size_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i] != NULL) {
            struct flow_addr *const a = t->buckets[i];
            t->buckets[i] = a->chain;
            struct flow_addr **const to = &buckets[addr_hash(&a->addr, t->seed) & (count - 1)];
            a->chain = *to;
            *to = a;
        }
    }
    mem_free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
    return 0;
}

int flow_table_set_addr(struct flow_table *t, const struct addr *a, struct flow_owner *owner)
{
    if (t->addr_count >= t->bucket_count) {
        int const rc = grow(t);
        if (rc < 0) {
            return rc;
        }
    }
    struct flow_addr **const link = find_addr(t, a);
    if (*link == NULL) {
        struct flow_addr *const n = NEW(struct flow_addr);
        if (n == NULL) {
            return -ENOMEM;
        }
        n->addr = *a;
        *link = n;
        t->addr_count++;
    } else {
        DL_DELETE((*link)->owner->addrs, *link);
    }
    (*link)->owner = owner;
    DL_APPEND(owner->addrs, *link);
    return 0;
}

static void drop_addr(struct flow_table *t, struct flow_addr **link)
{
    struct flow_addr *const e = *link;
    *link = e->chain;
    DL_DELETE(e->owner->addrs, e);
    mem_free(e);
    t->addr_count--;
}

void flow_table_remove_addr(struct flow_table *t, const struct addr *a,
                            const struct flow_owner *owner)
{
    if (t->bucket_count == 0) {
        return;
    }
    struct flow_addr **const link = find_addr(t, a);
    if (*link != NULL && (*link)->owner == owner) {
        drop_addr(t, link);
    }
}

void *flow_table_by_addr(const struct flow_table *t, const struct addr *a)
{
    if (t->bucket_count == 0) {
        return NULL;
    }
    struct flow_addr *const e = *find_addr(t, a);
    return e != NULL ? e->owner->user : NULL;
}

void flow_table_forget(struct flow_table *t, struct flow_owner *owner)
{
    while (owner->ufrags != NULL) {
        drop_ufrag(t, owner->ufrags);
    }
    while (owner->addrs != NULL) {
        drop_addr(t, find_addr(t, &owner->addrs->addr));
    }
}

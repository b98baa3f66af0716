// SPDX-License-Identifier: Apache-2.0
#pragma once
// Addresses of names, kept for as long as DNS says within bounds (authorization-service 5.5): the
// TTL clamped to 30 s .. 1 h, "not found" and failures 30 s. Look-ups for one name are shared. At
// most DNS_CACHE_MAX names, the ones not used for longest go first. Owner thread of the loop.

#include "common/svc/dns.h"

#define DNS_CACHE_MAX 4096 // 0.5 KiB each

struct dns_cache;
struct dns_cache_query;

// dns must outlive it. NULL without memory.
struct dns_cache *dns_cache_new(struct loop *l, struct dns *dns) NODISCARD;
// Drops what is under way; who waits is not told. Accepts NULL.
void dns_cache_free(struct dns_cache *c);
DEFINE_CLEANUP(struct dns_cache *, dns_cache_free)

// What is known about name: a literal, or in the cache (then *ret_cached, may be NULL, is true).
// *ret may say that the name was not found. -ENOENT: must be looked up.
int dns_cache_known(struct dns_cache *c, const char *name, struct dns_addrs *ret,
                    bool *ret_cached) NODISCARD;

// Looks it up. fn is called once from the loop, never from inside this call; *ret is valid until
// then. -EBUSY, -ENOMEM, -EINVAL as dns_resolve.
int dns_cache_start(struct dns_cache *c, const char *name,
                    void (*fn)(void *user, const struct dns_addrs *r), void *user,
                    struct dns_cache_query **ret) NODISCARD;

// fn will not be called; the look-up goes on for others and for the cache.
void dns_cache_cancel(struct dns_cache_query *q);

// What is known led nowhere: the next one asks again.
void dns_cache_forget(struct dns_cache *c, const char *name);

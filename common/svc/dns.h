// SPDX-License-Identifier: Apache-2.0
#pragma once
// DNS look-ups on our loop (c-ares behind it): addresses (with /etc/hosts) and SRV, with TTL. Owner
// thread of the loop. Nothing is cached here: the TTL is handed out so that the caller can.

#include "common/base/addr.h"
#include "common/sys/loop.h"

struct dns;
struct dns_query;

struct dns_conf {
    const char *servers;  // "ip[:port],..."; NULL: as in resolv.conf
    int64_t timeout_ms;   // for a whole look-up, 0: 5 s
    unsigned max_queries; // at once, 0: 512; more get -EBUSY
};

struct dns *dns_new(struct loop *l, const struct dns_conf *conf) NODISCARD;
// Look-ups under way are dropped without a callback.
void dns_free(struct dns *d);
DEFINE_CLEANUP(struct dns *, dns_free)

enum dns_status {
    DNS_OK,
    DNS_NOT_FOUND, // the name or the record does not exist: an answer worth caching
    DNS_TEMPORARY, // server failure, refused, no server
    DNS_TIMEOUT,
    DNS_BAD_NAME,
};

const char *dns_status_name(enum dns_status s);

// Caps on what one answer may make us keep.
#define DNS_ADDR_MAX 16
#define DNS_SRV_MAX 16
#define DNS_NAME_MAX 256 // RFC 1035 section 2.3.4: 255, and the terminating zero

struct dns_addrs {
    enum dns_status status;
    size_t count;
    struct addr addrs[DNS_ADDR_MAX]; // port 0; in the order of the answer, IPv6 and IPv4 mixed as
                                     // RFC 6724 sorts them
    uint32_t ttl_s;                  // the smallest; 0 from /etc/hosts
};

struct dns_srv {
    uint16_t priority;
    uint16_t weight;
    uint16_t port;
    char target[DNS_NAME_MAX]; // without trailing dot; "" for ".", which means: not offered
};

struct dns_srvs {
    enum dns_status status;
    size_t count;
    struct dns_srv srv[DNS_SRV_MAX]; // by priority, inside it weighted random (RFC 2782)
    uint32_t ttl_s;
};

// A and AAAA of a host name (or the address itself if it is a literal). fn is called once from the
// loop, never from inside this call. *ret (may be NULL) is for dns_cancel, valid until fn. -EBUSY,
// -ENOMEM, -EINVAL (name too long).
int dns_resolve(struct dns *d, const char *name, void (*fn)(void *user, const struct dns_addrs *r),
                void *user, struct dns_query **ret) NODISCARD;

// SRV records of a complete name ("_matrix-fed._tcp.example.org"); no search domains.
int dns_resolve_srv(struct dns *d, const char *name,
                    void (*fn)(void *user, const struct dns_srvs *r), void *user,
                    struct dns_query **ret) NODISCARD;

// fn will not be called.
void dns_cancel(struct dns_query *q);

// Sorts by RFC 2782; u32 gives random numbers. Also used by the tests.
void dns_srv_sort(struct dns_srv *srv, size_t n, uint32_t (*u32)(void *user), void *user);

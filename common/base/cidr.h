// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ranges of addresses (RFC 4632, RFC 4291 section 2.3) and sets of them, as operators write them:
// trusted proxies, addresses that may or may not be connected to. Pure.
//
// IPv4 addresses inside of IPv6 ones (::ffff:a.b.c.d) count as IPv4 everywhere here, in texts and
// in what is looked up: a socket that serves both families shows IPv4 peers in that form.

#include "common/base/addr.h"

struct cidr {
    struct addr net; // port 0, bits behind the prefix zero
    uint8_t bits;    // 0..32 or 0..128 by family
};

// "10.0.0.0/8", "2001:db8::/32", or an address alone (all bits). Bits behind the prefix may be set
// and are dropped ("10.1.2.3/8"). -EINVAL: anything else. *ret untouched then.
int cidr_parse(struct bytes text, struct cidr *ret) NODISCARD;

bool cidr_match(const struct cidr *c, const struct addr *a);

// "10.0.0.0/8", terminated. Returns buf.
#define CIDR_STRLEN (ADDR_STRLEN + 4)
const char *cidr_format(const struct cidr *c, char buf[static CIDR_STRLEN]);

// a, as IPv4 if it is IPv4 inside of IPv6; port and the rest stay.
struct addr cidr_unmap(const struct addr *a);

// Any number of ranges; all zero is an empty set. Looking up goes through all of them: operators
// list some, not thousands.
struct cidr_set {
    struct cidr *v;
    size_t count;
};

#define CIDR_SET_MAX 1024 // more is a mistake

// Adds what cidr_parse takes, or one of the words
//   "loopback"        127.0.0.0/8 ::1
//   "private_ranges"  loopback, 10/8 172.16/12 192.168/16 100.64/10 169.254/16 fc00::/7 fe80::/10
//   "all"             0.0.0.0/0 ::/0
// -EINVAL, -ENOMEM, -E2BIG.
int cidr_set_add(struct cidr_set *s, struct bytes text) NODISCARD;
void cidr_set_done(struct cidr_set *s); // empties

// True if a range holds a. A NULL set holds nothing.
bool cidr_set_match(const struct cidr_set *s, const struct addr *a);

// The length of the longest prefix in s that holds a, -1 if none does. NULL: -1.
int cidr_set_longest(const struct cidr_set *s, const struct addr *a);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A transport address as a value: family, IP, port. Pure (no sockaddr here; common/sys/udp
// converts).

#include "common/base/bytes.h"

enum addr_family {
    ADDR_NONE = 0,
    ADDR_V4 = 4,
    ADDR_V6 = 6,
};

struct addr {
    uint8_t family; // enum addr_family
    uint8_t tcp;    // 1: RFC 4571 framed TCP connection, 0: UDP
    uint16_t port;  // host byte order
    uint32_t scope; // IPv6 zone of link-local addresses, else 0
    uint8_t ip[16]; // IPv4 uses the first four bytes, the rest is zero
};

// "255.255.255.255:65535", "[v6%scope]:65535" and the terminating zero fit.
#define ADDR_STRLEN 72

static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && a->tcp == b->tcp && a->port == b->port &&
           a->scope == b->scope && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static inline struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct addr){.family = ADDR_V4, .port = port, .ip = {a, b, c, d}};
}

// Keyed hash (peers choose the addresses): `seed` is random per process.
uint64_t addr_hash(const struct addr *a, uint64_t seed);

// Parses an IP literal (no port, no brackets, no zone, no names). -EINVAL otherwise. *ret untouched
// on failure; port 0.
int addr_parse_ip(struct bytes text, struct addr *ret) NODISCARD;

// Writes "ip:port" or "[ip]:port" (addr_format) or just the IP (addr_format_ip), always terminated.
// Returns buf.
const char *addr_format(const struct addr *a, char buf[static ADDR_STRLEN]);
const char *addr_format_ip(const struct addr *a, char buf[static ADDR_STRLEN]);

// Loopback, private (RFC 1918, RFC 4193, RFC 6598), link-local, multicast, unspecified.
bool addr_is_loopback(const struct addr *a);
bool addr_is_private(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
bool addr_is_multicast(const struct addr *a);
bool addr_is_unspecified(const struct addr *a);

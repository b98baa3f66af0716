// SPDX-License-Identifier: Apache-2.0
#include "common/sys/ifaddr.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sys/udp.h"

static uint8_t ones(const uint8_t *p, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (unsigned)__builtin_popcount(p[i]);
    }
    return (uint8_t)sum;
}

static uint8_t prefix_of(const struct sockaddr *mask, uint8_t family)
{
    if (mask == NULL) {
        return family == ADDR_V4 ? 32 : 128;
    }
    // The family field of a netmask is not reliable, its place in the struct is.
    if (family == ADDR_V4) {
        return ones((const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr,
                    4);
    }
    return ones((const uint8_t *)&((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr, 16);
}

int ifaddr_list(struct ifaddr_entry *ret, size_t cap, size_t *ret_n)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) {
        return -errno;
    }
    size_t n = 0;
    size_t found = 0;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct ifaddr_entry a = {0};
        if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
            addr_from_sockaddr(i->ifa_addr, &a.addr) != 0) {
            continue;
        }
        a.addr.port = 0;
        a.prefix_len = prefix_of(i->ifa_netmask, a.addr.family);
        a.loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;
        a.point_to_point = (i->ifa_flags & IFF_POINTOPOINT) != 0;
        (void)snprintf(a.name, sizeof(a.name), "%s", i->ifa_name);
        found++;
        if (n < cap) {
            ret[n++] = a;
        }
    }
    freeifaddrs(list);
    *ret_n = n;
    return found > n ? -ENOBUFS : 0;
}

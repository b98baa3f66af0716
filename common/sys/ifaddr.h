// SPDX-License-Identifier: Apache-2.0
#pragma once
// The addresses of this host's interfaces, as they are now. Any thread.

#include "common/base/addr.h"

struct ifaddr_entry {
    char name[16]; // IFNAMSIZ
    struct addr addr;
    uint8_t prefix_len;
    bool loopback;
    bool point_to_point;
};

// Lists the IPv4 and IPv6 addresses of interfaces that are up, up to cap; *ret_n how many were
// stored. -ENOBUFS if there were more (the first cap are valid), other negative errno of
// getifaddrs.
int ifaddr_list(struct ifaddr_entry *ret, size_t cap, size_t *ret_n) NODISCARD;

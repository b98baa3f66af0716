// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the stand-ins and the load of the benchmark of foci-jwt share: just enough HTTP/1.1 to cost
// next to nothing. Trusts its peers: messages have a Content-Length or no body.

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/bytes.h"

#define US_A_SECOND 1000000

static inline int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * US_A_SECOND + t.tv_nsec / 1000;
}

_Noreturn static inline void die(const char *what)
{
    perror(what);
    exit(2);
}

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

// Number behind `name` (lower case, with colon) among the header lines of head, or none.
static inline size_t header_number(const char *head, size_t n, const char *name, size_t none)
{
    size_t const len = strlen(name);
    for (const char *p = head; p + len < head + n;) {
        const char *const nl = memchr(p, '\n', (size_t)(head + n - p));
        if (!nl) {
            break;
        }
        p = nl + 1;
        if ((size_t)(head + n - p) > len && strncasecmp(p, name, len) == 0) {
            return strtoul(p + len, NULL, 10);
        }
    }
    return none;
}

// Length of the message at the start of p, 0 if it is not whole yet. *ret_body is where its body
// begins.
static inline size_t message_length(const char *p, size_t n, size_t *ret_body)
{
    const char *const end = memmem(p, n, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    *ret_body = (size_t)(end - p) + 4;
    size_t const all = *ret_body + header_number(p, *ret_body, "content-length:", 0);
    return all <= n ? all : 0;
}

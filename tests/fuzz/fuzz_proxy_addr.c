// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <stdlib.h>

#include "common/base/cidr.h"
#include "common/svc/proxy_addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What anybody may write into X-Forwarded-For, Forwarded and X-Real-IP, by the first byte, behind a
// trusted proxy.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cidr_set trusted;
    if (trusted.count == 0 && cidr_set_add(&trusted, bytes_str("private_ranges")) < 0) {
        abort();
    }
    if (size == 0) {
        return 0;
    }
    char *const text = malloc(size);
    if (!text) {
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    struct proxy_headers h = {0};
    *(data[0] % 3 == 0 ? &h.forwarded_for : data[0] % 3 == 1 ? &h.forwarded : &h.real_ip) = text;
    struct addr const peer = addr_v4(10, 0, 0, 1, 1234);
    struct addr got = {0};
    enum proxy_source const s = proxy_addr_pick(&trusted, &peer, &h, &got);
    // A stranger's address if somebody was named, else one of ours.
    if (s == PROXY_PEER || cidr_set_match(&trusted, &got) == (s == PROXY_HEADER)) {
        abort();
    }
    free(text);
    return 0;
}

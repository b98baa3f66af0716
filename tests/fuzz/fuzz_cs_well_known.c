// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// The client document of a homeserver (.well-known/matrix/client), and base URLs by themselves:
// what is accepted is a URL that needs no further check.
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include "jwt-service/leave/cs_discovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *url)
{
    char again[CS_BASE_URL_MAX + 1];
    size_t const n = strlen(url);
    bool const https = strncasecmp(url, "https://", 8) == 0;
    if ((!https && strncasecmp(url, "http://", 7) != 0) || n <= (https ? 8u : 7u) ||
        url[n - 1] == '/' || strpbrk(url, "?#\\\" \t\r\n") != NULL) {
        abort();
    }
    if (cs_base_url_check(bytes_str(url), again) < 0 || strcmp(url, again) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char url[CS_BASE_URL_MAX + 1];
    struct bytes const in = bytes_of(data, size);
    if (cs_well_known_parse(in, url) == 0) {
        check(url);
    }
    if (cs_base_url_check(in, url) == 0) {
        check(url);
    }
    char header[256];
    size_t const n = MIN(size, sizeof(header) - 1);
    if (n > 0) {
        memcpy(header, data, n);
    }
    header[n] = '\0';
    int64_t const ttl = cs_well_known_ttl_s(header);
    if (ttl < 300 || ttl > 86400) {
        abort();
    }
    return 0;
}

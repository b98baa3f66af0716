// SPDX-License-Identifier: Apache-2.0
// The pure part of cs_discovery.h: the client document and base URLs.
#include <strings.h>

#include "common/svc/jsonx.h"
#include "jwt-service/leave/cs_discovery.h"

#define TTL_MIN_S INT64_C(300) // authorization-service 7.6
#define TTL_MAX_S INT64_C(86400)
#define TTL_DEFAULT_S INT64_C(14400)

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// RFC 3986: what a host and port may consist of here. Names with an underscore are no DNS names,
// but containers have them.
static bool is_authority_char(uint8_t c)
{
    return is_alnum(c) || (c && strchr("-._~:[]", c));
}

static bool is_path_char(uint8_t c)
{
    return is_alnum(c) || (c && strchr("-._~!$&'()*+,;=:@/%", c));
}

int cs_base_url_check(struct bytes url, char ret[static CS_BASE_URL_MAX + 1])
{
    static const char *const schemes[] = {"https://", "http://"};
    while (url.n > 0 && url.p[url.n - 1] == '/') {
        url.n--;
    }
    if (url.n > CS_BASE_URL_MAX) {
        return -EINVAL;
    }
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(schemes) && at == 0; i++) {
        size_t const n = strlen(schemes[i]);
        at = url.n > n && strncasecmp((const char *)url.p, schemes[i], n) == 0 ? n : 0;
    }
    size_t const host = at;
    for (; at < url.n && url.p[at] != '/'; at++) {
        if (!is_authority_char(url.p[at])) {
            return -EINVAL;
        }
    }
    if (host == 0 || at == host || url.p[host] == ':') {
        return -EINVAL;
    }
    for (; at < url.n; at++) {
        if (!is_path_char(url.p[at])) {
            return -EINVAL;
        }
    }
    memcpy(ret, url.p, url.n);
    ret[url.n] = '\0';
    return 0;
}

int cs_well_known_parse(struct bytes body, char ret[static CS_BASE_URL_MAX + 1])
{
    // Read as laxly as the original does: unknown keys, and bytes after the value, are none of ours.
    struct jsonx_limits const limits = {
        .max_bytes = CS_WELL_KNOWN_MAX, .max_depth = 32, .flags = JSONX_ALLOW_TRAILING};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    const struct jsonx *homeserver = NULL;
    struct bytes url = {0};
    if (body.n == 0 || jsonx_parse(body, &limits, &j) < 0 ||
        jsonx_get_object(j, "m.homeserver", &homeserver) < 0 ||
        jsonx_get_str(homeserver, "base_url", &url) < 0) {
        return -EINVAL;
    }
    return cs_base_url_check(url, ret);
}

int64_t cs_well_known_ttl_s(const char *cache_control)
{
    static const char directive[] = "max-age=";
    const char *p = cache_control ? cache_control : "";
    for (; *p; p++) {
        if (strncasecmp(p, directive, sizeof(directive) - 1) != 0) {
            continue;
        }
        int64_t v = 0;
        const char *d = p + sizeof(directive) - 1;
        for (; *d >= '0' && *d <= '9' && v < TTL_MAX_S; d++) {
            v = v * 10 + (*d - '0');
        }
        return MIN(MAX(v, TTL_MIN_S), TTL_MAX_S);
    }
    return TTL_DEFAULT_S;
}

// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpd_route.h"

#include <string.h>

void httpd_route_clean(const char *raw, char *out)
{
    size_t n = 0;
    const char *p = raw;
    while (*p != 0) {
        p += strspn(p, "/");
        size_t const len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (n > 0 && out[--n] != '/') {
            }
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len;
    }
    if (n == 0) {
        out[n++] = '/';
    }
    out[n] = 0;
}

// The last place where `part` (which starts with a slash) stands in s.
static const char *last_place(const char *s, const char *part)
{
    const char *found = NULL;
    for (const char *p = strstr(s, part); p != NULL; p = strstr(p + 1, part)) {
        found = p;
    }
    return found;
}

bool httpd_route_match(const struct httpd_route *r, const char *clean, size_t *ret_at,
                       const char **ret_tail)
{
    size_t const len = strlen(r->path);
    size_t const n = strlen(clean);
    bool const any_prefix = (r->flags & HTTPD_ANY_PREFIX) != 0;
    const char *at = NULL;
    if ((r->flags & HTTPD_TAIL) != 0) {
        at = any_prefix ? last_place(clean, r->path)
                        : (strncmp(clean, r->path, len) == 0 ? clean : NULL);
    } else if (n >= len && (n == len || any_prefix) && memcmp(clean + n - len, r->path, len) == 0) {
        at = clean + n - len;
    }
    if (at == NULL) {
        return false;
    }
    *ret_at = (size_t)(at - clean);
    *ret_tail = at + len;
    return true;
}

static bool in_list(const char *list, const char *word)
{
    size_t const len = strlen(word);
    for (const char *p = list; *p != 0;) {
        size_t const n = strcspn(p, ",");
        if (n == len && memcmp(p, word, len) == 0) {
            return true;
        }
        p += n + (p[n] == ',' ? 1u : 0u);
    }
    return false;
}

bool httpd_route_allows(const char *methods, const char *method)
{
    return methods == NULL || in_list(methods, method) ||
           (strcmp(method, "HEAD") == 0 && in_list(methods, "GET"));
}

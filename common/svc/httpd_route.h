// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a request finds its route: cleaning of paths, prefixes, methods. Pure; the inside of httpd.

#include "common/svc/httpd.h"

// Writes the cleaned form of a decoded path: one leading slash, no empty and no "." segments, ".."
// resolved (never above the root), no trailing slash. out must hold strlen(raw) + 2 bytes.
void httpd_route_clean(const char *raw, char *out);

// True if the cleaned path belongs to the route. *ret_at: where the route's own path starts in it,
// *ret_tail: what follows it.
bool httpd_route_match(const struct httpd_route *r, const char *clean, size_t *ret_at,
                       const char **ret_tail);

// True if method is in the comma separated list. GET includes HEAD; NULL allows everything.
bool httpd_route_allows(const char *methods, const char *method);

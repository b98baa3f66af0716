// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dates in HTTP headers and how long an answer may be kept. Pure.

#include "common/base/bytes.h"
#include "common/base/mono.h"

// The three forms of RFC 9110 section 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94
// 08:49:37 GMT" (two-digit years are taken as of 1970 to 2069) and "Sun Nov  6 08:49:37 1994".
// Seconds since 1970. -EINVAL.
int http_date_parse(struct bytes text, int64_t *ret_s) NODISCARD;

// Seconds for which an answer is fresh by its headers (RFC 9111 section 4.2.1), each NULL if it is
// missing: max-age of Cache-Control, else Expires minus Date (minus `now` without a Date). 0 for
// no-store, no-cache and for an Expires that is no date. -1: the headers say nothing. Not clamped.
int64_t http_date_freshness_s(const char *cache_control, const char *expires, const char *date,
                              wall_t now);

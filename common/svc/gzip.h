// SPDX-License-Identifier: Apache-2.0
#pragma once
// gzip members (RFC 1952) in memory (zlib behind it). Pure.

#include "common/base/dynbuf.h"

// Appends the inflated content of in, which must be one or more complete gzip members and nothing
// else. -EBADMSG: no gzip, broken or cut. -E2BIG: more than out's cap (out is then empty). -ENOMEM.
int gzip_inflate(struct bytes in, struct dynbuf *out) NODISCARD;

// Appends in as one gzip member. -ENOBUFS over out's cap, -ENOMEM.
int gzip_deflate(struct bytes in, struct dynbuf *out) NODISCARD;

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Requests whose headers can be read in two ways: where the body ends, or whom they are for. A proxy
// in front of us that reads them the other way takes the rest of such a message for the next request,
// of whoever comes next on that connection (request smuggling). libmicrohttpd 0.9 lets them pass: it
// takes the first of two lengths, prefers chunks to a length, takes an unknown coding for a body that
// ends with the connection, and ignores headers with a space before the colon. Used by httpd_req.c.

#include "common/base/macros.h"

struct MHD_Connection;

// Whether a request with these headers may be served (RFC 9112, 3.2, 5.1, 6.1 and 6.3): each name is a
// token, no value has control characters; one Host, which HTTP/1.0 may leave out; at most one Content-Length, of digits, or one
// Transfer-Encoding, "chunked" in HTTP/1.1; never both. What is refused has to be the last request of
// its connection. version: of the request line, "HTTP/1.1".
bool httpd_framing_ok(struct MHD_Connection *conn, const char *version);

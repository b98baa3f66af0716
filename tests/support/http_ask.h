// SPDX-License-Identifier: Apache-2.0
#pragma once
// One HTTP request and its answer over loopback, from the thread that also runs the server's loop.

#include "common/base/addr.h"
#include "common/base/dynbuf.h"
#include "common/sys/loop.h"

// Sends `request` to `to` and runs the loop until the answer is complete (by its Content-Length) or
// the connection ends, at most 20 s. Appends head and body to out.
void http_ask(struct loop *l, const struct addr *to, struct bytes request, struct dynbuf *out);

// Status of an answer, 0 if it is none.
unsigned http_ask_status(struct bytes answer);

// Body of an answer as a terminated text inside it; "" if there is none.
const char *http_ask_body(struct dynbuf *answer);

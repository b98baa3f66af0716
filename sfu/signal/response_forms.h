// SPDX-License-Identifier: Apache-2.0
#pragma once
// The forms in which one SignalResponse goes to clients: as it is, compressed, as text, as compressed
// text (livekit-protocol 1.7). A response to a whole room arrives once a session in a row; each form
// is made once for all of them.
//
// Signalling thread.

#include "common/base/dynbuf.h"
#include "common/base/shared_buf.h"
#include "common/svc/ws.h"
#include "common/svc/ws_deflate.h"

struct response_forms {
    struct ws_deflate *deflate; // owned; NULL: without memory, nothing is compressed
    struct shared_buf
        *source;              // what the forms are of; one reference, so that nothing else gets its
                              // address
    struct dynbuf form[2][2]; // [text][packed]; [0][0] is the source itself
    bool tried[2][2];
    uint64_t not_text; // counted: sent in binary because they have no text
};

// Sizes that are worth compressing: below, a frame and a segment carry it anyway; above, it takes
// the thread milliseconds, which is spent only on what goes to several sessions.
#define RESPONSE_PACK_MIN 256u
#define RESPONSE_PACK_MAX (64u << 10)

void response_forms_init(struct response_forms *f);
void response_forms_done(struct response_forms *f);

// Sends an encoded SignalResponse: in text if the client speaks it, compressed if its socket takes
// that and it pays. A response that has no text goes in binary. Results of ws_send.
int response_forms_send(struct response_forms *f, struct ws *w, bool text, bool packed,
                        struct shared_buf *response) NODISCARD;

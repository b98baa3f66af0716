// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/signal_frame.h"

#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"
#include "sfu/base/sfu_limits.h"

int signal_frame_decode(enum ws_kind kind, struct bytes data, struct pbuf **ret)
{
    if (kind == WS_BINARY) {
        return lk_unpack_signal_request(data, ret);
    }
    struct pbjson_limits const limits = {
        .max_bytes = SIGNAL_MESSAGE_MAX,
        .max_memory = PBUF_CAP_DEFAULT,
    };
    return pbjson_read(&livekit__signal_request__descriptor, data, &limits, ret);
}

int signal_frame_text(struct bytes wire, struct dynbuf *out)
{
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    int const rc = lk_unpack_signal_response(wire, &p);
    return rc < 0 ? rc : pbjson_write(p->msg, 0, out);
}

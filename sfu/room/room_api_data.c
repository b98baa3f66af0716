// SPDX-License-Identifier: Apache-2.0
// Calls of the server API that send data.
#include "common/lk/livekit.h"
#include "sfu/room/room_api_call.h"
#include "sfu/room/rpc_calls.h"

void room_api_perform_rpc(const struct room_api_call *c, const void *msg)
{
    const Livekit__PerformRpcRequest *const req = msg;
    struct participant *const p =
        c->room != NULL ? room_participant(c->room, lk_str(req->destination_identity)) : NULL;
    if (p == NULL) {
        room_api_no_participant(c);
    } else {
        rpc_call_start(p, c->handle, req);
    }
}

// SPDX-License-Identifier: Apache-2.0
// Calls of the server API that send data.
#include "common/lk/livekit.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/data_router.h"
#include "sfu/room/room_api_call.h"
#include "sfu/room/rpc_calls.h"

// livekit-protocol 6.2: a nonce counts as seen among so many messages before.
#define NONCE_WINDOW 100

// The last nonces of a room's server messages; made when the first one comes.
struct nonce_window {
    uint8_t seen[NONCE_WINDOW][API_NONCE_BYTES];
    uint32_t count, next;
};

// 0: new, and remembered from now on. -EEXIST: seen; -ENOMEM.
static int check_nonce(struct room *r, const ProtobufCBinaryData *nonce)
{
    if (nonce->len != API_NONCE_BYTES) {
        return 0; // none: lengths were checked with the request (room_methods)
    }
    if (r->nonces == NULL) {
        r->nonces = NEW(struct nonce_window);
    }
    struct nonce_window *const w = r->nonces;
    if (w == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (memcmp(w->seen[i], nonce->data, API_NONCE_BYTES) == 0) {
            return -EEXIST;
        }
    }
    memcpy(w->seen[w->next], nonce->data, API_NONCE_BYTES);
    w->next = (w->next + 1) % NONCE_WINDOW;
    w->count = MIN(w->count + 1, NONCE_WINDOW);
    return 0;
}

static int send_user_packet(struct room *r, const Livekit__SendDataRequest *req)
{
    Livekit__UserPacket user = LIVEKIT__USER_PACKET__INIT;
    LK_SET_BYTES(&user, payload, lk_bytes(&req->data));
    LK_SET_BYTES(&user, nonce, lk_bytes(&req->nonce));
    user.topic = req->topic; // `optional`: an empty one is told as well
    user.destination_sids = req->destination_sids;
    user.n_destination_sids = req->n_destination_sids;
    user.destination_identities = req->destination_identities;
    user.n_destination_identities = req->n_destination_identities;
    Livekit__DataPacket packet = LIVEKIT__DATA_PACKET__INIT;
    LK_SET(&packet, kind, req->kind);
    packet.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    packet.user = &user;
    packet.destination_identities = req->destination_identities;
    packet.n_destination_identities = req->n_destination_identities;
    return data_router_send_server(r, &packet);
}

void room_api_send_data(const struct room_api_call *c, const void *msg)
{
    const Livekit__SendDataRequest *const req = msg;
    if (c->room == NULL) {
        room_api_no_room(c);
        return;
    }
    int rc = check_nonce(c->room, &req->nonce);
    if (rc == 0) {
        rc = send_user_packet(c->room, req);
    }
    if (rc == -ENOMEM) {
        room_api_no_memory(c);
    } else if (rc == -EMSGSIZE) {
        room_api_fail(c->env, c->handle, "invalid_argument", "data is too large for one message");
    } else if (rc == -E2BIG) {
        room_api_fail(c->env, c->handle, "invalid_argument", "too many destinations");
    } else {
        // Also for one that was sent before, and when nobody of those named is here.
        Livekit__SendDataResponse const rsp = LIVEKIT__SEND_DATA_RESPONSE__INIT;
        room_api_reply(c->env, c->handle, &rsp.base);
    }
}

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

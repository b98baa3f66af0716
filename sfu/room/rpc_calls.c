// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/rpc_calls.h"

#include <stdio.h>

#include "common/lk/livekit.h"
#include "sfu/room/data_router.h"
#include "sfu/room/room_api_call.h"

// livekit-protocol 6.2, 11; the payload limit is that of the clients' RPC (version 1).
#define RPC_ACK_TIMEOUT_MS 2000
#define RPC_PAYLOAD_MAX 15360u

#define UUID_SIZE 37

enum rpc_error { // RpcError.code, livekit-client rpc/utils.ts
    RPC_UNSUPPORTED_METHOD = 1400,
    RPC_RECIPIENT_NOT_FOUND = 1401,
    RPC_REQUEST_PAYLOAD_TOO_LARGE = 1402,
    RPC_APPLICATION_ERROR = 1500,
    RPC_CONNECTION_TIMEOUT = 1501,
    RPC_RESPONSE_TIMEOUT = 1502,
    RPC_RECIPIENT_DISCONNECTED = 1503,
    RPC_SEND_FAILED = 1505,
};

struct rpc_call {
    UT_hash_handle hh; // room->rpc_calls by id
    char id[UUID_SIZE];
    struct room *room;
    handle_t handle;
    char destination[SID_SIZE]; // sid: a session that replaces it did not get the request
    bool acked;
    mono_t deadline;    // of the response
    struct timer timer; // ROOM_TIMER_RPC
};

// ---- the end of a call ----------------------------------------------------------------------

static const char *twirp_code_of(uint32_t code)
{
    switch (code) {
    case RPC_UNSUPPORTED_METHOD:
    case RPC_REQUEST_PAYLOAD_TOO_LARGE:
        return "invalid_argument";
    case RPC_RECIPIENT_NOT_FOUND:
        return "not_found";
    case RPC_APPLICATION_ERROR:
        return "internal";
    case RPC_CONNECTION_TIMEOUT:
    case RPC_RESPONSE_TIMEOUT:
        return "canceled";
    case RPC_RECIPIENT_DISCONNECTED:
    case RPC_SEND_FAILED:
        return "unavailable";
    default: // the application's own numbers
        return "unknown";
    }
}

static void call_free(struct rpc_call *c)
{
    struct room_env *const env = c->room->env;
    timer_heap_cancel(env->timers, &c->timer);
    room_env_release_timers(env, 1);
    HASH_DEL(c->room->rpc_calls, c);
    mem_free(c);
}

static void fail(struct room_env *env, handle_t handle, uint32_t code, const char *message)
{
    room_api_fail(env, handle, twirp_code_of(code), "RpcError %u: %s", code, message);
}

static void end_failed(struct rpc_call *c, uint32_t code, const char *message)
{
    fail(c->room->env, c->handle, code, message);
    call_free(c);
}

static void end_answered(struct rpc_call *c, const Livekit__RpcResponse *rsp)
{
    struct room_env *const env = c->room->env;
    switch (rsp->value_case) {
    case LIVEKIT__RPC_RESPONSE__VALUE_ERROR: {
        const char *const data = lk_str(rsp->error->data);
        room_api_fail(env, c->handle, twirp_code_of(rsp->error->code), "RpcError %u: %s%s%s",
                      rsp->error->code, lk_str(rsp->error->message), *data != 0 ? ": " : "", data);
        break;
    }
    case LIVEKIT__RPC_RESPONSE__VALUE_COMPRESSED_PAYLOAD:
        // Our request is of version 1, which has no compression.
        fail(env, c->handle, RPC_APPLICATION_ERROR, "Response is compressed");
        break;
    case LIVEKIT__RPC_RESPONSE__VALUE_PAYLOAD:
    case LIVEKIT__RPC_RESPONSE__VALUE__NOT_SET: // proto3 leaves out what is empty
    default: {
        Livekit__PerformRpcResponse m = LIVEKIT__PERFORM_RPC_RESPONSE__INIT;
        if (rsp->value_case == LIVEKIT__RPC_RESPONSE__VALUE_PAYLOAD) {
            LK_SET_STR(&m, payload, rsp->payload);
        }
        room_api_reply(env, c->handle, &m.base);
        break;
    }
    }
    call_free(c);
}

// ---- its beginning --------------------------------------------------------------------------

static void draw_uuid(struct rng *rng, char ret[static UUID_SIZE])
{
    uint8_t b[16];
    rng_bytes(rng, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); // RFC 9562 5.4: version 4
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    size_t n = 0;
    for (size_t i = 0; i < sizeof(b); i++) {
        const char *const dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        n += (size_t)snprintf(ret + n, UUID_SIZE - n, "%s%02x", dash, b[i]);
    }
}

static struct rpc_call *find(const struct room *r, const char *id)
{
    struct rpc_call *c = NULL;
    HASH_FIND_STR(r->rpc_calls, id, c);
    return c;
}

static struct rpc_call *enter(struct participant *p, handle_t handle)
{
    struct room *const r = p->room;
    if (room_env_claim_timers(r->env, 1) < 0) {
        return NULL;
    }
    struct rpc_call *const c = NEW(struct rpc_call);
    if (c == NULL) {
        room_env_release_timers(r->env, 1);
        return NULL;
    }
    c->room = r;
    c->handle = handle;
    c->timer.kind = ROOM_TIMER_RPC;
    (void)snprintf(c->destination, sizeof(c->destination), "%s", p->sid);
    draw_uuid(r->env->rng, c->id);
    HASH_ADD_STR(r->rpc_calls, id, c);
    if (find(r, c->id) != c) {
        room_env_release_timers(r->env, 1);
        mem_free(c);
        return NULL;
    }
    return c;
}

static bool send_request(struct rpc_call *c, const char *identity,
                         const Livekit__PerformRpcRequest *req, uint32_t timeout_ms)
{
    Livekit__RpcRequest rpc = LIVEKIT__RPC_REQUEST__INIT;
    LK_SET_STR(&rpc, id, c->id);
    LK_SET_STR(&rpc, method, req->method);
    LK_SET_STR(&rpc, payload, req->payload);
    LK_SET(&rpc, response_timeout_ms, timeout_ms);
    LK_SET(&rpc, version, 1);
    Livekit__DataPacket packet = LIVEKIT__DATA_PACKET__INIT;
    packet.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_REQUEST;
    packet.rpc_request = &rpc;
    LK_SET_STR(&packet, participant_identity, c->id);
    packet.destination_identities = (char *[]){lk_unconst_str(identity)};
    packet.n_destination_identities = 1;
    int const rc = data_router_send_server(c->room, &packet);
    c->room->env->no_memory += rc == -ENOMEM;
    return rc == 0;
}

void rpc_call_start(struct participant *p, handle_t handle, const Livekit__PerformRpcRequest *req)
{
    struct room *const r = p->room;
    struct room_env *const env = r->env;
    if (strlen(lk_str(req->payload)) > RPC_PAYLOAD_MAX) {
        fail(env, handle, RPC_REQUEST_PAYLOAD_TOO_LARGE, "Request payload too large");
        return;
    }
    if (HASH_COUNT(r->rpc_calls) >= RPC_CALLS_MAX) {
        room_api_fail(env, handle, "resource_exhausted", "too many calls");
        return;
    }
    struct rpc_call *const c = enter(p, handle);
    if (c == NULL) {
        env->no_memory++;
        room_api_fail(env, handle, "internal", "out of memory");
        return;
    }
    uint32_t timeout_ms = MIN(req->response_timeout_ms, RPC_RESPONSE_TIMEOUT_MAX_MS);
    timeout_ms = timeout_ms != 0 ? timeout_ms : RPC_RESPONSE_TIMEOUT_MS;
    c->deadline = mono_add_ms(env->now, timeout_ms);
    timer_heap_set(env->timers, &c->timer,
                   mono_add_ms(env->now, MIN(timeout_ms, RPC_ACK_TIMEOUT_MS)));
    if (!send_request(c, p->identity, req, timeout_ms)) {
        end_failed(c, RPC_SEND_FAILED, "Failed to send");
    }
}

// ---- what comes back ------------------------------------------------------------------------

bool room_rpc_take(struct room *r, const Livekit__DataPacket *packet,
                   const struct participant *sender)
{
    const char *id = NULL;
    if (packet->value_case == LIVEKIT__DATA_PACKET__VALUE_RPC_ACK) {
        id = packet->rpc_ack->request_id;
    } else if (packet->value_case == LIVEKIT__DATA_PACKET__VALUE_RPC_RESPONSE) {
        id = packet->rpc_response->request_id;
    }
    struct rpc_call *const c = id != NULL ? find(r, id) : NULL;
    // Nobody else can answer: ids are not secret from those who are told of them.
    if (c == NULL || strcmp(c->destination, sender->sid) != 0) {
        return false;
    }
    if (packet->value_case == LIVEKIT__DATA_PACKET__VALUE_RPC_RESPONSE) {
        end_answered(c, packet->rpc_response);
    } else if (!c->acked) {
        c->acked = true;
        timer_heap_set(r->env->timers, &c->timer, c->deadline);
    }
    return true;
}

void rpc_calls_participant_gone(const struct participant *p)
{
    struct rpc_call *c = NULL;
    struct rpc_call *next = NULL;
    HASH_ITER(hh, p->room->rpc_calls, c, next)
    {
        if (strcmp(c->destination, p->sid) == 0) {
            end_failed(c, RPC_RECIPIENT_DISCONNECTED, "Recipient disconnected");
        }
    }
}

void rpc_call_timeout(struct timer *t)
{
    struct rpc_call *const c = CONTAINER_OF(t, struct rpc_call, timer);
    if (c->acked) {
        end_failed(c, RPC_RESPONSE_TIMEOUT, "Response timeout");
    } else {
        end_failed(c, RPC_CONNECTION_TIMEOUT, "Connection timeout");
    }
}

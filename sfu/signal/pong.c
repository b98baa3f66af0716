// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/pong.h"

#include "common/svc/pbuf.h"

// Two 64-bit numbers and what is around them.
#define ANSWER_MAX 64u

bool pong_takes(const void *request)
{
    const Livekit__SignalRequest *const r = request;
    return r->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING ||
           r->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ;
}

static size_t pack(const Livekit__SignalResponse *rsp, struct shared_buf **ret)
{
    return pbuf_pack_shared(&rsp->base, ANSWER_MAX, ret) == 0 ? 1 : 0;
}

static size_t answer_ping(int64_t unix_ms, struct shared_buf **ret)
{
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG;
    rsp.pong = unix_ms;
    return pack(&rsp, ret);
}

static size_t answer_ping_req(int64_t last_ping, int64_t unix_ms, struct shared_buf **ret)
{
    Livekit__Pong pong = LIVEKIT__PONG__INIT;
    LK_SET(&pong, last_ping_timestamp, last_ping);
    LK_SET(&pong, timestamp, unix_ms);
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP;
    rsp.pong_resp = &pong;
    return pack(&rsp, ret);
}

size_t pong_answer(struct pong *p, mono_t now, wall_t wall, const Livekit__SignalRequest *req,
                   struct shared_buf *ret[static PONG_ANSWERS_MAX])
{
    int64_t const unix_ms = wall.us / US_PER_MS;
    if (req->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING) {
        p->pairs = p->pairs && !p->waiting;
        p->waiting = p->pairs;
        p->ping = now;
        return p->waiting ? 0 : answer_ping(unix_ms, ret);
    }
    size_t n = 0;
    p->pairs = p->ping.us != 0 && mono_diff_ms(now, p->ping) < PONG_PAIR_MS;
    if (p->waiting) {
        p->waiting = false;
        n = answer_ping(unix_ms, ret);
    }
    return n + answer_ping_req(req->ping_req->timestamp, unix_ms, ret + n);
}

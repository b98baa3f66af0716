// SPDX-License-Identifier: Apache-2.0
#include "sfu/base/channel_msg.h"

#include <stdatomic.h>

#include "common/base/mem.h"
#include "common/svc/pbuf.h"

struct channel_msg *channel_msg_new(enum channel_msg_type type, handle_t handle)
{
    struct channel_msg *const m = NEW(struct channel_msg);
    if (m != NULL) {
        m->type = type;
        m->handle = handle;
    }
    return m;
}

// ---- credit ---------------------------------------------------------------------------------

struct channel_credit {
    atomic_uint refs;
    atomic_uint messages;
    atomic_size_t bytes;
    _Atomic int64_t pinged_us;
};

struct channel_credit *channel_credit_new(void)
{
    struct channel_credit *const c = NEW(struct channel_credit);
    if (c != NULL) {
        atomic_store(&c->refs, 1);
    }
    return c;
}

struct channel_credit *channel_credit_ref(struct channel_credit *c)
{
    if (c != NULL) {
        atomic_fetch_add(&c->refs, 1);
    }
    return c;
}

void channel_credit_note_ping(struct channel_credit *c, mono_t now)
{
    if (c != NULL) {
        atomic_store_explicit(&c->pinged_us, now.us, memory_order_relaxed);
    }
}

mono_t channel_credit_pinged(const struct channel_credit *c)
{
    return (mono_t){c != NULL ? atomic_load_explicit(&c->pinged_us, memory_order_relaxed) : 0};
}

void channel_credit_unref(struct channel_credit *c)
{
    if (c != NULL && atomic_fetch_sub(&c->refs, 1) == 1) {
        mem_free(c);
    }
}

uint32_t channel_credit_messages(const struct channel_credit *c)
{
    return atomic_load_explicit(&c->messages, memory_order_relaxed);
}

size_t channel_credit_bytes(const struct channel_credit *c)
{
    return atomic_load_explicit(&c->bytes, memory_order_relaxed);
}

void channel_msg_charge(struct channel_msg *m, struct channel_credit *c, size_t bytes)
{
    atomic_fetch_add(&c->refs, 1);
    atomic_fetch_add(&c->messages, 1);
    atomic_fetch_add(&c->bytes, bytes);
    m->credit = c;
    m->charged = bytes;
}

static void give_back(struct channel_msg *m)
{
    if (m->credit != NULL) {
        atomic_fetch_sub(&m->credit->messages, 1);
        atomic_fetch_sub(&m->credit->bytes, m->charged);
        channel_credit_unref(m->credit);
    }
}

// ---- messages -------------------------------------------------------------------------------

static void join_done(struct channel_join *j)
{
    mem_free(j->room_name);
    mem_free(j->client_address);
    access_token_free(j->token);
    pbuf_free(j->request);
    channel_credit_unref(j->credit);
}

static void room_info_done(struct channel_room_info *i)
{
    mem_free(i->name);
    shared_buf_unref(i->room);
    shared_buf_unref(i->agents);
}

void channel_msg_free(struct channel_msg *m)
{
    if (m == NULL) {
        return;
    }
    switch (m->type) {
    case CHANNEL_JOIN:
        join_done(&m->u.join);
        break;
    case CHANNEL_REQUEST:
        pbuf_free(m->u.request);
        break;
    case CHANNEL_API:
        mem_free(m->u.api.room_name);
        mem_free(m->u.api.request);
        break;
    case CHANNEL_SEND:
        shared_buf_unref(m->u.send.data);
        break;
    case CHANNEL_CLAIMS:
        access_token_free(m->u.claims.token);
        break;
    case CHANNEL_API_REPLY:
        mem_free(m->u.api_reply.error_msg);
        shared_buf_unref(m->u.api_reply.body);
        break;
    case CHANNEL_EVENT:
        shared_buf_unref(m->u.event.data);
        break;
    case CHANNEL_ROOM_INFO:
    case CHANNEL_ROOM_ENDED:
        room_info_done(&m->u.room_info);
        break;
    case CHANNEL_SESSION_CLOSED:
    case CHANNEL_SHUTDOWN:
    case CHANNEL_LOG_STATS:
    case CHANNEL_CLOSE:
    case CHANNEL_SHUTDOWN_DONE:
    case CHANNEL_MSG_COUNT:
        break;
    }
    give_back(m);
    mem_free(m);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/signal_post.h"

// Takes data.
static void post(struct room_env *env, handle_t session, struct shared_buf *data)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, session);
    if (m == NULL) {
        env->no_memory++;
        shared_buf_unref(data);
        return;
    }
    m->u.send.data = data;
    room_env_post(env, m);
}

void signal_post_data(struct room_env *env, handle_t session, struct shared_buf *data)
{
    env->posted_messages++;
    env->posted_bytes += data->n;
    post(env, session, data);
}

void signal_post_session(struct room_env *env, handle_t session, const Livekit__SignalResponse *rsp)
{
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        env->no_memory++;
        return;
    }
    signal_post_data(env, session, data);
}

void signal_post(struct participant *p, const Livekit__SignalResponse *rsp)
{
    if (!handle_is_none(p->session)) {
        signal_post_session(p->room->env, p->session, rsp);
    }
}

Livekit__SignalResponse signal_response(Livekit__SignalResponse__MessageCase kind)
{
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = kind;
    return rsp;
}

void signal_post_room(struct room *r, const Livekit__SignalResponse *rsp)
{
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        r->env->no_memory++;
        return;
    }
    signal_post_room_data(r, data);
}

void signal_post_room_data(struct room *r, struct shared_buf *data)
{
    for (struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        if (!handle_is_none(p->session) && p->state != PARTICIPANT_JOINING) {
            post(r->env, p->session, shared_buf_ref(data));
        }
    }
    shared_buf_unref(data);
}

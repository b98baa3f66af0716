// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/signal_post.h"

static bool is_told(const struct participant *p)
{
    return !handle_is_none(p->session) && !p->out_of_step;
}

// Takes data. -ENOMEM: counted.
static int hand_over(struct room_env *env, handle_t session, struct shared_buf *data)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, session);
    if (m == NULL) {
        env->no_memory++;
        shared_buf_unref(data);
        return -ENOMEM;
    }
    m->u.send.data = data;
    room_env_post(env, m);
    return 0;
}

static void out_of_step(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (is_told(p)) {
        p->out_of_step = true;
        timer_heap_set(env->timers, &p->out_of_step_timer, env->now);
    }
}

void signal_post_lost(struct participant *p)
{
    p->room->env->no_memory++;
    out_of_step(p);
}

static void count(struct room_env *env, const struct shared_buf *data)
{
    env->posted_messages++;
    env->posted_bytes += data->n;
}

// Takes data.
static void deliver(struct participant *p, struct shared_buf *data)
{
    if (!is_told(p)) {
        shared_buf_unref(data);
    } else if (hand_over(p->room->env, p->session, data) < 0) {
        out_of_step(p);
    }
}

void signal_post_news(struct participant *p, struct shared_buf *data)
{
    count(p->room->env, data);
    if (is_told(p)) {
        (void)!hand_over(p->room->env, p->session, data);
    } else {
        shared_buf_unref(data);
    }
}

void signal_post_data(struct participant *p, struct shared_buf *data)
{
    count(p->room->env, data);
    deliver(p, data);
}

void signal_post_session(struct room_env *env, handle_t session, const Livekit__SignalResponse *rsp)
{
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        env->no_memory++;
        return;
    }
    count(env, data);
    (void)!hand_over(env, session, data);
}

void signal_post(struct participant *p, const Livekit__SignalResponse *rsp)
{
    struct shared_buf *data = NULL;
    if (!is_told(p)) {
        return;
    }
    if (pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        signal_post_lost(p);
        return;
    }
    signal_post_data(p, data);
}

Livekit__SignalResponse signal_response(Livekit__SignalResponse__MessageCase kind)
{
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = kind;
    return rsp;
}

int signal_post_room(struct room *r, const Livekit__SignalResponse *rsp)
{
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        r->env->no_memory++;
        return -ENOMEM;
    }
    signal_post_room_data(r, data);
    return 0;
}

void signal_post_room_data(struct room *r, struct shared_buf *data)
{
    for (struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        if (!handle_is_none(p->session) && p->state != PARTICIPANT_JOINING) {
            deliver(p, shared_buf_ref(data));
        }
    }
    shared_buf_unref(data);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/late_response.h"

#include "sfu/room/signal_post.h"

struct late_response {
    struct late_response *prev, *next;
    mono_t due;
    char participant[SID_SIZE];
    struct shared_buf *data;
};

static void take_out(struct room *r, struct late_response *l)
{
    DL_DELETE(r->late_responses, l);
    r->late_response_bytes -= sizeof(*l) + l->data->n;
}

static void post_first(struct room *r)
{
    struct late_response *const l = r->late_responses;
    struct participant *const p = room_participant_by_sid(r, l->participant);
    take_out(r, l);
    if (p != NULL) {
        signal_post_data(p, l->data);
    } else {
        shared_buf_unref(l->data);
    }
    mem_free(l);
}

void late_response_post(struct participant *p, const Livekit__SignalResponse *rsp)
{
    struct room *const r = p->room;
    if (handle_is_none(p->session)) {
        return;
    }
    struct late_response *const l = NEW(struct late_response);
    if (l == NULL || pbuf_pack_shared(&rsp->base, SIGNAL_MESSAGE_MAX, &l->data) < 0) {
        mem_free(l);
        signal_post_lost(p);
        return;
    }
    l->due = mono_add_ms(r->env->now, LATE_RESPONSE_MS);
    memcpy(l->participant, p->sid, sizeof(l->participant));
    DL_APPEND(r->late_responses, l);
    r->late_response_bytes += sizeof(*l) + l->data->n;
    while (r->late_response_bytes > LATE_RESPONSE_BYTES_MAX) {
        post_first(r);
    }
    if (r->late_responses != NULL) {
        timer_heap_set_sooner(r->env->timers, &r->responses, r->late_responses->due);
    }
}

void late_responses_timeout(struct room *r)
{
    while (r->late_responses != NULL && mono_reached(r->late_responses->due, r->env->now)) {
        post_first(r);
    }
    if (r->late_responses != NULL) {
        timer_heap_set(r->env->timers, &r->responses, r->late_responses->due);
    }
}

void late_responses_done(struct room *r)
{
    timer_heap_cancel(r->env->timers, &r->responses);
    while (r->late_responses != NULL) {
        struct late_response *const l = r->late_responses;
        take_out(r, l);
        shared_buf_unref(l->data);
        mem_free(l);
    }
}

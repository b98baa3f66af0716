// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_channels.h"

#include "common/base/hash.h"
#include "sfu/room/data_router.h"
#include "sfu/room/data_track.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"
#include "sfu/transport/peer_connection.h"

// RFC 8831 section 6.4: normal.
#define PRIORITY 256

struct data_item {
    struct data_item *next;
    struct shared_buf *data;
};

static const char *const labels[DATA_KIND_COUNT] = {"_reliable", "_lossy", "_data_track"};

static struct sctp_transport *association(const struct participant *p)
{
    const struct pc_transport *const t = participant_primary(p);
    return t != NULL ? peer_connection_sctp(t->pc) : NULL;
}

// ---- timer ----------------------------------------------------------------------------------

static void schedule(struct participant *p)
{
    struct data_channels *const d = &p->data;
    struct room_env *const env = p->room->env;
    mono_t next = MONO_NEVER;
    if (d->cut || (d->resume && !d->paced)) {
        next = env->now;
    }
    if (d->paced) {
        next = mono_min(next, d->paced_until);
    }
    if (d->waiting != NULL) {
        next = mono_min(next, d->stall_at);
    }
    if (d->head != NULL && !d->out[DATA_RELIABLE].open) {
        next = mono_min(next, d->hold_until);
    }
    if (d->lost) {
        next = mono_min(next, d->lost_at);
    }
    timer_heap_set(env->timers, &d->timer, next);
}

void data_channels_lost(struct participant *p)
{
    p->room->env->no_memory++;
    if (!p->closing) {
        p->data.cut = true;
        schedule(p);
    }
}

// ---- queue ----------------------------------------------------------------------------------

static void drop_head(struct data_channels *d)
{
    struct data_item *const i = d->head;
    d->head = i->next;
    d->queued -= i->data->n;
    shared_buf_unref(i->data);
    mem_free(i);
}

static void drop_all(struct participant *p, enum room_drop reason)
{
    while (p->data.head != NULL) {
        p->room->env->drops[reason]++;
        drop_head(&p->data);
    }
}

static int append(struct participant *p, struct shared_buf *data)
{
    struct data_channels *const d = &p->data;
    struct data_item *const i = NEW(struct data_item);
    if (i == NULL) {
        data_channels_lost(p);
        return -ENOMEM;
    }
    i->data = shared_buf_ref(data);
    if (d->head != NULL) {
        d->tail->next = i;
    } else {
        d->head = i;
    }
    d->tail = i;
    d->queued += data->n;
    return 0;
}

// ---- senders that wait ----------------------------------------------------------------------

static void set_reading(struct participant *p, bool on)
{
    struct pc_transport *const transports[2] = {p->publisher, p->subscriber};
    for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
        struct sctp_transport *const s =
            transports[i] != NULL ? peer_connection_sctp(transports[i]->pc) : NULL;
        if (s != NULL) {
            sctp_transport_set_reading(s, on);
        }
    }
}

static void stop_waiting(struct participant *from)
{
    struct participant *const to = from->data.waits_for;
    DL_DELETE2(to->data.waiting, from, data.wait_prev, data.wait_next);
    from->data.waits_for = NULL;
    schedule(to);
}

// Not at once: the caller is in the middle of sending to the queue.
static void release_senders(struct participant *to)
{
    while (to->data.waiting != NULL) {
        struct participant *const from = to->data.waiting;
        stop_waiting(from);
        from->data.resume = true;
        schedule(from);
    }
}

void data_channels_slow(struct participant *from, struct participant *to)
{
    struct data_channels *const d = &to->data;
    if (!d->congested || d->cut || from->data.waits_for != NULL || from == to) {
        return;
    }
    if (d->waiting == NULL) {
        d->drained = 0;
        d->stall_at = mono_add_ms(to->room->env->now, DATA_STALL_MS);
    }
    from->data.waits_for = to;
    from->data.resume = false;
    DL_APPEND2(d->waiting, from, data.wait_prev, data.wait_next);
    set_reading(from, false);
    schedule(to);
}

void data_channels_spend(struct participant *from, size_t receivers, size_t n)
{
    struct data_channels *const d = &from->data;
    mono_t const now = from->room->env->now;
    mono_t const at = data_pace_spend(&d->pace, &from->room->data_pace, now, receivers, n);
    if (mono_reached(at, now)) {
        return;
    }
    d->paced = true;
    d->paced_until = at;
    set_reading(from, false);
    schedule(from);
}

static void note_queue(struct participant *p)
{
    struct data_channels *const d = &p->data;
    if (d->queued > DATA_QUEUE_MAX) {
        d->cut = true;
    }
    d->congested = d->queued > (d->congested ? DATA_RELIEVED_BYTES : DATA_CONGESTED_BYTES);
    if (!d->congested) {
        release_senders(p);
    }
    schedule(p);
}

// ---- sending --------------------------------------------------------------------------------

// -ENOTCONN: there is no such channel now.
static int push(struct participant *p, enum data_kind kind, struct bytes message)
{
    struct sctp_transport *const s = association(p);
    if (s == NULL || !p->data.out[kind].open) {
        return -ENOTCONN;
    }
    int const rc = sctp_transport_send(s, p->data.out[kind].id, true, message);
    if (rc == 0) {
        p->data.accepted += message.n;
        p->data.reliable_in_sctp += kind == DATA_RELIABLE ? message.n : 0;
        peer_connection_flush_sctp(participant_primary(p)->pc, p->room->env->outbox);
    }
    return rc;
}

static void drain(struct participant *p)
{
    struct data_channels *const d = &p->data;
    bool any = false;
    while (d->head != NULL && !d->cut) {
        size_t const n = d->head->data->n;
        int const rc = push(p, DATA_RELIABLE, shared_buf_view(d->head->data));
        if (rc == -EAGAIN || rc == -ENOTCONN || rc == -ENOENT) {
            break;
        }
        p->room->env->drops[ROOM_DROP_DATA_TOO_LARGE] += rc < 0;
        d->drained += n;
        any = true;
        drop_head(d);
    }
    if (any) {
        note_queue(p);
    }
}

// For a receiver whose channel is not open.
static int hold(struct participant *p, struct shared_buf *data)
{
    struct data_channels *const d = &p->data;
    struct room_env *const env = p->room->env;
    if (d->absent) {
        env->drops[ROOM_DROP_DATA_NO_CHANNEL]++;
        return -ENOTCONN;
    }
    if (d->head == NULL) {
        d->hold_until = mono_add_ms(env->now, DATA_HOLD_MS);
    }
    int const rc = append(p, data);
    while (d->queued > DATA_HOLD_MAX) {
        env->drops[ROOM_DROP_DATA_HELD]++;
        drop_head(d);
    }
    schedule(p);
    return rc;
}

static int send_reliable(struct participant *p, struct shared_buf *data)
{
    struct data_channels *const d = &p->data;
    if (d->cut) {
        p->room->env->drops[ROOM_DROP_DATA_SLOW]++;
        return -ENOTCONN;
    }
    if (!d->out[DATA_RELIABLE].open) {
        return hold(p, data);
    }
    int rc = d->head == NULL ? push(p, DATA_RELIABLE, shared_buf_view(data)) : -EAGAIN;
    if (rc == -EMSGSIZE || rc == 0) {
        p->room->env->drops[ROOM_DROP_DATA_TOO_LARGE] += rc < 0;
        return rc;
    }
    rc = append(p, data);
    note_queue(p);
    return rc;
}

// Whether an unreliable message of n bytes would still arrive in time.
static bool fits_in_time(struct participant *p, struct sctp_transport *s, size_t n)
{
    struct data_channels *const d = &p->data;
    mono_t const now = p->room->env->now;
    size_t const buffered = sctp_transport_buffered(s);
    size_t const acked = d->accepted - buffered;
    if (acked != d->acked || buffered == 0) {
        d->acked = acked;
        d->progress_at = now;
    }
    d->reliable_in_sctp = MIN(d->reliable_in_sctp, buffered);
    size_t const unreliable = buffered - d->reliable_in_sctp;
    bool const stuck = mono_diff_ms(now, d->progress_at) > DATA_LOSSY_MS;
    return unreliable + n <= (stuck ? DATA_LOSSY_FLOOR : DATA_LOSSY_BYTES);
}

int data_channels_send_bytes(struct participant *to, enum data_kind kind, struct bytes message)
{
    struct room_env *const env = to->room->env;
    struct sctp_transport *const s = association(to);
    assert(kind != DATA_RELIABLE);
    if (s == NULL || !to->data.out[kind].open || !participant_primary(to)->connected) {
        env->drops[ROOM_DROP_DATA_NO_CHANNEL]++;
        return -ENOTCONN;
    }
    if (to->data.cut || !fits_in_time(to, s, message.n)) {
        env->drops[ROOM_DROP_DATA_SLOW]++;
        return -EAGAIN;
    }
    int const rc = push(to, kind, message);
    if (rc < 0) {
        env->drops[rc == -EMSGSIZE ? ROOM_DROP_DATA_TOO_LARGE : ROOM_DROP_DATA_SLOW]++;
    }
    return rc;
}

int data_channels_send(struct participant *to, enum data_kind kind, struct shared_buf *data)
{
    return kind == DATA_RELIABLE ? send_reliable(to, data)
                                 : data_channels_send_bytes(to, kind, shared_buf_view(data));
}

// ---- channels -------------------------------------------------------------------------------

static enum data_kind kind_of(const struct data_channel *ch)
{
    struct bytes const label = bytes_of(ch->label, ch->label_len);
    enum data_kind kind = DATA_RELIABLE;
    while (kind < DATA_KIND_COUNT && !bytes_eq(label, bytes_str(labels[kind]))) {
        kind++;
    }
    return kind;
}

// v0: ours to open on the transport that we offer (livekit-protocol 3.8.1).
static void open_channels(struct pc_transport *t)
{
    struct sctp_transport *const s = peer_connection_sctp(t->pc);
    for (enum data_kind kind = 0; kind < DATA_KIND_COUNT; kind++) {
        struct data_channel_params const params = {
            .label = bytes_str(labels[kind]),
            .priority = PRIORITY,
            .reliability_kind = kind == DATA_RELIABLE ? DCEP_RELIABLE : DCEP_REXMIT,
            .reliability = 0,
            .unordered = kind != DATA_RELIABLE,
        };
        uint16_t id = 0;
        // A fresh association has ids enough.
        (void)!sctp_transport_open_channel(s, &params, &id);
    }
}

// Channels may come, go and be replaced: looks again which are there.
static void look_again(struct participant *p)
{
    struct data_channels *const d = &p->data;
    const struct sctp_transport *const s = association(p);
    bool const was_open = d->out[DATA_RELIABLE].open;
    for (enum data_kind kind = 0; kind < DATA_KIND_COUNT; kind++) {
        const struct data_channel *const ch =
            s != NULL && sctp_transport_state(s) == SCTP_STATE_UP
                ? sctp_transport_find_channel(s, bytes_str(labels[kind]))
                : NULL;
        d->out[kind].open = ch != NULL && ch->state == DATA_CHANNEL_OPEN;
        d->out[kind].id = ch != NULL ? ch->id : 0;
    }
    if (d->out[DATA_RELIABLE].open) {
        d->absent = false;
        drain(p);
    } else if (was_open) {
        // It may come back; whoever filled the queue need not wait for that.
        d->hold_until = mono_add_ms(p->room->env->now, DATA_HOLD_MS);
        d->congested = false;
        release_senders(p);
    }
    schedule(p);
}

static void note_lost(struct participant *p)
{
    struct data_channels *const d = &p->data;
    d->lost = d->out[DATA_RELIABLE].open;
    d->lost_at = mono_add_ms(p->room->env->now, DATA_LOST_MS);
    look_again(p);
}

static void on_message(struct pc_transport *t, const struct sctp_event *e)
{
    struct participant *const p = t->participant;
    const struct data_channel *const ch =
        sctp_transport_channel(peer_connection_sctp(t->pc), e->channel);
    if (ch == NULL) {
        return; // closed meanwhile
    }
    switch (kind_of(ch)) {
    case DATA_RELIABLE:
        data_router_input(p, DATA_RELIABLE, e->data);
        break;
    case DATA_LOSSY:
        data_router_input(p, DATA_LOSSY, e->data);
        break;
    case DATA_TRACK:
        data_track_input(p, e->data);
        break;
    case DATA_KIND_COUNT:
        data_router_opaque(p, e->data);
        break;
    }
}

void data_channels_event(struct pc_transport *t, const struct sctp_event *e)
{
    struct participant *const p = t->participant;
    bool const primary = t == participant_primary(p);
    switch (e->kind) {
    case SCTP_EVENT_UP:
        p->data.lost = false;
        p->data.accepted = 0;
        p->data.reliable_in_sctp = 0;
        if (!p->v1 && t->target == PC_SUBSCRIBER) {
            open_channels(t);
        }
        if (primary) {
            look_again(p);
        }
        break;
    case SCTP_EVENT_DOWN:
        if (e->broken) {
            data_channels_lost(p);
        } else if (primary) {
            note_lost(p);
        }
        break;
    case SCTP_EVENT_CHANNEL_OPEN:
    case SCTP_EVENT_CHANNEL_CLOSED:
    case SCTP_EVENT_WRITABLE:
        if (primary) {
            look_again(p);
        }
        break;
    case SCTP_EVENT_MESSAGE:
        on_message(t, e);
        break;
    }
}

// ---- end ------------------------------------------------------------------------------------

static void read_on(struct participant *p)
{
    struct pc_transport *const transports[2] = {p->publisher, p->subscriber};
    p->data.resume = false;
    set_reading(p, true);
    for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
        if (transports[i] != NULL) {
            pc_transport_sctp_ready(transports[i]);
        }
    }
}

void data_channels_timeout(struct participant *p)
{
    struct data_channels *const d = &p->data;
    mono_t const now = p->room->env->now;
    if (d->waiting != NULL && mono_reached(d->stall_at, now)) {
        d->cut |= d->drained < DATA_STALL_BYTES;
        d->drained = 0;
        d->stall_at = mono_add_ms(now, DATA_STALL_MS);
    }
    d->cut |= d->lost && mono_reached(d->lost_at, now);
    if (d->cut) {
        signal_send_leave(p, DISCONNECT_STATE_MISMATCH, LEAVE_RECONNECT);
        participant_close(p, DISCONNECT_STATE_MISMATCH);
        return;
    }
    if (d->head != NULL && !d->out[DATA_RELIABLE].open && mono_reached(d->hold_until, now)) {
        drop_all(p, ROOM_DROP_DATA_NO_CHANNEL);
        d->absent = true;
    }
    if (d->paced && mono_reached(d->paced_until, now)) {
        d->paced = false;
        d->resume = d->waits_for == NULL;
    }
    if (d->resume && !d->paced) {
        read_on(p);
    }
    schedule(p);
}

void data_channels_close(struct participant *p)
{
    struct data_channels *const d = &p->data;
    if (d->waits_for != NULL) {
        stop_waiting(p);
    }
    d->congested = false;
    release_senders(p);
    while (d->head != NULL) {
        drop_head(d);
    }
    timer_heap_cancel(p->room->env->timers, &d->timer);
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_router.h"

#include <stdlib.h>

#include "common/svc/pbuf.h"
#include "sfu/room/data_packet.h"
#include "sfu/room/room.h"
#include "sfu/room/rpc_calls.h"
#include "sfu/transport/sctp_transport.h"

// ---- receivers ------------------------------------------------------------------------------

// Who is to get one packet.
struct receivers {
    struct room *room;
    struct participant *from; // NULL: the server
    enum data_kind kind;
    bool metrics; // canSubscribeMetrics only
    struct shared_buf *data;
    size_t sent;
};

static void deliver(struct receivers *r, struct participant *to)
{
    bool const there = r->kind == DATA_RELIABLE ? to->state >= PARTICIPANT_JOINED
                                                : to->state == PARTICIPANT_ACTIVE;
    if (to == r->from || to->closing || !there ||
        (r->metrics && !to->permission.can_subscribe_metrics)) {
        return;
    }
    // What is lost is counted there.
    (void)!data_channels_send(to, r->kind, r->data);
    r->sent++;
    if (r->kind == DATA_RELIABLE && r->from != NULL) {
        data_channels_slow(r->from, to);
    }
}

static void deliver_all(struct receivers *r)
{
    for (struct participant *p = r->room->participants; p != NULL; p = p->hh.next) {
        deliver(r, p);
    }
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Sorts and removes repetitions; the number that is left.
static size_t sort_unique(char **v, size_t n)
{
    size_t kept = 0;
    qsort(v, n, sizeof(*v), compare_text);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(v[kept - 1], v[i]) != 0) {
            v[kept++] = v[i];
        }
    }
    return kept;
}

static bool names(char *const *sorted, size_t n, const char *text)
{
    return n > 0 && bsearch(&text, sorted, n, sizeof(*sorted), compare_text) != NULL;
}

// A participant that is named twice, by sid and identity, gets one.
static void deliver_named(struct receivers *r, char **identities, size_t n_identities, char **sids,
                          size_t n_sids)
{
    n_identities = sort_unique(identities, n_identities);
    n_sids = sort_unique(sids, n_sids);
    for (size_t i = 0; i < n_identities; i++) {
        struct participant *const p = room_participant(r->room, identities[i]);
        if (p != NULL) {
            deliver(r, p);
        }
    }
    for (size_t i = 0; i < n_sids; i++) {
        struct participant *const p = room_participant_by_sid(r->room, sids[i]);
        if (p != NULL && !names(identities, n_identities, p->identity)) {
            deliver(r, p);
        }
    }
}

static int deliver_to_destinations(struct receivers *r, const Livekit__DataPacket *packet,
                                   char **identities, size_t n_identities)
{
    bool const user = packet->value_case == LIVEKIT__DATA_PACKET__VALUE_USER;
    size_t const n_sids = user ? packet->user->n_destination_sids : 0;
    // Sorted in a copy: the packet belongs to the caller.
    char **const list = mem_array(n_identities + n_sids, sizeof(*list));
    if (list == NULL) {
        return -ENOMEM;
    }
    if (n_identities > 0) {
        memcpy(list, identities, n_identities * sizeof(*list));
    }
    if (n_sids > 0) {
        memcpy(list + n_identities, packet->user->destination_sids, n_sids * sizeof(*list));
    }
    deliver_named(r, list, n_identities, list + n_identities, n_sids);
    mem_free(list);
    return 0;
}

// Encodes and delivers.
static int send_packet(struct receivers *r, const Livekit__DataPacket *packet)
{
    bool const user = packet->value_case == LIVEKIT__DATA_PACKET__VALUE_USER;
    size_t const n_identities = packet->n_destination_identities != 0
                                    ? packet->n_destination_identities
                                    : (user ? packet->user->n_destination_identities : 0);
    char **const from = packet->n_destination_identities != 0 ? packet->destination_identities
                        : user                                ? packet->user->destination_identities
                                                              : NULL;
    size_t const n_sids = user ? packet->user->n_destination_sids : 0;
    if (n_identities + n_sids > DATA_DESTINATIONS_MAX) {
        return -E2BIG;
    }
    int rc = pbuf_pack_shared(&packet->base, SCTP_MAX_MESSAGE, &r->data);
    if (rc < 0) {
        return rc == -E2BIG ? -EMSGSIZE : rc;
    }
    if (n_identities + n_sids == 0) {
        deliver_all(r);
    } else {
        rc = deliver_to_destinations(r, packet, from, n_identities);
    }
    if (r->from != NULL) {
        data_channels_spend(r->from, r->sent, r->data->n);
    }
    shared_buf_unref(r->data);
    return rc;
}

// ---- from participants ----------------------------------------------------------------------

static struct data_packet_sender sender_of(const struct participant *p)
{
    return (struct data_packet_sender){
        .sid = p->sid,
        .identity = p->identity,
        .hidden = p->permission.hidden,
        .agent = p->permission.agent || p->kind == LIVEKIT__PARTICIPANT_INFO__KIND__AGENT,
    };
}

static bool may_send(struct participant *p)
{
    if (p->closing || !p->permission.can_publish_data) {
        p->room->env->drops[ROOM_DROP_DATA_NOT_ALLOWED]++;
        return false;
    }
    return true;
}

static void note_no_memory(struct participant *p, enum data_kind kind)
{
    if (kind == DATA_RELIABLE) {
        data_channels_lost(p);
    } else {
        p->room->env->no_memory++;
    }
}

static void forward(struct participant *p, enum data_kind kind, const Livekit__DataPacket *packet,
                    bool metrics)
{
    struct receivers r = {.room = p->room, .from = p, .kind = kind, .metrics = metrics};
    int const rc = send_packet(&r, packet);
    if (rc == -ENOMEM) {
        note_no_memory(p, kind);
    } else if (rc < 0) {
        p->room->env->drops[ROOM_DROP_DATA_TOO_LARGE]++;
    }
}

static void route(struct participant *p, enum data_kind kind, struct pbuf *b)
{
    Livekit__DataPacket *const packet = b->msg;
    struct data_packet_sender const from = sender_of(p);
    if (room_rpc_take(p->room, packet, p)) {
        return; // the answer to a call of the server API
    }
    switch (data_packet_prepare(packet, kind, &from)) {
    case DATA_PACKET_FORBIDDEN:
        p->room->env->drops[ROOM_DROP_DATA_NOT_ALLOWED]++;
        break;
    case DATA_PACKET_METRICS:
        data_packet_normalize_metrics(packet->metrics, p->room->env->wall, &b->arena);
        forward(p, kind, packet, true);
        break;
    case DATA_PACKET_FORWARD:
        forward(p, kind, packet, false);
        break;
    }
}

// NULL: dropped and counted.
static struct pbuf *unpack(struct participant *p, enum data_kind kind, struct bytes message)
{
    struct pbuf *b = NULL;
    if (!may_send(p)) {
        return NULL;
    }
    int const rc =
        pbuf_unpack(&livekit__data_packet__descriptor, message, DATA_PACKET_ARENA_CAP, &b);
    if (rc == -ENOMEM) {
        note_no_memory(p, kind);
    } else if (rc < 0) {
        p->room->env->drops[ROOM_DROP_DATA_MALFORMED]++;
    }
    return b;
}

// ---- reliable packets in order --------------------------------------------------------------

// What is missing may still be repeated: the client is away, has just come back, or has not been
// heard of for so long that it must have noticed the loss of its socket before us.
static bool may_repeat(const struct participant *p)
{
    mono_t const now = p->room->env->now;
    return handle_is_none(p->session) ||
           (p->was_resumed && mono_diff_ms(now, p->resumed) < DATA_REPEAT_MS) ||
           (channel_credit_pinged(p->credit).us != 0 &&
            mono_diff_ms(now, participant_heard(p)) > DATA_REPEAT_SILENT_MS);
}

// Sends on what was kept and is next (any: all of it).
static void release_held(struct participant *p, bool any)
{
    struct data_held *x;
    while ((x = data_gap_take(&p->data_gap, p->data_sequence, any)) != NULL) {
        struct pbuf *const b = unpack(p, DATA_RELIABLE, bytes_of(x->data, x->n));
        p->data_sequence = x->sequence;
        if (b != NULL) {
            route(p, DATA_RELIABLE, b);
        }
        pbuf_free(b);
        mem_free(x);
    }
    if (p->data_gap.first == NULL) {
        timer_heap_cancel(p->room->env->timers, &p->data_gap_timer);
    }
}

// A message that is not the next one.
static void hold(struct participant *p, uint32_t sequence, struct bytes message)
{
    struct room_env *const env = p->room->env;
    if (p->data_gap.first == NULL) {
        timer_heap_set(env->timers, &p->data_gap_timer, mono_add_ms(env->now, DATA_REPEAT_MS));
    }
    switch (data_gap_put(&p->data_gap, sequence, message)) {
    case 0:
        break;
    case -EEXIST:
        env->drops[ROOM_DROP_DATA_REPEATED]++;
        break;
    case -ENOMEM:
        data_channels_lost(p);
        break;
    default:
        env->drops[ROOM_DROP_DATA_GAP]++;
        break;
    }
}

static void route_in_order(struct participant *p, struct pbuf *b, struct bytes message)
{
    uint32_t const sequence = ((const Livekit__DataPacket *)b->msg)->sequence;
    if (sequence <= p->data_sequence) {
        p->room->env->drops[ROOM_DROP_DATA_REPEATED]++;
        return;
    }
    if (sequence - 1 != p->data_sequence) {
        // What is kept already is as old as the gap; a client that repeats nothing waits no longer.
        if (may_repeat(p) || p->data_gap.first != NULL) {
            hold(p, sequence, message);
            return;
        }
    }
    p->data_sequence = sequence;
    route(p, DATA_RELIABLE, b);
    release_held(p, false);
}

void data_router_gap_timeout(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (may_repeat(p)) {
        mono_t const until = mono_add_ms(p->resumed, DATA_REPEAT_MS);
        bool const back = p->was_resumed && !handle_is_none(p->session);
        timer_heap_set(
            env->timers, &p->data_gap_timer,
            back && mono_before(env->now, until) ? until : mono_add_ms(env->now, DATA_REPEAT_MS));
    } else {
        release_held(p, true);
    }
}

void data_router_flush(struct participant *p)
{
    release_held(p, true);
}

void data_router_input(struct participant *p, enum data_kind kind, struct bytes message)
{
    struct pbuf *const b = unpack(p, kind, message);
    if (b == NULL) {
        return;
    }
    if (kind == DATA_RELIABLE && ((const Livekit__DataPacket *)b->msg)->sequence != 0) {
        route_in_order(p, b, message);
    } else {
        route(p, kind, b);
    }
    pbuf_free(b);
}

void data_router_opaque(struct participant *p, struct bytes message)
{
    struct data_packet_sender const from = sender_of(p);
    Livekit__DataPacket packet;
    Livekit__UserPacket user;
    if (may_send(p)) {
        data_packet_wrap(&packet, &user, message, &from);
        forward(p, DATA_RELIABLE, &packet, false);
    }
}

uint32_t data_router_last_sequence(const struct participant *p)
{
    return p->data_sequence;
}

// ---- from the server ------------------------------------------------------------------------

int data_router_send_server(struct room *r, Livekit__DataPacket *packet)
{
    struct receivers to = {
        .room = r,
        .kind = packet->kind == LIVEKIT__DATA_PACKET__KIND__LOSSY ? DATA_LOSSY : DATA_RELIABLE,
    };
    return send_packet(&to, packet);
}

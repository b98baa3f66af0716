// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/participant_info.h"

#include "common/lk/livekit.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/signal_post.h"

// Keys (number << 3 | 2, length-delimited) of the fields that are put together here.
#define KEY_RESPONSE_JOIN 0x0au   // SignalResponse.join = 1
#define KEY_RESPONSE_UPDATE 0x2au // SignalResponse.update = 5
#define KEY_JOIN_OTHERS 0x1au     // JoinResponse.other_participants = 3
#define KEY_UPDATE_PERSON 0x0au   // ParticipantUpdate.participants = 1

// A key of one byte and a length below 2^28.
#define FIELD_HEAD_MAX 5u

// ---- encoding -------------------------------------------------------------------------------

static size_t head_size(size_t n)
{
    size_t size = 2;
    for (; n >= 0x80; n >>= 7) {
        size++;
    }
    return size;
}

static size_t field_size(const struct shared_buf *b)
{
    return head_size(b->n) + b->n;
}

static size_t write_head(uint8_t ret[static FIELD_HEAD_MAX], uint8_t key, size_t n)
{
    size_t at = 0;
    ret[at++] = key;
    for (; n >= 0x80; n >>= 7) {
        ret[at++] = (uint8_t)(n | 0x80);
    }
    ret[at++] = (uint8_t)n;
    return at;
}

static void put_head(struct wr *w, uint8_t key, size_t n)
{
    uint8_t head[FIELD_HEAD_MAX];
    wr_bytes(w, bytes_of(head, write_head(head, key, n)));
}

static bool is_current(const struct participant *p)
{
    return p->info != NULL && p->info_version == p->version;
}

const struct shared_buf *participant_info(struct participant *p)
{
    if (is_current(p)) {
        return p->info;
    }
    participant_info_drop(p);
    struct arena a;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    const Livekit__ParticipantInfo *const m = proto_map_participant(p, &a);
    if (m == NULL || pbuf_pack_shared(&m->base, SIGNAL_MESSAGE_MAX, &p->info) < 0) {
        p->room->env->no_memory++;
    }
    p->info_version = p->version;
    arena_done(&a);
    return p->info;
}

void participant_info_drop(struct participant *p)
{
    shared_buf_unref(p->info);
    p->info = NULL;
}

// ---- updates --------------------------------------------------------------------------------

void info_batch_init(struct info_batch *b, struct room *r, struct participant *to)
{
    *b = (struct info_batch){.room = r, .to = to};
    dynbuf_init(&b->body, SIGNAL_MESSAGE_MAX - FIELD_HEAD_MAX);
}

static void flush(struct info_batch *b)
{
    struct room_env *const env = b->room->env;
    struct bytes const body = dynbuf_view(&b->body);
    if (body.n == 0 && dynbuf_ok(&b->body)) {
        return;
    }
    struct shared_buf *const data =
        dynbuf_ok(&b->body) ? shared_buf_new(head_size(body.n) + body.n) : NULL;
    if (data == NULL) {
        env->no_memory++;
        b->failed = true;
    } else {
        struct wr w = wr_init(data->p, data->n);
        put_head(&w, KEY_RESPONSE_UPDATE, body.n);
        wr_bytes(&w, body);
        if (b->to == NULL) {
            signal_post_room_data(b->room, data);
        } else {
            signal_post_data(b->to, data);
        }
    }
    dynbuf_reset(&b->body);
}

void info_batch_add(struct info_batch *b, struct participant *p)
{
    const struct shared_buf *const info = participant_info(p);
    if (info == NULL) {
        b->failed = true;
        return;
    }
    if (b->body.n > 0 && b->body.n + field_size(info) > INFO_BATCH_SPLIT) {
        flush(b);
    }
    uint8_t head[FIELD_HEAD_MAX];
    dynbuf_add(&b->body, bytes_of(head, write_head(head, KEY_UPDATE_PERSON, info->n)));
    dynbuf_add(&b->body, shared_buf_view(info));
}

int info_batch_send(struct info_batch *b)
{
    flush(b);
    dynbuf_done(&b->body);
    if (b->failed && b->to != NULL) {
        signal_post_lost(b->to);
    }
    return b->failed ? -ENOMEM : 0;
}

void participant_info_send_snapshot(struct participant *p)
{
    struct info_batch b;
    info_batch_init(&b, p->room, p);
    for (struct participant *o = p->room->participants; o != NULL; o = o->hh.next) {
        if (o == p || (!o->permission.hidden && o->state != PARTICIPANT_JOINING)) {
            info_batch_add(&b, o);
        }
    }
    (void)info_batch_send(&b);
}

// ---- join -----------------------------------------------------------------------------------

static bool is_other(const struct participant *p, const struct participant *o)
{
    return o != p && !o->permission.hidden && o->state != PARTICIPANT_JOINING;
}

// Encodes everybody who fits behind `fixed` bytes; *ret_end is the first who does not, NULL if all
// do. Returns the size of their fields. *ret_complete: nobody was left out for lack of memory.
static size_t fit_others(struct participant *p, size_t fixed, struct participant **ret_end,
                         bool *ret_complete)
{
    size_t n = 0;
    struct participant *o = p->room->participants;
    for (; o != NULL; o = o->hh.next) {
        const struct shared_buf *const info = is_other(p, o) ? participant_info(o) : NULL;
        if (info == NULL) {
            *ret_complete &= !is_other(p, o);
            continue;
        }
        if (fixed + n + field_size(info) > SIGNAL_MESSAGE_MAX - FIELD_HEAD_MAX) {
            break;
        }
        n += field_size(info);
    }
    *ret_end = o;
    return n;
}

static void put_others(struct wr *w, const struct participant *p, const struct participant *end)
{
    const struct participant *o = p->room->participants;
    for (; o != end; o = o->hh.next) {
        if (is_other(p, o)) {
            put_head(w, KEY_JOIN_OTHERS, o->info->n);
            wr_bytes(w, shared_buf_view(o->info));
        }
    }
}

void participant_info_send_join(struct participant *p, const ProtobufCMessage *join)
{
    struct participant *end = NULL;
    bool complete = true;
    size_t const fixed = protobuf_c_message_get_packed_size(join);
    size_t const n = fixed + fit_others(p, fixed, &end, &complete);
    struct shared_buf *const data =
        complete && fixed <= SIGNAL_MESSAGE_MAX ? shared_buf_new(head_size(n) + n) : NULL;
    if (data == NULL) {
        signal_post_lost(p);
        return;
    }
    struct wr w = wr_init(data->p, data->n);
    put_head(&w, KEY_RESPONSE_JOIN, n);
    (void)protobuf_c_message_pack(join, w.p);
    w.p += fixed;
    put_others(&w, p, end);
    assert(wr_ok(&w) && wr_left(&w) == 0);
    signal_post_data(p, data);

    struct info_batch rest;
    info_batch_init(&rest, p->room, p);
    for (struct participant *o = end; o != NULL; o = o->hh.next) {
        if (is_other(p, o)) {
            info_batch_add(&rest, o);
        }
    }
    (void)info_batch_send(&rest);
}

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_data.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "tests/support/room_client.h"

static const char *const labels[ROOM_CHANNEL_COUNT] = {"_reliable", "_lossy", "_data_track",
                                                       "something"};

void room_data_init(struct room_data *d)
{
    dynbuf_init(&d->told, (size_t)4 << 20);
}

void room_data_done(struct room_data *d)
{
    dynbuf_done(&d->told);
}

static struct room_pc *receiving(const struct room_client *c)
{
    return c->conf.v0 && !c->conf.no_subscribe ? c->subscriber : c->publisher;
}

// ---- channels -------------------------------------------------------------------------------

static void open_one(struct sctp_transport *s, enum room_channel channel, bool go)
{
    bool const lossy = channel == ROOM_LOSSY || channel == ROOM_DATA_TRACK;
    struct data_channel_params const params = {
        .label = bytes_str(labels[channel]),
        .priority = 256,
        .reliability_kind = lossy ? DCEP_REXMIT : DCEP_RELIABLE,
        .reliability = lossy && go ? 1 : 0,
        .unordered = lossy,
    };
    uint16_t id = 0;
    room_must(sctp_transport_open_channel(s, &params, &id) == 0, "open_channel");
}

// livekit-client's order (livekit-protocol 3.8.1).
static void open_channels(struct room_pc *p)
{
    struct sctp_transport *const s = peer_connection_sctp(p->pc);
    if (p->client->conf.no_channels) {
        return;
    }
    open_one(s, ROOM_LOSSY, p->client->conf.go_channels);
    open_one(s, ROOM_RELIABLE, p->client->conf.go_channels);
    if (!p->client->conf.go_channels) {
        open_one(s, ROOM_DATA_TRACK, p->client->conf.go_channels);
    }
    if (p->client->conf.other_channel) {
        open_one(s, ROOM_OTHER, p->client->conf.go_channels);
    }
}

static enum room_channel channel_of(const struct data_channel *ch)
{
    enum room_channel i = ROOM_RELIABLE;
    while (i < ROOM_OTHER && !bytes_eq(bytes_of(ch->label, ch->label_len), bytes_str(labels[i]))) {
        i++;
    }
    return i;
}

static void on_open(struct room_pc *p, uint16_t id, bool by_peer)
{
    struct room_client *const c = p->client;
    const struct data_channel *const ch = sctp_transport_channel(peer_connection_sctp(p->pc), id);
    if (ch == NULL) {
        return;
    }
    // livekit-protocol 10.6, trap 10.
    if (by_peer && (!c->conf.v0 || !p->subscriber)) {
        room_harness_violation(c->h, "the server opened a channel on a transport of the client");
    }
    enum room_channel const channel = channel_of(ch);
    if (by_peer) {
        bool const lossy = channel != ROOM_RELIABLE;
        if (ch->unordered != lossy || ch->reliability != 0 ||
            (ch->reliability_kind == DCEP_REXMIT) != lossy) {
            room_harness_violation(c->h, "channel %s has other options", labels[channel]);
        }
        c->data.order[channel] = id;
    }
    if (p == receiving(c)) {
        c->data.opened[channel] = true;
    }
}

// ---- receiving ------------------------------------------------------------------------------

// livekit-client drops what it has seen; here it is a fault of the server unless the sender itself
// repeats.
static bool is_repeated(struct room_client *c, const Livekit__DataPacket *p)
{
    struct room_data *const d = &c->data;
    if (p->sequence == 0) {
        return false;
    }
    size_t i = 0;
    while (i < d->from_count && strcmp(d->from[i].sid, lk_str(p->participant_sid)) != 0) {
        i++;
    }
    if (i == d->from_count) {
        room_must(d->from_count < ROOM_DATA_SENDERS, "room for another sender");
        (void)snprintf(d->from[d->from_count++].sid, sizeof(d->from[0].sid), "%s",
                       lk_str(p->participant_sid));
    }
    if (p->sequence <= d->from[i].last_sequence) {
        return true;
    }
    d->from[i].last_sequence = p->sequence;
    return false;
}

static void on_chunk(struct room_data *d, const Livekit__DataStream__Chunk *k)
{
    bool good = k->chunk_index == d->chunk_next && k->content.len > 0;
    for (size_t i = 0; i < k->content.len; i += 997) {
        good = good && k->content.data[i] == (uint8_t)(k->chunk_index + i);
    }
    d->file_gaps += !good;
    d->chunk_next = k->chunk_index + 1;
    d->file_bytes += k->content.len;
}

static void note(struct room_data *d, const Livekit__DataPacket *p, struct bytes text)
{
    dynbuf_addf(&d->told, "%s%s:", d->told.n > 0 ? ", " : "", lk_str(p->participant_identity));
    dynbuf_add(&d->told, text);
}

static void on_packet(struct room_client *c, const Livekit__DataPacket *p)
{
    struct room_data *const d = &c->data;
    d->packets++;
    if (d->tap != NULL) {
        d->tap(c, p);
    }
    switch (p->value_case) {
    case LIVEKIT__DATA_PACKET__VALUE_USER:
        note(d, p, bytes_of(p->user->payload.data, p->user->payload.len));
        d->opaque += *lk_str(p->user->topic) == 0 && p->sequence == 0;
        if (strcmp(lk_str(p->user->participant_identity), lk_str(p->participant_identity)) != 0) {
            room_harness_violation(c->h, "two identities in a user packet");
        }
        break;
    case LIVEKIT__DATA_PACKET__VALUE_CHAT_MESSAGE:
        note(d, p, bytes_str(lk_str(p->chat_message->message)));
        d->generated = p->chat_message->generated;
        break;
    case LIVEKIT__DATA_PACKET__VALUE_TRANSCRIPTION:
        note(d, p, bytes_str(lk_str(p->transcription->track_id)));
        break;
    case LIVEKIT__DATA_PACKET__VALUE_STREAM_HEADER:
        d->generated = p->stream_header->content_header_case ==
                           LIVEKIT__DATA_STREAM__HEADER__CONTENT_HEADER_TEXT_HEADER &&
                       p->stream_header->text_header->generated;
        note(d, p, bytes_str(lk_str(p->stream_header->stream_id)));
        break;
    case LIVEKIT__DATA_PACKET__VALUE_STREAM_CHUNK:
        on_chunk(d, p->stream_chunk);
        break;
    case LIVEKIT__DATA_PACKET__VALUE_METRICS:
        d->metrics++;
        d->normalized = p->metrics->normalized_timestamp != NULL
                            ? p->metrics->normalized_timestamp->seconds * 1000 +
                                  p->metrics->normalized_timestamp->nanos / 1000000
                            : 0;
        break;
    default:
        d->others++;
        break;
    }
}

static void on_message(struct room_pc *p, const struct sctp_event *e)
{
    struct room_client *const c = p->client;
    const struct data_channel *const ch =
        sctp_transport_channel(peer_connection_sctp(p->pc), e->channel);
    enum room_channel const channel = ch != NULL ? channel_of(ch) : ROOM_OTHER;
    if (channel == ROOM_DATA_TRACK) {
        c->data.raw++;
        c->data.raw_bytes += e->data.n;
        room_data_track_packet(c, e->data);
        return;
    }
    struct pbuf *b = NULL;
    if (channel == ROOM_OTHER || !e->binary ||
        pbuf_unpack(&livekit__data_packet__descriptor, e->data, PBUF_CAP_DEFAULT, &b) < 0) {
        room_harness_violation(c->h, "%s got a message it cannot read", c->identity);
        return;
    }
    const Livekit__DataPacket *const m = b->msg;
    if ((m->kind == LIVEKIT__DATA_PACKET__KIND__LOSSY) != (channel == ROOM_LOSSY)) {
        room_harness_violation(c->h, "a packet of kind %d on channel %s", (int)m->kind,
                               labels[channel]);
    }
    if (is_repeated(c, m)) {
        c->data.repeated++;
    } else {
        on_packet(c, m);
    }
    pbuf_free(b);
}

static void feed(struct room_client *c)
{
    struct room_data *const d = &c->data;
    uint8_t content[ROOM_DATA_CHUNK];
    d->blocked = false;
    while (d->file_left > 0 && !d->blocked) {
        Livekit__DataStream__Chunk k = LIVEKIT__DATA_STREAM__CHUNK__INIT;
        Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
        size_t const n = (size_t)MIN(d->file_left, (uint64_t)sizeof(content));
        for (size_t i = 0; i < n; i++) {
            content[i] = (uint8_t)(d->file_index + i);
        }
        k.stream_id = lk_unconst_str("file");
        LK_SET(&k, chunk_index, d->file_index);
        LK_SET_BYTES(&k, content, bytes_of(content, n));
        p.value_case = LIVEKIT__DATA_PACKET__VALUE_STREAM_CHUNK;
        p.stream_chunk = &k;
        if (room_client_send_packet(c, ROOM_RELIABLE, &p, false) < 0) {
            d->blocked = true;
        } else {
            d->file_left -= n;
            d->file_index++;
        }
    }
}

static void limit(struct room_pc *p, size_t n)
{
    struct room_data *const d = &p->client->data;
    if (d->limited && p == receiving(p->client)) {
        d->slow_budget -= MIN(d->slow_budget, n);
        if (d->slow_budget == 0) {
            sctp_transport_set_reading(peer_connection_sctp(p->pc), false);
        }
    }
}

void room_data_event(struct room_pc *p, const struct sctp_event *e)
{
    switch (e->kind) {
    case SCTP_EVENT_UP:
        if (!p->subscriber) {
            open_channels(p);
        }
        break;
    case SCTP_EVENT_CHANNEL_OPEN:
        on_open(p, e->channel, e->opened_by_peer);
        break;
    case SCTP_EVENT_MESSAGE:
        limit(p, e->data.n);
        on_message(p, e);
        break;
    case SCTP_EVENT_WRITABLE:
        if (!p->subscriber) {
            feed(p->client);
        }
        break;
    case SCTP_EVENT_DOWN:
    case SCTP_EVENT_CHANNEL_CLOSED:
        break;
    }
}

// ---- sending --------------------------------------------------------------------------------

int room_client_send_raw(struct room_client *c, enum room_channel channel, struct bytes message)
{
    struct room_pc *const p = c->publisher;
    struct sctp_transport *const s = p != NULL ? peer_connection_sctp(p->pc) : NULL;
    const struct data_channel *const ch =
        s != NULL ? sctp_transport_find_channel(s, bytes_str(labels[channel])) : NULL;
    if (ch == NULL) {
        return -ENOTCONN;
    }
    int const rc = sctp_transport_send(s, ch->id, true, message);
    p->ep.now = c->h->now;
    peer_connection_flush_sctp(p->pc, &p->ep.out);
    outbox_flush(&p->ep.out);
    return rc;
}

int room_client_send_packet(struct room_client *c, enum room_channel channel,
                            Livekit__DataPacket *p, bool keep_sequence)
{
    struct dynbuf b;
    if (channel == ROOM_RELIABLE && !keep_sequence) {
        LK_SET(p, sequence, c->data.sequence + 1);
    }
    dynbuf_init(&b, (size_t)1 << 20);
    room_must(pbuf_pack(&p->base, &b) == 0, "pbuf_pack");
    int const rc = room_client_send_raw(c, channel, dynbuf_view(&b));
    dynbuf_done(&b);
    if (rc == 0 && channel == ROOM_RELIABLE && !keep_sequence) {
        c->data.sequence++;
    }
    return rc;
}

int room_client_say(struct room_client *c, enum room_channel channel, const char *text,
                    const char *to)
{
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    char *list[] = {lk_unconst_str(to)};
    LK_SET_BYTES(&u, payload, bytes_str(text));
    LK_SET_STR(&u, topic, "chat");
    // What the server has to overwrite.
    LK_SET_STR(&p, participant_identity, "somebody else");
    LK_SET_STR(&p, participant_sid, "PA_somebodyelse");
    LK_SET_STR(&u, participant_identity, "somebody else");
    LK_SET_STR(&u, participant_sid, "PA_somebodyelse");
    p.destination_identities = list;
    p.n_destination_identities = to != NULL;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    return room_client_send_packet(c, channel, &p, false);
}

void room_client_send_file(struct room_client *c, uint64_t bytes)
{
    c->data.file_left = bytes;
    c->data.file_index = 0;
    feed(c);
}

static void set_reading(struct room_client *c, bool on)
{
    struct room_pc *const p = receiving(c);
    struct sctp_transport *const s = p != NULL ? peer_connection_sctp(p->pc) : NULL;
    if (s != NULL) {
        sctp_transport_set_reading(s, on);
        room_pc_tick(p);
    }
}

void room_client_stop_reading(struct room_client *c, bool stop)
{
    c->data.limited = false;
    set_reading(c, !stop);
}

void room_client_read_some(struct room_client *c, uint64_t bytes)
{
    c->data.limited = true;
    c->data.slow_budget = bytes;
    set_reading(c, true);
}

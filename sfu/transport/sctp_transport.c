// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/sctp_transport.h"

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "sfu/transport/usrsctp_glue.h"

// Send buffer in usrsctp; beyond it sctp_transport_send says -EAGAIN. Reliable messages leave a part
// of it free: unreliable ones have to get past a file that is being sent.
#define SEND_BUFFER (384 * 1024)
#define SEND_BUFFER_RELIABLE (256 * 1024)
// There is room again from here on. What is left keeps the path busy until more comes: 10 MB/s at a
// round trip of 12 ms, 1 MB/s at 120 ms.
#define SEND_BUFFER_LOW (128 * 1024)
// Receive window. It bounds the speed of uploads (10 MB/s at a round trip of 100 ms) and the memory
// that a peer can fill whose messages nobody takes.
#define RECEIVE_BUFFER (1024 * 1024)
// Messages are taken out of the association in portions: what was taken is delivered even if
// reading stops meanwhile.
#define EVENT_BYTES_MAX (64 * 1024)
// A message that arrives in parts is put together up to this size; a longer one is dropped (we
// announce SCTP_MAX_MESSAGE).
#define REASSEMBLY_MAX (256 * 1024)
// How long ticks stay quick after each sign of life: longer than a retransmission of a healthy path.
#define QUICK_MS 2000
#define SCTP_COMMON_HEADER_LEN 12
#define DCEP_OPEN_MAX (12 + DATA_CHANNEL_LABEL_MAX)

struct event_node {
    struct event_node *next;
    struct sctp_event event;
    struct usrsctp_glue_item *item; // holds event.data of a message that came in one piece
    uint8_t *joined;                // or of one that was put together
};

struct sctp_hub {
    struct usrsctp_glue_hub *glue;
    size_t started; // associations
    bool ticked;
    mono_t last_tick;
    int64_t quick_ms; // of quick ticks that are left
    uint32_t heartbeat_ms;
};

struct sctp_transport {
    struct sctp_hub *hub;
    void *user;
    enum sctp_state state;
    struct usrsctp_glue_assoc *assoc; // from start on
    struct data_channel_table channels;
    uint32_t max_message;
    bool writable_wanted;
    bool paused;                        // see sctp_transport_set_reading
    struct usrsctp_glue_packet *output; // handed out last
    struct event_node *handed_out;      // handed out last
    struct event_node *events;
    struct event_node **events_tail;
    bool down_broken;        // DOWN for lack of memory
    struct event_node *down; // made beforehand: the end is told without memory, too; NULL: told
    size_t event_bytes;      // of messages among them
    struct dynbuf partial;
    size_t partial_len;
    uint16_t partial_sid;
    bool partial_active;
};

// ---- hub ------------------------------------------------------------------------------------

int sctp_hub_new(void (*wake)(void *user), void *user, struct sctp_hub **ret)
{
    struct sctp_hub *const h = NEW(struct sctp_hub);
    if (h == NULL) {
        return -ENOMEM;
    }
    int const e = usrsctp_glue_hub_new(wake, user, &h->glue);
    if (e < 0) {
        mem_free(h);
        return e;
    }
    *ret = h;
    return 0;
}

void sctp_hub_set_heartbeats(struct sctp_hub *h, uint32_t ms)
{
    h->heartbeat_ms = ms;
}

void sctp_hub_free(struct sctp_hub *h)
{
    if (h != NULL) {
        usrsctp_glue_hub_free(h->glue);
        mem_free(h);
    }
}

static int64_t tick_ms(const struct sctp_hub *h)
{
    int64_t const ms = (int64_t)h->started / SCTP_TICK_ASSOCS_PER_MS;
    return MIN(SCTP_TICK_MAX_MS, MAX(SCTP_TICK_MS, ms));
}

void sctp_hub_tick(struct sctp_hub *h, mono_t now)
{
    h->ticked = true;
    h->last_tick = now;
    h->quick_ms = MAX(h->quick_ms - tick_ms(h), 0);
    usrsctp_glue_tick(h->glue, now, tick_ms(h));
}

static mono_t next_tick(const struct sctp_hub *h)
{
    return mono_add_ms(h->last_tick, h->quick_ms > 0 ? tick_ms(h) : SCTP_TICK_IDLE_MS);
}

// Something is on its way that may have to be repeated or acknowledged.
static void note_activity(struct sctp_hub *h)
{
    h->quick_ms = QUICK_MS;
}

// RFC 9260 section 3.2: HEARTBEAT and its answer. They go on for ever and hurry nobody.
static bool is_heartbeat(struct bytes packet)
{
    return packet.n > SCTP_COMMON_HEADER_LEN &&
           (packet.p[SCTP_COMMON_HEADER_LEN] == 4 || packet.p[SCTP_COMMON_HEADER_LEN] == 5);
}

mono_t sctp_hub_deadline(const struct sctp_hub *h)
{
    if (h->started == 0) {
        return MONO_NEVER;
    }
    return h->ticked ? next_tick(h) : (mono_t){0};
}

uint64_t sctp_hub_packets_dropped(const struct sctp_hub *h)
{
    return usrsctp_glue_packets_dropped(h->glue);
}

// ---- events ---------------------------------------------------------------------------------

static void event_free(struct event_node *n)
{
    if (n != NULL) {
        usrsctp_glue_item_free(n->item);
        mem_free(n->joined);
        mem_free(n);
    }
}

static void append_event(struct sctp_transport *t, struct event_node *n)
{
    *t->events_tail = n;
    t->events_tail = &n->next;
    t->event_bytes += n->event.data.n;
}

static void go_down(struct sctp_transport *t, bool broken)
{
    if (t->state != SCTP_STATE_DOWN) {
        t->state = SCTP_STATE_DOWN;
        t->down_broken = broken;
        *t->down = (struct event_node){.event = {.kind = SCTP_EVENT_DOWN, .broken = broken}};
        append_event(t, t->down);
        t->down = NULL;
    }
}

// False without memory: the event is lost, and with it the association.
static bool push_event(struct sctp_transport *t, struct event_node node)
{
    struct event_node *const n = NEW(struct event_node);
    if (n == NULL) {
        go_down(t, true);
        return false;
    }
    *n = node;
    append_event(t, n);
    return true;
}

static void push_simple(struct sctp_transport *t, enum sctp_event_kind kind, uint16_t channel,
                        bool opened_by_peer)
{
    (void)!push_event(
        t, (struct event_node){
               .event = {.kind = kind, .channel = channel, .opened_by_peer = opened_by_peer},
           });
}

// ---- channels -------------------------------------------------------------------------------

static int send_dcep(struct sctp_transport *t, const struct data_channel *ch)
{
    uint8_t buf[DCEP_OPEN_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    if (ch->opened_by_peer) {
        dcep_write_ack(&w);
    } else {
        struct dcep_open const open = {
            .reliability_kind = ch->reliability_kind,
            .unordered = ch->unordered,
            .priority = ch->priority,
            .reliability = ch->reliability,
            .label = bytes_of(ch->label, ch->label_len),
        };
        dcep_write_open(&w, &open);
    }
    // Ordered and reliable, whatever the channel is (RFC 8832 section 5).
    struct usrsctp_glue_message const m = {
        .sid = ch->id, .ppid = DCEP_PPID_DCEP, .data = wr_bytes_view(&w)};
    return usrsctp_glue_send(t->assoc, &m);
}

// Sends what is due on the channel and was not accepted before.
static void flush_channel(struct sctp_transport *t, struct data_channel *ch)
{
    if (ch->state == DATA_CHANNEL_FREE || t->state != SCTP_STATE_UP) {
        return;
    }
    if (ch->announce && send_dcep(t, ch) == 0) {
        ch->announce = false;
    }
    if (ch->reset_wanted && usrsctp_glue_reset_stream(t->assoc, ch->id) != -EAGAIN) {
        ch->reset_wanted = false;
    }
}

static void flush_channels(struct sctp_transport *t)
{
    for (size_t i = 0; i < DATA_CHANNELS_MAX; i++) {
        flush_channel(t, &t->channels.list[i]);
    }
}

static void begin_close(struct sctp_transport *t, struct data_channel *ch)
{
    if (ch->state != DATA_CHANNEL_CLOSING) {
        ch->state = DATA_CHANNEL_CLOSING;
        ch->announce = false;
        ch->reset_wanted = true;
        flush_channel(t, ch);
    }
}

static void on_reset(struct sctp_transport *t, uint16_t sid, bool ours)
{
    struct data_channel *const ch = data_channel_table_by_id(&t->channels, sid);
    if (ch == NULL) {
        return;
    }
    if (ours) {
        ch->reset_sent = true;
    } else {
        ch->reset_received = true;
        note_activity(t->hub);
        begin_close(t, ch);
    }
    if (ch->reset_sent && ch->reset_received) {
        push_simple(t, SCTP_EVENT_CHANNEL_CLOSED, sid, ch->opened_by_peer);
        data_channel_table_remove(&t->channels, ch);
    }
    // usrsctp does one reset at a time: another channel may be waiting for its turn.
    flush_channels(t);
}

static void on_dcep(struct sctp_transport *t, uint16_t sid, struct bytes data)
{
    struct dcep_message m;
    struct data_channel *ch = NULL;
    if (dcep_parse(data, &m) < 0) {
        return;
    }
    if (m.type == DCEP_ACK) {
        ch = data_channel_table_by_id(&t->channels, sid);
        if (ch != NULL && ch->state == DATA_CHANNEL_CONNECTING) {
            ch->state = DATA_CHANNEL_OPEN;
            push_simple(t, SCTP_EVENT_CHANNEL_OPEN, sid, false);
        }
        return;
    }
    bool const known = data_channel_table_by_id(&t->channels, sid) != NULL;
    int const e = data_channel_table_opened(&t->channels, sid, &m.open, &ch);
    if (e < 0) {
        // RFC 8832 section 6: the stream is closed. Not if it is one of ours that the peer confuses
        // with its own.
        if (!known) {
            (void)!usrsctp_glue_reset_stream(t->assoc, sid);
        }
        return;
    }
    ch->announce = true;
    flush_channel(t, ch);
    if (!known) {
        push_simple(t, SCTP_EVENT_CHANNEL_OPEN, sid, true);
    }
}

// ---- messages -------------------------------------------------------------------------------

// Gives a complete message on: takes item or joined over.
static void on_message(struct sctp_transport *t, uint16_t sid, uint32_t ppid, struct bytes data,
                       struct usrsctp_glue_item *item, uint8_t *joined)
{
    struct event_node n = {
        .event = {.kind = SCTP_EVENT_MESSAGE, .channel = sid, .data = data},
        .item = item,
        .joined = joined,
    };
    bool deliver = data_channel_table_by_id(&t->channels, sid) != NULL;
    switch (ppid) {
    case DCEP_PPID_DCEP:
        on_dcep(t, sid, data);
        deliver = false;
        break;
    case DCEP_PPID_STRING:
        break;
    case DCEP_PPID_BINARY:
        n.event.binary = true;
        break;
    case DCEP_PPID_STRING_EMPTY:
        n.event.data.n = 0;
        break;
    case DCEP_PPID_BINARY_EMPTY:
        n.event.binary = true;
        n.event.data.n = 0;
        break;
    default: // the deprecated partial ones and what nobody defined
        deliver = false;
        break;
    }
    if (!deliver || !push_event(t, n)) {
        usrsctp_glue_item_free(item);
        mem_free(joined);
    }
}

// Appends a part; true when *ret is the whole message (owned by the caller).
static bool join_part(struct sctp_transport *t, const struct usrsctp_glue_item *i, uint8_t **ret,
                      size_t *ret_len)
{
    if (!t->partial_active || t->partial_sid != i->sid) {
        dynbuf_reset(&t->partial);
        t->partial_active = true;
        t->partial_sid = i->sid;
        t->partial_len = 0;
    }
    t->partial_len += i->len;
    dynbuf_add(&t->partial, bytes_of(i->data, i->len));
    if (!i->eor) {
        return false;
    }
    t->partial_active = false;
    *ret = (uint8_t *)dynbuf_take_cstr(&t->partial, ret_len);
    return *ret != NULL;
}

// Takes the item over.
static void on_data(struct sctp_transport *t, struct usrsctp_glue_item *i)
{
    if (i->eor && !t->partial_active) {
        on_message(t, i->sid, i->ppid, bytes_of(i->data, i->len), i, NULL);
        return;
    }
    uint8_t *joined = NULL;
    size_t n = 0;
    if (join_part(t, i, &joined, &n)) {
        on_message(t, i->sid, i->ppid, bytes_of(joined, n), NULL, joined);
    } else if (!dynbuf_ok(&t->partial) && t->partial_len <= REASSEMBLY_MAX) {
        go_down(t, true); // no memory
    } else if (i->eor) {
        dynbuf_reset(&t->partial); // it was too long
    }
    usrsctp_glue_item_free(i);
}

// ---- items of the stack ---------------------------------------------------------------------

static void go_up(struct sctp_transport *t)
{
    if (t->state == SCTP_STATE_CONNECTING) {
        t->state = SCTP_STATE_UP;
        push_simple(t, SCTP_EVENT_UP, 0, false);
        flush_channels(t);
    }
}

static void note_room(struct sctp_transport *t)
{
    if (t->writable_wanted && t->state == SCTP_STATE_UP &&
        usrsctp_glue_queued(t->assoc) <= SEND_BUFFER_LOW) {
        t->writable_wanted = false;
        flush_channels(t);
        push_simple(t, SCTP_EVENT_WRITABLE, 0, false);
    }
}

// Nothing may be delivered behind something that was lost.
static bool is_broken(const struct sctp_transport *t)
{
    return t->state == SCTP_STATE_DOWN && t->down_broken;
}

// Turns what the stack has reported into states, answers and events.
static void process_items(struct sctp_transport *t)
{
    struct usrsctp_glue_item *i = NULL;
    if (t->assoc == NULL) {
        return;
    }
    note_room(t);
    while (!t->paused && t->event_bytes < EVENT_BYTES_MAX && !is_broken(t) &&
           (i = usrsctp_glue_take_item(t->assoc)) != NULL) {
        switch (i->kind) {
        case USRSCTP_GLUE_MESSAGE:
            on_data(t, i);
            continue; // taken over
        case USRSCTP_GLUE_UP:
            go_up(t);
            break;
        case USRSCTP_GLUE_DOWN:
            go_down(t, false);
            break;
        case USRSCTP_GLUE_RESET_IN:
            on_reset(t, i->sid, false);
            break;
        case USRSCTP_GLUE_RESET_OUT:
        case USRSCTP_GLUE_RESET_FAILED: // the peer refuses: for us the stream is closed all the
                                        // same
            on_reset(t, i->sid, true);
            break;
        }
        usrsctp_glue_item_free(i);
    }
    if (usrsctp_glue_is_broken(t->assoc)) {
        go_down(t, true);
    }
}

struct sctp_transport *sctp_hub_next_ready(struct sctp_hub *h)
{
    struct sctp_transport *const t = usrsctp_glue_next_ready(h->glue);
    if (t != NULL) {
        process_items(t);
    }
    return t;
}

// ---- life -----------------------------------------------------------------------------------

int sctp_transport_new(struct sctp_hub *h, void *user, struct sctp_transport **ret)
{
    struct sctp_transport *const t = NEW(struct sctp_transport);
    if (t == NULL || (t->down = NEW(struct event_node)) == NULL) {
        mem_free(t);
        return -ENOMEM;
    }
    t->hub = h;
    t->user = user;
    t->events_tail = &t->events;
    dynbuf_init(&t->partial, REASSEMBLY_MAX);
    *ret = t;
    return 0;
}

void sctp_transport_free(struct sctp_transport *t)
{
    if (t == NULL) {
        return;
    }
    if (t->assoc != NULL) {
        usrsctp_glue_close(t->assoc);
        t->hub->started--;
    }
    mem_free(t->output);
    event_free(t->handed_out);
    event_free(t->down);
    for (struct event_node *n = t->events, *next = NULL; n != NULL; n = next) {
        next = n->next;
        event_free(n);
    }
    dynbuf_done(&t->partial);
    mem_free(t);
}

void *sctp_transport_user(const struct sctp_transport *t)
{
    return t->user;
}

enum sctp_state sctp_transport_state(const struct sctp_transport *t)
{
    return t->state;
}

int sctp_transport_start(struct sctp_transport *t, bool dtls_client, uint32_t remote_max_message)
{
    note_activity(t->hub);
    struct usrsctp_glue_params const params = {
        .port = SCTP_PORT,
        .mtu = SCTP_MTU,
        .streams = DATA_CHANNEL_IDS,
        .send_buffer = SEND_BUFFER,
        .receive_buffer = RECEIVE_BUFFER,
        .heartbeat_ms = t->hub->heartbeat_ms,
    };
    if (t->state != SCTP_STATE_NEW) {
        return -EPROTO;
    }
    data_channel_table_init(&t->channels, dtls_client);
    t->max_message =
        remote_max_message == 0 ? SCTP_MAX_MESSAGE : MIN(remote_max_message, SCTP_MAX_MESSAGE);
    t->state = SCTP_STATE_CONNECTING;
    int const e = usrsctp_glue_open(t->hub->glue, t, &params, &t->assoc);
    if (e < 0) {
        go_down(t, true);
        return e;
    }
    t->hub->started++;
    process_items(t);
    return 0;
}

// ---- in and out -----------------------------------------------------------------------------

void sctp_transport_input(struct sctp_transport *t, struct bytes packet)
{
    if (t->assoc != NULL) {
        if (!is_heartbeat(packet)) {
            note_activity(t->hub);
        }
        usrsctp_glue_input(t->assoc, packet);
        process_items(t);
    }
}

void sctp_transport_set_reading(struct sctp_transport *t, bool on)
{
    t->paused = !on;
    if (on) {
        process_items(t);
    }
}

bool sctp_transport_next_output(struct sctp_transport *t, struct bytes *ret)
{
    mem_free(t->output);
    t->output = t->assoc != NULL ? usrsctp_glue_take_packet(t->assoc) : NULL;
    if (t->output == NULL) {
        return false;
    }
    *ret = bytes_of(t->output->data, t->output->len);
    return true;
}

bool sctp_transport_poll_event(struct sctp_transport *t, struct sctp_event *ret)
{
    event_free(t->handed_out);
    if (t->events == NULL) {
        process_items(t);
    }
    t->handed_out = t->events;
    if (t->events == NULL) {
        return false;
    }
    t->event_bytes -= t->events->event.data.n;
    t->events = t->events->next;
    if (t->events == NULL) {
        t->events_tail = &t->events;
    }
    *ret = t->handed_out->event;
    return true;
}

// ---- data channels --------------------------------------------------------------------------

int sctp_transport_open_channel(struct sctp_transport *t, const struct data_channel_params *params,
                                uint16_t *ret_id)
{
    struct data_channel *ch = NULL;
    note_activity(t->hub);
    if (t->state != SCTP_STATE_UP && t->state != SCTP_STATE_CONNECTING) {
        return -EPROTO;
    }
    int const e = data_channel_table_open(&t->channels, params, &ch);
    if (e < 0) {
        return e;
    }
    *ret_id = ch->id;
    flush_channel(t, ch);
    return 0;
}

int sctp_transport_close_channel(struct sctp_transport *t, uint16_t id)
{
    struct data_channel *const ch = data_channel_table_by_id(&t->channels, id);
    if (ch == NULL) {
        return -ENOENT;
    }
    begin_close(t, ch);
    return 0;
}

const struct data_channel *sctp_transport_channel(const struct sctp_transport *t, uint16_t id)
{
    return data_channel_table_by_id((struct data_channel_table *)(uintptr_t)&t->channels, id);
}

const struct data_channel *sctp_transport_find_channel(const struct sctp_transport *t,
                                                       struct bytes label)
{
    return data_channel_table_by_label((struct data_channel_table *)(uintptr_t)&t->channels, label);
}

int sctp_transport_send(struct sctp_transport *t, uint16_t id, bool binary, struct bytes message)
{
    static const uint8_t zero[1];
    const struct data_channel *const ch = data_channel_table_by_id(&t->channels, id);
    note_activity(t->hub);
    if (ch == NULL) {
        return -ENOENT;
    }
    if (t->state != SCTP_STATE_UP || ch->state != DATA_CHANNEL_OPEN || ch->announce) {
        t->writable_wanted |= ch->announce;
        return -ENOTCONN;
    }
    if (message.n > t->max_message) {
        return -EMSGSIZE;
    }
    struct usrsctp_glue_message m = {
        .sid = id,
        .ppid = binary ? DCEP_PPID_BINARY : DCEP_PPID_STRING,
        .unordered = ch->unordered,
        .reliability_kind = ch->reliability_kind,
        .reliability = ch->reliability,
        .data = message,
    };
    if (message.n == 0) { // SCTP has no empty messages (RFC 8831 section 6.6)
        m.ppid = binary ? DCEP_PPID_BINARY_EMPTY : DCEP_PPID_STRING_EMPTY;
        m.data = bytes_of(zero, sizeof(zero));
    }
    bool const full = ch->reliability_kind == DCEP_RELIABLE &&
                      usrsctp_glue_queued(t->assoc) + message.n > SEND_BUFFER_RELIABLE;
    int const e = full ? -EAGAIN : usrsctp_glue_send(t->assoc, &m);
    t->writable_wanted |= e == -EAGAIN;
    return e;
}

size_t sctp_transport_buffered(const struct sctp_transport *t)
{
    return t->assoc != NULL ? usrsctp_glue_queued(t->assoc) : 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_transport.h"

#include "common/base/mem.h"
#include "sfu/transport/dtls_handshake.h"

#define HANDSHAKE_LIMIT_MS 30000
// CONNECTED or FAILED once, PEER_CLOSED once.
#define EVENTS_MAX 4
// Our last flight is repeated at most this often (the peer doubles its timer from 50 ms on; more is
// a flood).
#define REPEATS_MAX 16

struct dtls_transport {
    const struct dtls_cert *cert;
    enum dtls_state state;
    enum dtls_role role;
    enum dtls_failure failure;
    bool work_out;    // a step is being run elsewhere
    bool step_needed; // something happened that a step must look at
    bool peer_closed;
    bool have_keys;
    uint8_t repeats;
    struct dtls_work *work;      // during the handshake, unless out
    struct dtls_record *record;  // once connected
    struct dtls_queue pending;   // datagrams for the next step, later early data
    struct dtls_datagram *early; // the one that next_early_data is in
    struct bytes_mut early_rest;
    mono_t limit;
    mono_t retransmit;
    struct srtp_keys keys;
    enum dtls_event events[EVENTS_MAX];
    uint8_t event_count;
};

static const bool edges[DTLS_STATE_COUNT][DTLS_STATE_COUNT] = {
    [DTLS_STATE_NEW] = {[DTLS_STATE_HANDSHAKE] = true, [DTLS_STATE_CLOSED] = true},
    [DTLS_STATE_HANDSHAKE] =
        {[DTLS_STATE_CONNECTED] = true, [DTLS_STATE_FAILED] = true, [DTLS_STATE_CLOSED] = true},
    [DTLS_STATE_CONNECTED] = {[DTLS_STATE_CLOSED] = true, [DTLS_STATE_FAILED] = true},
};

static void push_event(struct dtls_transport *t, enum dtls_event e)
{
    assert(t->event_count < EVENTS_MAX);
    t->events[t->event_count++] = e;
}

static void drop_state(struct dtls_transport *t)
{
    dtls_work_free(t->work);
    t->work = NULL;
    dtls_record_free(t->record);
    t->record = NULL;
    dtls_queue_done(&t->pending);
    mem_free(t->early);
    t->early = NULL;
    t->step_needed = false;
}

static void set_state(struct dtls_transport *t, enum dtls_state state)
{
    assert(edges[t->state][state]);
    t->state = state;
    switch (state) {
    case DTLS_STATE_CONNECTED:
        push_event(t, DTLS_EVENT_CONNECTED);
        break;
    case DTLS_STATE_FAILED:
        push_event(t, DTLS_EVENT_FAILED);
        drop_state(t);
        break;
    case DTLS_STATE_CLOSED:
        drop_state(t);
        break;
    case DTLS_STATE_NEW:
    case DTLS_STATE_HANDSHAKE:
    case DTLS_STATE_COUNT:
        break;
    }
}

static void fail(struct dtls_transport *t, enum dtls_failure failure)
{
    t->failure = failure;
    set_state(t, DTLS_STATE_FAILED);
}

int dtls_transport_new(const struct dtls_cert *cert, struct dtls_transport **ret)
{
    struct dtls_transport *const t = NEW(struct dtls_transport);
    if (t == NULL) {
        return -ENOMEM;
    }
    t->cert = cert;
    t->limit = MONO_NEVER;
    t->retransmit = MONO_NEVER;
    dtls_queue_init(&t->pending);
    *ret = t;
    return 0;
}

void dtls_transport_free(struct dtls_transport *t)
{
    if (t == NULL) {
        return;
    }
    drop_state(t);
    crypto_wipe(&t->keys, sizeof(t->keys));
    mem_free(t);
}

int dtls_transport_start(struct dtls_transport *t, mono_t now, enum dtls_role role,
                         const struct dtls_fingerprint *fingerprints, size_t n)
{
    if (t->state != DTLS_STATE_NEW) {
        return -EPROTO;
    }
    if (n == 0 || n > DTLS_FINGERPRINTS_MAX) {
        return -EINVAL;
    }
    int const e = dtls_work_new(t->cert, role, fingerprints, n, &t->work);
    if (e < 0) {
        return e;
    }
    t->role = role;
    t->limit = mono_add_ms(now, HANDSHAKE_LIMIT_MS);
    t->step_needed = role == DTLS_ROLE_CLIENT || t->pending.head != NULL;
    set_state(t, DTLS_STATE_HANDSHAKE);
    return 0;
}

// ---- established ----------------------------------------------------------------------------

static void repeat_last_flight(struct dtls_transport *t, struct outbox *out, uint8_t local,
                               const struct addr *dst)
{
    if (t->repeats >= REPEATS_MAX) {
        return;
    }
    t->repeats++;
    struct outbox_slot *const slot = outbox_reserve(out);
    struct wr w = wr_init(slot->data, OUTBOX_DATA_CAP);
    if (dtls_record_write_last_flight(t->record, &w) < 0 || !wr_ok(&w)) {
        return;
    }
    slot->dst = *dst;
    slot->local = local;
    slot->len = (uint16_t)wr_len(&w);
    outbox_commit(out);
}

// Handles one record; true if *ret_data is set.
static bool input_record(struct dtls_transport *t, const struct dtls_record_view *rec,
                         struct outbox *out, uint8_t local, const struct addr *dst,
                         struct bytes *ret_data)
{
    switch (dtls_record_open(t->record, rec, ret_data)) {
    case DTLS_RECORD_DATA:
        return true;
    case DTLS_RECORD_REPEAT:
        repeat_last_flight(t, out, local, dst);
        break;
    case DTLS_RECORD_CLOSE:
        if (!t->peer_closed) {
            t->peer_closed = true;
            push_event(t, DTLS_EVENT_PEER_CLOSED);
        }
        break;
    case DTLS_RECORD_FATAL:
        fail(t, DTLS_FAILURE_ALERT);
        break;
    case DTLS_RECORD_IGNORED:
        break;
    }
    return false;
}

// Takes records off the datagram until one yields data.
static void input_connected(struct dtls_transport *t, struct bytes_mut *datagram,
                            struct outbox *out, uint8_t local, const struct addr *dst,
                            struct bytes *ret_data)
{
    struct rd rd = rd_init(bytes_of(datagram->p, datagram->n));
    struct dtls_record_view rec;
    bool found = false;
    while (!found && t->state == DTLS_STATE_CONNECTED && dtls_record_next(&rd, &rec) == 0) {
        found = input_record(t, &rec, out, local, dst, ret_data);
    }
    size_t const left = found ? rd_left(&rd) : 0;
    datagram->p += datagram->n - left;
    datagram->n = left;
}

void dtls_transport_input(struct dtls_transport *t, mono_t now, struct bytes_mut *datagram,
                          struct outbox *out, uint8_t local, const struct addr *dst,
                          struct bytes *ret_data)
{
    (void)now;
    *ret_data = (struct bytes){NULL, 0};
    switch (t->state) {
    case DTLS_STATE_NEW:
    case DTLS_STATE_HANDSHAKE:
        if (dtls_queue_push(&t->pending, bytes_of(datagram->p, datagram->n)) == 0) {
            t->step_needed = true;
        }
        break;
    case DTLS_STATE_CONNECTED:
        input_connected(t, datagram, out, local, dst, ret_data);
        return;
    case DTLS_STATE_CLOSED:
    case DTLS_STATE_FAILED:
    case DTLS_STATE_COUNT:
        break;
    }
    datagram->p += datagram->n;
    datagram->n = 0;
}

bool dtls_transport_next_early_data(struct dtls_transport *t, mono_t now, struct outbox *out,
                                    uint8_t local, const struct addr *dst, struct bytes *ret_data)
{
    (void)now;
    while (t->state == DTLS_STATE_CONNECTED) {
        if (t->early_rest.n == 0) {
            mem_free(t->early);
            t->early = dtls_queue_pop(&t->pending);
            if (t->early == NULL) {
                return false;
            }
            t->early_rest = (struct bytes_mut){t->early->data, t->early->len};
        }
        struct bytes data = {NULL, 0};
        input_connected(t, &t->early_rest, out, local, dst, &data);
        if (data.n > 0) {
            *ret_data = data;
            return true;
        }
    }
    return false;
}

static int send_record(struct dtls_transport *t, enum dtls_content_type type, struct bytes data,
                       struct outbox *out, uint8_t local, const struct addr *dst)
{
    struct outbox_slot *const slot = outbox_reserve(out);
    struct wr w = wr_init(slot->data, OUTBOX_DATA_CAP);
    int const e = dtls_record_seal(t->record, type, data, &w);
    if (e < 0) {
        return e;
    }
    slot->dst = *dst;
    slot->local = local;
    slot->len = (uint16_t)wr_len(&w);
    outbox_commit(out);
    return 0;
}

int dtls_transport_send(struct dtls_transport *t, struct bytes data, struct outbox *out,
                        uint8_t local, const struct addr *dst)
{
    if (t->state != DTLS_STATE_CONNECTED) {
        return -ENOTCONN;
    }
    if (data.n > DTLS_TRANSPORT_DATA_MAX) {
        return -EMSGSIZE;
    }
    return send_record(t, DTLS_APPLICATION_DATA, data, out, local, dst);
}

void dtls_transport_close(struct dtls_transport *t, struct outbox *out, uint8_t local,
                          const struct addr *dst)
{
    static const uint8_t close_notify[] = {1, 0}; // warning, close_notify (RFC 5246 section 7.2.1)
    if (t->state == DTLS_STATE_CONNECTED) {
        // Best effort: there is nobody to tell if it fails.
        (void)!send_record(t, DTLS_ALERT, bytes_of(close_notify, sizeof(close_notify)), out, local,
                           dst);
    }
    if (t->state != DTLS_STATE_CLOSED && t->state != DTLS_STATE_FAILED) {
        set_state(t, DTLS_STATE_CLOSED);
    }
}

// ---- time -----------------------------------------------------------------------------------

mono_t dtls_transport_deadline(const struct dtls_transport *t)
{
    if (t->state != DTLS_STATE_HANDSHAKE || t->work_out) {
        return MONO_NEVER;
    }
    // A due retransmission waits for its step: nothing to call timeout for.
    return t->step_needed ? t->limit : mono_min(t->limit, t->retransmit);
}

void dtls_transport_timeout(struct dtls_transport *t, mono_t now)
{
    if (t->state != DTLS_STATE_HANDSHAKE || t->work_out) {
        return;
    }
    if (mono_reached(t->limit, now)) {
        fail(t, DTLS_FAILURE_TIMEOUT);
    } else if (mono_reached(t->retransmit, now)) {
        t->step_needed = true;
    }
}

// ---- handshake steps ------------------------------------------------------------------------

struct dtls_work *dtls_transport_take_work(struct dtls_transport *t, mono_t now)
{
    if (t->state != DTLS_STATE_HANDSHAKE || t->work_out || !t->step_needed) {
        return NULL;
    }
    struct dtls_work *const w = t->work;
    t->work = NULL;
    t->work_out = true;
    t->step_needed = false;
    dtls_work_prepare(w, now, &t->pending);
    return w;
}

static void send_output(struct dtls_work *w, struct outbox *out, uint8_t local,
                        const struct addr *dst)
{
    struct dtls_datagram *d = NULL;
    while ((d = dtls_queue_pop(dtls_work_output(w))) != NULL) {
        // One that does not fit (it cannot: the MTU is 1200) is as good as lost.
        (void)!outbox_add(out, local, dst, bytes_of(d->data, d->len));
        mem_free(d);
    }
}

static void connect(struct dtls_transport *t, struct dtls_work *w)
{
    const struct dtls_result *const r = dtls_work_result(w);
    struct dtls_queue early;
    if (dtls_record_new(&r->record, r->finished, &t->record) < 0) {
        fail(t, DTLS_FAILURE_RESOURCES);
        return;
    }
    // In order of arrival: what came with the handshake, then what came while the step ran.
    dtls_queue_init(&early);
    dtls_queue_append(&early, dtls_work_leftover(w));
    dtls_queue_append(&early, &t->pending);
    dtls_queue_append(&t->pending, &early);
    t->keys = r->srtp;
    t->have_keys = true;
    set_state(t, DTLS_STATE_CONNECTED);
}

void dtls_transport_finish_work(struct dtls_transport *t, mono_t now, struct dtls_work *w,
                                struct outbox *out, uint8_t local, const struct addr *dst)
{
    assert(t->work_out);
    t->work_out = false;
    if (t->state != DTLS_STATE_HANDSHAKE) {
        dtls_work_free(w); // closed meanwhile
        return;
    }
    send_output(w, out, local, dst);
    const struct dtls_result *const r = dtls_work_result(w);
    switch (r->status) {
    case DTLS_WORK_RUNNING:
        t->retransmit = dtls_work_deadline(w);
        t->work = w;
        t->step_needed = t->pending.head != NULL || mono_reached(t->retransmit, now);
        return;
    case DTLS_WORK_DONE:
        connect(t, w);
        break;
    case DTLS_WORK_FAILED:
        fail(t, r->failure);
        break;
    }
    dtls_work_free(w);
}

// ---- results --------------------------------------------------------------------------------

bool dtls_transport_poll_event(struct dtls_transport *t, enum dtls_event *ret)
{
    if (t->event_count == 0) {
        return false;
    }
    *ret = t->events[0];
    t->event_count--;
    memmove(t->events, t->events + 1, t->event_count * sizeof(t->events[0]));
    return true;
}

enum dtls_state dtls_transport_state(const struct dtls_transport *t)
{
    return t->state;
}

enum dtls_failure dtls_transport_failure(const struct dtls_transport *t)
{
    return t->failure;
}

int dtls_transport_take_srtp_keys(struct dtls_transport *t, struct srtp_keys *ret)
{
    if (!t->have_keys) {
        return -EPROTO;
    }
    *ret = t->keys;
    t->have_keys = false;
    crypto_wipe(&t->keys, sizeof(t->keys));
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: dtls_cert dtls_fingerprint dtls_handshake dtls_queue dtls_record
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "sfu/transport/dtls_hello.h"
#include "sfu/transport/dtls_transport.h"
#include "tests/unit/rec_file.h"

#define WIRE_MAX 64

// One end and what it has sent.
struct end {
    struct dtls_cert *cert;
    struct dtls_transport *t;
    struct outbox out;
    struct {
        size_t n;
        uint8_t data[OUTBOX_DATA_CAP];
    } wire[WIRE_MAX];
    size_t wire_count;
    bool connected, failed, closed;
    size_t data_count;
    size_t data_len;
    uint8_t data[2048];
};

static struct addr peer;

static void collect(struct outbox *o, void *user)
{
    struct end *const e = user;
    for (size_t i = 0; i < o->count; i++) {
        assert_true(e->wire_count < WIRE_MAX);
        e->wire[e->wire_count].n = o->slots[i].len;
        memcpy(e->wire[e->wire_count].data, o->slots[i].data, o->slots[i].len);
        e->wire_count++;
    }
    o->count = 0;
}

static struct dtls_fingerprint fingerprint_of(const struct dtls_cert *c)
{
    struct dtls_fingerprint f;
    assert_int_equal(
        dtls_fingerprint_parse(bytes_str("SHA-256"), bytes_str(dtls_cert_fingerprint(c)), &f), 0);
    return f;
}

static void end_init(struct end *e)
{
    memset(e, 0, sizeof(*e));
    assert_int_equal(dtls_cert_new(1700000000, &e->cert), 0);
    assert_int_equal(dtls_transport_new(e->cert, &e->t), 0);
    assert_int_equal(outbox_init(&e->out, collect, e), 0);
}

static void end_done(struct end *e)
{
    dtls_transport_free(e->t);
    dtls_cert_free(e->cert);
    outbox_done(&e->out);
}

static void keep_data(struct end *e, struct bytes d)
{
    if (d.n > 0) {
        e->data_count++;
        e->data_len = d.n;
        memcpy(e->data, d.p, d.n);
    }
}

// Runs handshake steps and takes events until nothing happens any more.
static void pump(struct end *e, mono_t now)
{
    struct dtls_work *w = NULL;
    enum dtls_event ev;
    struct bytes d;
    while ((w = dtls_transport_take_work(e->t, now)) != NULL) {
        dtls_work_run(w);
        dtls_transport_finish_work(e->t, now, w, &e->out, 0, &peer);
    }
    while (dtls_transport_poll_event(e->t, &ev)) {
        e->connected |= ev == DTLS_EVENT_CONNECTED;
        e->failed |= ev == DTLS_EVENT_FAILED;
        e->closed |= ev == DTLS_EVENT_PEER_CLOSED;
        while (ev == DTLS_EVENT_CONNECTED &&
               dtls_transport_next_early_data(e->t, now, &e->out, 0, &peer, &d)) {
            keep_data(e, d);
        }
    }
    outbox_flush(&e->out);
}

static void give(struct end *to, const uint8_t *p, size_t n, mono_t now)
{
    uint8_t copy[2048];
    memcpy(copy, p, n);
    struct bytes_mut d = {copy, n};
    while (d.n > 0) {
        struct bytes data;
        dtls_transport_input(to->t, now, &d, &to->out, 0, &peer, &data);
        keep_data(to, data);
    }
    outbox_flush(&to->out);
}

// Delivers what `from` has sent, except datagrams whose bit is set in lose.
static void deliver(struct end *from, struct end *to, mono_t now, unsigned lose)
{
    size_t const n = from->wire_count;
    from->wire_count = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(from->wire[i].n <= 1200);
        if (!((lose >> i) & 1)) {
            give(to, from->wire[i].data, from->wire[i].n, now);
        }
    }
    pump(to, now);
}

static void start(struct end *e, const struct end *other, enum dtls_role role, mono_t now)
{
    struct dtls_fingerprint const f = fingerprint_of(other->cert);
    assert_int_equal(dtls_transport_start(e->t, now, role, &f, 1), 0);
    pump(e, now);
}

static void exchange(struct end *a, struct end *b, mono_t now)
{
    for (int i = 0; i < 10; i++) {
        deliver(a, b, now, 0);
        deliver(b, a, now, 0);
    }
}

static void connect(struct end *client, struct end *server)
{
    mono_t const now = {0};
    start(server, client, DTLS_ROLE_SERVER, now);
    start(client, server, DTLS_ROLE_CLIENT, now);
    exchange(client, server, now);
    assert_true(client->connected && server->connected);
}

static void check_keys(struct end *a, struct end *b)
{
    struct srtp_keys ka, kb;
    assert_int_equal(dtls_transport_take_srtp_keys(a->t, &ka), 0);
    assert_int_equal(dtls_transport_take_srtp_keys(b->t, &kb), 0);
    assert_memory_equal(&ka.local, &kb.remote, sizeof(ka.local));
    assert_memory_equal(&ka.remote, &kb.local, sizeof(ka.local));
    assert_memory_not_equal(&ka.remote, &ka.local, sizeof(ka.local));
    assert_int_equal(dtls_transport_take_srtp_keys(a->t, &ka), -EPROTO);
}

static void send_text(struct end *from, struct end *to, const char *text)
{
    to->data_len = 0;
    assert_int_equal(dtls_transport_send(from->t, bytes_str(text), &from->out, 0, &peer), 0);
    outbox_flush(&from->out);
    deliver(from, to, (mono_t){0}, 0);
    assert_true(bytes_eq_str(bytes_of(to->data, to->data_len), text));
}

static void both_roles_connect_and_agree_on_keys(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    connect(&a, &b);
    assert_int_equal(dtls_transport_state(a.t), DTLS_STATE_CONNECTED);
    assert_true(mono_is_never(dtls_transport_deadline(a.t)));
    check_keys(&a, &b);
    send_text(&a, &b, "to the server");
    send_text(&b, &a, "to the client");
    end_done(&a);
    end_done(&b);
}

static void datagrams_before_start_are_kept(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    start(&a, &b, DTLS_ROLE_CLIENT, (mono_t){0});
    deliver(&a, &b, (mono_t){0}, 0); // the server has not got the answer yet
    start(&b, &a, DTLS_ROLE_SERVER, (mono_t){1000});
    exchange(&a, &b, (mono_t){1000});
    assert_true(a.connected && b.connected);
    end_done(&a);
    end_done(&b);
}

// Loses datagram `which` of the flight number `flight` (0: first one sent by the client), then lets
// timers repair it.
static void connect_with_loss(unsigned flight, unsigned lose)
{
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    mono_t now = {0};
    start(&b, &a, DTLS_ROLE_SERVER, now);
    start(&a, &b, DTLS_ROLE_CLIENT, now);
    for (unsigned i = 0; i < 40 && !(a.connected && b.connected); i++) {
        struct end *const from = i % 2 == 0 ? &a : &b;
        deliver(from, from == &a ? &b : &a, now, i == flight ? lose : 0);
        if (a.wire_count == 0 && b.wire_count == 0) {
            mono_t const due = mono_min(dtls_transport_deadline(a.t), dtls_transport_deadline(b.t));
            if (mono_is_never(due)) {
                break;
            }
            now = mono_max(now, due);
            dtls_transport_timeout(a.t, now);
            dtls_transport_timeout(b.t, now);
            pump(&a, now);
            pump(&b, now);
        }
    }
    assert_true(a.connected && b.connected);
    assert_true(now.us <= 400 * US_PER_MS);
    exchange(&a, &b, now);
    check_keys(&a, &b);
    send_text(&a, &b, "x");
    send_text(&b, &a, "y");
    end_done(&a);
    end_done(&b);
}

static void any_lost_flight_is_repaired(void **state)
{
    (void)state;
    for (unsigned flight = 0; flight < 4; flight++) {
        connect_with_loss(flight, 0xff);
    }
    connect_with_loss(1, 1);
    connect_with_loss(1, 2);
    connect_with_loss(2, 1);
    connect_with_loss(2, 2);
}

static void retransmission_doubles_up_to_3200_ms_and_gives_up_after_30_s(void **state)
{
    (void)state;
    static struct end a, b;
    static const int64_t expected_ms[] = {100, 200, 400, 800, 1600, 3200, 3200, 3200};
    end_init(&a);
    end_init(&b);
    mono_t now = {0};
    start(&a, &b, DTLS_ROLE_CLIENT, now);
    for (size_t i = 0; i < ARRAY_LEN(expected_ms); i++) {
        assert_int_equal(a.wire_count, 1);
        a.wire_count = 0;
        mono_t const due = dtls_transport_deadline(a.t);
        assert_int_equal(mono_diff_us(due, now), expected_ms[i] * US_PER_MS);
        now = due;
        dtls_transport_timeout(a.t, now);
        pump(&a, now);
    }
    while (!a.failed) {
        now = dtls_transport_deadline(a.t);
        assert_false(mono_is_never(now));
        a.wire_count = 0;
        dtls_transport_timeout(a.t, now);
        pump(&a, now);
    }
    assert_int_equal(now.us, 30 * US_PER_S);
    assert_int_equal(dtls_transport_failure(a.t), DTLS_FAILURE_TIMEOUT);
    end_done(&a);
    end_done(&b);
}

static void wrong_fingerprint_fails_both_ways(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        static struct end a, b;
        end_init(&a);
        end_init(&b);
        struct dtls_fingerprint fa = fingerprint_of(a.cert);
        struct dtls_fingerprint fb = fingerprint_of(b.cert);
        (who == 0 ? &fa : &fb)->value[31] ^= 1;
        mono_t const now = {0};
        assert_int_equal(dtls_transport_start(a.t, now, DTLS_ROLE_CLIENT, &fb, 1), 0);
        assert_int_equal(dtls_transport_start(b.t, now, DTLS_ROLE_SERVER, &fa, 1), 0);
        pump(&a, now);
        exchange(&a, &b, now);
        struct end *const bad = who == 0 ? &b : &a;
        struct srtp_keys k;
        assert_true(bad->failed && !bad->connected);
        assert_int_equal(dtls_transport_failure(bad->t), DTLS_FAILURE_FINGERPRINT);
        assert_int_equal(dtls_transport_take_srtp_keys(bad->t, &k), -EPROTO);
        end_done(&a);
        end_done(&b);
    }
}

// Flips a bit in the end of a handshake message, where a signature is: in the record that holds it
// whole, sent by `from` and not delivered yet. False if there is none.
static bool spoil(struct end *from, uint8_t message)
{
    for (size_t i = 0; i < from->wire_count; i++) {
        struct rd rd = rd_init(bytes_of(from->wire[i].data, from->wire[i].n));
        struct dtls_record_view v;
        while (dtls_record_next(&rd, &v) == 0) {
            if (v.type == DTLS_HANDSHAKE && v.epoch == 0 && v.payload.p[0] == message) {
                size_t const last = (size_t)(v.raw.p - from->wire[i].data) + v.raw.n - 1;
                from->wire[i].data[last] ^= 1;
                return true;
            }
        }
    }
    return false;
}

// What was not signed by the key of the certificate is refused, whoever shows it.
static void wrong_signature_fails_both_ways(void **state)
{
    static const uint8_t server_key_exchange = 12;
    static const uint8_t certificate_verify = 15;
    (void)state;
    for (int who = 0; who < 2; who++) {
        static struct end client, server;
        mono_t const now = {0};
        bool spoiled = false;
        end_init(&client);
        end_init(&server);
        struct end *const signer = who == 0 ? &server : &client;
        struct end *const judge = who == 0 ? &client : &server;
        start(&server, &client, DTLS_ROLE_SERVER, now);
        start(&client, &server, DTLS_ROLE_CLIENT, now);
        for (int i = 0; i < 10; i++) {
            spoiled |= spoil(signer, who == 0 ? server_key_exchange : certificate_verify);
            deliver(signer, judge, now, 0);
            deliver(judge, signer, now, 0);
        }
        assert_true(spoiled);
        assert_true(judge->failed);
        assert_int_equal(dtls_transport_failure(judge->t), DTLS_FAILURE_HANDSHAKE);
        assert_false(signer->connected);
        end_done(&client);
        end_done(&server);
    }
}

static void any_of_several_fingerprints_is_enough(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    struct dtls_fingerprint list[3] = {
        {.hash = DTLS_HASH_SHA512}, {.hash = DTLS_HASH_SHA384}, fingerprint_of(b.cert)};
    mono_t const now = {0};
    assert_int_equal(dtls_transport_start(a.t, now, DTLS_ROLE_CLIENT, list, 3), 0);
    start(&b, &a, DTLS_ROLE_SERVER, now);
    pump(&a, now);
    exchange(&a, &b, now);
    assert_true(a.connected && b.connected);
    end_done(&a);
    end_done(&b);
}

static void data_right_behind_finished_is_not_lost(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    mono_t const now = {0};
    start(&b, &a, DTLS_ROLE_SERVER, now);
    start(&a, &b, DTLS_ROLE_CLIENT, now);
    deliver(&a, &b, now, 0);
    deliver(&b, &a, now, 0);
    deliver(&a, &b, now, 0);
    assert_true(b.connected);
    assert_false(a.connected);
    // The server's data in the same burst as its Finished, once before it.
    assert_int_equal(dtls_transport_send(b.t, bytes_str("one"), &b.out, 0, &peer), 0);
    assert_int_equal(dtls_transport_send(b.t, bytes_str("two"), &b.out, 0, &peer), 0);
    outbox_flush(&b.out);
    assert_int_equal(b.wire_count, 3);
    give(&a, b.wire[1].data, b.wire[1].n, now);
    give(&a, b.wire[0].data, b.wire[0].n, now);
    give(&a, b.wire[2].data, b.wire[2].n, now);
    pump(&a, now);
    assert_true(a.connected);
    assert_int_equal(a.data_count, 2);
    end_done(&a);
    end_done(&b);
}

static void replayed_and_forged_records_are_dropped(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    connect(&a, &b);
    assert_int_equal(dtls_transport_send(a.t, bytes_str("once"), &a.out, 0, &peer), 0);
    outbox_flush(&a.out);
    give(&b, a.wire[0].data, a.wire[0].n, (mono_t){0});
    give(&b, a.wire[0].data, a.wire[0].n, (mono_t){0});
    assert_int_equal(b.data_count, 1);
    a.wire_count = 0;
    assert_int_equal(dtls_transport_send(a.t, bytes_str("twice"), &a.out, 0, &peer), 0);
    outbox_flush(&a.out);
    for (size_t i = 0; i < a.wire[0].n; i++) {
        uint8_t copy[OUTBOX_DATA_CAP];
        memcpy(copy, a.wire[0].data, a.wire[0].n);
        copy[i] ^= 0x10;
        give(&b, copy, a.wire[0].n, (mono_t){0});
    }
    assert_int_equal(b.data_count, 1);
    give(&b, a.wire[0].data, a.wire[0].n, (mono_t){0});
    assert_int_equal(b.data_count, 2);
    end_done(&a);
    end_done(&b);
}

static void close_notify_is_reported_and_sent_once(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    connect(&a, &b);
    dtls_transport_close(a.t, &a.out, 0, &peer);
    dtls_transport_close(a.t, &a.out, 0, &peer);
    outbox_flush(&a.out);
    assert_int_equal(a.wire_count, 1);
    assert_int_equal(dtls_transport_state(a.t), DTLS_STATE_CLOSED);
    deliver(&a, &b, (mono_t){0}, 0);
    assert_true(b.closed);
    assert_int_equal(dtls_transport_state(b.t), DTLS_STATE_CONNECTED);
    assert_int_equal(dtls_transport_send(a.t, bytes_str("x"), &a.out, 0, &peer), -ENOTCONN);
    end_done(&a);
    end_done(&b);
}

static void recorded_hello_is_answered(const char *path)
{
    static struct rec_file f;
    static struct end a, b;
    char type = 0;
    struct bytes d;
    end_init(&a);
    end_init(&b);
    start(&b, &a, DTLS_ROLE_SERVER, (mono_t){0});
    // Junk first: it must not spoil the handshake.
    static const uint8_t junk[] = {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 23, 1};
    give(&b, junk, sizeof(junk), (mono_t){0});
    pump(&b, (mono_t){0});
    rec_file_open(&f, path);
    while (rec_file_next(&f, &type, &d)) {
        assert_int_equal(b.wire_count, 0);
        give(&b, d.p, d.n, (mono_t){0});
        pump(&b, (mono_t){0});
    }
    assert_false(b.failed);
    assert_true(b.wire_count >= 1);
    struct rd rd = rd_init(bytes_of(b.wire[0].data, b.wire[0].n));
    struct dtls_record_view v;
    assert_int_equal(dtls_record_next(&rd, &v), 0);
    assert_int_equal(v.type, DTLS_HANDSHAKE);
    assert_int_equal(v.payload.p[0], 2); // ServerHello
    end_done(&a);
    end_done(&b);
}

static void hello_of_chromium_is_answered(void **state)
{
    (void)state;
    recorded_hello_is_answered("tests/data/transport/hello_chromium.rec");
}

static void hello_of_firefox_is_answered(void **state)
{
    (void)state;
    recorded_hello_is_answered("tests/data/transport/hello_firefox.rec");
}

static void bad_hello_is_forgotten(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    start(&b, &a, DTLS_ROLE_SERVER, (mono_t){0});
    static const uint8_t bad[] = {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 1, 0,
                                  0,  4,    0,    0, 0, 0, 0, 0, 0, 4, 9, 9, 9,  9};
    give(&b, bad, sizeof(bad), (mono_t){0});
    pump(&b, (mono_t){0});
    b.wire_count = 0; // an alert, perhaps
    assert_false(b.failed);
    start(&a, &b, DTLS_ROLE_CLIENT, (mono_t){0});
    exchange(&a, &b, (mono_t){0});
    assert_true(a.connected && b.connected);
    end_done(&a);
    end_done(&b);
}

static void *run_work(void *w)
{
    dtls_work_run(w);
    return NULL;
}

// Input that arrives while a step runs on another thread waits; the transport may even go away.
static void steps_run_on_another_thread(void **state)
{
    (void)state;
    static struct end a, b;
    mono_t const now = {0};
    end_init(&a);
    end_init(&b);
    struct dtls_fingerprint const fa = fingerprint_of(a.cert);
    assert_int_equal(dtls_transport_start(b.t, now, DTLS_ROLE_SERVER, &fa, 1), 0);
    start(&a, &b, DTLS_ROLE_CLIENT, now);
    give(&b, a.wire[0].data, a.wire[0].n, now);
    struct dtls_work *const w = dtls_transport_take_work(b.t, now);
    assert_non_null(w);
    assert_null(dtls_transport_take_work(b.t, now));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_work, w), 0);
    give(&b, a.wire[0].data, a.wire[0].n, now); // a repeat meanwhile
    assert_int_equal(pthread_join(thread, NULL), 0);
    dtls_transport_finish_work(b.t, now, w, &b.out, 0, &peer);
    a.wire_count = 0;
    pump(&b, now);
    exchange(&b, &a, now);
    assert_true(a.connected && b.connected);
    end_done(&a);
    end_done(&b);

    end_init(&a);
    end_init(&b);
    struct dtls_fingerprint const fb = fingerprint_of(b.cert);
    assert_int_equal(dtls_transport_start(a.t, now, DTLS_ROLE_CLIENT, &fb, 1), 0);
    struct dtls_work *const orphan = dtls_transport_take_work(a.t, now);
    assert_int_equal(pthread_create(&thread, NULL, run_work, orphan), 0);
    dtls_transport_free(a.t);
    a.t = NULL;
    assert_int_equal(pthread_join(thread, NULL), 0);
    dtls_work_free(orphan);
    end_done(&a);
    end_done(&b);
}

struct shared {
    struct end a, b;
    bool ok;
};

static void *shake_hands(void *arg)
{
    struct shared *const s = arg;
    struct dtls_fingerprint const fa = fingerprint_of(s->a.cert);
    struct dtls_fingerprint const fb = fingerprint_of(s->b.cert);
    mono_t const t0 = {0};
    s->ok = true;
    for (int i = 0; i < 5; i++) {
        struct srtp_keys ka, kb;
        s->ok = s->ok && dtls_transport_new(s->a.cert, &s->a.t) == 0 &&
                dtls_transport_new(s->b.cert, &s->b.t) == 0 &&
                dtls_transport_start(s->a.t, t0, DTLS_ROLE_CLIENT, &fb, 1) == 0 &&
                dtls_transport_start(s->b.t, t0, DTLS_ROLE_SERVER, &fa, 1) == 0;
        pump(&s->a, t0);
        exchange(&s->a, &s->b, t0);
        s->ok = s->ok && dtls_transport_take_srtp_keys(s->a.t, &ka) == 0 &&
                dtls_transport_take_srtp_keys(s->b.t, &kb) == 0 &&
                memcmp(&ka.local, &kb.remote, sizeof(ka.local)) == 0;
        dtls_transport_free(s->a.t);
        dtls_transport_free(s->b.t);
    }
    return NULL;
}

static void threads_share_one_certificate(void **state)
{
    (void)state;
    static struct shared all[4];
    struct dtls_cert *certs[2];
    pthread_t threads[ARRAY_LEN(all)];
    assert_int_equal(dtls_cert_new(1700000000, &certs[0]), 0);
    assert_int_equal(dtls_cert_new(1700000000, &certs[1]), 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i].a.cert = certs[0];
        all[i].b.cert = certs[1];
        assert_int_equal(outbox_init(&all[i].a.out, collect, &all[i].a), 0);
        assert_int_equal(outbox_init(&all[i].b.out, collect, &all[i].b), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, shake_hands, &all[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(all[i].ok);
        outbox_done(&all[i].a.out);
        outbox_done(&all[i].b.out);
    }
    dtls_cert_free(certs[0]);
    dtls_cert_free(certs[1]);
}

static void parses_fingerprints(void **state)
{
    (void)state;
    struct dtls_fingerprint f;
    char text[64 * 3];
    for (size_t i = 0; i < 64; i++) {
        memcpy(text + 3 * i, "aB:", 3);
    }
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_of(text, 95), &f), 0);
    assert_int_equal(f.hash, DTLS_HASH_SHA256);
    assert_int_equal(f.value[31], 0xab);
    assert_int_equal(dtls_fingerprint_parse(bytes_str("SHA-384"), bytes_of(text, 143), &f), 0);
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-512"), bytes_of(text, 191), &f), 0);
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-1"), bytes_of(text, 59), &f), -ENOTSUP);
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_of(text, 94), &f), -EINVAL);
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_of(text, 96), &f), -EINVAL);
    text[4] = 'g';
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_of(text, 95), &f), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_roles_connect_and_agree_on_keys),
        cmocka_unit_test(datagrams_before_start_are_kept),
        cmocka_unit_test(any_lost_flight_is_repaired),
        cmocka_unit_test(retransmission_doubles_up_to_3200_ms_and_gives_up_after_30_s),
        cmocka_unit_test(wrong_fingerprint_fails_both_ways),
        cmocka_unit_test(wrong_signature_fails_both_ways),
        cmocka_unit_test(any_of_several_fingerprints_is_enough),
        cmocka_unit_test(data_right_behind_finished_is_not_lost),
        cmocka_unit_test(replayed_and_forged_records_are_dropped),
        cmocka_unit_test(close_notify_is_reported_and_sent_once),
        cmocka_unit_test(hello_of_chromium_is_answered),
        cmocka_unit_test(hello_of_firefox_is_answered),
        cmocka_unit_test(bad_hello_is_forgotten),
        cmocka_unit_test(steps_run_on_another_thread),
        cmocka_unit_test(threads_share_one_certificate),
        cmocka_unit_test(parses_fingerprints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// What a connection costs: CPU of a DTLS handshake on either side, heap of each transport once it
// is up, data channel messages.
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/mem.h"
#include "sfu/transport/dtls_transport.h"
#include "sfu/transport/sctp_transport.h"
#include "sfu/transport/srtp_transport.h"

#define PAIRS 200
#define WIRE_MAX 32

struct end {
    struct dtls_transport *t;
    struct outbox *out;
    size_t wire_count;
    struct {
        size_t n;
        uint8_t data[OUTBOX_DATA_CAP];
    } wire[WIRE_MAX];
    int64_t cpu_ns;
};

static const struct addr peer;
static struct dtls_cert *cert;
static struct outbox boxes[2];
static struct end ends[2];
static struct dtls_transport *dtls[PAIRS][2];
static struct srtp_transport *srtp[PAIRS];
static struct sctp_transport *sctp[PAIRS][2];

static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static size_t heap(void)
{
    struct mallinfo2 const m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void collect(struct outbox *o, void *user)
{
    struct end *const e = user;
    for (size_t i = 0; i < o->count && e->wire_count < WIRE_MAX; i++) {
        e->wire[e->wire_count].n = o->slots[i].len;
        memcpy(e->wire[e->wire_count++].data, o->slots[i].data, o->slots[i].len);
    }
    o->count = 0;
}

static void pump(struct end *e)
{
    struct dtls_work *w = NULL;
    int64_t const start = cpu_ns();
    while ((w = dtls_transport_take_work(e->t, (mono_t){0})) != NULL) {
        dtls_work_run(w);
        dtls_transport_finish_work(e->t, (mono_t){0}, w, e->out, 0, &peer);
    }
    outbox_flush(e->out);
    e->cpu_ns += cpu_ns() - start;
}

static void deliver(struct end *from, struct end *to)
{
    size_t const n = from->wire_count;
    from->wire_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct bytes_mut d = {from->wire[i].data, from->wire[i].n};
        struct bytes data;
        dtls_transport_input(to->t, (mono_t){0}, &d, to->out, 0, &peer, &data);
    }
    pump(to);
}

static void handshake(size_t i)
{
    struct dtls_fingerprint f;
    check(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_str(dtls_cert_fingerprint(cert)),
                                 &f) == 0,
          "fingerprint");
    for (size_t k = 0; k < 2; k++) {
        check(dtls_transport_new(cert, &dtls[i][k]) == 0, "dtls_transport_new");
        ends[k].t = dtls[i][k];
        check(dtls_transport_start(dtls[i][k], (mono_t){0},
                                   k == 0 ? DTLS_ROLE_CLIENT : DTLS_ROLE_SERVER, &f, 1) == 0,
              "start");
    }
    pump(&ends[0]);
    for (int round = 0; round < 4; round++) {
        deliver(&ends[0], &ends[1]);
        deliver(&ends[1], &ends[0]);
    }
    check(dtls_transport_state(dtls[i][0]) == DTLS_STATE_CONNECTED, "handshake");
    check(dtls_transport_state(dtls[i][1]) == DTLS_STATE_CONNECTED, "handshake");
}

static void bench_dtls(void)
{
    handshake(0);
    ends[0].cpu_ns = ends[1].cpu_ns = 0;
    size_t const before = heap();
    for (size_t i = 1; i < PAIRS; i++) {
        handshake(i);
    }
    printf("dtls handshake             client %.2f ms, server %.2f ms of CPU\n",
           (double)ends[0].cpu_ns / 1e6 / (PAIRS - 1), (double)ends[1].cpu_ns / 1e6 / (PAIRS - 1));
    printf("dtls connected             %zu bytes\n", (heap() - before) / (2 * (PAIRS - 1)));
}

static void receive_junk(struct srtp_transport *t)
{
    uint8_t junk[100] = {0x80};
    struct bytes_mut p = {junk, sizeof(junk)};
    check(srtp_transport_unprotect_rtp(t, (mono_t){0}, &p) == SRTP_DROP_AUTH, "unprotect");
}

static void bench_srtp_backend(const struct srtp_keys *keys, enum srtp_ingress backend,
                               const char *name)
{
    size_t before = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        check(srtp_transport_new(&keys[i], backend, &srtp[i]) == 0, "srtp_transport_new");
        before = i == 0 ? heap() : before;
    }
    printf("srtp, sends media only     %zu bytes\n", (heap() - before) / (PAIRS - 1));
    receive_junk(srtp[0]);
    before = heap();
    for (size_t i = 1; i < PAIRS; i++) {
        receive_junk(srtp[i]);
    }
    printf("srtp, receives media       %zu bytes more (%s)\n", (heap() - before) / (PAIRS - 1),
           name);
    for (size_t i = 0; i < PAIRS; i++) {
        srtp_transport_free(srtp[i]);
    }
}

static void bench_srtp(void)
{
    static struct srtp_keys keys[PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        check(dtls_transport_take_srtp_keys(dtls[i][0], &keys[i]) == 0, "keys");
    }
    bench_srtp_backend(keys, SRTP_INGRESS_LIBCRYPTO, "libcrypto");
    bench_srtp_backend(keys, SRTP_INGRESS_LIBSRTP2, "libsrtp2");
}

static void pump_sctp(size_t i)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t k = 0; k < 2; k++) {
            struct bytes p;
            struct sctp_event ev;
            while (sctp_transport_next_output(sctp[i][k], &p)) {
                moved = true;
                sctp_transport_input(sctp[i][1 - k], p);
            }
            while (sctp_transport_poll_event(sctp[i][1 - k], &ev)) {
            }
        }
    }
}

static uint16_t make_sctp(struct sctp_hub *hub, size_t i)
{
    struct data_channel_params const p = {
        .label = bytes_str("_lossy"), .unordered = true, .reliability_kind = DCEP_REXMIT};
    uint16_t id = 0;
    for (size_t k = 0; k < 2; k++) {
        check(sctp_transport_new(hub, NULL, &sctp[i][k]) == 0 &&
                  sctp_transport_start(sctp[i][k], k == 0, 0) == 0,
              "sctp");
    }
    pump_sctp(i);
    check(sctp_transport_open_channel(sctp[i][0], &p, &id) == 0, "channel");
    pump_sctp(i);
    check(sctp_transport_state(sctp[i][0]) == SCTP_STATE_UP, "sctp up");
    return id;
}

static void bench_sctp(void)
{
    struct sctp_hub *hub = NULL;
    uint8_t data[1000] = {0};
    check(sctp_hub_new(NULL, NULL, &hub) == 0, "sctp_hub_new");
    uint16_t const id = make_sctp(hub, 0);
    size_t const before = heap();
    int64_t start = cpu_ns();
    for (size_t i = 1; i < PAIRS; i++) {
        (void)make_sctp(hub, i);
    }
    printf("sctp association           %.0f us for both sides with one channel\n",
           (double)(cpu_ns() - start) / 1e3 / (PAIRS - 1));
    printf("sctp association           %zu bytes\n", (heap() - before) / (2 * (PAIRS - 1)));
    start = cpu_ns();
    for (int n = 0; n < 20000; n++) {
        check(sctp_transport_send(sctp[0][0], id, true, bytes_of(data, sizeof(data))) == 0, "send");
        pump_sctp(0);
    }
    printf("sctp message, 1000 bytes   %.2f us for both sides\n",
           (double)(cpu_ns() - start) / 1e3 / 20000);
}

int main(void)
{
    check(dtls_cert_new(time(NULL), &cert) == 0, "dtls_cert_new");
    for (size_t k = 0; k < 2; k++) {
        ends[k].out = &boxes[k];
        check(outbox_init(&boxes[k], collect, &ends[k]) == 0, "outbox_init");
    }
    bench_dtls();
    bench_srtp();
    bench_sctp();
    return 0;
}

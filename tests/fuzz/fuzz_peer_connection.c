// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: pc_pair vnet

// Drives the server's half of a connection by the input's bytes: packets (good, damaged, invented),
// time, signalling, handshake steps that come late or never, in any order. Byte 0 chooses whether
// the connection exists already.
#include <stdlib.h>

#include "tests/support/pc_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 200
#define WORKS_MAX 6 // a handshake step costs milliseconds

static struct pc_pair pair;
static struct pc_pair_config config;
static unsigned works;

static struct pc_side *const server = &pair.side[PC_SERVER];

static struct addr some_address(uint8_t b)
{
    // Address 0 is the real client's.
    struct addr a = b % 12 == 0 ? pair.side[PC_CLIENT].addr : addr_v4(198, 51, 100, b % 12, 4000);
    a.tcp = b >= 200;
    return a;
}

static void poll_events(void)
{
    struct peer_connection_event e;
    while (peer_connection_poll_event(server->pc, &e)) {
        server->state = e.kind == PEER_CONNECTION_EVENT_STATE ? e.state : server->state;
    }
}

static void input(struct addr from, struct bytes_mut d)
{
    struct bytes_mut packet = {NULL, 0};
    enum peer_connection_rx const rx =
        peer_connection_input(server->pc, pair.now, 0, &from, d, &server->ep.out, &packet);
    if (rx != PEER_CONNECTION_RX_NONE && packet.n > d.n) {
        abort();
    }
    poll_events();
}

static void good_check(struct rd *r)
{
    uint8_t const flags = rd_u8(r);
    struct addr const from = some_address(rd_u8(r));
    uint8_t buf[STUN_MAX_LEN];
    uint8_t txid[STUN_TXID_LEN] = {flags};
    const struct ice_creds *const c = &server->creds;
    struct wr w = wr_init(buf, sizeof(buf));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_username(&w, bytes_str(c->ufrag), bytes_str("peer"));
    stun_put_u64(&w, (flags & 1) != 0 ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING,
                 flags);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, (uint32_t)flags << 20);
    if ((flags & 2) != 0) {
        stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
    }
    if ((flags & 0x1c) == 0x1c) {
        stun_put_u32(&w, (uint16_t)(0x7000 + flags), 1);
    }
    stun_end_integrity(&w, bytes_str((flags & 0xc0) == 0xc0 ? "wrong" : c->pwd));
    stun_end_fingerprint(&w);
    input(from, (struct bytes_mut){buf, wr_len(&w)});
}

static void raw_datagram(struct rd *r)
{
    struct addr const from = some_address(rd_u8(r));
    struct bytes const b = rd_take(r, MIN(rd_u8(r), rd_left(r)));
    uint8_t *const copy =
        malloc(b.n + 1); // exact size for the address sanitizer, writable for decryption
    if (copy == NULL) {
        abort();
    }
    if (b.n > 0) {
        memcpy(copy, b.p, b.n);
    }
    input(from, (struct bytes_mut){copy, b.n});
    free(copy);
}

// Something that a real client would send, with some bits flipped.
static void damaged_datagram(struct rd *r)
{
    struct pc_side *const client = &pair.side[PC_CLIENT];
    uint8_t const at = rd_u8(r);
    uint8_t const mask = rd_u8(r);
    struct outbox *const out = &client->ep.out;
    out->count = 0;
    static const uint8_t rr[8] = {0x80, 201, 0, 1, 0, 0, 0x12, 0x34};
    static const uint8_t rtp[40] = {0x80, 96, 0, 1};
    (void)!peer_connection_send_rtcp(client->pc, bytes_of(rr, sizeof(rr)), out);
    (void)!peer_connection_send_rtp(client->pc, bytes_of(rtp, sizeof(rtp)), 12, 1, out);
    (void)!srtp_batch_protect(pair.batch, out);
    peer_connection_timeout(client->pc, pair.now, out);
    for (size_t i = 0; i < out->count; i++) {
        struct outbox_slot *const s = &out->slots[i];
        s->data[at % s->len] ^= mask;
        input(client->addr, (struct bytes_mut){s->data, s->len});
    }
    out->count = 0;
}

static void dtls_work(struct rd *r)
{
    uint8_t const how = rd_u8(r);
    if (server->work == NULL && works < WORKS_MAX) {
        server->work = peer_connection_take_dtls_work(server->pc, pair.now);
        works += server->work != NULL;
    }
    if (server->work != NULL && how % 4 != 0) {
        struct dtls_work *const w = server->work;
        server->work = NULL;
        dtls_work_run(w);
        peer_connection_finish_dtls_work(server->pc, pair.now, w, &server->ep.out);
        poll_events();
    }
}

static void signalling(struct rd *r)
{
    uint8_t const how = rd_u8(r);
    if ((how & 1) != 0) {
        ice_creds_generate(&pair.rng, "", &server->creds);
        peer_connection_restart(server->pc, pair.now, &server->creds);
    }
    struct dtls_fingerprint f[DTLS_FINGERPRINTS_MAX] = {
        {.hash = DTLS_HASH_SHA256, .value = {how & 6}}};
    struct peer_connection_remote const remote = {
        .fingerprints = f,
        .fingerprint_count = how % 7,
        .dtls_role = (how & 8) != 0 ? DTLS_ROLE_CLIENT : DTLS_ROLE_SERVER,
    };
    if ((how & 16) != 0) {
        (void)!peer_connection_set_remote(server->pc, pair.now, &remote, &server->ep.out);
    }
    poll_events();
}

static void send(struct rd *r)
{
    static const uint8_t packet[100] = {0x80, 200, 0, 6};
    size_t const n = rd_u8(r) % sizeof(packet);
    int const a = peer_connection_send_rtcp(server->pc, bytes_of(packet, n), &server->ep.out);
    int const b = peer_connection_send_rtp(server->pc, bytes_of(packet, n), 12, n, &server->ep.out);
    bool const may = peer_connection_path(server->pc)->srtp != NULL;
    if (!may && (a == 0 || b == 0)) {
        abort();
    }
}

static void pass_time(struct rd *r)
{
    static const int64_t steps_us[] = {0, 1, 1000, 50000, 500000, 3000000, 9000000, 40000000};
    pair.now = mono_add_us(pair.now, steps_us[rd_u8(r) % ARRAY_LEN(steps_us)]);
    server->ep.now = pair.now;
    pair.side[PC_CLIENT].ep.now = pair.now;
    for (int i = 0; i < 100; i++) {
        if (!mono_reached(peer_connection_deadline(server->pc), pair.now)) {
            return;
        }
        peer_connection_timeout(server->pc, pair.now, &server->ep.out);
        poll_events();
    }
    abort(); // the deadline does not move
}

static void command(struct rd *r)
{
    switch (rd_u8(r) % 16) {
    case 0:
    case 1:
    case 2:
        good_check(r);
        break;
    case 3:
    case 4:
    case 5:
        raw_datagram(r);
        break;
    case 6:
    case 7:
        damaged_datagram(r);
        break;
    case 8:
        dtls_work(r);
        break;
    case 9:
        signalling(r);
        break;
    case 10:
        send(r);
        break;
    case 11:
        if (rd_u8(r) == 0xaa) {
            peer_connection_close(server->pc, &server->ep.out);
            poll_events();
        }
        break;
    default:
        pass_time(r);
        break;
    }
    outbox_flush(&server->ep.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct rd r = rd_init(bytes_of(data, size));
    uint8_t const mode = rd_u8(&r);
    config = (struct pc_pair_config){.seed = 1, .server_is_dtls_client = (mode & 2) != 0};
    works = 0;
    // Keys are the expensive part of a run.
    static struct dtls_cert *certs[2];
    for (size_t i = 0; i < 2; i++) {
        if (certs[i] == NULL && dtls_cert_new(1790000000, &certs[i]) != 0) {
            abort();
        }
        config.certs[i] = certs[i];
    }
    pc_pair_init(&pair, &config);
    if ((mode & 1) != 0) {
        pc_pair_signal(&pair, &config);
        if (!pc_pair_connect(&pair, US_PER_S)) {
            abort();
        }
    }
    for (int i = 0; i < COMMANDS_MAX && rd_left(&r) > 0; i++) {
        command(&r);
    }
    pc_pair_done(&pair);
    return 0;
}
